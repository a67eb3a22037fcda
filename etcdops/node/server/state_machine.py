"""Committed entries become state: keys through the applier, members through the registry, and raft hears of both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from etcdops.ids import LogIndex, MemberID, Term, format_id
from etcdops.node.api.errors import EtcdError
from etcdops.node.apply.applier import Applier
from etcdops.node.apply.outcome import Applied
from etcdops.node.peer.codec import MalformedMessage, decode_conf_change
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType, ConfState, Entry, EntryType, Snapshot
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)


_UNREADABLE = ConfChange((ConfChangeSingle(ConfChangeType.REMOVE_NODE, MemberID(0)),))
"""A change that every registry refuses."""


class Waiters(Protocol):
    """Whoever waits for what an entry comes to."""

    def request_applied(self, applied: Applied) -> None: ...

    def change_applied(self, request_id: int, change: ConfChange, error: EtcdError | None) -> None:
        """A configuration change is in force, or `error` says why it was ignored everywhere."""

    def term_began(self) -> None:
        """This member leads and has applied everything from before its term."""

    def state_replaced(self) -> None:
        """The state is that of a received snapshot."""


class StateMachine:
    """Applies entries in log order. Nothing in here may raise for any entry: every member would fail on it, forever."""

    def __init__(
        self,
        applier: Applier,
        waiters: Waiters,
        *,
        applied_index: LogIndex,
        applied_term: Term,
        put_in_force: Callable[[ConfChange], ConfState],
        is_leading: Callable[[], bool],
        keep_conf_state: Callable[[ConfState], None],
        load_snapshot: Callable[[Snapshot, Callable[[], None]], None],
    ) -> None:
        """Args: put_in_force is RaftCore.apply_conf_change; keep_conf_state writes its result in the transaction of the
        entry being applied; load_snapshot(snapshot, done) replaces the store by a received image."""
        self._applier = applier
        self._waiters = waiters
        self.applied_index = applied_index
        self.applied_term = applied_term
        self._put_in_force = put_in_force
        self._is_leading = is_leading
        self._keep_conf_state = keep_conf_state
        self._load_snapshot = load_snapshot

    def apply(self, entries: tuple[Entry, ...]) -> None:
        """Apply consecutive entries, the first one at applied_index + 1."""
        assert entries[0].index == self.applied_index + 1, (entries[0].index, self.applied_index)
        for entry in entries:
            if entry.type is not EntryType.NORMAL:
                self._apply_change(entry)
            elif entry.data:
                self._waiters.request_applied(self._applier.apply(entry))
            else:
                self._applier.apply(entry)
                # The first entry of a term is its leader's own: everything older is applied now. Any other empty one
                # stands for a change of members that the leader refused to begin. etcd takes it for the same, and its
                # leases start anew: one whose revocation is under way can be renewed, and ends all the same.
                if entry.term > self.applied_term and self._is_leading():
                    self._waiters.term_began()
            self.applied_index = entry.index
            self.applied_term = entry.term

    def install(self, snapshot: Snapshot, done: Callable[[], None]) -> None:
        """Become a received snapshot; then `done`. Nothing may be applied meanwhile."""

        def loaded() -> None:
            self.applied_index = snapshot.metadata.index
            self.applied_term = snapshot.metadata.term
            self._waiters.state_replaced()
            done()

        self._load_snapshot(snapshot, loaded)

    def _apply_change(self, entry: Entry) -> None:
        try:
            if entry.type is not EntryType.CONF_CHANGE:
                # Nobody proposes these, and etcd's server knows none. A joint configuration could not be left again.
                raise MalformedMessage("a change of several members at once")
            request_id, change = decode_conf_change(entry.type, entry.data)
        except MalformedMessage as error:
            log.error(
                "ignoring an unreadable configuration change", extra=fields(index=int(entry.index), error=str(error))
            )
            request_id, change = 0, _UNREADABLE
        refused = self._applier.apply_conf_change(entry, change)
        # Raft must also hear of a refused one, so that it takes the next: as a change of nobody.
        self._keep_conf_state(self._put_in_force(change if refused is None else _nobody(change)))
        if refused is not None:
            log.error("Validation on configuration change failed", extra=fields(error=refused.text))
        else:
            _log_change(change)
        self._waiters.change_applied(request_id, change, refused)


def _nobody(change: ConfChange) -> ConfChange:
    """Source: etcd server/etcdserver/server.go, applyConfChange: cc.NodeID = raft.None."""
    return change._replace(changes=tuple(single._replace(node_id=MemberID(0)) for single in change.changes))


def _log_change(change: ConfChange) -> None:
    for single in change.changes:
        log.info(
            "applied a configuration change through raft",
            extra=fields(
                raft_conf_change=_change_name(single.type.name), raft_conf_change_node_id=format_id(single.node_id)
            ),
        )


def _change_name(name: str) -> str:
    """raftpb's spelling: ADD_LEARNER_NODE is ConfChangeAddLearnerNode."""
    return "ConfChange" + "".join(word.capitalize() for word in name.split("_"))
