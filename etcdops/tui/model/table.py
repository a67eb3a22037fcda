"""Tables in a fixed number of cells: columns give way by rank, one may stretch, nothing is ever cut in half."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from etcdops.tui.model.text import Align, Line, Span, Tone, fit, fit_line, line_width

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column. `cell` gives the content for a row in exactly or at most `cells` cells."""

    name: str
    title: str
    cells: int
    cell: Callable[[Row, int], Line]
    align: Align = Align.LEFT
    rank: int = 0
    """Columns with the largest rank are left out first when the table is too narrow; 0 stays always."""
    stretch_max: int = 0
    """> cells: takes cells that are left over, up to this many."""
    sort_key: Callable[[Row], tuple[float, str]] | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """By which column rows are ordered."""

    column: str
    descending: bool = False


def layout_columns(columns: Sequence[Column[Row]], cells: int) -> list[tuple[Column[Row], int]]:
    """The columns that fit into `cells`, each with its width, one cell apart."""
    kept = list(columns)
    while _total(kept) > cells and any(column.rank for column in kept):
        worst = max(kept, key=lambda column: column.rank)
        kept.remove(worst)
    spare = max(0, cells - _total(kept))
    sized: list[tuple[Column[Row], int]] = []
    for column in kept:
        extra = min(spare, max(0, column.stretch_max - column.cells))
        spare -= extra
        sized.append((column, column.cells + extra))
    return sized


def header_line(sized: Sequence[tuple[Column[Row], int]], sort: Sort | None = None) -> Line:
    """The titles, the sorted one with an arrow."""
    titles: list[str] = []
    for column, cells in sized:
        title = column.title
        if sort and sort.column == column.name:
            arrow = "▼" if sort.descending else "▲"
            title = title[: cells - 1] + arrow
        titles.append(fit(title, cells, column.align))
    return (Span(" ".join(titles), Tone.LABEL),)


def row_line(sized: Sequence[tuple[Column[Row], int]], row: Row, *, dim: bool = False) -> Line:
    """One row. `dim` marks values that are not of now: every tone but a failure's gives way."""
    spans: list[Span] = []
    for index, (column, cells) in enumerate(sized):
        if index:
            spans.append(Span(" "))
        content = column.cell(row, cells)
        missing = cells - line_width(content)
        if missing < 0:
            content = fit_line(content, cells)
        padding = (Span(" " * missing),) if missing > 0 else ()
        spans += [*padding, *content] if column.align is Align.RIGHT else [*content, *padding]
    if dim:
        spans = [span if span.tone is Tone.FAIL else Span(span.text, Tone.DIM) for span in spans]
    return tuple(spans)


def sort_rows(columns: Sequence[Column[Row]], rows: Iterable[Row], sort: Sort | None) -> list[Row]:
    """The rows in the chosen order; equal ones keep theirs."""
    key = next((column.sort_key for column in columns if sort and column.name == sort.column), None)
    if key is None or sort is None:
        return list(rows)
    return sorted(rows, key=key, reverse=sort.descending)


def next_sort(columns: Sequence[Column[Row]], sort: Sort | None) -> Sort | None:
    """The order after `sort` when one goes through the columns; None = the natural one."""
    names = [column.name for column in columns if column.sort_key]
    if sort is None:
        return Sort(names[0]) if names else None
    position = names.index(sort.column) + 1 if sort.column in names else len(names)
    return Sort(names[position], sort.descending) if position < len(names) else None


def bar(share: float, cells: int) -> tuple[str, str]:
    """The filled and the empty part of a bar of `cells` cells."""
    filled = max(0, min(cells, round(share * cells)))
    if share > 0 and filled == 0 and cells:
        filled = 1  # something is there
    return "█" * filled, "░" * (cells - filled)


def _total(columns: Sequence[Column[Row]]) -> int:
    return sum(column.cells for column in columns) + max(0, len(columns) - 1)
