"""Lists with a cursor: `LinesPanel` for what is known as a whole, `VTable` for a million rows drawn one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.message import Message
from textual.strip import Strip

from etcdops.tui.actions import bindings
from etcdops.tui.model.text import Line
from etcdops.tui.widgets.panel import Panel

Block = tuple[Line, ...]
"""One item of a list: its lines, of which the first is never left out."""


class ListPanel(Panel, can_focus=True, inherit_bindings=False):
    """A pane with items, a cursor on one of them, and a window that follows the cursor.

    Items may take several rows. Subclasses say how many there are and draw them; nothing is drawn that is not visible.
    """

    BINDINGS = bindings("list")

    class Moved(Message):
        """The cursor is on another item, or the window on other rows."""

        def __init__(self, panel: ListPanel) -> None:
            super().__init__()
            self.panel = panel

        @property
        def control(self) -> ListPanel:
            return self.panel

    class Opened(Moved):
        """Enter, or a second click, on the item under the cursor."""

    def __init__(self, *, id: str | None = None, classes: str | None = None, selectable: bool = True) -> None:
        super().__init__(id=id, classes=classes)
        self.cursor = 0
        self.top = 0
        self._head: Line | None = None
        self._selectable = selectable
        """False = the cursor is not drawn: the pane only scrolls."""
        self.mark_when_blurred = False
        """True = the cursor stays visible while another pane has the focus, because that pane shows its item."""

    @property
    def item_count(self) -> int:
        raise NotImplementedError

    @property
    def row_count(self) -> int:
        return self.item_count

    def rows_of(self, item: int) -> range:
        """The rows an item takes."""
        return range(item, item + 1)

    def item_at(self, row: int) -> int:
        """The item in a row."""
        return row

    def row(self, index: int, cells: int) -> Line:
        raise NotImplementedError

    @property
    def visible_rows(self) -> int:
        """Rows for items: those inside the frame, without the head."""
        return max(0, self.body_rows - (1 if self._head is not None else 0))

    def set_head(self, head: Line | None) -> None:
        """The titles above the items; None = no such row."""
        if head != self._head:
            self._head = head
            self.refresh()

    def move_to(self, item: int, *, quiet: bool = False) -> None:
        """Put the cursor on an item (the nearest there is) and bring it into the window."""
        before = (self.cursor, self.top)
        self.cursor = max(0, min(item, self.item_count - 1))
        rows = self.rows_of(self.cursor)
        last_offset = max(0, self.row_count - self.visible_rows)
        low = max(0, rows.stop - self.visible_rows)
        self.top = max(0, min(max(low, min(self.top, rows.start)), last_offset))
        if before != (self.cursor, self.top):
            self.cursor_moved()
            self.refresh()
            if not quiet:
                self.post_message(self.Moved(self))

    def cursor_moved(self) -> None:
        """For lists that draw the item under the cursor in another way."""

    def body_strip(self, row: int, cells: int) -> Strip:
        if self._head is not None:
            if row == 0:
                return self.painter.strip(self._head, cells)
            row -= 1
        index = self.top + row
        if index >= self.row_count:
            return self.painter.strip((), cells)
        selected = ""
        if self._selectable and self.item_at(index) == self.cursor:
            selected = "cursor" if self.has_focus else "marked" if self.mark_when_blurred else ""
        return self.painter.strip(self.row(index, cells), cells, selected)

    def thumb(self) -> range:
        visible, total = self.visible_rows, self.row_count
        if total <= visible or not visible:
            return range(0)
        size = max(1, visible * visible // total)
        start = round(self.top / (total - visible) * (visible - size))
        first = start + (1 if self._head is not None else 0)
        return range(first, first + size)

    def action_cursor(self, step: int) -> None:
        if self._selectable:
            self.move_to(self.cursor + step)
        else:
            self.scroll_rows(step)

    def action_page(self, direction: int) -> None:
        rows = max(1, self.visible_rows - 1) * direction
        if self._selectable:
            self.move_to(self.item_at(max(0, min(self.row_count - 1, self.rows_of(self.cursor).start + rows))))
        else:
            self.scroll_rows(rows)

    def action_edge(self, direction: int) -> None:
        if self._selectable:
            self.move_to(self.item_count - 1 if direction > 0 else 0)
        else:
            self.scroll_rows(self.row_count * direction)

    def action_open(self) -> None:
        if self.item_count:
            self.post_message(self.Opened(self))

    def scroll_rows(self, step: int) -> None:
        """Move the window; the cursor is taken along at its edges."""
        offset = max(0, min(self.top + step, self.row_count - self.visible_rows))
        if offset == self.top:
            return
        self.top = offset
        if self._selectable and self.item_count:
            first, last = self.item_at(offset), self.item_at(min(self.row_count, offset + self.visible_rows) - 1)
            self.cursor = max(first, min(self.cursor, last))
            self.cursor_moved()
        self.refresh()
        self.post_message(self.Moved(self))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_rows(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_rows(-3)

    def on_click(self, event: events.Click) -> None:
        row = self.top + event.y - 1 - (1 if self._head is not None else 0)
        if not self._selectable or not self.top <= row < self.row_count:
            return
        item = self.item_at(row)
        if item == self.cursor and event.chain > 1:
            self.action_open()
        self.move_to(item)

    def on_resize(self) -> None:
        self.move_to(self.cursor, quiet=True)


class LinesPanel(ListPanel):
    """A list that is known as a whole. `source(cells, rows, cursor)` makes its blocks for the pane's size.

    It is asked again when the pane is resized or the cursor moves, so that it may draw the selected item at length.
    """

    Source = Callable[[int, int, int], Sequence[Block]]

    def __init__(self, *, id: str | None = None, classes: str | None = None, selectable: bool = True) -> None:
        super().__init__(id=id, classes=classes, selectable=selectable)
        self._source: LinesPanel.Source | None = None
        self._rows: list[tuple[int, Line]] = []
        self._items = 0

    def show(self, source: Source) -> None:
        """Draw what `source` makes; nothing happens on the terminal when that is what is shown."""
        self._source = source
        self._rebuild()
        self.move_to(self.cursor, quiet=True)

    @property
    def item_count(self) -> int:
        return self._items

    @property
    def row_count(self) -> int:
        return len(self._rows)

    def rows_of(self, item: int) -> range:
        rows = [index for index, (owner, _) in enumerate(self._rows) if owner == item]
        return range(rows[0], rows[-1] + 1) if rows else range(0)

    def item_at(self, row: int) -> int:
        return self._rows[row][0] if row < len(self._rows) else 0

    def row(self, index: int, cells: int) -> Line:
        return self._rows[index][1]

    def cursor_moved(self) -> None:
        self._rebuild()

    def on_resize(self) -> None:
        self._rebuild()
        super().on_resize()

    def _rebuild(self) -> None:
        if self._source is None or not self.cells:
            return
        blocks = self._source(self.cells, self.visible_rows, self.cursor)
        rows = [(item, line) for item, block in enumerate(blocks) for line in block]
        if rows != self._rows:
            self._rows, self._items = rows, len(blocks)
            self.refresh()


class VTable(ListPanel):
    """A list of any length: `count()` rows of which `line(row, cells)` makes the visible ones when they are drawn."""

    def __init__(
        self,
        count: Callable[[], int],
        line: Callable[[int, int], Line],
        *,
        id: str | None = None,
        selectable: bool = True,
    ) -> None:
        super().__init__(id=id, selectable=selectable)
        self._count = count
        self._line = line

    @property
    def item_count(self) -> int:
        return self._count()

    def row(self, index: int, cells: int) -> Line:
        return self._line(index, cells)
