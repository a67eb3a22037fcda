"""The store against the model of MVCC: random histories, crashes, crash images, interrupted compactions."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from etcdops.ids import LeaseID, LogIndex, Revision, Term
from etcdops.node.storage.errors import Compacted, FutureRevision
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.reader import StateReader
from etcdops.node.storage.reading import EventType
from etcdops.node.storage.state import StateStore
from etcdops.node.storage.write_txn import WriteTxn
from etcdops.proto import mvccpb_pb2
from etcdops.snapshot.sqlite_schema import SUB_BITS, SUB_MAX
from tests.model.mvcc_model import Change, CompactedError, Delete, FutureError, MvccModel, Operation, Put

KEYS = [b"a", b"a\0", b"b", b"\xff\xff", b"k" * 200]
keys = st.sampled_from(KEYS)
range_ends = st.sampled_from([b"", b"\0", b"b", b"a", b"\xff", b"aa"])
puts = st.builds(Put, keys, st.sampled_from([b"", b"v", b"\0" * 300]), st.sampled_from([0, 0, 7, -3]))
deletes = st.builds(Delete, keys, range_ends)
operations = st.lists(st.one_of(puts, puts, deletes), min_size=1, max_size=5)
limits = st.sampled_from([0, 1, 2, 100])
near_now = st.tuples(st.just("now"), st.integers(-8, 1))
near_compacted = st.tuples(st.just("compacted"), st.integers(-1, 3))
places = st.one_of(near_now, near_compacted)
Place = tuple[str, int]


def perform(txn: WriteTxn, made: Sequence[Operation]) -> None:
    for operation in made:
        if isinstance(operation, Put):
            txn.put(operation.key, operation.value, LeaseID(operation.lease))
        else:
            txn.delete_range(operation.key, operation.range_end)


def shown(change: Change) -> bytes:
    """A change as a watch shows it."""
    if change.kv is not None:
        return change.kv
    return mvccpb_pb2.KeyValue(key=change.key, mod_revision=change.main).SerializeToString()


class MvccMachine(RuleBasedStateMachine):
    """Every rule does the same to both and compares what they answer."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "state.db"
        self.state = StateStore.open(self.path, create=True, keep_hashes=False)
        self.model = MvccModel()
        self.committed = self.model.copy()
        self.index = self.committed_index = 0

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.state.abandon()
            shutil.rmtree(self.folder)

    @property
    def mvcc(self) -> Mvcc:
        return self.state.mvcc

    def revision_at(self, place: Place) -> int:
        """A revision near one where something happens."""
        name, distance = place
        return (self.model.revision if name == "now" else self.model.compacted) + distance

    @rule(made=operations)
    def transaction(self, made: list[Operation]) -> None:
        txn = self.mvcc.begin()
        perform(txn, made)
        events = txn.end()
        changes = self.model.apply(made)
        assert [(event.kv, event.key, event.revision, event.sub) for event in events] == [
            (shown(change), change.key, change.main, change.sub) for change in changes
        ]
        for event in events:
            kv = mvccpb_pb2.KeyValue.FromString(event.kv)
            assert event.create == (event.type == EventType.PUT and kv.create_revision == kv.mod_revision)
            assert self.mvcc.prev_kv(event) == self.model.kv_before(event.key, event.revision)
        self.index += 1
        self.state.mark_applied(LogIndex(self.index), Term(1))

    @rule(made=operations, key=keys, range_end=range_ends, limit=limits)
    def transaction_that_reads_its_own_writes(
        self, made: list[Operation], key: bytes, range_end: bytes, limit: int
    ) -> None:
        txn = self.mvcc.begin()
        perform(txn, made)
        trial = self.model.copy()
        trial.apply(made)
        found = txn.range(key, range_end, limit=limit)
        assert (found.kvs, found.count) == trial.range(key, range_end, 0, limit)
        assert txn.revision == trial.revision
        txn.abort()

    @rule(key=keys, range_end=range_ends, limit=limits, place=places)
    def read(self, key: bytes, range_end: bytes, limit: int, place: Place) -> None:
        revision = self.revision_at(place)
        try:
            expected = self.model.range(key, range_end, revision, limit)
        except CompactedError:
            with pytest.raises(Compacted):
                self.mvcc.range(key, range_end, revision=revision, limit=limit)
            return
        except FutureError:
            with pytest.raises(FutureRevision):
                self.mvcc.range(key, range_end, revision=revision, limit=limit)
            return
        found = self.mvcc.range(key, range_end, revision=revision, limit=limit)
        assert (found.kvs, found.count, found.revision) == (*expected, self.model.revision)
        counted = self.mvcc.range(key, range_end, revision=revision, count_only=True)
        assert (counted.kvs, counted.count) == ([], expected[1])
        assert self.mvcc.kv_before(key, revision) == self.model.kv_before(key, revision)

    @rule(page=st.integers(1, 3), back=st.integers(0, 5))
    def read_page_by_page(self, page: int, back: int) -> None:
        revision = max(self.model.revision - back, self.model.compacted, 1)
        everything, count = self.model.range(b"\0", b"\0", revision, 0)
        start, gathered = b"\0", list[bytes]()
        while True:
            found = self.mvcc.range(start, b"\0", revision=revision, limit=page)
            assert found.count == count - len(gathered)
            gathered += found.kvs
            if found.count <= page:
                break
            start = mvccpb_pb2.KeyValue.FromString(found.kvs[-1]).key + b"\0"
        assert gathered == everything

    @rule(place=places, length=st.integers(1, 12), limit=st.integers(1, 6))
    def history(self, place: Place, length: int, limit: int) -> None:
        low = max(self.revision_at(place), 0)
        try:
            expected = self.model.events(low, low + length)
        except CompactedError:
            with pytest.raises(Compacted):
                self.mvcc.events(Revision(low), Revision(low + length), limit=limit)
            return
        found = []
        at = low
        while some := self.mvcc.events(Revision(at), Revision(low + length), limit=limit):
            found += some
            at = some[-1].revision + 1
            assert len(some) <= limit or len({event.revision for event in some}) == 1
        assert [(event.kv, event.revision, event.sub) for event in found] == [
            (shown(change), change.main, change.sub) for change in expected
        ]
        for event in found:
            assert self.mvcc.prev_kv(event) == self.model.kv_before(event.key, event.revision)

    @rule(place=places, steps=st.sampled_from([0, 1, 2, 99, 99]), rows_max=st.integers(1, 4))
    def compact(self, place: Place, steps: int, rows_max: int) -> None:
        revision = max(self.revision_at(place), 0)
        try:
            self.model.compact(revision)
        except CompactedError:
            with pytest.raises(Compacted):
                self.mvcc.compact(revision)
        except FutureError:
            with pytest.raises(FutureRevision):
                self.mvcc.compact(revision)
        else:
            self.mvcc.compact(revision)
        self._compact_on(steps, rows_max)

    @rule(made=operations, more=operations, back=st.integers(0, 1), steps=st.sampled_from([0, 3, 99, 99]))
    def compact_around_new_writes(self, made: list[Operation], more: list[Operation], back: int, steps: int) -> None:
        """What compactions most often get wrong: deletions and rewrites right at their revision."""
        self.transaction(made)
        if self.model.revision - back > self.model.compacted:
            self.compact(("now", -back), steps, 3)
        self.transaction(more)

    def _compact_on(self, steps: int, rows_max: int) -> None:
        while steps and not self.mvcc.compact_step(rows_max):
            steps -= 1
        if not self.mvcc.compaction_pending:
            rows = list(self.mvcc.connection.execute("SELECT rev, key, kv FROM revision ORDER BY rev"))
            found = [Change(rev >> SUB_BITS, rev & SUB_MAX, key, kv) for rev, key, kv in rows]
            assert found == self.model.kept(self.model.compacted)
            newest = {change.key for change in found}
            assert newest == {key for (key,) in list(self.mvcc.connection.execute("SELECT key FROM current"))}

    @rule()
    def commit(self) -> None:
        self.state.commit()
        self.committed, self.committed_index = self.model.copy(), self.index

    @rule()
    def checkpoint(self) -> None:
        assert self.state.checkpoint() == self.committed_index

    @rule()
    def restart(self) -> None:
        self.state.close()
        self.committed, self.committed_index = self.model.copy(), self.index
        self._open_again()

    @rule()
    def crash(self) -> None:
        self.state.abandon()
        self.model, self.index = self.committed.copy(), self.committed_index
        self._open_again()

    @rule()
    def a_crash_image_has_what_was_committed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for path in self.folder.glob("state.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, folder)
            image = StateStore.open(Path(folder) / "state.db", create=False)
            assert image.consistent_index == self.committed_index
            self._compare(image.mvcc, self.committed)
            image.close()

    @rule()
    def a_snapshot_has_what_was_committed(self) -> None:
        target = self.folder / "snapshot"
        info = self.state.write_snapshot(target)
        assert (info.revision, info.compact_revision) == (self.committed.revision, self.committed.compacted)
        assert info.consistent_index == self.committed_index
        with StateReader(target) as reader:
            assert tuple(reader.hash_kv()) == self.committed.hash_kv(0)
        target.unlink()

    @rule()
    def defragment(self) -> None:
        self.commit()
        self.state.defragment()

    @rule(made=operations)
    def another_transaction(self, made: list[Operation]) -> None:
        """Writes are what everything else looks at: two rules make them twice as frequent."""
        self.transaction(made)

    @rule()
    def delete_everything(self) -> None:
        self.transaction([Delete(b"\0", b"\0")])

    @rule()
    def hash_everywhere(self) -> None:
        for revision in range(max(self.model.compacted, 1), self.model.revision + 1):
            assert tuple(self.mvcc.hash_kv(revision)) == self.model.hash_kv(revision)

    @rule(place=places)
    def hash(self, place: Place) -> None:
        revision = min(max(self.revision_at(place), self.model.compacted, 0), self.model.revision)
        assert tuple(self.mvcc.hash_kv(revision)) == self.model.hash_kv(revision)

    @invariant()
    def same_keys(self) -> None:
        if hasattr(self, "state"):
            self._compare(self.mvcc, self.model)

    def _open_again(self) -> None:
        self.state = StateStore.open(self.path, create=False, keep_hashes=False)
        assert self.state.consistent_index == self.index

    @staticmethod
    def _compare(mvcc: Mvcc, model: MvccModel) -> None:
        assert (mvcc.revision, mvcc.compact_revision) == (model.revision, model.compacted)
        found = mvcc.range(b"\0", b"\0")
        assert (found.kvs, found.count) == model.range(b"\0", b"\0", 0, 0)
        assert list(mvcc.leased()) == model.leases()
        for key in KEYS:
            row = mvcc.get(key)
            expected, _ = model.range(key, b"", 0, 0)
            assert ([row.kv] if row else []) == expected
            if row:
                kv = mvccpb_pb2.KeyValue.FromString(row.kv)
                assert row[1:] == (kv.create_revision, kv.mod_revision, kv.version, kv.lease)


TestMvccAgainstItsModel = MvccMachine.TestCase
TestMvccAgainstItsModel.settings = settings(
    max_examples=70, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMvccAgainstItsModel.pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # type: ignore[attr-defined]  # unittest cases take marks so
