"""Mistakes that a correct simulator must find. Each replaces a few lines of production code while a test runs.

They are the ones that real stores have had: the numbers in brackets are issues of etcd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from etcdops.ids import LogIndex
from etcdops.node.apply.applier import Applier
from etcdops.node.apply.request_id import RequestIDs
from etcdops.node.apply.wire import FIELD_LEASE_REVOKE
from etcdops.node.lease import expiry
from etcdops.node.lease.expiry import LeaseExpiry
from etcdops.node.lease.lessor import Lessor
from etcdops.node.raft import core, election, handlers, reads, step
from etcdops.node.raft.log import LogView
from etcdops.node.raft.types import Entry, HardState
from etcdops.node.server.driver import Driver
from etcdops.node.server.images import Images
from etcdops.node.server.log_writer import ThreadedLogWriter
from etcdops.node.server.proposals import Proposals
from etcdops.node.server.server import Server
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.node.watch.hub import WatchHub
from etcdops.proto.wire import varint_field
from etcdops.snapshot.sqlite_schema import Meta
from tests.sim.more_bugs import MORE

Change = tuple[object, str, object]


def _commit_of_older_terms() -> list[Change]:
    """Raft figure 8: an entry of an older term counts as committed once a majority has it."""

    def maybe_commit(log: LogView, index: LogIndex, term: int) -> bool:
        if index <= log.committed or log.term_or_zero(index) == 0:
            return False
        log.commit_to(index)
        return True

    return [(LogView, "maybe_commit", maybe_commit)]


def _vote_not_saved() -> list[Change]:
    """The disk gets the term, but not who got the vote."""
    write = RaftLog._write_hard_state

    def forgetful(log: RaftLog, state: HardState) -> None:
        write(log, state._replace(vote=0))  # type: ignore[arg-type]  # nobody

    return [(RaftLog, "_write_hard_state", forgetful)]


def _votes_twice() -> list[Change]:
    """A member gives its vote to whoever asks, however often."""
    handle = election.handle_vote_request

    def generous(raft: Any, message: Any) -> None:
        raft.vote = 0
        handle(raft, message)

    by_role = {
        role: {kind: generous if by is handle else by for kind, by in table.items()}
        for role, table in handlers.BY_ROLE.items()
    }
    return [(place, "BY_ROLE", by_role) for place in (handlers, step, core) if hasattr(place, "BY_ROLE")]


def _read_without_read_index() -> list[Change]:
    """Every member answers linearizable reads from what it has."""
    return [(Server, "linearize", lambda server, done: done(None))]


def _read_joins_round() -> list[Change]:
    """A read joins a ReadIndex round that was asked before the read began."""
    from etcdops.node.server.reads import Reads

    start = Reads.start_round

    def start_round(waiting: Reads, now: float) -> None:
        if waiting._round is not None and waiting._queue:
            waiting._round.waiters += waiting._queue
            waiting._queue = []
        start(waiting, now)

    return [(Reads, "start_round", start_round)]


def _read_index_without_quorum() -> list[Change]:
    """The leader answers ReadIndex on its own word [20418 is a kind of this]."""

    def confirm(raft: Any, message: Any) -> None:
        reads._answer(raft, message, raft.log.committed)

    return [(reads, "_confirm", confirm)]


def _acknowledged_before_fsync() -> list[Change]:
    """The log is written without an fsync, and acknowledged [14370]."""
    append = RaftLog.append

    def unsynced(log: RaftLog, hard_state: HardState | None, entries: tuple[Entry, ...], *, sync: bool) -> None:
        append(log, hard_state, entries, sync=False)

    return [(RaftLog, "append", unsynced)]


def _acknowledged_before_written() -> list[Change]:
    """What waits for the disk is said while the disk is busy."""
    append = ThreadedLogWriter.append

    def early(
        writer: ThreadedLogWriter, hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]
    ) -> None:
        append(writer, hard_state, entries, lambda: None)
        writer._thread._loop.call_soon(done)

    return [(ThreadedLogWriter, "append", early)]


def _watch_event_lost() -> list[Change]:
    """A watcher whose stream was full misses the event that found it full [17529]."""
    desync = WatchHub._desync

    def forgetful(hub: WatchHub, watcher: Any) -> None:
        watcher.min_revision += 1
        desync(hub, watcher)

    return [(WatchHub, "_desync", forgetful)]


def _watch_after_snapshot() -> list[Change]:
    """Watchers are left as they are when a snapshot replaces the store [15271]."""

    def restored(hub: WatchHub, history: Any) -> None:
        hub._history = history
        hub._notified = history.revision

    return [(WatchHub, "restored", restored)]


def _watch_event_twice() -> list[Change]:
    """A resumed watcher gets the last event that it has already."""
    add = WatchHub.add

    def early(hub: WatchHub, watcher: Any, start_revision: Any) -> None:
        add(hub, watcher, max(1, start_revision - 1))

    return [(WatchHub, "add", early)]


def _progress_ahead_of_events() -> list[Change]:
    """A watcher that is behind is told that it has seen everything [15220]."""
    return [(WatchHub, "is_caught_up", lambda hub, watcher: True)]


def _deposed_leader_expires() -> list[Change]:
    """A member goes on ending leases after it was deposed, without asking anybody."""

    def tick(watch: LeaseExpiry) -> None:
        lessor = watch._owner.lessor
        if lessor.is_primary:
            expired = lessor.expired(expiry._REVOKES_PER_TICK)
            for lease in expired:
                watch._owner.propose(FIELD_LEASE_REVOKE, varint_field(1, lease), watch._revoked(lease))

    return [(LeaseExpiry, "tick", tick), (Lessor, "demote", lambda lessor: None)]


def _leases_not_extended() -> list[Change]:
    """A new leader takes leases over as if they had half of their time left."""
    promote = Lessor.promote

    def hasty(lessor: Lessor, extend_s: float) -> None:
        promote(lessor, extend_s)
        for lease in lessor.leases():
            lessor._refresh(lease, -lease.ttl_s / 2)

    return [(Lessor, "promote", hasty)]


def _leases_never_end() -> list[Change]:
    """A new leader does not look after the leases that it took over."""
    return [(Lessor, "promote", lambda lessor, extend_s: setattr(lessor, "_primary", True))]


def _cut_before_checkpoint() -> list[Change]:
    """The log is cut as if the store were on the disk."""

    def checkpoint(state: StateStore) -> LogIndex:
        return LogIndex(int(state.meta.number(Meta.CONSISTENT_INDEX)))

    return [(StateStore, "checkpoint", checkpoint)]


def _index_apart_from_data() -> list[Change]:
    """The consistent index is committed in a transaction of its own, after the data [13766]."""
    commit = StateStore.commit

    def apart(state: StateStore) -> None:
        marked, state._marked = state._marked, False
        commit(state)
        if marked:
            state._marked = True
            commit(state)

    return [(StateStore, "commit", apart)]


def _proposed_again() -> list[Change]:
    """Requests that wait are proposed once more when the leader changes: some take effect twice [14890]."""
    leadership = Driver._leadership
    add = Proposals.add

    def remember(proposals: Proposals, *arguments: Any) -> int:
        size = add(proposals, *arguments)
        proposals.__dict__.setdefault("sent", {})[proposals._unsent[-1].request_id] = proposals._unsent[-1]
        return size

    def again(driver: Driver, before: Any, now: Any) -> None:
        leadership(driver, before, now)
        if now.leader and now.leader != before.leader:
            sent = driver.proposals.__dict__.get("sent", {})
            unsent = {one.request_id for one in driver.proposals._unsent}
            for request_id in driver.proposals._waiting:
                if request_id in sent and request_id not in unsent:
                    driver.proposals._unsent.append(sent[request_id])

    return [(Driver, "_leadership", again), (Proposals, "add", remember)]


def _ids_reused() -> list[Change]:
    """Request IDs begin anew in every life, and are the same for all members: answers go to the wrong requests."""
    init = RequestIDs.__init__

    def forgetful(generator: RequestIDs, member: Any, clock: Any) -> None:
        init(generator, member, clock)
        generator._suffix = generator._prefix = 0

    return [(RequestIDs, "__init__", forgetful)]


def _leases_not_recovered() -> list[Change]:
    """After a received snapshot the lessor still has the old leases."""
    recover = Lessor.recover

    def once(lessor: Lessor, table: Any, attachments: Any) -> None:
        if lessor.__dict__.setdefault("recovered", False):
            lessor._table = table
        else:
            lessor.__dict__["recovered"] = True
            recover(lessor, table, attachments)

    return [(Lessor, "recover", once)]


def _snapshot_of_another_moment() -> list[Change]:
    """The message says an index that the image does not have: that of the leader's log."""
    send = Images.send

    class Wrong:
        def __init__(self, sender: Any, message: Any) -> None:
            self.sender, self._message = sender, message

        def send_snapshot(self, sent: Any, path: Any) -> None:
            self.sender.send_snapshot(self._message, path)

    def send_wrong(images: Images, message: Any) -> None:
        sender = images._sender
        images._sender = Wrong(sender.sender if isinstance(sender, Wrong) else sender, message)
        send(images, message)

    return [(Images, "send", send_wrong)]


