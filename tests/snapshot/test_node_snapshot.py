"""The node's snapshots: read as etcd's buckets, refused when damaged, restored so that the node opens them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from etcdops import ids
from etcdops.errors import SnapshotCorrupt, UsageError
from etcdops.ids import LeaseID, LogIndex, MemberID, Revision, Term
from etcdops.node.raft.types import ConfState
from etcdops.node.storage import log_rows
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.node.storage.tables import StoredAlarm, StoredLease
from etcdops.snapshot import sqlite_restore
from etcdops.snapshot.bbolt_writer import write_bbolt
from etcdops.snapshot.checksum import append_checksum
from etcdops.snapshot.data_dir import inspect_data_dir
from etcdops.snapshot.facts import SnapshotFormat
from etcdops.snapshot.file import open_snapshot
from etcdops.snapshot.hashkv import hash_kv, hash_kv_when_bumped
from etcdops.snapshot.inspect import inspect_snapshot
from etcdops.snapshot.keys import live_keys
from etcdops.snapshot.sqlite_restore import InitialMember, restore_node

MEMBERS = [InitialMember(f"m{n}", (f"http://127.0.0.1:{n}2380",)) for n in (1, 2, 3)]


def put(store: StateStore, key: bytes, value: bytes, lease: int = 0) -> None:
    txn = store.mvcc.begin()
    txn.put(key, value, LeaseID(lease))
    txn.end()


def delete(store: StateStore, key: bytes) -> None:
    txn = store.mvcc.begin()
    txn.delete_range(key, b"")
    txn.end()


def fill(store: StateStore) -> None:
    """A history with overwritten, deleted, compacted and leased keys, and something in every small table."""
    for index in range(60):
        put(store, b"/k/%d" % (index % 9), b"v" * (index * 13))
    delete(store, b"/k/3")
    put(store, b"/large", b"x" * 300_000)
    store.mvcc.compact(40)
    while not store.mvcc.compact_step():
        pass
    delete(store, b"/k/4")
    put(store, b"/k/4", b"again")
    store.leases.put(StoredLease(LeaseID(77), 3600, 0))
    put(store, b"/leased", b"1", 77)
    store.alarms.put(StoredAlarm(MemberID(0xF000_0000_0000_0001), 1))
    store.members.put(MemberID(0xF000_0000_0000_0001), '{"id":1,"name":"old","peerURLs":["http://a:1"]}')
    store.members.put(MemberID(9), '{"id":9,"name":"gone","peerURLs":["http://b:1"]}')
    store.members.remove(MemberID(9))
    store.mark_applied(LogIndex(123), Term(4))
    store.commit()


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    made = StateStore.open(tmp_path / "state.db", create=True)
    fill(made)
    return made


@pytest.fixture
def snapshot(store: StateStore, tmp_path: Path) -> Path:
    path = tmp_path / "snap.db"
    store.write_snapshot(path)
    append_checksum(path)
    return path


def test_a_snapshot_is_reported_without_a_server(store: StateStore, snapshot: Path) -> None:
    """Goal: the same report as for etcd's file, HashKV as the store computes it."""
    report = inspect_snapshot(snapshot)
    assert report.format is SnapshotFormat.NODE
    assert report.has_checksum
    assert report.current_revision == report.revision == store.mvcc.revision
    assert report.hash_kv.hash == store.mvcc.hash_kv().hash
    assert report.facts.compact_revision == 40
    assert (report.live_keys, report.leased_keys, report.facts.lease_count) == (10, 1, 1)
    assert report.facts.consistent_index == 123
    assert [(member.id, member.name) for member in report.facts.members] == [(0xF000_0000_0000_0001, "old")]
    assert report.facts.removed_members == (9,)
    assert [alarm.type for alarm in report.facts.alarms] == ["NOSPACE"]


def test_hash_kv_is_the_stores_at_every_revision(store: StateStore, snapshot: Path) -> None:
    """Goal: offline and online agree on each readable revision."""
    with open_snapshot(snapshot) as file:
        for revision in range(41, store.mvcc.revision + 1):
            assert hash_kv(file, revision).hash == store.mvcc.hash_kv(revision).hash


