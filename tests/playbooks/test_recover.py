"""Recovery on real members of every engine: right at the end, refused when wrong, resumed wherever it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.client import methods
from etcdops.client.caller import Caller
from etcdops.client.client import Client
from etcdops.client.failures import Compacted
from etcdops.client.view import Health, observe
from etcdops.clock import SystemClock
from etcdops.errors import (
    ClusterUnsafe,
    EtcdopsError,
    PartlyApplied,
    SnapshotCorrupt,
    UsageError,
    VerificationFailed,
)
from etcdops.playbooks.cluster_file import ClusterSpec, load_cluster
from etcdops.playbooks.engine import roll_back
from etcdops.playbooks.journal import Journal, run_lock
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.plan import Result
from etcdops.playbooks.recover import procedure, verifying
from etcdops.playbooks.recover.procedure import Outcome, RecoverRequest, carry_out, prepare
from etcdops.playbooks.recover.steps import build_steps
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.runs import list_runs
from etcdops.playbooks.step import Step
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.secret import Secret
from tests.playbooks.clusters import KEYS, LATER_WRITES, BrokenCluster, break_cluster
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.timeout(240)]

only_etcd_35 = pytest.mark.parametrize("local_cluster", ["etcd-3.5"], indirect=True)


def request_of(broken: BrokenCluster, **changes: object) -> RecoverRequest:
    base = RecoverRequest(broken.spec, broken.snapshot, broken.spec.connection(), tethered=True)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # a test names the fields it changes


def recover(request: RecoverRequest, listener: list[RunEvent] | None = None) -> Outcome:
    async def work() -> Outcome:
        prepared = await prepare(request)
        return await carry_out(request, prepared, (listener if listener is not None else []).append)

    with run_lock(request.cluster.runs):
        return asyncio.run(work())


def assert_recovered(broken: BrokenCluster) -> None:
    """The world as it must be after any recovery, however often it was cut off."""
    spec = load_cluster(broken.spec.directory)
    assert spec.token != broken.spec.token
    assert spec.members == broken.spec.members

    async def look() -> None:
        async with Client(spec.connection()) as client:
            view = await observe(client, timeout_s=5)
            assert view.health is Health.HEALTHY, view.problems
            assert sorted(member.name for member in view.members) == ["m1", "m2", "m3"]
            answer = await client.kv.get("/app/", prefix=True, timeout=20)
            keys = {kv.key.decode() for kv in answer.kvs}
            assert keys == {f"/app/before/{index}" for index in range(KEYS) if index != 7}
            assert all(kv.value.decode() == f"before {int(kv.key[12:])}" * (int(kv.key[12:]) % 9) for kv in answer.kvs)
            assert view.max_revision > broken.last_revision
            with pytest.raises(Compacted):
                await client.kv.get("/app/before/1", revision=broken.snapshot_revision, timeout=20)
            put = await client.kv.put("/app/new", "1", timeout=20)
            assert put.header.revision > broken.last_revision

    asyncio.run(look())
    old = sorted(path.name.partition(".before")[0] for path in broken.spec.directory.glob("*.before-recover-*"))
    assert old == ["m1.etcd", "m3.etcd"], "old data is moved aside once, and all of it is there"
    assert not list(broken.spec.directory.glob("*.restoring"))


def test_a_lost_cluster_comes_back_as_the_snapshot_was(broken: BrokenCluster) -> None:
    """Goal: the whole procedure; losses are told as numbers before."""
    prepared = asyncio.run(prepare(request_of(broken)))
    facts = prepared.facts
    assert facts is not None
    assert facts.last_revision is not None
    assert facts.last_revision_max is not None
    # The survivor may not have heard that the last writes were committed; then only a dead member's log has them.
    assert facts.last_revision <= broken.last_revision <= facts.last_revision_max, facts.witnesses
    most = facts.last_revision_max - broken.snapshot_revision
    assert most >= LATER_WRITES
    assert any(str(most) in line and str(facts.last_revision_max) in line for line in prepared.plan.losses)
    assert str(prepared.plan.inputs["new_cluster_id"]) != str(prepared.plan.inputs["old_cluster_id"])
    assert not list(broken.spec.directory.glob("*.before-recover-*")), "a plan changes nothing"
    events: list[RunEvent] = []
    outcome = recover(request_of(broken), events)
    assert_recovered(broken)
    assert outcome.results["verify:keys"] == {"keys": KEYS - 1}
    assert outcome.results["verify:hash"]["as_in_snapshot"] is True
    assert [event.kind for event in events] == ["begun", *["started", "complete"] * (len(events) // 2 - 1), "finished"]


class Crash(BaseException):
    """The process is gone, as far as one process can play that."""


class CrashingSteps:
    """Wraps the real steps so that each moment ends the process once, the first time a run comes to it."""

    def __init__(self) -> None:
        self.moments: list[str] = []

    def moment(self, name: str) -> None:
        if name not in self.moments:
            self.moments.append(name)
            raise Crash(name)

    def wrap(self, steps: list[Step]) -> list[Step]:
        return [_Wrapped(step, self) for step in steps]


class _Wrapped(Step):
    def __init__(self, step: Step, crashes: CrashingSteps) -> None:
        super().__init__(step.spec)
        self.lasting = step.lasting  # type: ignore[misc]  # the class's own, for each step that is wrapped
        self._step, self._crashes = step, crashes

    async def check(self) -> bool:
        return await self._step.check()

    async def act(self) -> None:
        self._crashes.moment(f"before {self.id}")
        await self._step.act()
        self._crashes.moment(f"after {self.id}")

    async def verify(self) -> Result:
        return await self._step.verify()


def test_a_recovery_cut_off_at_every_step_ends_the_same(broken: BrokenCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: one recovery, cut off before and after each of its acts in turn, and resumed each time."""
    crashes = CrashingSteps()
    monkeypatch.setattr(procedure, "build_steps", lambda plan, run: crashes.wrap(build_steps(plan, run)))
    runs = 0
    while True:
        runs += 1
        try:
            recover(request_of(broken))
            break
        except Crash:
            assert runs == len(crashes.moments)
    assert_recovered(broken)
    acted = {moment.split(" ", 1)[1] for moment in crashes.moments}
    assert {"stop:m3", "aside:m1", "restore:m1", "restore:m2", "restore:m3", "identity", "start:m1", "serving"} <= acted
    assert len(list(broken.spec.runs.glob("*.jsonl"))) == 1, "one run, resumed, not many"


