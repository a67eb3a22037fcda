"""`etcdops doctor`: how an examination reads, and the whole way on members that serve."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from etcdops.cli.code_view import render_code
from etcdops.cli.doctor_view import SCHEMA, examination_json, render_examination
from etcdops.cli.finding_view import wrap
from etcdops.cli.output import Look, cell_width
from etcdops.client.metrics import NoMetrics
from etcdops.diagnosis.causes import LANGUAGES
from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.doctor.advisories import concerning, operations
from etcdops.doctor.codes import codes, find_code
from etcdops.doctor.examine import Examination, examine
from etcdops.doctor.gather.on_hosts import unseen_hosts
from etcdops.doctor.observation import AuthSeen, HostObservation, Observation, Outcome, Unseen
from etcdops.doctor.words import say
from etcdops.errors import ExitCode
from etcdops.services.port import State
from tests.cli.conftest import Ran, RunCli, clean_environment
from tests.conftest import Golden, MakeCluster
from tests.doctor.cases import FINE, down, path
from tests.doctor.observations import OTHER_CLUSTER, STRANGER, disk, host, observed, on_host
from tests.fakes.served_member import ServedMember
from tests.support.real_etcd import RealCluster


def stray() -> Examination:
    """A member's place is taken by a process of another cluster, a disk gets full, one host cannot be looked at."""
    seen = down(
        2,
        host(2, on_host(2, member_id=STRANGER, cluster_id=OTHER_CLUSTER)),
        host(3, file_systems=(disk(free_bytes=5 << 30),)),
    )
    ways = tuple(path(start, 2, Outcome.WRONG_MEMBER, "member 91bc3c398fb3c146") for start in ("h1", "h3"))
    why = Unseen(say("unseen.host", host="h4"), "no connection within 5 s", say("unseen.host-next", host="h4"))
    return examine(dataclasses.replace(seen, paths=ways, unseen=(why,)))


def restarting() -> Examination:
    return examine(observed(host(1, on_host(1, restarts=7), file_systems=(disk(kind="nfs4"),))))


LOG = (
    '{"level":"warn","ts":"2026-01-31T08:00:00.000Z","caller":"etcdserver/util.go:123",'
    '"msg":"the database is full","error":"mvcc: database space exceeded"}'
)
EXAMINATIONS = {"well": examine(FINE), "stray": stray(), "restarting": restarting()}


def outcome(seen: Observation) -> tuple[str, str, bool]:
    """First word, second or third line (how much there is to do), and whether the exit code is 0."""
    examination = examine(seen)
    text = render_examination(examination, Look(), width=80)
    head = text.partition("\n\n")[0].splitlines()
    assert examination_json(examination)["healthy"] is examination.healthy
    return head[0].partition("  ")[0], head[-1], examination.healthy


def test_head_list_and_exit_code_agree() -> None:
    """Members that are well do not head a report with something to do; an advice is nothing to do."""
    assert outcome(FINE) == ("HEALTHY", "● Nothing to do", True)
    assert outcome(dataclasses.replace(FINE, auth=AuthSeen(False))) == ("HEALTHY", "● Nothing to do", True)
    assert outcome(observed(host(1, on_host(1, restarts=7)))) == ("WARNING", "▲ found: 1 warning", False)
    assert outcome(down(2)) == ("DEGRADED", "✖ found: 1 error", False)
    text = render_examination(examine(dataclasses.replace(FINE, auth=AuthSeen(False))), Look(), width=80)
    assert "good to know:\n· I801 whoever reaches" in text


def test_what_only_logs_say_counts_as_well() -> None:
    logs = diagnose_lines([LOG] * 5, "h1.log")
    assert outcome(dataclasses.replace(FINE, logs=logs))[0] != "HEALTHY"
    assert not outcome(dataclasses.replace(FINE, logs=logs))[2]


def test_hosts_alone_are_headed_by_what_was_looked_at() -> None:
    """`diagnose --host h1` names no cluster: that no member was asked is no trouble."""
    alone = Observation(taken_at=1.0, hosts={"h1": HostObservation("h1"), "h2": HostObservation("h2", error="off")})
    assert outcome(alone)[0] == "ERROR"
    text = render_examination(examine(alone), Look(), width=80)
    assert text.startswith("ERROR  1 of 2 hosts looked at; no member was asked\n✖ found: 1 error\n")
    well = Observation(taken_at=1.0, hosts={"h1": HostObservation("h1")})
    assert outcome(well) == ("NOTHING FOUND", "● Nothing to do", True)


def test_what_nobody_could_look_at_is_not_healthy() -> None:
    """The members of a cluster that cannot be asked, even where their hosts look well."""
    assert outcome(Observation())[::2] == ("UNKNOWN", False)
    hosts = dataclasses.replace(FINE, view=None)
    assert outcome(hosts)[::2] == ("UNKNOWN", False)
    assert "no member could be asked; 3 of 3 hosts looked at" in render_examination(examine(hosts), Look(), width=80)


