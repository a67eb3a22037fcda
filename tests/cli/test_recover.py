"""`etcdops recover` as it is typed: who must confirm, what is printed, and which code says what."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.errors import ExitCode
from etcdops.playbooks.cluster_file import ClusterSpec, load_cluster
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.ports import is_listening
from tests.cli.conftest import RunCli, clean_environment
from tests.playbooks.clusters import BrokenCluster, break_cluster, described, engine_named
from tests.support.real_etcd import poll_until

ONE = "a=/d,http://a:1,http://a:2"
real = pytest.mark.real
slow = pytest.mark.slow


@pytest.fixture
def lost(tmp_path: Path) -> Iterator[BrokenCluster]:
    """A cluster of real etcd 3.5 without quorum."""
    spec = described(tmp_path / "lab", engine_named("etcd-3.5"))
    try:
        yield break_cluster(spec)
    finally:
        LocalCluster(load_cluster(spec.directory)).kill()


def arguments(lost: BrokenCluster, *more: str) -> list[str]:
    return ["recover", "--from-snapshot", str(lost.snapshot), "--local", str(lost.spec.directory), *more]


@slow
@real
def test_without_a_terminal_the_name_is_needed_and_the_exact_line_is_given(cli: RunCli, lost: BrokenCluster) -> None:
    """Exit 8, also with --yes; nothing was touched; the line that is printed works."""
    for more in ([], ["--yes"]):
        ran = cli(*arguments(lost, *more))
        assert ran.code == ExitCode.NOT_CONFIRMED
        assert "Lost by it:" in ran.out
        assert "--confirm lab" in ran.err
    assert cli(*arguments(lost, "--confirm", "prod")).code == ExitCode.NOT_CONFIRMED
    assert LocalCluster(lost.spec).member("m3").running
    assert not list(lost.spec.directory.glob("*.before-*"))
    process = subprocess.run(
        [sys.executable, "-m", "etcdops", *arguments(lost, "--confirm", "lab")],
        env=clean_environment(lost.spec.directory),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "recovered lab in" in process.stdout
    assert "old data:" in process.stdout
    assert "next: etcdops" in process.stdout
    assert f"stop them: etcdops local stop {lost.spec.directory}" in process.stdout
    assert f"start them again, after a reboot say: etcdops local start {lost.spec.directory}" in process.stdout
    assert "✓ restore m2 from the snapshot" in process.stderr
    ran = cli("status", "--local", str(lost.spec.directory), "-w", "json")
    assert ran.code == 0, ran.out
    assert len(json.loads(ran.out)["members"]) == 3


@slow
@real
def test_a_detached_recovery_goes_on_without_its_terminal(lost: BrokenCluster) -> None:
    """The command returns when another process has the run in its hands; `attach` shows it to its end."""

    def etcdops(*line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "etcdops", *line],
            env=clean_environment(lost.spec.directory),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )

    begun = etcdops(*arguments(lost, "--detach", "--confirm", "lab"))
    assert begun.returncode == 0, begun.stderr
    said = re.search(r"(r-[0-9a-f]+) goes on as process \d+; watch it: etcdops runs attach", begun.stdout)
    assert said is not None, begun.stdout
    watched = etcdops("runs", "attach", said[1])
    assert watched.returncode == 0, watched.stdout + watched.stderr
    assert f"{said[1]} is finished" in watched.stdout
    assert load_cluster(lost.spec.directory).token != lost.spec.token


@slow
@real
def test_a_dry_run_prints_the_plan_and_changes_nothing(cli: RunCli, lost: BrokenCluster) -> None:
    ran = cli(*arguments(lost, "--dry-run", "-w", "json"))
    assert ran.code == 0
    plan = json.loads(ran.out)
    assert plan["schema"] == "etcdops.recover/1"
    # What a dead member had in its log but not yet in its store may have been writes: then the loss is a range.
    assert re.match(r"30( to 3\d)? revisions", plan["plan"]["losses"][0])
    assert plan["resumes"] is None
    assert LocalCluster(lost.spec).member("m3").running
    assert not list(lost.spec.runs.glob("*.jsonl"))


@slow
@real
@pytest.mark.parametrize(("typed", "code"), [("lab\n", 0), ("yes\n", 8), ("\n", 8)])
def test_at_a_terminal_the_name_is_typed(lost: BrokenCluster, typed: str, code: int) -> None:
    """A habit types y; only the name goes on."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "etcdops", *arguments(lost)],
        env=clean_environment(lost.spec.directory),
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        os.write(parent, typed.encode())
        output, _ = process.communicate(timeout=90)
        assert process.returncode == code, output.decode()
        assert b"Type the cluster's name" in output
    finally:
        process.kill()
        process.wait()
        os.close(parent)
        os.close(child)