def test_a_recovery_killed_again_and_again_ends_the_same(broken: BrokenCluster) -> None:
    """Goal: the same with real SIGKILLs to the real command at arbitrary moments."""
    command = [
        sys.executable, "-m", "etcdops", "recover", "--from-snapshot", str(broken.snapshot),
        "--local", str(broken.spec.directory), "--confirm", "lab",
    ]  # fmt: skip
    patience_s = 0.4
    try:
        for _ in range(40):
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                output, _ = child.communicate(timeout=patience_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.communicate()
                patience_s *= 1.25
                continue
            # Killed between its last step and its exit, the one before had come to the end.
            if child.returncode != 0:
                assert b"working cluster" in output, output.decode()
                (journal,) = broken.spec.runs.glob("*.jsonl")
                assert '"finished"' in journal.read_text().splitlines()[-1]
            break
        else:
            pytest.fail("it never came to an end")
        assert_recovered(broken)
    finally:
        LocalCluster(load_cluster(broken.spec.directory)).kill()


@only_etcd_35
def test_a_killed_recovery_goes_on_by_its_id(broken: BrokenCluster) -> None:
    """Goal: `runs resume` needs nothing but the journal; the same plan, the same end, and then nothing more to do."""
    etcdops = [sys.executable, "-m", "etcdops"]
    recovery = [*etcdops, "recover", "--from-snapshot", str(broken.snapshot), "--local", str(broken.spec.directory)]
    child = subprocess.Popen([*recovery, "--confirm", "lab"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        poll_until(lambda: any("aside:m1" in one.state.results for one in list_runs(SystemClock())[0]), 60)
        child.kill()
        child.wait()
        ((known,), _) = list_runs(SystemClock())
        assert known.state.status == "interrupted"
        assert known.journal.path.parent == broken.spec.runs
        resume = [*etcdops, "runs", "resume", known.run, "--confirm", "lab", "--events", "json"]
        done = subprocess.run(resume, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, done.stderr
        assert '"event": "finished"' in done.stdout.splitlines()[-1]
        assert_recovered(broken)
        again = subprocess.run(resume, capture_output=True, text=True, timeout=60, check=False)
        assert (again.returncode, "came to its end: finished" in again.stderr) == (2, True)
    finally:
        child.kill()
        child.wait()
        LocalCluster(load_cluster(broken.spec.directory)).kill()


def test_a_recovery_taken_back_leaves_the_old_state(broken: BrokenCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: it fails at the very end, and then old data, identity and processes are what they were; nothing is lost."""

    def files() -> dict[str, int]:
        folder = broken.spec.directory
        return {str(path.relative_to(folder)): path.stat().st_ino for path in folder.glob("m*.etcd/member")}

    async def wrong(run: object) -> Result:
        raise VerificationFailed("the members are wrong")

    before, description = files(), (broken.spec.directory / "cluster.json").read_bytes()
    with monkeypatch.context() as patched:
        checks = [("members", "verify the member list", wrong), *verifying.CHECKS[1:]]
        patched.setattr(verifying, "CHECKS", tuple(checks))
        with pytest.raises(VerificationFailed, match="the members are wrong"):
            recover(request_of(broken))
    assert files() != before
    ((known,), _) = list_runs(SystemClock())
    steps = procedure.rebuild_steps(known.state.plan, broken.spec.connection(), tethered=True)
    asyncio.run(roll_back(steps, known.journal, known.state, lambda event: None))
    assert files() == before, "the very directories, and none where a disk was lost"
    assert (broken.spec.directory / "cluster.json").read_bytes() == description
    assert [member.name for member in broken.local.members if member.running] == ["m3"]
    kept = sorted(path.name.partition(".undone")[0] for path in broken.spec.directory.glob("*.undone-*"))
    assert kept == ["m1.etcd", "m2.etcd", "m3.etcd"], "what was restored is kept: clients may have written to it"
    recover(request_of(broken))
    assert_recovered(broken)


@only_etcd_35
def test_a_working_cluster_is_not_thrown_away(local_cluster: ClusterSpec) -> None:
    """Goal: exit 6 while the quorum holds, and the check is named so that it can be overridden knowingly."""
    local = LocalCluster(local_cluster)
    local.start(tethered=True)
    snapshot = local_cluster.directory / "backup.db"

    async def work() -> None:
        from etcdops.playbooks.snapshot_save import save_snapshot

        await local.wait_healthy()
        async with Client(local_cluster.connection()) as client:
            await save_snapshot(client, snapshot)
        request = RecoverRequest(local_cluster, snapshot, local_cluster.connection(), tethered=True)
        with pytest.raises(ClusterUnsafe, match="working cluster") as refused:
            await prepare(request)
        assert "--force-unsafe quorum-holds" in refused.value.hint
        forced = dataclasses.replace(request, force_unsafe=frozenset({"quorum-holds"}))
        assert (await prepare(forced)).plan.losses

    asyncio.run(work())


@contextlib.contextmanager
def stranger_at(url: str) -> Iterator[None]:
    """Somebody who listens on a member's port and is not a process of ours."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", int(url.rpartition(":")[2])))
        listener.listen()
        yield


@only_etcd_35
def test_nothing_is_moved_while_somebody_answers_for_a_member(broken: BrokenCluster) -> None:
    """Goal: an old member left running would split the cluster."""
    with (
        stranger_at(broken.spec.member("m2").peer_url),
        pytest.raises(ClusterUnsafe, match=f"m2 is not run by etcdops but by pid {os.getpid()}") as refused,
    ):
        recover(request_of(broken))
    assert broken.spec.member("m2").peer_url in refused.value.cause
    assert f"kill {os.getpid()}" in refused.value.hint
    assert broken.local.member("m3").running, "nothing was stopped"
    assert not list(broken.spec.runs.glob("*.jsonl")), "nothing was begun"
    assert not list(broken.spec.directory.glob("*.before-recover-*"))
    recover(request_of(broken))
    assert_recovered(broken)


@only_etcd_35
def test_nothing_is_moved_while_an_unknown_process_holds_the_data(broken: BrokenCluster) -> None:
    """Goal: a member started by hand, on other ports, is found by the lock it holds."""
    spec = broken.spec.member("m1")
    assert broken.spec.engine.binary is not None
    stray = subprocess.Popen(
        [
            str(broken.spec.engine.binary), f"--data-dir={spec.data_dir}", "--name=m1",
            "--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:1",
            "--listen-peer-urls=http://127.0.0.1:0", "--force-new-cluster",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(0)
        _wait_locked(spec.data_dir / "member" / "snap" / "db")
        with pytest.raises(ClusterUnsafe, match=f"m1 is not run by etcdops but by pid {stray.pid}: .*etcd") as refused:
            recover(request_of(broken))
        assert str(spec.data_dir) in refused.value.cause
        assert broken.local.member("m3").running, "nothing was stopped"
        assert spec.data_dir.exists()
    finally:
        stray.kill()
        stray.wait()


def _wait_locked(path: Path) -> None:
    import fcntl

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return
        time.sleep(0.02)
    pytest.fail("the stray member never took its lock")


@only_etcd_35
def test_a_snapshot_that_changed_after_the_plan_is_not_used(broken: BrokenCluster) -> None:
    """Goal: what was confirmed is what is restored, on every member."""
    request = request_of(broken)
    prepared = asyncio.run(prepare(request))
    raw = bytearray(broken.snapshot.read_bytes())
    raw[5000] ^= 1
    broken.snapshot.write_bytes(raw)
    with pytest.raises(SnapshotCorrupt):
        asyncio.run(carry_out(request, prepared, lambda event: None))
    assert LocalCluster(broken.spec).member("m3").running, "nothing was touched"


@only_etcd_35
def test_an_unfinished_recovery_is_not_mixed_with_another_snapshot(broken: BrokenCluster) -> None:
    """Goal: members of one cluster come from one snapshot; giving up is explicit."""
    request = request_of(broken)
    prepared = asyncio.run(prepare(request))
    journal = Journal.create(broken.spec.runs, prepared.plan, SystemClock(), name="recover-x")
    journal.intent("stop:m1")
    other = broken.snapshot.with_name("other.db")
    other.write_bytes(broken.snapshot.read_bytes())
    with pytest.raises(UsageError, match="begun and not finished"):
        asyncio.run(prepare(request_of(broken, snapshot=other)))
    assert asyncio.run(prepare(request)).known
    assert not asyncio.run(prepare(request_of(broken, snapshot=other, new_run=True))).known


@only_etcd_35
def test_a_failed_start_is_explained_and_gone_on_from(broken: BrokenCluster) -> None:
    """Goal: a port taken at the last moment: exit 9, the reason, and the same command finishes."""
    url = broken.spec.member("m2").client_url
    request = request_of(broken)
    prepared = asyncio.run(prepare(request))
    taken = contextlib.ExitStack()

    def take(event: RunEvent) -> None:
        if event.kind == "started" and event.step_id == "start:m1":
            taken.enter_context(stranger_at(url))

    with taken, pytest.raises(PartlyApplied, match="another process listens") as failed:
        asyncio.run(carry_out(request, prepared, take))
    assert "run the same command again" in failed.value.hint
    recover(request)
    assert_recovered(broken)


def test_the_last_revision_is_found_when_nobody_answers(broken: BrokenCluster) -> None:
    """Goal: a dead member's data directory still says how far the cluster had come."""
    broken.local.member("m3").kill()
    plan = asyncio.run(prepare(request_of(broken))).plan
    assert any(str(broken.last_revision) in line or "data directory of m" in line for line in plan.losses), plan.losses
    assert int(str(plan.inputs["revision"])) > broken.last_revision


@only_etcd_35
def test_without_any_witness_the_loss_is_said_to_be_unknown(broken: BrokenCluster) -> None:
    """Goal: never a number nobody knows; the revision is raised by a billion then."""
    import shutil

    broken.local.kill()
    for member in broken.spec.members:
        shutil.rmtree(member.data_dir, ignore_errors=True)
    plan = asyncio.run(prepare(request_of(broken))).plan
    assert "unknown" in plan.losses[0]
    assert int(str(plan.inputs["revision"])) == broken.snapshot_revision + 1_000_000_000
    known = asyncio.run(prepare(request_of(broken, last_known_revision=5000))).plan
    assert int(str(known.inputs["revision"])) == 6000
    assert "--last-known-revision" in known.losses[0]


@only_etcd_35
def test_one_run_at_a_time(broken: BrokenCluster) -> None:
    """Goal: a second operator is told who is at work."""
    with run_lock(broken.spec.runs), pytest.raises(EtcdopsError, match="another run"):
        recover(request_of(broken))


@pytest.mark.parametrize("local_cluster", ["etcd-3.4", "etcd-3.5", "node"], indirect=True)
def test_alarms_and_leases_come_along_and_are_reported(local_cluster: ClusterSpec) -> None:
    """Goal: an alarm in the snapshot does not keep the members from coming back; a person is told."""

    async def add(client: Client) -> None:
        lease = await client.lease.grant(3600, timeout=20)
        await client.kv.put("/leased", "1", lease=lease.ID, timeout=20)
        raised = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.NOSPACE)
        caller = Caller(client.settings)
        await caller.unary(methods.ALARM_SET, raised, timeout=20)
        await caller.close()

    broken = break_cluster(local_cluster, add)
    plan = asyncio.run(prepare(request_of(broken))).plan
    assert any("NOSPACE comes along" in line for line in plan.losses)
    assert any("hanging on leases: 1 key;" in line for line in plan.losses)
    outcome = recover(request_of(broken))
    left = outcome.results["verify:leftovers"]
    assert left["alarms"] == ["NOSPACE at 1"]
    assert left["leases"] == 1


@pytest.mark.parametrize("local_cluster", ["etcd-3.4", "etcd-3.5"], indirect=True)
def test_a_cluster_with_authentication_needs_the_password_of_the_snapshot(local_cluster: ClusterSpec) -> None:
    """Goal: asked for before anything is touched; users and roles are as they were."""
    known = dataclasses.replace(local_cluster.connection(), username="root", password=Secret("secret"))

    async def enable(client: Client) -> None:
        await client.auth.role_add("root", timeout=20)
        await client.auth.user_add("root", Secret("secret"), timeout=20)
        await client.auth.user_grant_role("root", "root", timeout=20)
        await client.auth.enable(timeout=20)

    broken = break_cluster(local_cluster, enable, known)
    with pytest.raises(UsageError, match="authentication on"):
        asyncio.run(prepare(request_of(broken)))
    outcome = recover(request_of(broken, settings=known))
    assert outcome.results["verify:leftovers"]["auth_enabled"] is True
    assert outcome.results["verify:keys"] == {"keys": KEYS - 1}
