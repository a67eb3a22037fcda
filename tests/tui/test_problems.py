"""Live findings and those of the logs as one list: causes first, proof beside what it proves, and why not now."""

from __future__ import annotations

import dataclasses
import re

import pytest

from etcdops.client.view import ClusterView, Silence
from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.finding import Evidence, Finding, Severity
from etcdops.tui.model.dashboard import finding_blocks, findings_title, share_rows
from etcdops.tui.model.log_findings import LogFinding, LogFindings
from etcdops.tui.model.problems import Problem, problem_page
from etcdops.tui.model.state import ConsoleState, Look
from etcdops.tui.model.text import line_width, plain
from tests.fakes.cluster_feed import START, cluster, degraded, healthy, member, quorum_lost

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def logged(
    slug: str, *members: str, peers: tuple[str, ...] = (), deadly: bool = False, current: bool = True
) -> LogFinding:
    finding = Finding(
        slug=slug,
        severity=catalogue()[slug].severity,
        confidence=0.9,
        member=members[0],
        peer="",
        members=members,
        peers=(),
        first=START,
        last=START,
        count=3,
        evidence=(Evidence(members[0], 7, f"the words of {members[0]}"),),
        deadly=deadly,
    )
    return LogFinding(finding, ", ".join(members), members, peers, current)


def merged(view: ClusterView, *found: LogFinding) -> tuple[Problem, ...]:
    """As the console's state has them."""
    state = ConsoleState().after(Look(view, {}, START))
    return state.with_logs(LogFindings(found)).problems


def codes(rows: tuple[Problem, ...]) -> list[str]:
    return [row.logged.finding.slug if row.live is None and row.logged else row.code for row in rows]


def test_why_a_member_died_stands_over_its_silence() -> None:
    """And the next step of the silence is the cause, not a replacement of the member."""
    rows = merged(degraded(), logged("disk-full", "etcd-3", deadly=True))
    assert codes(rows)[:2] == ["disk-full", "E201"]
    assert rows[0].under == ""
    assert rows[1].next_step == "mend the cause first: The disk is full"


def test_that_a_silent_member_is_not_reached_by_its_peers_is_proof_and_no_finding_of_its_own() -> None:
    """The first kind of death: killed, and all anybody says is that nothing listens there."""
    rows = merged(degraded(), logged("peer-connection-refused", "etcd-1", "etcd-2", peers=("etcd-3",)))
    assert "log" not in codes(rows)
    silence = next(row for row in rows if row.code == "E201")
    assert silence.logged is not None
    assert not silence.under
    other = merged(degraded(), logged("peer-connection-refused", "etcd-1", peers=("etcd-2",)))
    assert [row.logged.finding.slug for row in other if row.live is None and row.logged] == ["peer-connection-refused"]


def test_the_trouble_of_another_member_explains_no_silence() -> None:
    rows = merged(degraded(), logged("disk-full", "etcd-1", deadly=True), logged("disk-slow", "etcd-3"))
    assert not any(row.under for row in rows if row.code == "E201")


def test_what_logs_and_members_both_say_is_one_row_with_both_proofs() -> None:
    """The quorum is lost: asked members say so, and the one that is left logs it."""
    rows = merged(quorum_lost(), logged("quorum-lost", "etcd-2"))
    both = [row for row in rows if row.live and row.logged]
    assert [row.code for row in both] == ["E102"]
    assert "quorum-lost" not in codes(rows)
    page = "\n".join(plain(row) for row in problem_page(both[0], 76))
    assert "In the logs" in page
    assert "the words of etcd-2" in page
    assert "etcdops recover" in page


def test_known_symptoms_stand_under_their_cause() -> None:
    """A full disk of two members lost the quorum."""
    rows = merged(quorum_lost(), logged("disk-full", "etcd-1", "etcd-3", deadly=True))
    order = codes(rows)
    assert order[0] == "disk-full"
    assert {row.code for row in rows if row.under} >= {"E201"}
    assert order.index("disk-full") < order.index("E102")


def test_the_past_and_what_is_only_worth_knowing_stay_on_the_logs_screen() -> None:
    benign = next(slug for slug, cause in catalogue().items() if cause.severity is Severity.INFO)
    rows = merged(healthy(), logged("disk-full", "etcd-3", current=False), logged(benign, "etcd-1"))
    assert not [row for row in rows if row.logged]


