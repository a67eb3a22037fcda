"""Makes tests/data/member-schema-<n>: the files of a member as this schema version writes them.

    python -m tests.data.make_member_files tests/data/member-schema-1

Run it once for each schema version, before the next one is made, and keep what it wrote for good: newer versions must
go on opening these files. Their content is fixed; only salts of the write-ahead log are random.
"""

from __future__ import annotations

import sys
from pathlib import Path

from etcdops.ids import ClusterID, LeaseID, LogIndex, MemberID, Term
from etcdops.node.raft.types import ConfState, Entry, EntryType, HardState, SnapshotMetadata
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.node.storage.tables import StoredAlarm, StoredLease
from etcdops.snapshot.sqlite_schema import Meta

ME = MemberID(0x8E9E05C52164694D)
OTHER = MemberID(0xFD422379FDA50E48)
CLUSTER = ClusterID(0xCDF818194E3A8C32)
CONF_STATE = ConfState(voters=(ME,), learners=(OTHER,))


def make_state(path: Path) -> None:
    """Keys with history, deletions, a compaction, and a row in every other table."""
    state = StateStore.open(path, create=True)
    for number in range(20):
        txn = state.mvcc.begin()
        txn.put(b"key-%d" % (number % 5), b"value %d" % number, LeaseID(7 if number % 5 == 1 else 0))
        if number % 6 == 5:
            txn.delete_range(b"key-3", b"key-4")
        txn.end()
        state.mark_applied(LogIndex(number + 1), Term(2))
    state.mvcc.compact(9)
    while not state.mvcc.compact_step():
        pass
    state.leases.put(StoredLease(LeaseID(7), 3600, 1800))
    state.alarms.put(StoredAlarm(ME, 1))
    state.members.put(ME, '{"id":10276657743932975437,"peerURLs":["http://127.0.0.1:2380"],"name":"m1"}')
    state.members.put(OTHER, "{}")
    state.members.remove(MemberID(5))
    state.auth.put_user(b"root", b"\x0a\x04root")
    state.auth.put_role(b"root", b"\x0a\x04root")
    state.auth_meta.put("authEnabled", 0)
    state.meta.put(Meta.CLUSTER_VERSION, "3.5.0")
    state.keep_conf_state(CONF_STATE)
    state.close()


def make_raft_log(path: Path) -> None:
    """Entries of every type in two terms, some dropped behind a snapshot."""
    log = RaftLog.create(path, member_id=ME, cluster_id=CLUSTER)
    kinds = (EntryType.NORMAL, EntryType.CONF_CHANGE, EntryType.CONF_CHANGE_V2)
    made = [Entry(Term(1 + n // 15), LogIndex(n), kinds[n % 3], b"entry %d" % n) for n in range(1, 25)]
    log.append(HardState(Term(2), ME, LogIndex(20)), made, sync=True)
    log.record_snapshot(SnapshotMetadata(LogIndex(12), Term(1), CONF_STATE), keep_entries_after=LogIndex(8))
    log.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    make_state(folder / "state.db")
    make_raft_log(folder / "wal.db")
