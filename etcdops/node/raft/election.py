"""Elections: campaigning, voting, and counting votes (Raft 5.2 and 5.4.1; pre-vote and leases: thesis 4.2.3, 9.6)."""

from __future__ import annotations

import enum

from etcdops.ids import NO_MEMBER, Term
from etcdops.node.raft.describe import MESSAGE_NAMES
from etcdops.node.raft.leadership import take_lead
from etcdops.node.raft.quorum import VoteResult
from etcdops.node.raft.replication import broadcast_append
from etcdops.node.raft.roles import Cause
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import Message, MessageType, NoteLevel, Role

CAMPAIGN_TRANSFER = b"CampaignTransfer"
"""The context of a vote request after a leader transfer: the leader wants it, so its lease does not count."""

_RESPONSE = {MessageType.VOTE: MessageType.VOTE_RESP, MessageType.PRE_VOTE: MessageType.PRE_VOTE_RESP}


class Campaign(enum.Enum):
    """What kind of election to start."""

    PRE_ELECTION = "asks first, without raising the term"
    ELECTION = "the real one"
    TRANSFER = "the real one, wanted by the leader"


def tick_election(raft: RaftState) -> None:
    """A tick of everyone but the leader: campaign when nothing was heard for too long."""
    raft.election_elapsed += 1
    if raft.election_elapsed >= raft.randomized_election_timeout and raft.promotable:
        raft.election_elapsed = 0
        start_campaign(raft)


def handle_hup(raft: RaftState, _message: Message) -> None:
    """Campaign, in the way this member is configured to."""
    start_campaign(raft)


def start_campaign(raft: RaftState) -> None:
    """Campaign, in the way this member is configured to."""
    hup(raft, Campaign.PRE_ELECTION if raft.config.pre_vote else Campaign.ELECTION)


def hup(raft: RaftState, kind: Campaign) -> None:
    """Campaign unless this member cannot: it is no voter, or does not know the newest configuration yet.

    Source: etcd-io/raft raft.go, hup.
    """
    if not raft.promotable:
        raft.note(f"{raft.name} is unpromotable and can not campaign", NoteLevel.WARNING)
    elif raft.log.has_unapplied_conf_change():
        raft.note(
            f"{raft.name} cannot campaign at term {raft.term} since there are still pending "
            "configuration changes to apply",
            NoteLevel.WARNING,
        )
    else:
        raft.note(f"{raft.name} is starting a new election at term {raft.term}")
        _campaign(raft, kind)


def _campaign(raft: RaftState, kind: Campaign) -> None:
    if kind is Campaign.PRE_ELECTION:
        raft.become_pre_candidate()
        request, term = MessageType.PRE_VOTE, Term(raft.term + 1)
    else:
        raft.become_candidate()
        request, term = MessageType.VOTE, raft.term
    last_term, last_index = raft.log.last_entry_id()
    context = CAMPAIGN_TRANSFER if kind is Campaign.TRANSFER else b""
    for voter in raft.tracker.config.voters.ids():
        if voter == raft.id:
            # The own vote counts like any other: once it is saved.
            raft.send(Message(_RESPONSE[request], voter, raft.id, term))
            continue
        raft.note(
            f"{raft.name} [logterm: {last_term}, index: {last_index}] sent {MESSAGE_NAMES[request]} request "
            f"to {voter:x} at term {raft.term}"
        )
        raft.send(Message(request, voter, raft.id, term, last_term, last_index, context=context))


def in_lease(raft: RaftState, message: Message) -> bool:
    """Whether a leader was heard so recently that a vote for another one is refused (thesis 4.2.3).

    The refusal is silent: neither term nor vote change, so a member that was cut off, or removed, disturbs nobody.
    """
    if (
        not raft.config.check_quorum
        or raft.leader == NO_MEMBER
        or raft.election_elapsed >= raft.config.election_timeout_ticks
        or message.context == CAMPAIGN_TRANSFER
    ):
        return False
    remaining = raft.config.election_timeout_ticks - raft.election_elapsed
    raft.note(f"{_vote_note(raft, 'ignored', message)}: lease is not expired (remaining ticks: {remaining})")
    return True


def handle_vote_request(raft: RaftState, message: Message) -> None:
    """Grant or refuse a vote or pre-vote; the message's term is not below ours.

    Granted: first come in this term (or asked again), with a log that has at least what ours has. A pre-vote binds
    nobody. Learners vote too: who asks may know that this member is a voter before it has heard so itself.
    Source: etcd-io/raft raft.go, Step.
    """
    pre_vote = message.type is MessageType.PRE_VOTE
    can_vote = (
        raft.vote == message.from_
        or (raft.vote == NO_MEMBER and raft.leader == NO_MEMBER)
        or (pre_vote and message.term > raft.term)
    )
    if not can_vote or not raft.log.is_up_to_date(message.log_term, message.index):
        refuse_vote(raft, message)
        return
    raft.note(_vote_note(raft, "cast", message))
    # The term asked for, not ours: a pre-vote is for a term that we do not have yet.
    raft.send(Message(_RESPONSE[message.type], message.from_, raft.id, message.term))
    if not pre_vote:
        raft.election_elapsed = 0
        raft.vote = message.from_


def refuse_vote(raft: RaftState, message: Message) -> None:
    """Say no, with our term."""
    raft.note(_vote_note(raft, "rejected", message))
    raft.send(Message(_RESPONSE[message.type], message.from_, raft.id, raft.term, reject=True))


def _vote_note(raft: RaftState, verb: str, message: Message) -> str:
    last_term, last_index = raft.log.last_entry_id()
    preposition = "for" if verb == "cast" else "from"
    return (
        f"{raft.name} [logterm: {last_term}, index: {last_index}, vote: {raft.vote:x}] "
        f"{verb} {MESSAGE_NAMES[message.type]} {preposition} {message.from_:x} "
        f"[logterm: {message.log_term}, index: {message.index}] at term {raft.term}"
    )


def handle_vote_response(raft: RaftState, message: Message) -> None:
    """Count a vote in the election that this (pre-)candidate started."""
    name = MESSAGE_NAMES[message.type]
    what = f"{name} rejection" if message.reject else name
    raft.note(f"{raft.name} received {what} from {message.from_:x} at term {raft.term}")
    raft.tracker.record_vote(message.from_, not message.reject)
    granted, rejected, result = raft.tracker.tally_votes()
    raft.note(f"{raft.name} has received {granted} {name} votes and {rejected} vote rejections")
    if result is VoteResult.LOST:
        raft.become_follower(raft.term, NO_MEMBER, Cause.NOT_ELECTED)
    elif result is VoteResult.WON and raft.role is Role.PRE_CANDIDATE:
        _campaign(raft, Campaign.ELECTION)
    elif result is VoteResult.WON:
        take_lead(raft)
        broadcast_append(raft)


def handle_timeout_now(raft: RaftState, message: Message) -> None:
    """The leader wants this member to lead. No pre-vote: it is surely not cut off.

    Source: etcd-io/raft raft.go, stepFollower.
    """
    raft.note(
        f"{raft.name} [term {raft.term}] received MsgTimeoutNow from {message.from_:x} "
        "and starts an election to get leadership."
    )
    hup(raft, Campaign.TRANSFER)
