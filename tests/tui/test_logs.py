"""The logs as a model: order, clocks, bounds, levels, filters, times, and what they say is wrong."""

from __future__ import annotations

import dataclasses
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.diagnosis.finding import Severity
from etcdops.tui.log_feed import LogTrouble
from etcdops.tui.model import logs as logs_module
from etcdops.tui.model.filtering import parse_filter
from etcdops.tui.model.log_findings import (
    finding_blocks,
    finding_page,
    findings_title,
    log_findings,
    trouble_page,
    unexplained_page,
)
from etcdops.tui.model.log_lines import RowStyle, line_page, log_row
from etcdops.tui.model.log_view import LogView, parse_moment, place_at
from etcdops.tui.model.logs import Level, LogBook
from etcdops.tui.model.text import Tone, line_width, plain
from tests.fakes.cluster_feed import MEMBER_IDS, START
from tests.fakes.log_feed import elected, zap

NAMES = ("etcd-1", "etcd-2", "etcd-3")
FULL = "write /var/lib/etcd/member/wal/0.wal: no space left on device"


def book_of(**lines: list[str]) -> LogBook:
    book = LogBook(NAMES)
    for name, some in lines.items():
        book.add(name.replace("_", "-"), some, START)
    return book


def messages(book: LogBook) -> list[str]:
    return [line.text[: line.message_size] for line in book.lines]


def test_lines_of_all_members_stand_in_one_order_of_time() -> None:
    book = book_of(etcd_1=[zap(1, "a"), zap(4, "d")], etcd_2=[zap(2, "b"), zap(5, "e")], etcd_3=[zap(3, "c")])
    assert messages(book) == ["a", "b", "c", "d", "e"]
    assert [book.names[line.source] for line in book.lines] == ["etcd-1", "etcd-2", "etcd-3", "etcd-1", "etcd-2"]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50)), max_size=60), st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_the_pieces_in_which_lines_arrive(
    written: list[tuple[int, int]], draw: random.Random
) -> None:
    """Connections are of different speed; the lines of one log come in its order all the same."""
    logs = [[zap(at, f"{member} {at}") for owner, at in sorted(written) if owner == member] for member in range(3)]
    whole, pieces = LogBook(NAMES), LogBook(NAMES)
    for name, some in zip(NAMES, logs, strict=True):
        whole.add(name, some, START)
    left = [list(some) for some in logs]
    while any(left):
        member = draw.choice([index for index, some in enumerate(left) if some])
        size = draw.randint(1, 5)
        pieces.add(NAMES[member], left[member][:size], START)
        del left[member][:size]
    assert pieces.lines == whole.lines


def test_lines_written_in_the_same_moment_keep_their_order_though_their_clock_readings_do_not() -> None:
    """Two goroutines read the clock and write the other way round."""
    book = book_of(etcd_1=[zap(1.002, "first"), zap(1.001, "second"), zap(1.003, "third")])
    assert messages(book) == ["first", "second", "third"]


def test_a_clock_that_was_set_back_puts_lines_where_it_says() -> None:
    book = book_of(etcd_1=[zap(100, "before"), zap(10, "after")])
    assert messages(book) == ["after", "before"]


def test_clocks_are_put_right_by_the_elections_that_all_members_log() -> None:
    """The first member's clock is a minute ahead; its lines go where they belong, and one can see by how much."""
    late = [elected(1, 1, term, 60.01 + term * 10) for term in (2, 3)]
    book = book_of(
        etcd_1=[*late, zap(95, "in between")],
        etcd_2=[elected(2, 1, 2, 20), elected(2, 1, 3, 30), zap(40, "last of two")],
    )
    assert messages(book)[-1] == "in between"
    book.conclude()
    assert messages(book)[-2:] == ["in between", "last of two"]
    assert book.offset_s(0) == pytest.approx(60, abs=0.1)
    book.add("etcd-1", [zap(96, "later, put right at once")], START)
    assert messages(book)[-2] == "later, put right at once"


