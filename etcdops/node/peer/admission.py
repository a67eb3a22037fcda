"""Which messages from the network raft gets to see. Whatever breaks a rule here could only come from a broken or
hostile peer, and is refused before it can harm the core or the log.
"""

from __future__ import annotations

import logging

from etcdops.ids import format_id
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.identity import Identity
from etcdops.node.peer.port import Answer, PeerHandler
from etcdops.node.raft.types import Message, MessageType
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

LOCAL_KINDS = frozenset(
    {
        MessageType.HUP,
        MessageType.BEAT,
        MessageType.UNREACHABLE,
        MessageType.SNAP_STATUS,
        MessageType.CHECK_QUORUM,
        MessageType.FORGET_LEADER,
    }
)
"""What a member says to itself. From the network it is ignored. Source: etcd raft/node.go, node.Step."""

NUMBER_MAX = (1 << 63) - 1
"""Terms and indexes beyond this are refused: no cluster lives to reach them, SQLite's integers end here, and a single
message of term 2**64-1 would otherwise make every later election impossible.
"""

_NEEDS_ENTRIES = frozenset({MessageType.PROP, MessageType.READ_INDEX, MessageType.READ_INDEX_RESP})


REMOVED_SENDER = "cannot process message from removed member"
TARGET_MISMATCH = "to field mismatch"


class Admission:
    """The one way from the network into raft."""

    def __init__(self, identity: Identity, handler: PeerHandler) -> None:
        self._identity = identity
        self._handler = handler

    def refusal(self, message: Message) -> Answer | None:
        """Why `message` is not for us, as the answer to its sender; None when it is.

        Raises: MalformedMessage. Source: etcd server/etcdserver/server.go, EtcdServer.Process. There both refusals
        are 403 on paper, but the answer never gets out: 3.5 sends 500. A sender takes 403 for its own removal and
        stops, so it is kept for that; a message for another member gets what a stream for another member gets.
        """
        check(message)
        local = self._identity
        if self._handler.is_removed(message.from_):
            _logger.warning(
                "rejected Raft message from removed member",
                extra=fields(local_member_id=local.name, removed_member_id=format_id(message.from_)),
            )
            return Answer(403, REMOVED_SENDER.encode())
        if message.to != local.member_id:
            _logger.warning(
                "rejected Raft message to mismatch member",
                extra=fields(local_member_id=local.name, mismatch_member_id=format_id(message.to)),
            )
            return Answer(412, TARGET_MISMATCH.encode())
        return None

    def receive(self, message: Message) -> Answer | None:
        """Hand `message` to raft, or say why not. One that is only ever said to oneself is ignored.

        Raises: MalformedMessage, also for a SNAP, which comes with its database or not at all.
        """
        if message.type is MessageType.SNAP:
            raise MalformedMessage("SNAP without its database")
        refusal = self.refusal(message)
        if refusal is None and message.type not in LOCAL_KINDS:
            self._handler.process(message)
        return refusal

    def receive_snapshot(self, message: Message) -> Answer | None:
        """Hand a SNAP, whose database is saved by now, to raft, or say why not. Raises: MalformedMessage."""
        refusal = self.refusal(message)
        if refusal is None:
            self._handler.process(message)
        return refusal


def check(message: Message) -> None:
    """Raises: MalformedMessage - no correct member sends this."""
    if not message.from_:
        raise MalformedMessage(f"{message.type.name} from nobody")
    if max(message.term, message.log_term, message.index, message.commit, message.reject_hint) > NUMBER_MAX:
        raise MalformedMessage(f"{message.type.name} with a term or index out of range")
    if message.type is MessageType.APP:
        _check_dense(message)
    elif message.type is MessageType.SNAP:
        metadata = message.snapshot.metadata if message.snapshot else None
        if metadata is None or not 0 < metadata.index <= NUMBER_MAX or not 0 < metadata.term <= NUMBER_MAX:
            raise MalformedMessage("SNAP without a snapshot")
    elif message.type in _NEEDS_ENTRIES and not message.entries:
        raise MalformedMessage(f"{message.type.name} without entries")


def _check_dense(message: Message) -> None:
    index, term = message.index, message.log_term
    for entry in message.entries:
        index += 1  # type: ignore[assignment]  # an index stays one when it moves on
        if entry.index != index or not term <= entry.term <= message.term:
            raise MalformedMessage(f"APP with entry {entry.index} of term {entry.term} where {index} should be")
        term = entry.term