def test_worse_comes_first_and_live_before_logged_where_they_are_equally_bad() -> None:
    rows = merged(degraded(), logged("disk-slow", "etcd-1"), logged("wal-corrupt", "etcd-2"))
    assert [row.severity for row in rows] == sorted((row.severity for row in rows), reverse=True)


def with_remedy(pattern: str) -> str:
    """A cause whose first step holds these words."""
    from etcdops.diagnosis.actions import steps

    for slug, cause in catalogue().items():
        first = next(iter(steps(cause, "en")), None)
        if first and any(pattern in command for command in first.commands) and cause.severity > Severity.INFO:
            return slug
    pytest.skip(f"no remedy begins with {pattern}")


def test_a_remedy_that_needs_a_quorum_waits_for_it() -> None:
    slug = with_remedy("member update")
    assert [row.blocked for row in merged(healthy(), logged(slug, "etcd-2")) if row.code == "log"] == [""]
    lost = [row for row in merged(quorum_lost(), logged(slug, "etcd-2")) if row.logged]
    assert "needs a quorum" in lost[0].blocked


def test_a_remedy_that_stops_a_member_waits_for_the_others() -> None:
    """Of the member that is silent anyway it may be done at once."""
    slug = with_remedy("systemctl restart")
    view = cluster(member(1), member(2), member(3, silence=Silence.REFUSED))
    blocked = [row.blocked for row in merged(view, logged(slug, "etcd-1")) if row.code == "log"]
    assert blocked == ["etcd-3 does not answer; stopping one more member could lose the quorum"]
    assert [row.blocked for row in merged(view, logged(slug, "etcd-3")) if row.code == "log"] == [""]


@pytest.mark.parametrize("rows", [1, 4, 6, 30])
@pytest.mark.parametrize("cells", [56, 76, 116])
def test_rows_are_as_wide_as_the_pane_and_say_both_where_there_is_room(cells: int, rows: int) -> None:
    found = merged(degraded(), logged("disk-full", "etcd-3", deadly=True))
    blocks = finding_blocks(found, cells, rows, 0)
    assert len(blocks) == len(found)
    assert all(line_width(row) == cells for block in blocks for row in block)
    text = "\n".join(plain(row) for block in blocks for row in block)
    assert text.startswith("✖ log  etcd-3: The disk is full")
    assert ("next: " in text and "blocked: " in text) == (rows == 30)


def test_titles_count_by_word_or_by_mark() -> None:
    found = merged(degraded(), logged("disk-full", "etcd-3", deadly=True))
    by_word, by_mark = plain(findings_title(found, 120)), plain(findings_title(found, 80))
    assert by_word.startswith("Findings 1 critical · 1 error · ")
    assert by_mark.startswith("Findings 2✖ ")


def test_reasons_why_not_now_get_rows_of_their_own() -> None:
    plain_heights = share_rows(120, 40, members=3, findings=2)
    assert share_rows(120, 40, members=3, findings=2, blocked=2).findings == plain_heights.findings + 2
    assert share_rows(80, 20, members=3, findings=2, blocked=2) == share_rows(80, 20, members=3, findings=2)


def test_findings_are_told_in_chinese_where_that_is_wanted() -> None:
    """Live ones, those of logs, what forbids the next step, and the page; each line within its cells."""
    state = ConsoleState(language="zh").after(Look(degraded(), {}, START))
    found = dataclasses.replace(logged("disk-full", "etcd-1"), language="zh")
    rows = state.with_logs(LogFindings((found,))).problems
    assert {row.language for row in rows} == {"zh"}
    for row in rows:
        assert CHINESE.search(row.summary), row.summary
        lines = [*finding_blocks([row], 60, 20, 0)[0], *problem_page(row, 60)]
        assert max(map(line_width, lines)) <= 60
        page = "\n".join(plain(line) for line in lines)
        assert "处理" in page
        assert not re.search(r"(?m)^(?:next|blocked|fix|about|seen|check)\b", page)
    under = merged_in("zh", degraded(), dataclasses.replace(logged("disk-full", "etcd-3", deadly=True), language="zh"))
    assert under[1].next_step == "先处理根因：磁盘已满"


def merged_in(language: str, view: ClusterView, *found: LogFinding) -> tuple[Problem, ...]:
    return ConsoleState(language=language).after(Look(view, {}, START)).with_logs(LogFindings(found)).problems