@slow
@real
def test_members_of_any_etcd_are_described_on_the_line(cli: RunCli, lost: BrokenCluster) -> None:
    """--member instead of --local: nothing but directories, URLs and a binary is known."""
    lost.local.kill()
    state = lost.spec.directory / "state"
    members = [
        part
        for member in lost.spec.members
        for part in ("--member", f"{member.name}={member.data_dir},{member.client_url},{member.peer_url}")
    ]
    line = [
        "recover", "--from-snapshot", str(lost.snapshot), *members, "--cluster", "prod", "--dir", str(state),
        "--etcd", str(lost.spec.engine.binary), "--confirm", "prod", "-w", "json",
    ]  # fmt: skip
    ran = cli(*line)
    try:
        assert ran.code == 0, ran.err
        assert load_cluster(state).token.startswith("prod-")
        assert json.loads(ran.out)["steps"]["verify:members"]["members"] == 3
        again = cli(*line)
        assert again.code == ExitCode.UNSAFE, "it works now: nothing to recover"
        assert "--force-unsafe quorum-holds" in again.err
    finally:
        LocalCluster(load_cluster(state)).kill()


@slow
@real
def test_a_member_under_another_supervisor_is_refused_before_anything_is_asked(
    cli: RunCli, lost: BrokenCluster
) -> None:
    """Exit 6 with process, command and remedy; nothing was stopped, moved or begun. A dry run still shows the plan."""
    member = lost.local.member("m3")
    member.stop()
    foreign = subprocess.Popen(
        member.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        poll_until(lambda: is_listening(member.spec.client_url), 30)
        for more in (["--confirm", "lab"], []):
            ran = cli(*arguments(lost, *more))
            assert ran.code == ExitCode.UNSAFE, ran.err
            assert "Lost by it:" in ran.out
            assert f"m3 is not run by etcdops but by pid {foreign.pid}: {lost.spec.engine.binary}" in ran.err
            assert f"kill {foreign.pid}" in ran.err
            assert "Nothing was changed" in ran.err
        dry = cli(*arguments(lost, "--dry-run"))
        assert dry.code == 0
        assert f"m3 is run by others (pid {foreign.pid})" in " ".join(dry.out.split())
        assert foreign.poll() is None
        assert not list(lost.spec.directory.glob("*.before-*"))
        assert not list(lost.spec.runs.glob("*.jsonl"))
    finally:
        foreign.kill()
        foreign.wait()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ([], "which cluster?"),
        (["--local", "/nowhere"], "not the directory of a local cluster"),
        (["--local", "/nowhere", "--member", "m1=/d,http://a:1,http://a:2"], "which cluster?"),
        (["--local", "/nowhere", "-i", "prod.yaml"], "which cluster?"),
        (["-i", "/nowhere/prod.yaml"], "/nowhere/prod.yaml cannot be read"),
        (["--cluster", "prod", "-i", "/nowhere/prod.yaml"], "/nowhere/prod.yaml cannot be read"),
        (["--member", "nonsense"], "is not NAME=DATA-DIR"),
        (["--engine", "node", "--member", "m1=/d,http://192.0.2.1:1,http://a:2"], "not an address of this machine"),
        (["--member", "m1=/d,http://a:1,http://a:2"], "what do the members run?"),
        (["--engine", "node", "--member", ONE, "--member", "b=/d,http://b:1,http://b:2"], "same data dir"),
        (["--endpoints", "http://a:1", "--engine", "node", "--member", ONE], "not needed here"),
        (["--update-inventory", "--engine", "node", "--member", ONE], "is about hosts of an inventory"),
    ],
)
def test_a_cluster_must_be_named_in_one_way(cli: RunCli, tmp_path: Path, more: list[str], complaint: str) -> None:
    ran = cli("recover", "--from-snapshot", str(tmp_path / "x.db"), *more)
    assert ran.code == ExitCode.USAGE
    assert complaint in ran.err


def test_a_missing_snapshot_is_a_usage_error(cli: RunCli, tmp_path: Path) -> None:
    spec = _unstarted(tmp_path)
    ran = cli("recover", "--from-snapshot", str(tmp_path / "x.db"), "--local", str(spec.directory))
    assert ran.code == ExitCode.USAGE
    assert "cannot read" in ran.err


def test_local_names_the_cluster_for_other_commands(cli: RunCli, tmp_path: Path) -> None:
    """`--local DIR` anywhere --endpoints may stand; both together name two clusters."""
    spec = _unstarted(tmp_path)
    ran = cli("status", "--local", str(spec.directory))
    assert ran.code == ExitCode.UNREACHABLE
    ran = cli("status", "--local", str(spec.directory), "--endpoints", "http://127.0.0.1:1")
    assert ran.code == ExitCode.USAGE
    assert "two clusters" in ran.err


def _unstarted(folder: Path) -> ClusterSpec:
    from etcdops.playbooks.cluster_file import Engine, EngineKind

    return described(folder / "lab", Engine(EngineKind.NODE))
