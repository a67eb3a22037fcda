"""The members table with its filter, order and "problems only": shared by the dashboard and the Members screen."""

from __future__ import annotations

import dataclasses

from etcdops.tui.model.cluster import MemberRow, member_columns, member_rows
from etcdops.tui.model.filtering import Filter, parse_filter
from etcdops.tui.model.state import ConsoleState
from etcdops.tui.model.table import Sort, header_line, layout_columns, next_sort, row_line, sort_rows
from etcdops.tui.model.text import Line, Span, Tone, line
from etcdops.tui.widgets.lists import Block


@dataclasses.dataclass
class MemberList:
    """What the user chose to see of the members. The screens own one each."""

    sort: Sort | None = None
    filter: Filter = dataclasses.field(default_factory=Filter)
    problems_only: bool = False

    def rows(self, state: ConsoleState, now_wall_s: float) -> list[MemberRow]:
        """The chosen members in the chosen order."""
        if state.view is None:
            return []
        rows = member_rows(state.view, now_wall_s)
        chosen = [row for row in rows if self.filter.matches(row.text()) and (row.troubled or not self.problems_only)]
        return sort_rows(member_columns(rows), chosen, self.sort)

    def head(self, rows: list[MemberRow], cells: int) -> Line:
        return header_line(layout_columns(member_columns(rows), cells), self.sort)

    def blocks(self, rows: list[MemberRow], cells: int) -> list[Block]:
        sized = layout_columns(member_columns(rows), cells)
        if not rows:
            nothing = "no member matches" if self.narrowed else "no member known yet"
            return [(line(Span(nothing, Tone.DIM)),)]
        return [(row_line(sized, row, dim=not row.member.answered),) for row in rows]

    @property
    def narrowed(self) -> bool:
        return bool(self.filter) or self.problems_only

    def note(self, shown: int, known: int) -> str:
        """What the frame says about a narrowed list; "" when all is shown."""
        parts = [f"/{self.filter.text}"] if self.filter else []
        parts += ["problems only"] if self.problems_only else []
        parts += [f"{shown} of {known}"] if parts else []
        if self.filter.error:
            parts = [self.filter.error]
        return " · ".join(parts)

    def set_filter(self, text: str) -> None:
        self.filter = parse_filter(text)

    def sort_by_next(self, rows: list[MemberRow]) -> None:
        self.sort = next_sort(member_columns(rows), self.sort)

    def reverse(self) -> None:
        self.sort = dataclasses.replace(
            self.sort or Sort("member"), descending=not (self.sort and self.sort.descending)
        )