def test_a_nodes_snapshot_written_as_etcds_has_the_same_hash(snapshot: Path, tmp_path: Path) -> None:
    """Goal: both formats are one content: hash, count, keys."""
    copy = tmp_path / "as-etcd.db"
    with open_snapshot(snapshot) as file:
        write_bbolt(copy, ((name, file.items(name)) for name in file.bucket_names))
    append_checksum(copy)
    ours, theirs = inspect_snapshot(snapshot), inspect_snapshot(copy)
    assert theirs.format is SnapshotFormat.ETCD
    assert (ours.hash, ours.total_key, ours.hash_kv, ours.facts) == (
        theirs.hash,
        theirs.total_key,
        theirs.hash_kv,
        theirs.facts,
    )


def test_a_restored_member_opens_with_keys_identity_and_revision(
    store: StateStore, snapshot: Path, tmp_path: Path
) -> None:
    """Goal: the node's own storage takes both files; old revisions are compacted. Source: v3_snapshot.go, Restore."""
    data_dir = tmp_path / "m2.node"
    identity = restore_node(snapshot, data_dir, name="m2", members=MEMBERS, token="fresh", revision=9000)
    expected_ids = sorted(ids.member_id(member.peer_urls, "fresh") for member in MEMBERS)
    assert identity.cluster_id == ids.cluster_id(expected_ids)
    log = RaftLog.open(data_dir / "member" / "wal.db")
    loaded = log.load()
    assert (log.member_id, log.cluster_id) == (identity.member_id, identity.cluster_id)
    assert loaded.snapshot.index == loaded.hard_state.commit == loaded.base_index == 3
    assert loaded.snapshot.conf_state == ConfState(voters=tuple(expected_ids))
    log.close()
    restored = StateStore.open(data_dir / "member" / "state.db", create=False)
    assert restored.consistent_index == 3
    assert restored.conf_state == ConfState(voters=tuple(expected_ids))
    assert sorted(restored.members.all()) == expected_ids
    assert not restored.members.removed()
    assert restored.mvcc.revision == restored.mvcc.compact_revision == 9000
    assert restored.mvcc.range(b"\0", b"\0").kvs == store.mvcc.range(b"\0", b"\0").kvs
    with open_snapshot(snapshot) as file:
        expected = hash_kv_when_bumped(file, 9000, marked=False)
    assert restored.mvcc.hash_kv().hash == expected.hash
    while not restored.mvcc.compact_step():
        pass
    assert restored.mvcc.hash_kv().hash == expected.hash
    put(restored, b"/new", b"1")
    assert restored.mvcc.revision == Revision(9001)
    restored.close()
    facts = inspect_data_dir(data_dir)
    assert facts is not None
    assert (facts.format, facts.member_id, facts.revision) == (SnapshotFormat.NODE, identity.member_id, 9001)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "m9"}, "not among"),
        ({"revision": 20}, "cannot raise"),
        ({"members": [*MEMBERS, InitialMember("m4", MEMBERS[0].peer_urls)]}, "same peer URLs"),
    ],
)
def test_a_restore_that_cannot_be_right_is_refused(
    snapshot: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    """Goal: names, URLs and revisions are checked before a member is made."""
    arguments: dict[str, object] = {"name": "m1", "members": MEMBERS, "token": "t", **options}
    with pytest.raises(UsageError, match=message):
        restore_node(snapshot, tmp_path / "new", **arguments)  # type: ignore[arg-type]  # a table of wrong ones


def test_nothing_is_overwritten(snapshot: Path, tmp_path: Path) -> None:
    """Goal: a directory with anything in it is left alone."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "precious").touch()
    with pytest.raises(UsageError, match="not empty"):
        restore_node(snapshot, tmp_path / "old", name="m1", members=MEMBERS, token="t")


def test_the_copies_of_the_nodes_encodings_are_the_nodes() -> None:
    """Goal: an import rule forbids sharing them, so this holds them together."""
    voters = [MemberID(3), MemberID(0xFFFF_FFFF_FFFF_FFFF)]
    assert sqlite_restore.encode_conf_state(voters) == log_rows.encode_conf_state(ConfState(voters=tuple(voters)))
    assert sqlite_restore.row_crc(1, -5, "ü") == log_rows.row_crc(1, -5, "ü")


def test_live_keys_are_the_stores(store: StateStore, snapshot: Path) -> None:
    """Goal: what a client reads is what the file lists."""
    with open_snapshot(snapshot) as file:
        offline = sorted(kv.SerializeToString() for kv in live_keys(file))
    assert offline == sorted(store.mvcc.range(b"\0", b"\0").kvs)


def change(path: Path, *statements: str) -> None:
    """Alter a snapshot's content behind its back, as a hostile writer would: no checksum protects it."""
    raw = path.read_bytes()
    path.write_bytes(raw[:-32])
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "DELETE")
    for statement in statements:
        connection.execute(statement)
    connection.close()


