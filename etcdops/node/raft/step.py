"""One message, with its term compared to ours first (Raft 5.1)."""

from __future__ import annotations

from etcdops.ids import NO_MEMBER
from etcdops.node.raft.describe import MESSAGE_NAMES
from etcdops.node.raft.election import in_lease, refuse_vote
from etcdops.node.raft.roles import Cause
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Message, MessageType

_FROM_LEADER = frozenset((MessageType.APP, MessageType.HEARTBEAT, MessageType.SNAP))
_VOTE_REQUESTS = frozenset((MessageType.VOTE, MessageType.PRE_VOTE))


def step(raft: RaftState, message: Message) -> None:
    """Handle `message`, whose form was checked. A term of 0 belongs to what members ask themselves or pass on.

    Raises: ProposalDropped, CoreCorrupt.
    Source: etcd-io/raft raft.go, Step.
    """
    if message.term and message.term != raft.term:
        if message.term < raft.term:
            _answer_old_term(raft, message)
            return
        if message.type in _VOTE_REQUESTS and in_lease(raft, message):
            return
        _take_up_term(raft, message)
    handler = raft.handlers.get(message.type)
    if handler is not None:
        handler(raft, message)  # else handlers.IGNORED says why nothing happens


def _take_up_term(raft: RaftState, message: Message) -> None:
    """Follow into the higher term; not for pre-votes, which are about a term that nobody has begun."""
    if message.type is MessageType.PRE_VOTE:
        return
    if message.type is MessageType.PRE_VOTE_RESP and not message.reject:
        return
    raft.note(
        f"{raft.name} [term: {raft.term}] received a {MESSAGE_NAMES[message.type]} message with higher term "
        f"from {message.from_:x} [term: {message.term}]"
    )
    leader = message.from_ if message.type in _FROM_LEADER else NO_MEMBER
    raft.become_follower(message.term, leader, Cause.HIGHER_TERM)


def _answer_old_term(raft: RaftState, message: Message) -> None:
    """Tell those who must know that their term is over; nobody else.

    A leader of an old term: with check-quorum or pre-vote its members do not hear of our term through elections, so we
    would be stuck outside the group without this answer. A pre-candidate of an old term: it may have a higher term's
    log and wait for an answer before it tries anything else.
    """
    config = raft.config
    kind = message.type
    if (config.check_quorum or config.pre_vote) and kind in (MessageType.HEARTBEAT, MessageType.APP):
        raft.send(Message(MessageType.APP_RESP, message.from_, raft.id, raft.term))
    elif kind is MessageType.PRE_VOTE:
        refuse_vote(raft, message)
    else:
        raft.note(
            f"{raft.name} [term: {raft.term}] ignored a {MESSAGE_NAMES[kind]} message with lower term "
            f"from {message.from_:x} [term: {message.term}]"
        )