@pytest.mark.parametrize("name", EXAMINATIONS)
def test_the_report(name: str, golden: Golden) -> None:
    golden.check(f"{name}.txt", render_examination(EXAMINATIONS[name], Look(), width=80))


def test_the_report_in_chinese(golden: Golden) -> None:
    """All of it; names, numbers, commands and the words of other programs are what they are."""
    golden.check("stray-zh.txt", render_examination(stray(), Look(), width=80, language="zh"))


def test_a_host_that_cannot_be_looked_at_is_told_once() -> None:
    """Its finding says why and what next; what was not looked at for that reason is in the JSON only."""
    reason = "no connection within 5 s"
    seen = down(2, HostObservation("h2", error=reason))
    unseen = (
        *unseen_hosts(seen.hosts),
        Unseen(say("unseen.log", member="etcd-2"), reason, host="h2"),
        Unseen(say("unseen.auth"), say("unseen.auth-why")),
    )
    examination = examine(dataclasses.replace(seen, unseen=unseen))
    text = render_examination(examination, Look(), width=80)
    assert text.count(reason) == 1
    assert "E501 h2 cannot be looked at" in text
    assert "authentication: members before 3.5" in text
    listed = examination_json(examination)["unseen"]
    assert isinstance(listed, list)
    assert len(listed) == 3


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", EXAMINATIONS)
def test_the_report_fits_80_columns(name: str, language: str) -> None:
    for full in (False, True):
        text = render_examination(EXAMINATIONS[name], Look(), width=80, language=language, full=full)
        assert max(map(cell_width, text.splitlines())) <= 80


def test_ascii_is_ascii() -> None:
    assert render_examination(stray(), Look(ascii=True), width=80).isascii()


def test_what_members_say_is_shown_not_obeyed() -> None:
    """Reasons come from outside."""
    seen = dataclasses.replace(
        FINE,
        hosts={"h1": host(1, on_host(1, state=State.FAILED, reason="\x1b[2Jexit status 1"))},
        metrics={"etcd-1": NoMetrics("10.0.0.1:2379", "refused\x07")},
    )
    text = render_examination(examine(seen), Look(), width=80, full=True)
    assert "\x1b" not in text
    assert "\x07" not in text


