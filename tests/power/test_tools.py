"""Loss of power while etcdops itself writes: snapshots restored, saved, and the journal of a playbook."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcdops.clock import ManualClock
from etcdops.ids import LeaseID, LogIndex, Term
from etcdops.node.storage.state import StateStore
from etcdops.playbooks.journal import open_runs
from etcdops.playbooks.snapshot_restore import RestoreRequest, restore_member
from etcdops.snapshot.checksum import append_checksum
from etcdops.snapshot.inspect import inspect_snapshot
from tests.power import boot
from tests.power.disk import CrashState, Disk
from tests.power.recording import Recording, find_strace, record
from tests.power.scenario import temporary_folder
from tests.support.node_members import node_members

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(find_strace() is None, reason="no strace here: apt-get install strace"),
]

CLUSTER = "m1=http://127.0.0.1:23800"
TOKEN = "restored"
PROGRAM_TIMEOUT_S = 60.0
STARTED_MAX = 25
"""Of the many states with a whole directory, as many are started; all are looked at."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with boot.quiet():
        yield


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    store = StateStore.open(tmp_path / "state.db", create=True)
    for number in range(20):
        txn = store.mvcc.begin()
        txn.put(b"key/%d" % (number % 7), b"v" * 900, LeaseID(0))
        txn.end()
    store.mark_applied(LogIndex(40), Term(3))
    store.commit()
    store.write_snapshot(tmp_path / "snap.db")
    append_checksum(tmp_path / "snap.db")
    store.close()
    return tmp_path / "snap.db"


def _recorded(root: Path, program: list[str], *, reads: bool = False) -> Recording:
    recording = Recording(str(root))
    root.mkdir()
    status = record(recording, program, root.parent / "trace", timeout_s=PROGRAM_TIMEOUT_S, reads=reads)
    assert status == 0, program
    return recording


def _every_state(recording: Recording) -> Iterator[tuple[int, CrashState]]:
    """Each different state once, with the cut where it is met last: what was reported before that must be there."""
    disk, draw = Disk(recording.root), random.Random(1)
    found: dict[bytes, tuple[int, CrashState]] = {}
    for cut in range(len(recording.events) + 1):
        if cut:
            disk.apply(recording.events[cut - 1])
        for state in disk.crash_states(draw, random_states=3):
            found[state.digest] = (cut, state)
    assert not disk.differences(Path(recording.root))
    yield from found.values()


def _mounted(state: CrashState, check: Callable[[Path], None]) -> None:
    with temporary_folder() as folder:
        root = Path(folder) / "disk"
        state.write(root)
        check(root)


def test_a_restore_that_lost_its_power_left_nothing_or_all_and_can_be_repeated(snapshot: Path, tmp_path: Path) -> None:
    """A directory that exists is whole: a member starts from it. Another restore finds its way otherwise."""
    root = tmp_path / "disk"
    command = ["-m", "etcdops", "snapshot", "restore", str(snapshot), "--data-dir", str(root / "data" / "m1.node")]
    flags = ["--name", "m1", "--initial-cluster", CLUSTER, "--initial-cluster-token", TOKEN]
    recording = _recorded(root, [sys.executable, *command, *flags])
    report = inspect_snapshot(snapshot)
    started = whole = repeated = 0

    def check(mounted: Path) -> None:
        nonlocal started, whole, repeated
        data_dir = mounted / "data" / "m1.node"
        exists = data_dir.exists()
        whole += exists
        if not exists:
            repeated += 1
            request = RestoreRequest(data_dir, "m1", CLUSTER, TOKEN)
            restore_member(report, request)
            assert sorted(path.name for path in data_dir.parent.iterdir()) == ["m1.node"], "nothing is left behind"
        if started < STARTED_MAX or (exists and whole < STARTED_MAX):
            started += 1
            found = boot.start(
                data_dir, [f"--initial-cluster={CLUSTER}", f"--initial-cluster-token={TOKEN}", "--name=m1"]
            )
            assert (found.content.revision, found.content.hash_kv) == (report.revision, report.hash_kv.hash)

    for cut, state in _every_state(recording):
        _mounted(state, check)
        if cut == len(recording.events):
            assert any(path.startswith("data/m1.node/member/wal.db") for path in state.files), "it was reported as done"
    assert repeated > 50
    assert whole > 0