def test_lines_without_a_time_follow_the_line_before_them_and_are_as_bad() -> None:
    """A panic's stack belongs to the panic, and survives a filter by level."""
    stack = ["panic: tocommit(11) is out of range", "goroutine 1 [running]:", "\tmain.main()"]
    book = book_of(etcd_1=[zap(1, "a", level="fatal"), *stack], etcd_2=[zap(1.5, "b")])
    assert [line.level for line in book.lines] == [Level.FATAL] * 4 + [Level.INFO]
    assert [line.text for line in book.lines][1:4] == [
        "panic: tocommit(11) is out of range",
        *(s.strip() for s in stack[1:]),
    ]


def test_lines_before_the_first_time_stand_with_it() -> None:
    """An excerpt may begin in the middle of a stack trace."""
    book = book_of(etcd_1=["\tmain.main()", zap(-500, "starting")], etcd_2=[zap(-600, "earlier")])
    assert messages(book)[0] == "earlier"
    assert book.lines[1].at == book.lines[2].at


def test_memory_is_bounded_by_lines_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, whoever wrote them."""
    monkeypatch.setattr(logs_module, "LINES_KEPT", 200)
    monkeypatch.setattr(logs_module, "_TRIMMED_AT_ONCE", 10)
    book = LogBook(NAMES)
    for step in range(100):
        book.add(NAMES[step % 3], [zap(step + n / 10, f"m{step}") for n in range(10)], START)
    assert 200 <= len(book.lines) < 220
    assert book.taken == 1000
    assert book.dropped == 1000 - len(book.lines)
    assert messages(book)[-1] == "m99"
    monkeypatch.setattr(logs_module, "BYTES_KEPT", 50_000)
    book.add("etcd-1", [zap(200, "x" * 7_000) for _ in range(20)], START)
    assert sum(len(line.raw) + len(line.text) for line in book.lines) <= 50_000


def test_a_line_of_any_length_and_any_bytes_is_safe_and_short() -> None:
    book = book_of(etcd_1=["\x1b[31m" + "x" * 100_000 + "\x00\u202e", "[/registry] [red]", '{"level"', ""])
    assert all(line.text.isprintable() and line.raw.isprintable() for line in book.lines)
    assert max(len(line.raw) for line in book.lines) < 10_000
    for line in book.lines:
        for cells in (10, 60, 116, 196):
            style = RowStyle.of(book.lines, book.names, LogView())
            assert line_width(log_row(line, style, cells)) <= max(cells, 40)


def test_the_error_stands_first_and_what_columns_say_is_left_out() -> None:
    book = book_of(etcd_1=[zap(1, "apply failed", level="warn", local_member_id="abc", took="1s", error="too slow")])
    assert book.lines[0].text == "apply failed error=too slow took=1s"


def test_members_are_called_by_name_wherever_a_line_has_their_id() -> None:
    """As soon as one is known: by the member's own log, or by the cluster; the line itself stays as it was written."""
    third = format(MEMBER_IDS[2], "x")
    book = book_of(
        etcd_1=[zap(1, f"lost {third}", remote_peer_id=third)], etcd_3=[zap(2, "added member", local_member_id=third)]
    )
    assert book.lines[0].text == f"lost {third} remote-peer-id={third}"
    book.conclude()
    line = book.lines[0]
    assert line.text == "lost etcd-3 remote-peer-id=etcd-3"
    assert line.text[: line.message_size] == "lost etcd-3"
    assert third in line.raw
    assert len(LogView(filter=parse_filter("etcd-3")).chosen(book.lines)) == 1
    book.name_members({third: "renamed"})
    book.add("etcd-1", [zap(3, f"found {third}")], START)
    assert messages(book)[-1] == "found renamed"


