"""Files that earlier versions wrote open for good. tests/data/make_member_files.py made them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from etcdops.ids import LogIndex
from etcdops.node.raft.types import EntryType
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.snapshot import keyvalue
from etcdops.snapshot.sqlite_schema import Meta
from tests.data.make_member_files import CLUSTER, CONF_STATE, ME, OTHER

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(params=sorted(path.name for path in DATA.glob("member-schema-*")))
def member(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / "member"
    shutil.copytree(DATA / request.param, folder)
    return folder


def test_an_old_state_opens_with_everything_in_it(member: Path) -> None:
    """Keys, history, hashes and every other table."""
    state = StateStore.open(member / "state.db", create=False)
    mvcc = state.mvcc
    assert (mvcc.revision, mvcc.compact_revision, state.consistent_index, state.consistent_term) == (21, 9, 20, 2)
    found = [keyvalue.decode(kv) for kv in mvcc.range(b"\0", b"\0").kvs]
    assert [(kv.key, kv.value, kv.mod_revision, kv.version) for kv in found] == [
        (b"key-0", b"value 15", 17, 4),
        (b"key-1", b"value 16", 18, 4),
        (b"key-2", b"value 17", 19, 4),
        (b"key-3", b"value 18", 20, 1),
        (b"key-4", b"value 19", 21, 4),
    ]
    assert mvcc.range(b"\0", b"\0", revision=9).count == 4
    assert mvcc.hash_kv() == (1893711868, 9, 21)
    assert list(mvcc.leased()) == [(b"key-1", 7)]
    assert (state.leases.all(), state.alarms.all()) == ([(7, 3600, 1800)], [(ME, 1)])
    assert (list(state.members.all()), state.members.removed()) == ([ME, OTHER], {5})
    assert (list(state.auth.users()), list(state.auth.roles())) == ([b"root"], [b"root"])
    assert (state.meta.get(Meta.CLUSTER_VERSION), state.conf_state) == ("3.5.0", CONF_STATE)
    state.close()


def test_an_old_raft_log_opens_with_everything_in_it(member: Path) -> None:
    """Identity, hard state, snapshot, entries."""
    log = RaftLog.open(member / "wal.db")
    loaded = log.load()
    assert (log.member_id, log.cluster_id) == (ME, CLUSTER)
    assert loaded.hard_state == (2, ME, 20)
    assert (loaded.snapshot, loaded.base_index, loaded.base_term) == ((12, 1, CONF_STATE), 8, 1)
    assert [entry.index for entry in loaded.entries] == list(range(9, 25))
    assert loaded.entries[-1] == (2, 24, EntryType.NORMAL, b"entry 24")
    log.append(None, [loaded.entries[-1]._replace(index=LogIndex(25))], sync=True)
    log.close()