def test_a_directory_left_by_a_restore_that_was_cut_off_is_no_data(snapshot: Path, tmp_path: Path) -> None:
    """What is unfinished lies beside the directory and goes with the next attempt; somebody else's files stay."""
    data_dir = tmp_path / "m1.node"
    leftover = tmp_path / "m1.node.restoring" / "member"
    leftover.mkdir(parents=True)
    (leftover / "state.db").write_bytes(b"half")
    restore_member(inspect_snapshot(snapshot), RestoreRequest(data_dir, "m1", CLUSTER, TOKEN))
    assert not leftover.exists()
    assert (data_dir / "member" / "wal.db-wal").exists()


def test_a_saved_snapshot_that_has_its_name_is_whole(tmp_path: Path) -> None:
    """However the power was lost; and one that was reported has it."""
    cluster = node_members(tmp_path / "node")
    (member,) = cluster.members
    try:
        cluster.start()
        root = tmp_path / "disk"
        flags = ["--endpoints", member.url, "snapshot", "save", str(root / "backup.db")]
        recording = _recorded(root, [sys.executable, "-m", "etcdops", *flags])
    finally:
        cluster.kill()
    sha256 = inspect_snapshot(root / "backup.db").sha256
    for cut, state in _every_state(recording):
        if "backup.db" in state.files:
            with temporary_folder() as folder:
                state.write(Path(folder) / "disk")
                assert inspect_snapshot(Path(folder) / "disk" / "backup.db").sha256 == sha256, state.model
        else:
            assert cut < len(recording.events), "it was reported as done"


_JOURNAL = """
import sys
from pathlib import Path
from etcdops.clock import SystemClock
from etcdops.playbooks.journal import Journal
from etcdops.playbooks.plan import Plan
root = Path(sys.argv[1])
plan = Plan("recover", "c", {"token": "fresh"}, ("one",), ("nothing",))
journal = Journal.create(root / "cluster" / "runs", plan, SystemClock(), name="r1")
done = (root / "done").open("w")
for number in range(6):
    journal.intent(f"step-{number}")
    print(f"intent {number}", file=done, flush=True)
    if number == 3:
        journal.failed(f"step-{number}", ValueError("no"))
        journal.intent(f"step-{number}")
    journal.done(f"step-{number}", {"number": number})
    print(f"done {number}", file=done, flush=True)
journal.finished()
print("finished", file=done, flush=True)
"""


def test_a_journal_says_after_any_loss_of_power_what_was_begun_and_done(tmp_path: Path) -> None:
    """A step whose intent is not there was not begun, one that is noted as done is never done again."""
    root = tmp_path / "disk"
    recording = _recorded(root, [sys.executable, "-c", _JOURNAL, str(root)], reads=True)
    noted: list[str] = []
    disk, draw = Disk(recording.root), random.Random(1)
    for event in recording.events:
        disk.apply(event)
        if getattr(event, "path", "") == str(root / "done") and isinstance(data := getattr(event, "data", None), bytes):
            noted.append(data.decode().strip())
        for state in disk.crash_states(draw, random_states=3):
            with temporary_folder() as folder:
                mounted = Path(folder) / "disk"
                state.write(mounted)
                _check_journal(mounted / "cluster" / "runs", noted)
    assert noted[-1] == "finished"
    assert not disk.differences(root)


def _check_journal(runs: Path, noted: list[str]) -> None:
    """Args: noted - what happened for sure after a line of the journal was written."""
    found = open_runs(runs, ManualClock()) if runs.exists() else []
    if not noted:
        return
    if noted[-1] == "finished":
        assert not found
        return
    if not found:
        assert noted[-1] == "done 5", noted  # its last line may have got there before it was synced
        return
    ((_, state),) = found
    assert state.plan.inputs == {"token": "fresh"}
    done = [int(line.split()[1]) for line in noted if line.startswith("done")]
    begun = [int(line.split()[1]) for line in noted if line.startswith("intent")]
    assert set(state.results) >= {f"step-{number}" for number in done}, state.results
    assert f"step-{begun[-1]}" in {*state.interrupted, *state.results}
    assert all(state.results[f"step-{number}"] == {"number": number} for number in done)
