"""The state's file: what commits, checkpoints, snapshots and failing disks do to it."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from etcdops.errors import StartRefused
from etcdops.ids import LeaseID, LogIndex, MemberID, Term
from etcdops.node.raft.types import ConfState
from etcdops.node.storage import snapshot_copy
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.storage.reader import StateReader
from etcdops.node.storage.snapshot_copy import unfinished
from etcdops.node.storage.state import StateStore
from etcdops.node.storage.tables import StoredAlarm, StoredLease
from etcdops.snapshot.sqlite_schema import Meta
from tests.fakes.disk import Disk, faulty_disk


@pytest.fixture
def disk() -> Iterator[Disk]:
    with faulty_disk() as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "member"
    folder.mkdir()
    return folder / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[StateStore]:
    store = StateStore.open(path, create=True)
    yield store
    store.abandon()


def apply_put(state: StateStore, key: bytes, value: bytes = b"v") -> None:
    """One entry: a put and its index."""
    txn = state.mvcc.begin()
    txn.put(key, value, LeaseID(0))
    txn.end()
    state.mark_applied(LogIndex(state.consistent_index + 1), Term(1))


def fill(state: StateStore, count: int, size: int = 100) -> None:
    for number in range(count):
        apply_put(state, b"key-%06d" % number, b"x" * size)
    state.commit()


def all_keys(state: StateStore) -> list[bytes]:
    return state.mvcc.range(b"\0", b"\0").kvs


# --- the open transaction ---


def test_data_and_consistent_index_land_together(state: StateStore, path: Path) -> None:
    """K02: a crash neither skips nor repeats an entry."""
    fill(state, 3)
    apply_put(state, b"uncommitted")
    assert state.consistent_index == 4
    state.abandon()
    again = StateStore.open(path, create=False)
    assert (again.consistent_index, again.consistent_term) == (3, 1)
    assert again.mvcc.range(b"\0", b"\0").count == 3
    again.close()


def test_an_entry_without_any_effect_is_remembered_too(state: StateStore, path: Path) -> None:
    """A refused transaction moves nothing but the index."""
    state.mark_applied(LogIndex(7), Term(2))
    assert state.pending
    state.commit()
    assert not state.pending
    state.abandon()
    again = StateStore.open(path, create=False)
    assert (again.consistent_index, again.consistent_term) == (7, 2)
    again.close()


def test_half_an_entry_is_never_committed(state: StateStore, path: Path) -> None:
    """The member found a reason to end in the middle of one; whatever still runs in it may ask for a commit."""
    writer = state.mvcc.begin()
    writer.put(b"whole", b"", LeaseID(0))
    writer.end()
    state.mark_applied(LogIndex(5), Term(1))
    state.commit()
    writer = state.mvcc.begin()
    writer.put(b"half", b"", LeaseID(0))
    state.seal()
    with pytest.raises(StorageFailed, match="nothing is committed any more"):
        state.commit()
    state.abandon()
    again = StateStore.open(path, create=False)
    assert (again.consistent_index, again.mvcc.revision) == (5, 2)
    assert again.mvcc.get(b"half") is None
    again.close()


def test_small_tables_keep_what_they_are_given(state: StateStore, path: Path) -> None:
    """IDs are 64-bit, signed for leases and unsigned for members."""
    me, other = MemberID(2**64 - 1), MemberID(5)
    state.leases.put(StoredLease(LeaseID(-9), 60, 0))
    state.leases.put(StoredLease(LeaseID(-9), 60, 30))
    state.leases.put(StoredLease(LeaseID(3), 5, 0))
    state.leases.delete(LeaseID(3))
    for alarm in (StoredAlarm(me, 1), StoredAlarm(me, 1), StoredAlarm(other, 2), StoredAlarm(other, 1)):
        state.alarms.put(alarm)
    state.alarms.delete(StoredAlarm(other, 1))
    state.members.put(me, '{"name":"a"}')
    state.members.put(other, "{}")
    state.members.remove(other)
    state.auth.put_user(b"root", b"\0\1")
    state.auth.put_role(b"root", b"\2")
    state.auth_meta.put("authRevision", 4)
    state.meta.put(Meta.CLUSTER_VERSION, "3.5.0")
    conf_state = ConfState(voters=(me,), learners=(other,), auto_leave=True)
    state.keep_conf_state(conf_state)
    state.close()
    again = StateStore.open(path, create=False)
    assert again.leases.all() == [(-9, 60, 30)]
    assert again.alarms.all() == [(me, 1), (other, 2)]
    assert again.members.all() == {me: '{"name":"a"}'}
    assert again.members.removed() == {other}
    assert (again.auth.users(), again.auth.roles()) == ({b"root": b"\0\1"}, {b"root": b"\2"})
    assert (again.auth_meta.number("authRevision"), again.meta.get(Meta.CLUSTER_VERSION)) == (4, "3.5.0")
    assert again.conf_state == conf_state
    again.close()


# --- failing disks ---


def test_on_a_full_disk_nothing_applied_is_lost_and_reads_go_on(state: StateStore, path: Path, disk: Disk) -> None:
    """The commit can be tried until there is room."""
    state.abandon()
    path.unlink()
    state = StateStore.open(path, create=True)
    fill(state, 50)
    for number in range(50, 100):
        apply_put(state, b"key-%06d" % number)
    txn = state.mvcc.begin()
    txn.delete_range(b"key-000010", b"key-000020")
    txn.end()
    before, revision = all_keys(state), state.mvcc.revision
    for after in range(4):
        disk.fail_writes, disk.fail_writes_after = apsw.FullError, after
        with pytest.raises(NoSpace, match="no space left"):
            state.commit()
        assert all_keys(state) == before
    apply_put(state, b"key-000099", b"still accepted")
    disk.fail_writes = None
    state.commit()
    state.abandon()
    again = StateStore.open(path, create=False)
    assert (len(all_keys(again)), again.mvcc.revision) == (len(before), revision + 1)
    assert again.consistent_index == 101
    again.close()


@pytest.mark.parametrize("error", [apsw.ReadOnlyError, apsw.IOError], ids=["read-only", "broken"])
def test_on_a_broken_disk_reads_go_on(error: type[apsw.Error], path: Path, disk: Disk) -> None:
    """The error is not NoSpace: the member must stop, but what it answers stays true."""
    state = StateStore.open(path, create=True)
    fill(state, 20)
    apply_put(state, b"more")
    before = all_keys(state)
    disk.fail_writes = error
    with pytest.raises(StorageFailed) as caught:
        state.commit()
    assert not isinstance(caught.value, NoSpace)
    assert caught.value.hint
    assert all_keys(state) == before
    state.abandon()


def test_a_transaction_on_a_failing_disk_can_be_aborted(path: Path, disk: Disk) -> None:
    """Half of a transaction is never left behind."""
    state = StateStore.open(path, create=True)
    fill(state, 5)
    apply_put(state, b"applied")
    before = all_keys(state)
    txn = state.mvcc.begin()
    txn.put(b"half", b"", LeaseID(0))
    txn.delete_range(b"\0", b"\0")
    txn.abort()
    assert (all_keys(state), state.mvcc.revision) == (before, 7)
    state.commit()
    assert all_keys(state) == before
    state.close()


def test_after_a_failed_fsync_no_checkpoint_claims_anything(path: Path, disk: Disk) -> None:
    """The raft log must not be shortened on the word of a disk that failed once."""
    state = StateStore.open(path, create=True)
    fill(state, 5)
    disk.fail_syncs = apsw.IOError
    with pytest.raises(StorageFailed):
        state.checkpoint()
    disk.fail_syncs = None
    with pytest.raises(StorageFailed):
        state.checkpoint()
    state.abandon()


def _mount_tmpfs(folder: Path, size: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", os.fspath(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of two megabytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not _mount_tmpfs(folder, "2m"):
        pytest.skip("a small file system needs root and the right to mount")
    yield folder
    subprocess.run(["umount", os.fspath(folder)], check=True)


def test_on_a_real_full_disk_the_same_holds(small_disk: Path) -> None:
    """And freeing space is enough to go on."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 1_200_000)
    state = StateStore.open(small_disk / "state.db", create=True)
    fill(state, 10)
    for number in range(1_000):
        apply_put(state, b"key-%06d" % number, b"x" * 1_000)
    before = all_keys(state)
    with pytest.raises(NoSpace):
        state.commit()
    with pytest.raises(NoSpace):
        state.commit()
    assert all_keys(state) == before
    ballast.unlink()
    state.commit()
    assert all_keys(state) == before
    state.abandon()
    again = StateStore.open(small_disk / "state.db", create=False)
    assert len(all_keys(again)) == 1_000
    again.close()


