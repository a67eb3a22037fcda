"""More mistakes for the simulator to find: members, power, leases, watches and quotas. See bugs.py."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from etcdops.ids import LogIndex, Revision
from etcdops.node.api.errors import NO_SPACE
from etcdops.node.api.kv import KVService
from etcdops.node.api.lease import LeaseService
from etcdops.node.apply.alarms import Alarms
from etcdops.node.apply.applier import Applier
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.quota import KEY_OVERHEAD_BYTES
from etcdops.node.apply.ranges import range_outcome
from etcdops.node.lease.lessor import Lessor
from etcdops.node.peer import snapshot_file
from etcdops.node.raft import leadership, membership
from etcdops.node.raft.quorum.majority import agreed_index
from etcdops.node.raft.tracker.tracker import ProgressTracker
from etcdops.node.raft.types import ConfChange, ConfChangeType
from etcdops.node.server import bootstrap
from etcdops.node.server import forced as forced_module
from etcdops.node.storage import compaction, database, raft_log, snapshot_copy
from etcdops.node.storage.state import StateStore
from etcdops.node.storage.write_txn import WriteTxn
from etcdops.node.watch.hub import WatchHub
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.snapshot.sqlite_schema import SUB_BITS

Change = tuple[object, str, object]


# Quorums and members.


def _learner_counts() -> list[Change]:
    """An entry counts as committed when half of all members have it, learners too."""

    def committed(tracker: ProgressTracker) -> LogIndex:
        return LogIndex(agreed_index([progress.match for progress in tracker.progress.values()]))

    return [(ProgressTracker, "committed", committed)]


def _removed_member_counts() -> list[Change]:
    """Whoever does not lead goes on counting a removed member: quorums of different members need not meet."""
    apply = membership.apply_conf_change

    def forgetful(raft: Any, change: ConfChange) -> Any:
        if raft.leader != raft.id and any(one.type is ConfChangeType.REMOVE_NODE for one in change.changes):
            return raft.tracker.config.conf_state()
        return apply(raft, change)

    return [(membership, "apply_conf_change", forgetful)]


def _configuration_not_kept() -> list[Change]:
    """The store does not remember the configuration: a restart begins with that of the last snapshot."""
    return [(StateStore, "keep_conf_state", lambda state, conf_state: None)]


def _no_check_quorum() -> list[Change]:
    """A leader that hears nobody goes on leading."""
    return [(leadership, "check_quorum", lambda raft: None)]


def _forced_without_store() -> list[Change]:
    """--force-new-cluster believes the commit index of the log, and forgets what the store has beyond it."""

    def forget(hard_state: Any, consistent_index: LogIndex) -> Any:
        return hard_state._replace(commit=LogIndex(max(hard_state.commit - 2, 0)))

    force = forced_module.force_new_cluster

    def forced(raft_log: Any, loaded: Any, hard_state: Any, state: Any) -> Any:
        return force(raft_log, loaded, forget(hard_state, state.consistent_index), state)

    return [(bootstrap, "force_new_cluster", forced)]


# Storage and power.


def _txn_half_done() -> list[Change]:
    """A store commits in the middle of a transaction, when it has two changes."""
    put = WriteTxn.put

    def eager(writer: WriteTxn, key: bytes, value: bytes, lease: Any) -> bytes:
        if writer._events:
            writer._batch.commit()
        return put(writer, key, value, lease)

    return [(WriteTxn, "put", eager)]


def _applied_again() -> list[Change]:
    """A start applies the last entry once more."""
    init = StateStore.__init__

    def behind(state: StateStore, *arguments: Any, **named: Any) -> None:
        init(state, *arguments, **named)
        state._index = LogIndex(max(state._index - 1, 0))

    return [(StateStore, "__init__", behind)]


def _read_log_not_synced() -> list[Change]:
    """What a killed process wrote into the log is believed without an fsync of it."""
    return [(raft_log, "sync", lambda file: None)]


def _names_not_synced() -> list[Change]:
    """Files are replaced without an fsync of their directory."""
    return [(module, "sync_folder", lambda directory: None) for module in (database, snapshot_copy)]


def _image_not_synced() -> list[Change]:
    """A received image counts as saved before it is on the disk."""
    return [(snapshot_file, "sync", lambda file: None), (snapshot_copy, "_sync", lambda path: None)]


def _tombstone_forgotten() -> list[Change]:
    """A compaction also forgets deletions at its very revision [18089]."""
    forget = compaction.Compactor._forget

    def greedy(compactor: Any, rows: Any, tombstones_below: int) -> None:
        forget(compactor, rows, tombstones_below + (1 << SUB_BITS))

    return [(compaction.Compactor, "_forget", greedy)]


def _revision_goes_back() -> list[Change]:
    """A compaction forgets everything, and a start takes the last revision from the rows alone [17780].

    Both are needed: as long as the compaction leaves deletions at its very revision, the rows always say it.
    """
    from etcdops.node.storage import mvcc

    last = mvcc.last_revision
    return [
        *_tombstone_forgotten(),
        (mvcc, "last_revision", lambda connection, compacted: last(connection, Revision(0))),
        (snapshot_copy, "last_revision", lambda connection, compacted: last(connection, Revision(0))),
    ]


# Reads.


def _stale_serializable() -> list[Change]:
    """Every other serializable read is of the revision before."""
    answer_range = KVService._answer_range
    reads = count()

    def stale(service: KVService, request: pb.RangeRequest, answer: Any, error: Any) -> None:
        mvcc = service._server.state.mvcc
        past = mvcc.revision - 1
        if not request.serializable or request.revision or past <= max(mvcc.compact_revision, 1) or next(reads) % 2:
            answer_range(service, request, answer, error)
        else:
            answer.outcome(Outcome(range_outcome(mvcc, _of(request, past)).body, Revision(past)))

    return [(KVService, "_answer_range", stale)]


def _of(request: pb.RangeRequest, revision: int) -> pb.RangeRequest:
    changed = pb.RangeRequest()
    changed.CopyFrom(request)
    changed.revision = revision
    return changed


# Leases.


def _checkpoint_outlives_renewal() -> list[Change]:
    """A renewal does not take back what was noted down: the next leader ends the lease early."""

    def renew(service: LeaseService, lease: Any, done: Any, error: Any) -> None:
        if error is not None or not service._server.is_leader:
            done(0, error)
        else:
            service._server.lessor.renew(lease, done)

    return [(LeaseService, "_renew_confirmed", renew)]


def _renewed_by_anybody() -> list[Change]:
    """Whoever believes to lead renews leases without asking the others."""
    return [(LeaseService, "local_renew", lambda service, lease, done: service._renew_confirmed(lease, done, None))]


def _lease_keys_forgotten() -> list[Change]:
    """A start does not know what hangs on leases."""
    recover = Lessor.recover
    return [(Lessor, "recover", lambda lessor, table, attachments: recover(lessor, table, ()))]


# Watches.


def _gap_at_restore() -> list[Change]:
    """Watchers go on with the revision of a received snapshot, and miss what it brought."""
    restored = WatchHub.restored

    def skip(hub: WatchHub, history: Any) -> None:
        hub._notified = max(hub._notified, history.revision)
        restored(hub, history)

    return [(WatchHub, "restored", skip)]


def _compacted_not_told() -> list[Change]:
    """A watcher that needs what was compacted goes on with what is left."""

    def hush(hub: WatchHub) -> None:
        for watcher in hub._unsynced.watchers():
            watcher.min_revision = max(watcher.min_revision, hub._history.compact_revision)

    return [(WatchHub, "_cancel_compacted", hush)]


def _future_watch_early() -> list[Change]:
    """A watcher of a future revision gets what happens before it [20221]."""
    add = WatchHub.add

    def early(hub: WatchHub, watcher: Any, start_revision: Any) -> None:
        add(hub, watcher, min(start_revision, hub._history.revision + 1))

    return [(WatchHub, "add", early)]


def _told_compacted_too_early() -> list[Change]:
    """A watcher at the compacted revision itself is told that it is gone."""
    cancel = WatchHub._cancel_compacted

    def early(hub: WatchHub) -> None:
        compacted = hub._history.compact_revision
        for watcher in hub._unsynced.watchers():
            if watcher.min_revision == compacted and watcher.stream.writable:
                hub._unsynced.remove(watcher)
                watcher.stream.compacted(watcher, Revision(compacted + 1))
        cancel(hub)

    return [(WatchHub, "_cancel_compacted", early)]


# Quotas.


def _quota_decides_apply() -> list[Change]:
    """A member over its own quota applies nothing, while others do [a kind of 14571: apply depends on the member]."""
    put = Applier._put

    def choosy(applier: Applier, request: bytes) -> Outcome:
        if not applier.quota.available(len(request) + KEY_OVERHEAD_BYTES):
            applier.over_quota()
            return Outcome(error=NO_SPACE)
        return put(applier, request)

    return [(Applier, "_put", choosy)]


def _alarm_forgotten() -> list[Change]:
    """A start forgets alarms."""

    def forget(alarms: Alarms, table: Any) -> None:
        alarms._table = table

    return [(Alarms, "recover", forget)]


MORE: dict[str, Callable[[], list[Change]]] = {
    "learner-counts": _learner_counts,
    "removed-member-counts": _removed_member_counts,
    "configuration-not-kept": _configuration_not_kept,
    "no-check-quorum": _no_check_quorum,
    "forced-without-store": _forced_without_store,
    "txn-half-done": _txn_half_done,
    "applied-again": _applied_again,
    "read-log-not-synced": _read_log_not_synced,
    "names-not-synced": _names_not_synced,
    "image-not-synced": _image_not_synced,
    "tombstone-forgotten": _tombstone_forgotten,
    "revision-goes-back": _revision_goes_back,
    "stale-serializable": _stale_serializable,
    "checkpoint-outlives-renewal": _checkpoint_outlives_renewal,
    "renewed-by-anybody": _renewed_by_anybody,
    "lease-keys-forgotten": _lease_keys_forgotten,
    "gap-at-restore": _gap_at_restore,
    "compacted-not-told": _compacted_not_told,
    "future-watch-early": _future_watch_early,
    "told-compacted-too-early": _told_compacted_too_early,
    "quota-decides-apply": _quota_decides_apply,
    "alarm-forgotten": _alarm_forgotten,
}
