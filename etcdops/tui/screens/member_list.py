"""The members table with its filter, order and "problems only": shared by the dashboard and the Members screen.

`actions.py` has its keys, `MembersTableScreen` what they do.
"""

from __future__ import annotations

import dataclasses

from etcdops.tui.model.cluster import MemberRow, member_columns, member_rows
from etcdops.tui.model.dashboard import members_title
from etcdops.tui.model.filtering import Filter, parse_filter
from etcdops.tui.model.history import DEFAULT_ZOOM, ZOOMS
from etcdops.tui.model.state import ConsoleState
from etcdops.tui.model.table import Sort, header_line, layout_columns, next_sort, row_line, sort_rows
from etcdops.tui.model.text import Line, Span, Tone, line
from etcdops.tui.screens.base import ConsoleScreen
from etcdops.tui.screens.dialogs import Prompt
from etcdops.tui.widgets.chrome import hint
from etcdops.tui.widgets.lists import Block, LinesPanel


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


class MembersTableScreen(ConsoleScreen, inherit_bindings=False):
    """A screen with the members table in its pane `#members`."""

    def __init__(self) -> None:
        super().__init__()
        self._list = MemberList()
        self._zoom = DEFAULT_ZOOM

    def _rows(self) -> list[MemberRow]:
        return self._list.rows(self.state, self.console.shown_wall_s)

    def _show_members(self, rows: list[MemberRow], keys: str) -> LinesPanel:
        """Draw the table; `keys` is what the frame says while nothing is narrowed."""
        panel, view = self.query_one("#members", LinesPanel), self.state.view
        note = self._list.note(len(rows), len(view.members) if view else 0)
        keys = "Esc shows all" if self._list.narrowed else keys
        panel.label(members_title(view, self.size.width), hint(f"{note} · {keys}" if note else keys))
        panel.set_head(self._list.head(rows, max(0, self.size.width - 4)))
        panel.show(lambda cells, _rows, _cursor: self._list.blocks(rows, cells))
        return panel

    def _show_all(self) -> None:
        """Drop what narrows the table; its order stays."""
        self._list = MemberList(sort=self._list.sort)

    def action_filter(self) -> None:
        """Let the user type a filter; it works while it is typed."""
        before = self._list.filter.text

        def typed(text: str) -> None:
            self._list.set_filter(text)
            self.update()

        def done(text: str | None) -> None:
            typed(before if text is None else text)

        note = "text, !text without it, ~regex · Enter keeps it, Esc drops the change"
        self.console.push_screen(Prompt("filter", before, note, typed), done)

    def action_sort(self) -> None:
        self._list.sort_by_next(self._rows())
        self.update()

    def action_reverse(self) -> None:
        self._list.reverse()
        self.update()

    def action_problems(self) -> None:
        self._list.problems_only = not self._list.problems_only
        self.update()

    def action_zoom(self, step: int) -> None:
        self._zoom = max(0, min(len(ZOOMS) - 1, self._zoom + step))
        self.update()