def test_a_read_only_disk_is_named_at_start(small_disk: Path) -> None:
    """Before anything is written."""
    StateStore.open(small_disk / "state.db", create=True).close()
    subprocess.run(["mount", "-o", "remount,ro", os.fspath(small_disk)], check=True)
    with pytest.raises(StartRefused, match="read-only"):
        StateStore.open(small_disk / "state.db", create=False)


# --- checkpoints ---


def test_a_checkpoint_says_what_survives_a_loss_of_power(path: Path, tmp_path: Path, disk: Disk) -> None:
    """Everything up to the returned index, and later entries wholly or not at all."""
    state = StateStore.open(path, create=True)
    for number in range(60):
        apply_put(state, b"key-%d" % (number % 7), b"%d" % number * 50)
        if number % 3 == 0:
            state.commit()
        if number % 10 == 0:
            safe = state.checkpoint()
            disk.power_off(path.parent, tmp_path / f"off-{number}")
            found = StateStore.open(tmp_path / f"off-{number}" / "state.db", create=False)
            assert found.consistent_index >= safe
            assert found.mvcc.revision == found.consistent_index + 1
            found.close()
    state.close()


def test_a_checkpoint_keeps_its_word_while_a_reader_holds_it_back(
    path: Path, tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite moves nothing and syncs nothing then: the log itself must be synced."""
    wal = path.with_name("state.db-wal")
    fsync = os.fsync

    def noticed(descriptor: int) -> None:
        """The fake disk sees fsyncs through SQLite only; this one goes past it."""
        fsync(descriptor)
        if wal.exists() and os.fstat(descriptor).st_ino == wal.stat().st_ino:
            disk.synced(wal)

    monkeypatch.setattr(os, "fsync", noticed)
    state = StateStore.open(path, create=True)
    fill(state, 5)
    state.checkpoint()
    with StateReader(path):
        fill(state, 5)
        safe = state.checkpoint()
        fill(state, 5)
        assert state.checkpoint() == safe + 5
        disk.power_off(path.parent, tmp_path / "off")
    found = StateStore.open(tmp_path / "off" / "state.db", create=False)
    assert found.consistent_index == safe + 5
    found.close()
    state.close()


def test_checkpoints_bound_the_write_ahead_log(state: StateStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit it starts over, although there is no checkpoint at which everything is committed."""
    limit = 256 << 10
    monkeypatch.setattr("etcdops.node.storage.state.WAL_BYTES_MAX", limit)
    wal = path.with_name("state.db-wal")
    sizes = []
    for _ in range(40):
        for number in range(50):
            apply_put(state, b"key-%06d" % number, b"x" * 100)
        state.checkpoint()
        state.commit()
        sizes.append(wal.stat().st_size)
    assert max(sizes) < 2 * limit


def test_a_checkpoint_in_another_thread_disturbs_nobody(state: StateStore) -> None:
    """Writes go on meanwhile."""
    fill(state, 200)
    durable: list[LogIndex] = []
    thread = threading.Thread(target=lambda: durable.append(state.checkpoint()))
    thread.start()
    for number in range(200):
        apply_put(state, b"meanwhile-%d" % number)
        state.commit()
    thread.join(30)
    assert durable
    assert durable[0] >= 200
    assert state.mvcc.range(b"\0", b"\0").count == 400


# --- snapshots ---


def test_a_snapshot_is_of_one_moment_although_writes_go_on(
    state: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S07: taken in another thread, equal to the committed state at its start."""
    monkeypatch.setattr("etcdops.node.storage.snapshot_copy._CHUNK_BYTES", 64 * 1024)
    fill(state, 2_000)
    expected = state.mvcc.hash_kv()
    target = tmp_path / "image.db"
    copying, writing = threading.Event(), threading.Event()
    chunks: list[bytes] = []

    def on_chunk(chunk: bytes, size: int) -> None:
        chunks.append(chunk)
        assert unfinished(target).stat().st_size >= sum(map(len, chunks)), "it can be read already"
        copying.set()
        writing.wait(30)

    result = []
    thread = threading.Thread(target=lambda: result.append(state.write_snapshot(target, on_chunk)))
    thread.start()
    assert copying.wait(30)
    for number in range(100):
        apply_put(state, b"key-%06d" % number, b"changed")
        state.commit()
    writing.set()
    thread.join(30)
    info = result[0]
    assert (info.revision, info.consistent_index) == (expected.revision, 2_000)
    assert len(chunks) > 2
    assert target.read_bytes() == b"".join(chunks)
    assert target.stat().st_size == info.size_bytes
    with StateReader(target) as reader:
        assert reader.hash_kv() == expected
    assert not list(tmp_path.glob("image.db?*"))


@pytest.mark.slow
def test_images_are_of_one_moment_whatever_else_happens_to_the_file(
    state: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S07: their bytes come straight from the file, while commits, checkpoints, a log that starts over and older images
    are in the way; keys all have the same value at any revision that was committed."""
    monkeypatch.setattr("etcdops.node.storage.snapshot_copy._CHUNK_BYTES", 32 * 1024)
    monkeypatch.setattr("etcdops.node.storage.state.WAL_BYTES_MAX", 0)
    keys = [b"key-%03d" % number for number in range(300)]
    stop = threading.Event()
    problems: list[str] = []

    def write(number: int) -> None:
        for key in keys:
            apply_put(state, key, b"%06d" % number * 50)
        state.commit()

    def take_images(name: str) -> None:
        for number in itertools.count():
            image = tmp_path / f"{name}-{number}.db"
            info = state.write_snapshot(image)
            content = apsw.Connection(str(image), flags=apsw.SQLITE_OPEN_READONLY)
            structure = list(content.execute("PRAGMA integrity_check"))
            newest = {kv[-300:] for (kv,) in content.execute("SELECT kv FROM current JOIN revision USING (rev)")}
            content.close()
            image.unlink()
            if structure != [("ok",)] or len(newest) != 1 or info.consistent_index % len(keys):
                problems.append(f"{image.name}: {structure} {info} {len(newest)} values")
            if stop.is_set():
                return

    write(0)
    threads = [threading.Thread(target=take_images, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 60):
            write(number)
            if number % 7 == 0:
                state.checkpoint()
            if number % 20 == 0:
                state.mvcc.compact(state.mvcc.revision)
                while not state.mvcc.compact_step():
                    pass
                state.defragment()
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert problems == []


def test_an_image_behind_an_older_reader_is_copied_page_by_page(
    state: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that reader must not see yet is not in the file, so the file is not the image."""
    used: list[str] = []

    def note(name: str) -> None:
        real = getattr(snapshot_copy, name)

        def copy(*arguments: object) -> None:
            used.append(name)
            real(*arguments)

        monkeypatch.setattr(snapshot_copy, name, copy)

    note("_copy_file")
    note("_copy_pages")
    fill(state, 50)
    state.write_snapshot(tmp_path / "first.db")
    with StateReader(state.path):
        apply_put(state, b"key-000000", b"newer")
        state.commit()
        chunks: list[bytes] = []

        def on_chunk(chunk: bytes, size: int) -> None:
            chunks.append(chunk)

        state.write_snapshot(tmp_path / "second.db", on_chunk)
    assert used == ["_copy_file", "_copy_pages"]
    assert (tmp_path / "second.db").read_bytes() == b"".join(chunks)
    with StateReader(tmp_path / "second.db") as reader:
        assert reader.hash_kv() == state.mvcc.hash_kv()


def test_who_wants_no_more_of_an_image_ends_its_copy(state: StateStore, tmp_path: Path) -> None:
    """A client that hung up costs nothing more, and nothing is left behind."""

    class Enough(Exception):
        pass

    def on_chunk(chunk: bytes, size: int) -> None:
        raise Enough

    fill(state, 50)
    with pytest.raises(Enough):
        state.write_snapshot(tmp_path / "image.db", on_chunk)
    assert not list(tmp_path.glob("image.db*"))


def test_a_snapshot_replaces_a_state(state: StateStore, path: Path, tmp_path: Path) -> None:
    """With everything a member needs, and nothing of the old state."""
    fill(state, 30)
    state.leases.put(StoredLease(LeaseID(4), 60, 0))
    state.members.put(MemberID(9), "{}")
    state.commit()
    image = tmp_path / "image.db"
    state.write_snapshot(image)
    expected = all_keys(state)

    old = tmp_path / "other"
    old.mkdir()
    other = StateStore.open(old / "state.db", create=True)
    fill(other, 500)
    other.abandon()
    info = StateStore.install(image, old / "state.db")
    assert info.consistent_index == 30
    assert not image.exists()
    again = StateStore.open(old / "state.db", create=False)
    assert all_keys(again) == expected
    assert (again.leases.all(), again.members.all()) == ([(4, 60, 0)], {9: "{}"})
    again.close()


def test_no_old_write_ahead_log_gets_into_an_installed_state(state: StateStore, tmp_path: Path) -> None:
    """A killed member leaves one beside its old state; SQLite would read it into the new file."""
    fill(state, 30)
    image = tmp_path / "image.db"
    state.write_snapshot(image)
    expected = all_keys(state)
    killed = tmp_path / "killed"
    killed.mkdir()
    other = StateStore.open(tmp_path / "state.db", create=True)
    fill(other, 100)
    for name in ("state.db", "state.db-wal"):
        shutil.copy(tmp_path / name, killed / name)
    other.close()
    assert (killed / "state.db-wal").stat().st_size > 0
    StateStore.install(image, killed / "state.db")
    again = StateStore.open(killed / "state.db", create=False)
    assert all_keys(again) == expected
    again.close()


@pytest.mark.parametrize("damage", ["cut", "zeros", "text"])
def test_a_damaged_snapshot_is_refused_and_the_old_state_kept(
    damage: str, state: StateStore, path: Path, tmp_path: Path
) -> None:
    """Named, with what to do."""
    fill(state, 300)
    image = tmp_path / "image.db"
    state.write_snapshot(image)
    content = image.read_bytes()
    spoiled = {"cut": content[:-8192], "zeros": content[:4096] + bytes(8192) + content[12288:], "text": b"no" * 4096}
    image.write_bytes(spoiled[damage])
    expected = all_keys(state)
    state.close()
    with pytest.raises(StartRefused) as caught:
        StateStore.install(image, path)
    assert caught.value.hint
    again = StateStore.open(path, create=False)
    assert all_keys(again) == expected
    again.close()


# --- defragmentation ---


def test_defragmentation_gives_free_pages_back_and_keeps_everything(state: StateStore, path: Path) -> None:
    """S09, N03: only it makes the file smaller."""
    fill(state, 3_000, size=500)
    txn = state.mvcc.begin()
    txn.delete_range(b"key-000100", b"\0")
    txn.end()
    state.mvcc.compact(state.mvcc.revision)
    while not state.mvcc.compact_step():
        pass
    state.commit()
    before = state.mvcc.hash_kv()
    size = state.size_bytes
    assert state.size_in_use_bytes < size / 4
    state.defragment()
    assert state.size_bytes == state.size_in_use_bytes < size / 4
    assert path.stat().st_size == state.size_bytes
    assert state.mvcc.hash_kv() == before
    assert state.mvcc.range(b"\0", b"\0").count == 100
    apply_put(state, b"goes on")
    state.close()
    again = StateStore.open(path, create=False)
    assert again.mvcc.range(b"\0", b"\0").count == 101
    again.close()
    assert not list(path.parent.glob("*.defrag*"))


def test_a_defragmentation_that_fails_changes_nothing(path: Path, disk: Disk) -> None:
    """Wherever it stops: room for the copy, writing it back, or the checkpoint."""
    state = StateStore.open(path, create=True)
    fill(state, 500)
    expected = all_keys(state)
    failures = 0
    for after in range(0, 400, 7):
        disk.fail_writes, disk.fail_writes_after = apsw.FullError, after
        try:
            state.defragment()
        except NoSpace:
            failures += 1
        disk.fail_writes = None
        assert all_keys(state) == expected
        apply_put(state, b"key-000001", b"x" * 100)
        state.commit()
        expected = all_keys(state)
    assert failures > 5
    state.close()
    again = StateStore.open(path, create=False)
    assert all_keys(again) == expected
    again.close()


def test_a_defragmentation_whose_copy_stays_is_told_as_a_failure_of_the_disk(
    state: StateStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S09: the room of the copy is not given back, and whoever asked must hear it; the member goes on."""
    fill(state, 500)
    expected = all_keys(state)
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name.endswith(".defrag") and self.exists():
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        unlink(self, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(StorageFailed, match="failed while defragmenting") as failed:
            state.defragment()
    assert "Read-only file system" in failed.value.cause
    assert all_keys(state) == expected
    state.defragment()
    assert not list(path.parent.glob("*.defrag*"))


def test_a_defragmentation_that_fails_tells_why_also_when_its_copy_stays(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S09: the first fault is the one to mend."""
    state = StateStore.open(path, create=True)
    fill(state, 500)
    unlink = Path.unlink

    def refuse(self: Path, missing_ok: bool = False) -> None:
        if self.name.endswith(".defrag") and self.exists():
            raise OSError(errno.EIO, "Input/output error", str(self))
        unlink(self, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuse)
        disk.fail_writes, disk.fail_writes_after = apsw.FullError, 7
        with pytest.raises(NoSpace):
            state.defragment()
        disk.fail_writes = None
    state.close()


def test_defragmentation_while_a_snapshot_is_read_harms_neither(state: StateStore, path: Path) -> None:
    """K07."""
    fill(state, 500)
    with StateReader(path) as reader:
        before = reader.hash_kv()
        state.defragment()
        assert reader.hash_kv() == before
    assert state.mvcc.hash_kv() == before


def test_what_a_crash_in_a_defragmentation_left_is_removed(path: Path) -> None:
    """S09."""
    StateStore.open(path, create=True).close()
    leftover = path.with_name("state.db.defrag")
    leftover.write_bytes(b"half")
    StateStore.open(path, create=False).close()
    assert not leftover.exists()


# --- opening ---


def test_a_state_of_which_a_part_is_missing_is_refused(state: StateStore, path: Path) -> None:
    """Cut short."""
    fill(state, 500)
    state.close()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StartRefused, match="damaged"):
        StateStore.open(path, create=False)


@pytest.mark.parametrize("content", [b"", b"\0" * 9_000, b"text" * 3_000], ids=["empty", "zeros", "text"])
def test_what_is_no_state_is_refused_and_left_alone(content: bytes, path: Path) -> None:
    """Never made anew."""
    path.write_bytes(content)
    with pytest.raises(StartRefused):
        StateStore.open(path, create=False)
    assert path.read_bytes() == content
    with pytest.raises(StartRefused, match="exists already"):
        StateStore.open(path, create=True)


def test_a_missing_state_is_named(path: Path) -> None:
    """Not made on the way."""
    with pytest.raises(StartRefused, match="missing"):
        StateStore.open(path, create=False)
    assert not path.exists()


def test_a_raised_revision_is_where_the_store_goes_on(path: Path) -> None:
    """Restore with a bumped revision marks a compaction above every change: V07, K11."""
    state = StateStore.open(path, create=True)
    fill(state, 10)
    state.meta.put(Meta.SCHEDULED_COMPACTION, 1_000_000)
    state.close()
    again = StateStore.open(path, create=False)
    assert (again.mvcc.revision, again.mvcc.compact_revision) == (1_000_000, 1_000_000)
    while not again.mvcc.compact_step():
        pass
    assert again.mvcc.range(b"\0", b"\0").count == 10
    again.close()
    again = StateStore.open(path, create=False)
    assert again.mvcc.revision == 1_000_000
    again.close()
