"""Sharing the rows of a terminal, and columns of a table."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from etcdops.numbers import show_age, show_bytes, show_bytes_short, show_duration
from etcdops.tui.model.cluster import MemberRow, compact_count, member_columns, member_rows
from etcdops.tui.model.dashboard import share_rows
from etcdops.tui.model.filtering import parse_filter
from etcdops.tui.model.table import Sort, header_line, layout_columns, next_sort, row_line, sort_rows
from etcdops.tui.model.text import line_width
from tests.fakes.cluster_feed import START, cluster, degraded, member


@given(st.integers(60, 240), st.integers(12, 80), st.integers(1, 20), st.integers(0, 30))
def test_the_dashboards_panes_share_all_rows_and_no_more(columns: int, rows: int, members: int, findings: int) -> None:
    """Nothing falls off the screen, whatever its size."""
    heights = share_rows(columns, rows, members=members, findings=findings)
    assert heights.total == rows
    assert heights.members >= 4
    assert heights.findings >= 3
    assert heights.events >= 0


@given(st.integers(20, 200), st.text(max_size=60), st.floats(0, 1e5), st.integers(0, 10**12))
def test_every_row_of_the_members_table_is_as_wide_as_its_head(
    cells: int, name: str, rtt_s: float, applied: int
) -> None:
    """Columns never shift, whatever a member says."""
    view = cluster(member(1, name=name.encode("unicode_escape").decode(), rtt_s=rtt_s, applied=applied), member(2))
    rows = member_rows(view, START)
    sized = layout_columns(member_columns(rows), cells)
    widths = {line_width(row_line(sized, row)) for row in rows} | {line_width(header_line(sized))}
    assert len(widths) == 1


def test_narrow_tables_lose_whole_columns_and_keep_the_important_ones() -> None:
    columns = member_columns(member_rows(degraded(), START))
    shown = {cells: [column.name for column, _ in layout_columns(columns, cells)] for cells in (116, 76, 40)}
    assert len(shown[116]) == len(columns)
    assert shown[76] == ["member", "role", "health", "rtt", "db", "in_use", "lag", "alarm", "seen"]
    assert shown[40][:2] == ["member", "health"] or "health" in shown[40]


def test_sorting_goes_through_the_columns_and_back_to_the_natural_order() -> None:
    columns = member_columns([])
    sort, seen = None, []
    for _ in range(20):
        sort = next_sort(columns, sort)
        if sort is None:
            break
        seen.append(sort.column)
    assert seen == ["member", "role", "health", "rtt", "version", "db", "lag", "seen"]


def test_rows_are_sorted_by_value_not_by_text() -> None:
    rows = member_rows(cluster(member(1, size=10.0), member(2, size=9.0), member(3, size=0.5)), START)
    ordered: list[MemberRow] = sort_rows(member_columns(rows), rows, Sort("db"))
    assert [row.member.name for row in ordered] == ["etcd-3", "etcd-2", "etcd-1"]


def test_filters_match_text_its_absence_and_expressions() -> None:
    rows = ["etcd-1 leader", "etcd-2 follower", "etcd-3 follower"]
    for text, expected in (
        ("LEADER", rows[:1]),
        ("!follower", rows[:1]),
        ("~etcd-[23]", rows[1:]),
        ("!~etcd-[23]", rows[:1]),
        ("", rows),
        ("~[", rows),
    ):
        assert [row for row in rows if parse_filter(text).matches(row)] == expected, text
    assert parse_filter("~[").error.startswith("no regular expression")


def test_numbers_are_short_at_every_size() -> None:
    values = [*range(0, 3000, 7), *(10**n for n in range(19))]
    assert all(len(show_bytes_short(value)) <= 5 for value in values)
    assert all(len(compact_count(value)) <= 5 for value in values)
    assert all(len(show_age(value)) <= 4 for value in values if value < 10**7)
    assert [show_bytes(v) for v in (0, 999, 1023, 1024, 20_480, 7_193_232_179)] == [
        "0 B", "999 B", "1.0 KB", "1.0 KB", "20 KB", "6.7 GB",
    ]  # fmt: skip
    assert [show_duration(v) for v in (0.0, 0.00012, 0.0031, 0.2, 1.26, 18.0, 180.0, 7200.0, 1e6)] == [
        "0 s", "120 µs", "3.1 ms", "200 ms", "1.3 s", "18 s", "3 min", "2 h", "12 d",
    ]  # fmt: skip


def test_durations_never_jump_back_between_units() -> None:
    shown = [show_duration(seconds / 1000) for seconds in range(1, 20_000)]
    assert all(len(text) <= 6 for text in shown)
    assert len(list(itertools.groupby(shown))) == len(set(shown))
