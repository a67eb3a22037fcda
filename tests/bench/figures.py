"""What a bench run found: rows with both engines' values, judged against targets, printed and saved."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


class Better(enum.StrEnum):
    """Which way is good."""

    HIGHER = "higher"
    LOWER = "lower"


class Verdict(enum.StrEnum):
    """A row beside its target."""

    MET = "met"
    SHORT = "falls short"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, of both engines in the same run."""

    section: str
    name: str
    unit: str
    etcd: float
    node: float
    better: Better = Better.HIGHER
    target: float | None = None
    """What `judged` must reach; None where nothing is promised."""

    own: bool = False
    """The target is for the node's own value, not for its ratio to etcd."""

    @property
    def title(self) -> str:
        return f"{self.section}: {self.name}"

    @property
    def ratio(self) -> float:
        """The node's value divided by etcd's; 0 when etcd has none."""
        return self.node / self.etcd if self.etcd else 0.0

    @property
    def judged(self) -> float:
        return self.node if self.own else self.ratio

    @property
    def verdict(self) -> Verdict:
        if self.target is None:
            return Verdict.NONE
        met = self.judged >= self.target if self.better is Better.HIGHER else self.judged <= self.target
        return Verdict.MET if met else Verdict.SHORT


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most our load can do."""

    kind: str
    """Of calls: "puts" or "reads"."""

    rate: float
    """Calls a second, against a server that stores nothing."""


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run."""

    taken_at: str
    """UTC, ISO 8601."""

    setting: Mapping[str, str]
    """Versions, machine and options: what one must know to compare two runs."""

    rows: Sequence[Row]
    ceilings: Sequence[Ceiling] = ()
    why: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By the title of a row that falls short: where the node's time goes."""

    @property
    def short(self) -> list[Row]:
        return [row for row in self.rows if row.verdict is Verdict.SHORT]


_HEAD = ("", "unit", "etcd", "node", "ratio", "target", "")
_LEFT = (0, 1, 6)


def table(rows: Iterable[Row], *, markdown: bool = False) -> list[str]:
    """Lines: a title for each section, then its figures. Markdown has the section in front of each name."""
    cells: list[tuple[str, ...]] = []
    section = ""
    for row in rows:
        if row.section != section and not markdown:
            cells.append((row.section,))
        section = row.section
        name = f"{section}: {row.name}" if markdown else f"  {row.name}"
        cells.append(
            (name, row.unit, number(row.etcd), number(row.node), f"{row.ratio:.2f}", _target(row), row.verdict)
        )
    if markdown:
        lines = [f"| {' | '.join(_HEAD)} |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
        return lines + [f"| {' | '.join(line)} |" for line in cells]
    widths = [max((len(line[i]) for line in [_HEAD, *cells] if len(line) > 1), default=0) for i in range(len(_HEAD))]
    return [_aligned(line, widths) for line in [_HEAD, *cells]]


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    if len(line) == 1:
        return line[0]
    padded = [
        cell.ljust(width) if column in _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    return f"{'>=' if row.better is Better.HIGHER else '<='} {row.target:g}{' (own)' if row.own else ''}"


def number(value: float) -> str:
    """Three digits that matter, thousands with commas."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def save(report: Report, path: Path) -> None:
    """Write JSON: the report, and for each row its ratio and verdict. The file appears whole or not at all."""
    data = {
        "taken_at": report.taken_at,
        "setting": dict(report.setting),
        "ceilings": [asdict(ceiling) for ceiling in report.ceilings],
        "why": {title: list(lines) for title, lines in report.why.items()},
        "rows": [{**asdict(row), "ratio": round(row.ratio, 4), "verdict": row.verdict} for row in report.rows],
    }
    write(path, json.dumps(data, indent=1) + "\n")


def write(path: Path, text: str) -> None:
    """Replace the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)


def load(path: Path) -> Report:
    """Read what `save` wrote."""
    data = json.loads(path.read_text())
    names = set(Row.__dataclass_fields__)
    rows = [
        Row(**{**{name: value for name, value in row.items() if name in names}, "better": Better(row["better"])})
        for row in data["rows"]
    ]
    ceilings = tuple(Ceiling(**one) for one in data.get("ceilings", ()))
    return Report(data["taken_at"], data["setting"], rows, ceilings, data.get("why", {}))