def test_filters_by_text_level_member_and_known_causes() -> None:
    book = book_of(
        etcd_1=[
            zap(1, "compacted Raft logs"),
            zap(2, "odd", level="warn"),
            zap(3, "cannot save", level="error", error=FULL),
        ],
        etcd_2=[zap(4, "compacted"), zap(5, "debugging", level="debug")],
    )

    def seen(view: LogView) -> list[str]:
        return [line.text.split()[0] for line in view.chosen(book.lines)]

    assert seen(LogView()) == ["compacted", "odd", "cannot", "compacted", "debugging"]
    assert seen(LogView(filter=parse_filter("RAFT"))) == ["compacted"]
    assert seen(LogView(filter=parse_filter("!compacted"))) == ["odd", "cannot", "debugging"]
    assert seen(LogView(filter=parse_filter("~^odd"))) == ["odd"]
    assert seen(LogView().next_level()) == ["compacted", "odd", "cannot", "compacted"]
    assert seen(LogView(level=Level.ERROR)) == ["cannot"]
    assert seen(LogView().next_source(3).next_source(3)) == ["compacted", "debugging"]
    assert LogView(source=2).next_source(3).source is None
    assert seen(LogView(problems_only=True)) == ["odd", "cannot"]
    view = LogView(filter=parse_filter("x"), level=Level.WARN, source=1, problems_only=True, context=1)
    assert view.note(book.names) == "/x · warn and worse · only etcd-2 · problems only · 3 lines around"


def test_context_shows_the_lines_around_each_match_without_repeating_them() -> None:
    book = book_of(etcd_1=[zap(n, f"{'hit' if n in (5, 7, 30) else 'line'} {n}") for n in range(40)])
    view = LogView(filter=parse_filter("hit")).next_context()
    shown = [int(line.text.split()[1]) for line in view.chosen(book.lines)]
    assert shown == [2, 3, 4, 5, 6, 7, 8, 9, 10, 27, 28, 29, 30, 31, 32, 33]
    everything = dataclasses.replace(view, context=3)
    assert len(everything.chosen(book.lines)) == 40
    assert [everything.matches(line) for line in book.lines].count(True) == 3


@pytest.mark.parametrize(("text", "seconds_ago"), [
    ("22:00", 13 * 60 + 20), ("22:13:20", 0), ("22:13:30", -10), ("23:00", 23 * 3600 + 13 * 60 + 20),
    ("11-13 22:13:20", 86_400), ("12-31 22:13", 318 * 86_400 + 20), ("5m", 300), ("-90s", 90), ("1h30m", 5_400),
    ("2023-11-14T21:13:20Z", 3_600), ("2023-11-14 21:13:20", 3_600), ("2023-11-14", 22 * 3600 + 13 * 60 + 20),
])  # fmt: skip
def test_times_are_read_as_people_type_them(text: str, seconds_ago: float) -> None:
    """START is 2023-11-14 22:13:20 UTC; a time of day later than the newest line is yesterday's."""
    assert parse_moment(text, START) == pytest.approx(START - seconds_ago)


@pytest.mark.parametrize("text", ["", "soon", "25:00", "13-40 10:00", "2023-11-14T"])
def test_what_is_no_time_is_refused(text: str) -> None:
    assert parse_moment(text, START) is None


def test_a_time_is_found_among_the_lines() -> None:
    book = book_of(etcd_1=[zap(n * 10, str(n)) for n in range(10)])
    assert [place_at(book.lines, START + at) for at in (-5, 0, 41, 500)] == [0, 0, 5, 9]
    assert place_at([], START) == 0


def full_disk() -> LogBook:
    """Member 3 dies of a full disk; the others see it gone."""
    gone = [
        zap(30 + n, "prober detected unhealthy status", level="warn", remote_peer_id=format(MEMBER_IDS[2], "x"),
            error="dial tcp 10.0.0.3:2380: connect: connection refused")
        for n in range(5)
    ]  # fmt: skip
    book = book_of(
        etcd_3=[
            zap(20, "cannot save", level="error", error=FULL),
            zap(21, "failed to create WAL", level="fatal", error=FULL),
        ],
        etcd_1=gone,
        etcd_2=gone,
    )
    book.conclude()
    return book


