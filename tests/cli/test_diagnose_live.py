"""Logs and live checks as one document, and what is typed instead of logs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from etcdops.cli.diagnose_live_view import members_listed, whole_json
from etcdops.cli.diagnose_view import render_markdown, render_report
from etcdops.cli.output import Look
from etcdops.client.view import ClusterView, MemberView
from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.diagnosis.names import with_names
from etcdops.doctor.examine import Examination
from etcdops.doctor.finding import finding
from etcdops.doctor.observation import Observation
from etcdops.ids import MemberID
from tests.cli.conftest import RunCli

LINES = [
    '{"level":"fatal","ts":"2026-01-31T08:00:00.1Z","caller":"etcdmain/etcd.go:1","msg":"discovery failed",'
    '"error":"member 8e9e05c52164694d has already been bootstrapped"}',
    '{"level":"error","ts":"2026-01-31T08:00:01.1Z","caller":"rafthttp/util.go:99",'
    '"msg":"request sent was ignored due to cluster ID mismatch","remote-peer-id":"a6ab2b850686fd8e",'
    '"remote-peer-cluster-id":"94dda5ceb0b7be3f","local-member-cluster-id":"a1e378395892f93d"}',
]


def test_causes_that_are_proved_live_come_first() -> None:
    """Whatever the logs alone would say first; each names its proof, and `live` is doctor's document."""
    diagnosis = diagnose_lines(LINES, "m1")
    slugs = [one.slug for one in diagnosis.findings]
    assert "cluster-id-mismatch" in slugs[1:]
    stray = finding("E401", "h3", name="m3", cluster="94dda5ceb0b7be3f", stop="kill 7", path="/var/lib/etcd")
    mismatch, *left = sorted(diagnosis.findings, key=lambda one: one.slug != "cluster-id-mismatch")
    examination = Examination((stray,), tuple(left), (), Observation(logs=diagnosis), {mismatch: stray})
    document = json.loads(whole_json(diagnosis, examination, "en"))
    assert document["schema"] == "etcdops.diagnose/1"
    first, *others = document["findings"]
    assert (first["slug"], first["proved_live"]) == ("cluster-id-mismatch", "E401 h3")
    assert {one["proved_live"] for one in others} == {None}
    assert len(others) == len(slugs) - 1
    assert document["live"]["findings"][0]["code"] == "E401"
    assert document["healthy"] is False


def test_a_cause_that_only_logs_know_comes_with_what_the_look_shows_of_it() -> None:
    """Before other causes; people read it first, in one block."""
    diagnosis = diagnose_lines(LINES, "m1")
    fails = finding("E502", "h3", host="h3", reason="exit status 1", step="its log tells why")
    last = diagnosis.findings[-1]
    examination = Examination((), diagnosis.findings, (), Observation(logs=diagnosis), {}, {last: (fails,)})
    document = json.loads(whole_json(diagnosis, examination, "en"))
    assert document["findings"][0]["slug"] == last.slug
    assert [one["code"] for one in document["findings"][0]["explains_live"]] == ["E502"]
    assert document["live"]["findings"] == []
    report = render_report(diagnosis, Look(color=False, ascii=False), width=100, language="en", now={last: (fails,)})
    assert "     now: E502 h3 does not run on h3: exit status 1" in report.splitlines()
    assert "now: E502" in render_markdown(diagnosis, "en", {last: (fails,)})


def test_people_read_names_where_logs_have_ids() -> None:
    """The member list knows them; a peer of another cluster stays what it is."""
    diagnosis = diagnose_lines(LINES[1:], "m1")
    (found,) = diagnosis.findings
    assert found.peers == ("a6ab2b850686fd8e",)
    h3 = MemberView(MemberID(0xA6AB2B850686FD8E), "h3", (), (), False, True, "", None)
    (named,) = with_names([found], members_listed(ClusterView(None, (h3,))))
    assert named.peers == ("h3 (a6ab2b850686fd8e)",)
    assert with_names([found], members_listed(None)) == (found,)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["m1.log", "--unit", "etcd"], "logs were given and are to be fetched as well"),
        (["--unit", "etcd", "--container", "etcd"], "name two things"),
        (["--cluster", "prod"], "there is no inventory"),
        (["--host", "a:b"], "'a:b' is no host"),
    ],
)
def test_what_does_not_go_together_is_said(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """Before any host is asked."""
    monkeypatch.chdir(tmp_path)
    ran = cli("diagnose", *words, HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