def _compaction_too_far() -> list[Change]:
    """A compaction forgets one revision more than it was told, on the member that leads only."""
    compact = Applier._compact

    def hungry(applier: Applier, request: bytes) -> Any:
        if applier._lessor.is_primary:
            mvcc: Mvcc = applier._mvcc
            request = b"\x08" + bytes([min(mvcc.revision, 127)])
        return compact(applier, request)

    return [(Applier, "_compact", hungry)]


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The production code has this mistake inside."""
    undo = []
    try:
        for place, attribute, by in BUGS[name]():
            undo.append((place, attribute, getattr(place, attribute)))
            setattr(place, attribute, by)
        yield
    finally:
        for place, attribute, before in reversed(undo):
            setattr(place, attribute, before)


BUGS: dict[str, Callable[[], list[Change]]] = {
    "commit-of-older-terms": _commit_of_older_terms,
    "vote-not-saved": _vote_not_saved,
    "votes-twice": _votes_twice,
    "read-without-read-index": _read_without_read_index,
    "read-joins-round": _read_joins_round,
    "read-index-without-quorum": _read_index_without_quorum,
    "acknowledged-before-fsync": _acknowledged_before_fsync,
    "acknowledged-before-written": _acknowledged_before_written,
    "watch-event-lost": _watch_event_lost,
    "watch-after-snapshot": _watch_after_snapshot,
    "watch-event-twice": _watch_event_twice,
    "progress-ahead-of-events": _progress_ahead_of_events,
    "deposed-leader-expires": _deposed_leader_expires,
    "leases-not-extended": _leases_not_extended,
    "leases-never-end": _leases_never_end,
    "cut-before-checkpoint": _cut_before_checkpoint,
    "index-apart-from-data": _index_apart_from_data,
    "proposed-again": _proposed_again,
    "ids-reused": _ids_reused,
    "leases-not-recovered": _leases_not_recovered,
    "snapshot-of-another-moment": _snapshot_of_another_moment,
    "compaction-too-far": _compaction_too_far,
    **MORE,
}
