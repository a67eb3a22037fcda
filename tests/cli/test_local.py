"""`etcdops local`: what demo and recover leave behind is shown, stopped and started again, from any terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.cli.tui import cluster_title
from etcdops.clock import SystemClock
from etcdops.errors import ExitCode
from etcdops.playbooks.cluster_file import ClusterSpec, Engine, EngineKind
from etcdops.playbooks.journal import Journal, run_lock
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.runs import begin_run
from tests.cli.conftest import RunCli
from tests.playbooks.clusters import ENGINES, described, engine_named
from tests.playbooks.test_recover import stranger_at
from tests.support.real_etcd import poll_until

real = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def spec(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ClusterSpec]:
    """A described cluster that was never started; of the bundled node unless a test names the engine."""
    engine = engine_named(getattr(request, "param", "node"))
    made = described(tmp_path / "with space" / "lab", engine)
    yield made
    LocalCluster(made).kill()


@pytest.mark.parametrize("spec", [pytest.param(engine, marks=real) for engine in ENGINES], indirect=True)
def test_members_are_started_stopped_and_started_again(cli: RunCli, spec: ClusterSpec) -> None:
    """After a reboot the same command brings the same data back; nothing runs after `stop`."""
    place = str(spec.directory)
    first = cli("local", "start", place)
    assert first.code == 0, first.err
    assert first.out.count("● runs, pid") == 3
    assert cli("status", "--local", place).code == 0
    before = json.loads(cli("status", "--local", place, "-w", "json").out)["cluster_id"]
    stopped = cli("local", "stop", place)
    assert stopped.code == 0, stopped.err
    assert stopped.out.count("✖ does not run") == 3
    assert not list(spec.directory.glob("*.pid"))
    assert cli("local", "stop", place).code == 0, "nothing to do is no error"
    again = cli("local", "start", place, "m1", "m3")
    assert again.code == 0, again.err
    assert again.out.count("● runs, pid") == 2
    after = json.loads(cli("status", "--local", place, "-w", "json").out)
    assert (after["cluster_id"], after["quorum"]["present"]) == (before, 2)
    assert cli("local", "start", place).out.count("● runs, pid") == 3


def test_who_looks_at_a_cluster_hears_of_its_unfinished_run(cli: RunCli, spec: ClusterSpec) -> None:
    """Members that do not answer are to be started; not by hand when a recovery is half done."""
    ran = cli("status", "--local", str(spec.directory))
    assert ran.code == 3
    assert f"etcdops local start '{spec.directory}'" in ran.err
    run = begin_run(spec.runs, Plan("recover-from-snapshot", "lab", {}, (), ("nothing",)), SystemClock())
    ran = cli("status", "--local", str(spec.directory))
    assert "local start" not in ran.err
    assert f"{run.run} of lab is unfinished: etcdops runs show {run.run}" in ran.err


@pytest.mark.parametrize("spec", [pytest.param(engine, marks=real) for engine in ENGINES], indirect=True)
def test_the_command_that_is_shown_starts_the_member(cli: RunCli, spec: ClusterSpec) -> None:
    """It is made for a supervisor of the operator's own: complete as it stands, in a shell, from any folder."""
    LocalCluster(spec).start(tethered=True)
    poll_until(lambda: cli("status", "--local", str(spec.directory)).code == 0, 90)
    assert cli("local", "stop", str(spec.directory)).code == 0
    shown = cli("local", "show", str(spec.directory)).out
    lines = [line.partition("  start    ")[2] for line in shown.splitlines() if "  start    " in line]
    assert len(lines) == 3
    processes = [
        subprocess.Popen(f"exec {line}", shell=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for line in lines
    ]
    try:
        poll_until(lambda: cli("status", "--local", str(spec.directory)).code == 0, 90)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_what_is_shown_for_scripts(cli: RunCli, spec: ClusterSpec) -> None:
    """One entry for each member, with null for a process that is not there."""
    ran = cli("local", "show", str(spec.directory), "-w", "json")
    document = json.loads(ran.out)
    assert document["schema"] == "etcdops.local/1"
    assert [member["name"] for member in document["members"]] == ["m1", "m2", "m3"]
    assert {member["pid"] for member in document["members"]} == {None}
    assert document["members"][0]["command"][-1] == "--log-outputs=stderr"


def test_an_empty_member_is_not_started_beside_members_with_data(cli: RunCli, spec: ClusterSpec) -> None:
    """It would vote as if it had promised nothing: exit 6, with the line that starts the others."""
    for name in ("m1", "m3"):
        spec.member(name).data_dir.mkdir()
    ran = cli("local", "start", str(spec.directory))
    assert ran.code == ExitCode.UNSAFE
    assert "the data of m2 is gone" in ran.err
    assert f"etcdops local start '{spec.directory}' m1 m3" in ran.err


def test_nothing_is_started_in_the_middle_of_a_recovery(cli: RunCli, spec: ClusterSpec) -> None:
    """Half of the members may hold the old state and half the new."""
    plan = Plan("recover-from-snapshot", "lab", {"snapshot": "/b/backup.db"}, (), ())
    Journal.create(spec.runs, plan, SystemClock(), name="recover-1")
    ran = cli("local", "start", str(spec.directory))
    assert ran.code == ExitCode.UNSAFE
    assert f"etcdops recover --from-snapshot /b/backup.db --local '{spec.directory}'" in ran.err
    with run_lock(spec.runs):
        assert cli("local", "stop", str(spec.directory)).code == ExitCode.UNSAFE


def test_usage_errors_name_what_there_is(cli: RunCli, spec: ClusterSpec, tmp_path: Path) -> None:
    """A folder without cluster.json, a member that does not exist."""
    ran = cli("local", "stop", str(spec.directory), "m9")
    assert (ran.code, "members: m1, m2, m3" in ran.err) == (ExitCode.USAGE, True)
    ran = cli("local", "show", str(tmp_path))
    assert ran.code == ExitCode.USAGE
    assert "etcdops demo --dir DIR --keep" in ran.err


def test_a_port_in_use_is_named(cli: RunCli, tmp_path: Path) -> None:
    """Nothing is waited for that cannot come."""
    found = shutil.which("false")
    assert found is not None
    spec = described(tmp_path / "lab", Engine(EngineKind.ETCD, Path(found)))
    with stranger_at(spec.members[0].client_url):
        ran = cli("local", "start", str(spec.directory))
    assert ran.code == ExitCode.FAILED
    assert f"another process listens on {spec.members[0].client_url}" in ran.err


def test_the_dashboard_of_a_local_cluster_has_its_name(spec: ClusterSpec) -> None:
    """A port number says nothing; what cluster.json calls it is what `recover` asks to confirm, too."""
    settings = spec.connection()
    assert cluster_title(settings, str(spec.directory)) == "lab"
    assert cluster_title(settings, None) == spec.members[0].client_url.removeprefix("http://")