def test_json_has_findings_worst_first_with_their_proof(golden: Golden) -> None:
    """The stable document."""
    document = {"schema": SCHEMA, **examination_json(stray())}
    golden.check("stray.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedMember]:
    (tmp_path / "member").mkdir()
    with ServedMember(tmp_path / "member") as member:
        yield member


@pytest.mark.slow
def test_a_member_that_is_well_has_nothing_to_do(cli: RunCli, served: ServedMember) -> None:
    """The bundled member, over its own port: API, metrics, version, health."""
    ran = cli("doctor", "--endpoints", f"http://{served.address}", "--json")
    document = json.loads(ran.out)
    assert [one["code"] for one in document["findings"]] == ["I206"], ran.out
    assert document["looked_at"]["metrics"] == document["looked_at"]["members"]
    assert (ran.code, document["healthy"]) == (ExitCode.OK, True)


def test_nobody_there_is_a_finding_with_its_next_step(cli: RunCli) -> None:
    """Exit 5: doctor looked, and it is bad."""
    ran = cli("doctor", "--endpoints", "http://127.0.0.1:1", "--dial-timeout", "300ms")
    assert ran.code == ExitCode.UNHEALTHY
    assert "E101 no member answers" in ran.out
    assert "next: start the members at 127.0.0.1:1" in ran.out


def test_a_folder_without_backups_is_a_finding(cli: RunCli, tmp_path: Path) -> None:
    """Only where somebody said where they are kept."""
    asked = ("doctor", "--endpoints", "http://127.0.0.1:1", "--dial-timeout", "300ms")
    assert "W802 no backup was found" in cli(*asked, "--backups", str(tmp_path)).out
    assert "W802" not in cli(*asked).out


def test_a_folder_of_backups_that_is_not_there_ends_the_command_before_anybody_is_asked(cli: RunCli) -> None:
    """Exit 2 and nothing on stdout: a report without backups would look as if they had been looked at."""
    ran = cli("doctor", "--endpoints", "http://127.0.0.1:1", "--backups", "/nowhere/backups")
    assert (ran.code, ran.out) == (ExitCode.USAGE, "")
    assert "error usage: the backups in /nowhere/backups cannot be read" in ran.err
    assert "next: give the folder in which the snapshots lie on this machine" in ran.err


def test_an_operation_nobody_knows_faults_of_is_refused(cli: RunCli) -> None:
    ran = cli("doctor", "--before", "lunch")
    assert ran.code == ExitCode.USAGE
    assert "defragment" in ran.err


def test_a_probe_without_hosts_is_refused(cli: RunCli) -> None:
    assert cli("doctor", "--endpoints", "http://127.0.0.1:1", "--probe").code == ExitCode.USAGE


@pytest.mark.parametrize("code", ["E401", "w305"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_each_finding_has_its_page(cli: RunCli, code: str, language: str) -> None:
    """In both languages, offline, also where the page of a cause says most of it."""
    ran = cli("explain", code, "--lang", language)
    assert f"[{code.upper()}]" in ran.out
    assert "$ " in ran.out
    assert json.loads(cli("explain", code, "-w", "json").out)["code"] == code.upper()


def test_a_code_that_changed_its_severity_is_still_explained(cli: RunCli) -> None:
    """Scripts and tickets go on naming it."""
    assert "[I801]" in cli("explain", "W801").out


def test_a_list_without_blanks_is_broken_behind_its_commas() -> None:
    """As --initial-cluster takes it; what is shorter than a line stays whole."""
    urls = ",".join(f"etcd-{n}=http://10.0.0.{n}:2380" for n in (1, 2, 3))
    assert wrap(f"h2: {urls}", 64, "  ").splitlines() == [
        "h2: etcd-1=http://10.0.0.1:2380,etcd-2=http://10.0.0.2:2380,",
        "  etcd-3=http://10.0.0.3:2380",
    ]
    assert wrap("a,b c,d", 60, "") == "a,b c,d"


def test_chinese_punctuation_begins_no_line() -> None:
    text = "磁盘已满，" * 12
    assert not any(line.startswith("，") for line in wrap(text, 19, "").splitlines())
    assert max(map(cell_width, wrap(text, 19, "").splitlines())) <= 19


@pytest.mark.parametrize("code", sorted(codes()))
def test_pages_fit_the_terminal_and_break_no_word(code: str) -> None:
    """In Chinese as in English; commands stand whole on their lines."""
    for language in LANGUAGES:
        page = render_code(find_code(code), Look(), width=80, language=language)
        text = [line for line in page.splitlines() if not line.lstrip().startswith(("$", "https:"))]
        assert all(cell_width(line) <= 80 or " " not in line.strip() for line in text), page
        words = set(re.findall(r"[A-Za-z][\w-]+", page.replace("\n", " ")))
        whole = set(
            re.findall(r"[A-Za-z][\w-]+", render_code(find_code(code), Look(), width=10_000, language=language))
        )
        assert words == whole


def test_a_code_that_is_none_names_the_nearest(cli: RunCli) -> None:
    ran = cli("explain", "E999")
    assert ran.code == ExitCode.USAGE
    assert "there is no finding 'E999'" in ran.err


@pytest.mark.parametrize(
    ("release", "fault", "has"),
    [
        ((3, 5, 22), "defragment-while-snapshot-applied", True),
        ((3, 5, 23), "defragment-while-snapshot-applied", False),
        ((3, 6, 4), "defragment-while-snapshot-applied", True),
        ((3, 7, 0), "defragment-while-snapshot-applied", False),
        ((3, 4, 45), "member-update-promotes", True),
        ((3, 3, 27), "cve-2026-33413", True),
        ((3, 3, 27), "data-inconsistency-3-5", False),
        ((3, 5, 2), "data-inconsistency-3-5", True),
    ],
)
def test_a_fault_belongs_to_the_releases_that_have_it(release: tuple[int, int, int], fault: str, has: bool) -> None:
    """Source: etcd's changelogs."""
    assert (fault in {one.name for one in concerning(release)}) is has


def test_operations_are_those_of_the_table() -> None:
    assert {"defragment", "member add", "force-new-cluster"} <= set(operations())
    assert "always" not in operations()


def doctor(cluster: RealCluster, home: Path, *arguments: str) -> Ran:
    ran = subprocess.run(
        [sys.executable, "-m", "etcdops", "doctor", "--endpoints", ",".join(cluster.endpoints), *arguments],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_real_etcd_from_well_to_a_lost_quorum(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """The tests' etcd is old, which is known; nothing else is wrong until members die."""
    cluster = real_etcd(size=3)
    # Load of this machine may make disks and links slow: that is no matter here.
    well = json.loads(doctor(cluster, tmp_path, "--json").out)
    assert [one for one in well["findings"] if one["severity"] in ("error", "critical")] == []
    assert {"I213", "I707"} <= {one["code"] for one in well["findings"]}

    cluster.members[1].kill()
    degraded = json.loads(doctor(cluster, tmp_path, "--json").out)
    assert degraded["findings"][0]["code"] == "E201"
    assert degraded["findings"][0]["subject"] == "m2"

    cluster.members[2].kill()
    lost = doctor(cluster, tmp_path, "--dial-timeout", "500ms")
    assert lost.code == ExitCode.UNHEALTHY
    assert "E102 quorum lost" in lost.out
    assert "authentication, leases, health" in lost.out
