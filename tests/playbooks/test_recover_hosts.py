"""Recovery on hosts over systemd: two of three lose their disks, and the cluster comes back as the snapshot was."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.client.client import Client
from etcdops.client.failures import Compacted
from etcdops.client.view import Health, observe
from etcdops.clock import SystemClock
from etcdops.errors import AccessDenied, ClusterUnsafe, EtcdopsError, ExitCode, PartlyApplied, Unreachable
from etcdops.playbooks.host_locks import HostLocks
from etcdops.playbooks.journal import RunState
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.procedures import resume_run, roll_back_run
from etcdops.playbooks.recover.hosts.procedure import HostRequest, PreparedOnHosts, begin, prepare, work
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.runs import KnownRun, list_runs
from etcdops.rendering.member import NODE_PROGRAM, PROGRAM
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.hosts.network import OPERATOR
from tests.playbooks.clusters import KEYS
from tests.playbooks.host_clusters import DATA, NAME, HostCluster
from tests.support.real_etcd import poll_until

pytestmark = pytest.mark.timeout(600)

CONFIG = "/etc/default/etcd"
ENGINES = ("etcd-3.5", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in ("etcd-3.4", "node")))
TOOLS = {"etcd-3.5": (("etcdutl", "etcdctl"), r"etcdutl 3\.5"), "etcd-3.4": (("etcdctl",), r"etcdctl 3\.4")}
"""Engine -> programs that restore a snapshot on a host, and what is said when they are not there."""
ACTING = ("prepare", "stop", "config", "aside", "place", "start", "clean")
"""Steps of one member that change something, in their order."""
KILLED = ("intent", "during", "acted", "done")
"""Moments of a step, see `killed.py`."""


@pytest.fixture(scope="module", params=ENGINES)
def lab(
    request: pytest.FixtureRequest, hosts_session: Hosts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostCluster]:
    """Three members that serve; each test breaks them, and leaves them recovered."""
    hosts_session.reset()
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ETCDOPS_HOME", str(folder / "state"))
        made = HostCluster(hosts_session, folder, request.param)
        made.bring_up()
        yield made


@pytest.fixture
def broken(lab: HostCluster, dirty_hosts: Hosts) -> HostCluster:
    """Filled, saved, written to again; then two hosts lose power and disks."""
    lab.fill_and_save()
    lab.lose_two_disks()
    return lab


def request_of(lab: HostCluster) -> HostRequest:
    return HostRequest((lab.inventory_path,), "", lab.snapshot, lab.access)


def prepared(lab: HostCluster) -> PreparedOnHosts:
    return asyncio.run(prepare(request_of(lab)))


def recover(lab: HostCluster, events: list[RunEvent] | None = None) -> KnownRun:
    known = begin(prepared(lab))
    asyncio.run(work(known, lab.access, (events if events is not None else []).append))
    return known


def unfinished() -> KnownRun:
    (known,) = (run for run in list_runs(SystemClock())[0] if not run.state.ended)
    return known


def program_of(lab: HostCluster) -> str:
    return NODE_PROGRAM if lab.engine == "node" else PROGRAM


def made_beside(lab: HostCluster) -> list[Path]:
    """Copies that a recovery works with, on any host."""
    return [path for host in lab.hosts for path in host.path("/var/lib").glob("etcd.recover-*")]


def _is_let_go(host: Host) -> None:
    """Locks are given back once the run has ended, by a process nobody waits for."""
    poll_until(lambda: not list(host.path("/var/lib/etcdops/locks").iterdir()), 60.0, f"{host.name} is still locked")


def assert_recovered(lab: HostCluster) -> None:
    """The world as it must be after any recovery, however often it was cut off."""

    async def look() -> None:
        async with Client(lab.settings) as client:
            view = await observe(client, timeout_s=10)
            assert view.health is Health.HEALTHY, view.problems
            assert sorted(member.name for member in view.members) == ["h1", "h2", "h3"]
            assert {member.peer_urls for member in view.members} == {
                (f"http://{host.address}:2380",) for host in lab.hosts
            }
            answer = await client.kv.get("/app/", prefix=True, timeout=20)
            assert {kv.key.decode() for kv in answer.kvs} == {f"/app/before/{n}" for n in range(KEYS) if n != 7}
            assert view.max_revision > lab.last_revision
            with pytest.raises(Compacted):
                await client.kv.get("/app/before/1", revision=lab.snapshot_revision, timeout=20)
            put = await client.kv.put("/new", "1", timeout=20)
            assert put.header.revision > lab.last_revision

    asyncio.run(look())
    assert not made_beside(lab), "no copy is left"
    for host in lab.hosts:
        text = host.path(CONFIG).read_text()
        assert 'ETCD_INITIAL_CLUSTER_STATE="existing"' in text, "it never forms a cluster again"
        _is_let_go(host)
        assert host.run(["stat", "-c", "%U:%G %a", DATA]).stdout.split() == ["etcd:etcd", "700"]


def etcdops(lab: HostCluster, *arguments: str, killed: str = "") -> subprocess.CompletedProcess[str]:
    """The command line, as an operator whose known hosts are those of the test. Args: killed - see `killed.py`."""
    home = lab.folder / "home"
    (home / ".ssh").mkdir(parents=True, exist_ok=True)
    (home / ".ssh/known_hosts").write_bytes(lab.hosts.known_hosts.read_bytes())
    return subprocess.run(
        [sys.executable, "-m", *(("tests.playbooks.killed", killed) if killed else ("etcdops",)), *arguments],
        env={**os.environ, "HOME": str(home), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_two_lost_disks_and_the_cluster_is_back_while_nobody_watches(broken: HostCluster) -> None:
    """Goal: losses told before, in numbers; detached, as user with sudo and its password; attached to until its end."""
    broken.write_inventory(user="ops")
    arguments = ("recover", "--from-snapshot", str(broken.snapshot), "-i", str(broken.inventory_path))
    planned = etcdops(broken, *arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    lost = broken.last_revision - broken.snapshot_revision
    assert f"{lost} revisions: {broken.snapshot_revision + 1} to {broken.last_revision}" in " ".join(
        planned.stdout.split()
    )
    assert '+ETCD_INITIAL_CLUSTER_STATE="existing"' in planned.stdout.replace(" ", "")
    assert not made_beside(broken), "a plan changes nothing"
    begun = etcdops(broken, *arguments, "--update-inventory", "--detach", "--confirm", NAME)
    assert begun.returncode == 0, begun.stderr
    run = begun.stdout.split(" goes on as process ")[0].split()[-1]
    watched = etcdops(broken, "runs", "attach", run)
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert f"{run} is finished" in watched.stdout
    token = broken.cluster.token
    assert f'ETCD_INITIAL_CLUSTER_TOKEN="{token}"' in broken.hosts["h1"].path(CONFIG).read_text(), "as it was asked to"
    broken.write_inventory()
    assert_recovered(broken)
    with pytest.raises(ClusterUnsafe, match="throw away a working cluster"):
        prepared(broken)


@pytest.mark.exhaustive
def test_where_only_ssh_leads_to_the_members_it_is_proved_through_ssh(broken: HostCluster) -> None:
    """Client ports are closed to the operator, as in most places."""
    broken.write_inventory(via="ssh")
    for host in broken.hosts:
        broken.hosts.cut(OPERATOR, host, port=2379)
    try:
        arguments = ("recover", "--from-snapshot", str(broken.snapshot), "-i", str(broken.inventory_path))
        done = etcdops(broken, *arguments, "--confirm", NAME)
    finally:
        broken.hosts.heal()
        broken.write_inventory()
    assert done.returncode == 0, done.stdout + done.stderr
    assert_recovered(broken)


def test_taken_back_the_old_state_is_really_there(broken: HostCluster) -> None:
    """A recovery that fails when the members start: data, configuration and processes are as they were before."""
    survivor, lost = broken.hosts["h3"], broken.hosts["h2"]
    config = survivor.path(CONFIG).read_bytes()
    files = ["find", DATA, "-name", "db", "-o", "-name", "*.wal"]
    inodes = survivor.run(["stat", "-c", "%n %i", *survivor.run(files).stdout.split()]).stdout
    known = begin(prepared(broken))
    lost.run(["chmod", "000", program_of(broken)])
    with pytest.raises(PartlyApplied, match="start h2"):
        asyncio.run(work(known, broken.access, lambda event: None))
    assert survivor.path(CONFIG).read_bytes() != config
    asyncio.run(roll_back_run(unfinished(), broken.access, lambda event: None))
    assert survivor.path(CONFIG).read_bytes() == config
    assert survivor.run(["stat", "-c", "%n %i", *survivor.run(files).stdout.split()]).stdout == inodes
    # without its members it waits for them, as before
    assert survivor.run(["systemctl", "show", "-P", "MainPID", "etcd"]).stdout.strip() != "0"
    for name in ("h1", "h2"):
        assert not broken.hosts[name].path(DATA).exists(), "its disk was lost before"
    for host in broken.hosts:
        _is_let_go(host)
    lost.run(["chmod", "755", program_of(broken)])
    recover(broken)
    assert_recovered(broken)


def test_what_keeps_a_recovery_from_beginning_is_told_with_its_host(broken: HostCluster) -> None:
    """A wrong sudo password, a host that does not answer, a full disk, a tool that is missing: nothing was changed."""
    h1, h2 = broken.hosts["h1"], broken.hosts["h2"]
    broken.write_inventory(user="ops")
    (broken.folder / "sudo").write_text("wrong\n")
    with pytest.raises(AccessDenied, match=r"h[123]: cannot become root: the password for sudo is wrong"):
        prepared(broken)
    broken.write_inventory()
    h2.stop_sshd()
    with pytest.raises(Unreachable, match="h2"):
        prepared(broken)
    h2.start_sshd()
    if broken.engine in TOOLS:  # a node's data is made here
        names, missing = TOOLS[broken.engine]
        h1.run(["mv", *(f"/usr/local/bin/{name}" for name in names), "/root/"])
        with pytest.raises(ClusterUnsafe, match=f"h1: no {missing}") as refused:
            prepared(broken)
        assert "Nothing was changed" in refused.value.hint
        h1.run(["mv", *(f"/root/{name}" for name in names), "/usr/local/bin/"])
    h1.small_disk("/var/lib/etcdops", 16)
    h1.fill_disk("/var/lib/etcdops")
    known = begin(prepared(broken))
    with pytest.raises(EtcdopsError, match="h1: cannot take the lock of prod") as full:
        asyncio.run(work(known, broken.access, lambda event: None))
    assert "no space" in " ".join((full.value.cause, full.value.hint)).lower()
    assert known.state.ended == "abandoned"
    assert not made_beside(broken)
    h1.free_disk("/var/lib/etcdops")
    recover(broken)
    assert_recovered(broken)


@pytest.mark.exhaustive
def test_cut_off_in_the_middle_it_goes_on_by_its_id(broken: HostCluster) -> None:
    """A host that is gone while data is moved: what, where, what is safe now; then the same run goes on."""
    h1 = broken.hosts["h1"]

    def listener(event: RunEvent) -> None:
        if event.kind == "started" and event.step_id == "place:h1":
            h1.power_off()

    known = begin(prepared(broken))
    with pytest.raises(PartlyApplied, match="of h1") as stopped:
        asyncio.run(work(known, broken.access, listener))
    assert "Do not start members by hand" in stopped.value.hint
    assert "h1" in stopped.value.message
    h1.power_on()
    events: list[RunEvent] = []
    asyncio.run(resume_run(unfinished(), broken.access, events.append))
    assert [event.step_id for event in events if event.kind == "skipped"][:2] == ["snapshot", "ready:h1"]
    assert_recovered(broken)


def test_a_run_that_nobody_goes_on_with_is_unlocked(lab: HostCluster, dirty_hosts: Hosts) -> None:
    """Who holds it since when; refused while it gives signs of life; said what it means; then others may work."""
    lab.write_inventory(user="ops")
    asyncio.run(leave_locks(lab, "r-dead"))
    place = ("runs", "unlock", NAME, "-i", str(lab.inventory_path))
    alive = etcdops(lab, *place, "--confirm", NAME)
    assert alive.returncode == ExitCode.UNSAFE
    assert "h1: run r-dead of " in alive.stderr
    assert " holds prod since 20" in alive.stderr
    for host in lab.hosts:
        host.run(["touch", "-d", "10 minutes ago", "/var/lib/etcdops/locks/prod.lock"])
    unasked = etcdops(lab, *place)
    assert unasked.returncode == ExitCode.NOT_CONFIRMED
    assert "its journal is /gone/r-dead.jsonl with " in unasked.stdout
    assert etcdops(lab, *place, "--confirm", NAME).returncode == ExitCode.OK
    for host in lab.hosts:
        (kept,) = host.path("/var/lib/etcdops/locks").iterdir()
        assert kept.name.startswith("prod.lock.broken-")
        kept.unlink()
    assert "no run holds prod" in etcdops(lab, *place).stdout
    lab.write_inventory()


async def leave_locks(lab: HostCluster, run: str) -> None:
    """The locks of a run whose process is killed."""
    state = RunState(Plan("roll", NAME, {}, (), ()), 0.0, run)
    async with contextlib.AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(lab.session(host.name)) for host in lab.hosts]
        await HostLocks(sessions, state, f"/gone/{run}.jsonl").take()


@pytest.mark.exhaustive
@pytest.mark.timeout(3000)
def test_killed_at_every_step_it_ends_the_same(broken: HostCluster) -> None:
    """Goal: one recovery, SIGKILL before, in and after every act in turn, resumed by its ID each time."""
    broken.inventory_path.write_text(f"# ours\n{broken.inventory_path.read_text()}# to the end\n")
    written = broken.inventory_path.read_text()
    begin_line = ("recover", "--from-snapshot", str(broken.snapshot), "-i", str(broken.inventory_path))
    line: tuple[str, ...] = (*begin_line, "--update-inventory", "--confirm", NAME)
    of_members = [
        (f"{kind}:{host}", phase)
        for kind in ACTING
        for host, phase in (*(("h1", phase) for phase in KILLED), ("h2", "acted"), ("h3", "done"))
    ]
    # from its last step on, the inventory says something else than the plan was made from
    for step, phase in (*of_members, *(("inventory", phase) for phase in KILLED if phase != "during")):
        is_first = (step, phase) == of_members[0]
        if not is_first and step in unfinished().state.results and not step.startswith("start:"):
            continue  # a neighbour that was done before this one was killed
        done = etcdops(broken, *line, killed=f"{phase} {step}")
        assert done.returncode == -signal.SIGKILL, (phase, step, done.stdout, done.stderr)
        line = ("runs", "resume", unfinished().run, "--confirm", NAME)
        if step == "inventory":
            assert (broken.inventory_path.read_text() == written) == (phase == "intent")
    assert "inventory" in unfinished().state.results
    done = etcdops(broken, *line)
    assert done.returncode == 0, done.stderr
    assert_recovered(broken)
    token = broken.cluster.token
    assert f'ETCD_INITIAL_CLUSTER_TOKEN="{token}"' in broken.hosts["h1"].path(CONFIG).read_text()
    assert broken.inventory_path.read_text().replace(f"    token: {token}\n", "", 1) == written, "and nothing else"
    kept = broken.folder / f"etcdops.yaml.before-{token.rpartition('-')[2]}"
    assert kept.read_text() == written


@pytest.mark.exhaustive
@pytest.mark.timeout(3000)
def test_a_rollback_killed_at_every_step_ends_the_same(broken: HostCluster) -> None:
    """Goal: the old data is where it was, once, however often the way back was cut off."""
    survivor = broken.hosts["h3"]
    config = survivor.path(CONFIG).read_bytes()
    inode = survivor.run(["stat", "-c", "%i", f"{DATA}/member"]).stdout
    begin_line = ("recover", "--from-snapshot", str(broken.snapshot), "-i", str(broken.inventory_path))
    assert etcdops(broken, *begin_line, "--confirm", NAME, killed="done start:h3").returncode == -signal.SIGKILL
    line = ("runs", "rollback", unfinished().run, "--confirm", NAME)
    for kind in reversed(ACTING[:-1]):
        for host in ("h3", "h1"):
            for phase in ("undo", "undone"):
                done = etcdops(broken, *line, killed=f"{phase} {kind}:{host}")
                assert done.returncode == -signal.SIGKILL, (phase, kind, host, done.stdout, done.stderr)
    done = etcdops(broken, *line)
    assert done.returncode == 0, done.stderr
    assert survivor.path(CONFIG).read_bytes() == config
    assert survivor.run(["stat", "-c", "%i", f"{DATA}/member"]).stdout == inode
    assert not made_beside(broken)
    for name in ("h1", "h2"):
        assert not broken.hosts[name].path(DATA).exists(), "its disk was lost before"
    recover(broken)
    assert_recovered(broken)