TAMPERED: dict[str, tuple[str, ...]] = {
    "a trigger": ("CREATE TRIGGER t AFTER INSERT ON revision BEGIN DELETE FROM current; END",),
    "a view instead of a table": (
        "DROP TABLE current",
        "CREATE VIEW current AS SELECT key, rev, 0, 1, 0 FROM revision",
    ),
    "another program's file": ("PRAGMA application_id = 7",),
    "a newer schema": ("PRAGMA user_version = 99",),
    "a key missing from the index": ("DELETE FROM current WHERE key = CAST('/large' AS BLOB)",),
    "an index row of no key": ("INSERT INTO current VALUES (x'00', 1, 1, 1, 0)",),
    "a change that is not the newest": ("UPDATE current SET rev = rev - 8388608 WHERE key = CAST('/large' AS BLOB)",),
    "a chain that jumps": ("UPDATE revision SET prev = 5 WHERE rev = (SELECT max(rev) - 8388608 FROM revision)",),
    "a value that is no pair": ("UPDATE revision SET kv = x'ffffff' WHERE rev = (SELECT max(rev) FROM revision)",),
    "the value of another key": (
        "UPDATE revision SET kv = (SELECT kv FROM revision LIMIT 1) WHERE rev = (SELECT max(rev) FROM revision)",
    ),
    "a member that is no JSON": ("UPDATE member SET attributes = '{'",),
    "a mark that is no number": ("UPDATE meta SET value = x'00' WHERE name = 'finished_compaction'",),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_snapshot_is_refused(snapshot: Path, name: str) -> None:
    """Goal: sound SQLite with wrong content is SnapshotCorrupt; nothing in the file ever runs."""
    change(snapshot, *TAMPERED[name])
    with pytest.raises(SnapshotCorrupt):
        inspect_snapshot(snapshot)


@pytest.mark.slow
@pytest.mark.parametrize("with_checksum", [True, False])
def test_random_damage_never_crashes_the_reader(snapshot: Path, with_checksum: bool) -> None:
    """Goal: SnapshotCorrupt or an honest answer, whatever bytes change."""
    raw = snapshot.read_bytes()
    body = raw if with_checksum else raw[:-32]
    draw = random.Random(5)
    damages: list[Callable[[bytearray], None]] = [
        lambda data: data.__setitem__(draw.randrange(len(data)), draw.randrange(256)),
        lambda data: data.__setitem__(draw.randrange(100), draw.randrange(256)),
        lambda data: data.__delitem__(slice(draw.randrange(len(data)), None)),
    ]
    outcomes = set()
    for _ in range(250):
        damaged = bytearray(body)
        for _ in range(draw.randrange(1, 4)):
            if damaged:
                try:
                    draw.choice(damages)(damaged)
                except IndexError:
                    pass  # cut shorter than the header meanwhile
        snapshot.write_bytes(damaged)
        try:
            inspect_snapshot(snapshot)
            outcomes.add("ok")
        except SnapshotCorrupt:
            outcomes.add("corrupt")
    assert "corrupt" in outcomes