def test_findings_name_members_and_put_the_cause_first() -> None:
    book = full_disk()
    found = log_findings(book.diagnosis, book.names_of(), (), START + 60)
    first = found.found[0]
    assert (first.finding.slug, first.where, first.current) == ("disk-full", "etcd-3", True)
    assert first.finding.severity is Severity.CRITICAL
    assert [symptom.slug for symptom in first.finding.explains] == ["peer-connection-refused"]
    assert plain(findings_title(found)) == "Findings 1✖"
    page = "\n".join(plain(row) for row in finding_page(first, 76))
    assert "explains Nothing listens at the peer's address (10 lines)" in page
    assert "etcd-3 fatal failed to create WAL error=write" in page
    assert "$ ssh <host> df -h" in page


def test_a_finding_of_long_ago_is_of_the_past_unless_its_member_has_said_nothing_since() -> None:
    book = full_disk()
    assert log_findings(book.diagnosis, {}, (), START + 7_200).found[0].current, "it died, and is still dead"
    book.add("etcd-3", [zap(3_600, "starting etcd"), zap(3_601, "ready to serve client requests")], START)
    book.conclude()
    later = log_findings(book.diagnosis, {}, (), START + 7_200).found
    assert not any(one.current for one in later if one.finding.slug == "disk-full")


@pytest.mark.parametrize("rows", [1, 3, 4, 40])
def test_findings_take_as_many_lines_as_there_are(rows: int) -> None:
    """The one under the cursor keeps its second line longest; sentences are whole where there is room."""
    book = full_disk()
    book.add("etcd-2", [zap(50, "never heard of this", level="fatal")], START)
    book.conclude()
    trouble = LogTrouble("etcd-1", "h1: the connection broke", "ssh h1 true")
    found = log_findings(book.diagnosis, book.names_of(), [trouble], START + 60)
    assert found.count == 3
    blocks = finding_blocks(found, 56, rows, 1, START + 60)
    assert len(blocks) == 3
    assert all(line_width(row) == 56 for block in blocks for row in block)
    assert len(blocks[1]) > 1
    if rows == 40:
        text = "\n".join(plain(row) for block in blocks for row in block)
        assert "…" not in text
    assert any("ssh h1 true" in plain(row) for row in trouble_page(trouble, 60))
    assert any("never heard of this" in plain(row) for row in unexplained_page(found.unexplained[0], 60))


def test_a_line_is_explained_by_the_page_of_its_cause() -> None:
    book = full_disk()
    known = "\n".join(plain(row) for row in line_page(book.lines[0], "etcd-3", 12.0, 70))
    assert "no space left on device" in known
    assert "its own clock says" in known
    assert "disk-full" in known
    other = book_of(etcd_1=[zap(1, "compacted Raft logs"), "not etcd's"])
    assert any("no sign of trouble" in plain(row) for row in line_page(other.lines[0], "etcd-1", 0.0, 200))
    assert any("not etcd's" in plain(row) for row in line_page(other.lines[1], "etcd-1", 0.0, 70))


def test_rows_mark_what_was_searched_and_dim_what_only_surrounds_it() -> None:
    book = book_of(etcd_1=[zap(1, "raft term changed", term="42 " + "x " * 99), zap(2, "other")])
    view = LogView(filter=parse_filter("TERM"), context=3)
    style = RowStyle.of(book.lines, book.names, view)
    marked = log_row(book.lines[0], style, 116)
    assert [span.text for span in marked if span.tone is Tone.MATCH] == ["term"]
    assert log_row(book.lines[1], style, 116)[-1].tone is Tone.DIM


def test_days_are_told_only_where_lines_are_of_several() -> None:
    one = book_of(etcd_1=[zap(1, "a"), zap(2, "b")])
    several = book_of(etcd_1=[zap(-86_400, "a"), zap(2, "b")])
    for book, shown in ((one, "22:13:21"), (several, "11-13 22:13:20")):
        style = RowStyle.of(book.lines, book.names, LogView())
        assert plain(log_row(book.lines[0], style, 76)).startswith(shown)


def test_milliseconds_are_rounded_into_the_next_second() -> None:
    book = book_of(etcd_1=[zap(0.9996, "a")])
    assert plain(log_row(book.lines[0], RowStyle.of(book.lines, book.names, LogView()), 116)).startswith("22:13:21.000")
    assert time.localtime(START).tm_hour == 22
