"""A bar chart of a report's ratios, as SVG without any library; it follows the reader's light or dark theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from tests.bench.figures import Better, Report, Row, Verdict, number

_WIDTH, _LABEL, _BAR, _ROW, _TOP = 940, 350, 330, 22, 66
_RATIO_MAX = 1.5
"""Longer bars are cut; their number says how long they are."""

_STYLE = """
  text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 } .part { font-weight: 600 } .small { fill: #59636e }
  .right { text-anchor: end } .bar { fill: #3b82c4 } .short { fill: #c4703b }
  .one { stroke: #59636e; stroke-dasharray: 3 3 } .target { stroke: #1f2328; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .bar { fill: #58a6ff } .short { fill: #e0915a }
    .one { stroke: #9198a1 } .target { stroke: #e6edf3 }
  }
"""
_PARTS = ((Better.HIGHER, "More is better"), (Better.LOWER, "Less is better"))


def chart(report: Report) -> str:
    """The whole SVG document."""
    body: list[str] = []
    y = _TOP
    for better, title in _PARTS:
        rows = [row for row in report.rows if row.better is better and not row.own]
        if rows:
            body += _part(title, rows, y)
            y += (len(rows) + 2) * _ROW
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" aria-label="{_title(report)}">',
        f"<style>{_STYLE}</style>",
        _text(12, 22, _title(report), "title"),
        _text(12, 42, "node : etcd; dashed: etcd = 1; upright: the target; second colour: a target missed", "small"),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _title(report: Report) -> str:
    return escape(f"The bundled node beside etcd {report.setting.get('etcd', '')}, same machine, same run")


def _part(title: str, rows: Sequence[Row], y: int) -> Iterable[str]:
    bottom = y + len(rows) * _ROW + 10
    yield _text(12, y, title, "part")
    for position, row in enumerate(rows):
        yield from _bar(row, y + (position + 1) * _ROW)
    yield _line(1.0, y + 6, bottom, "one")


def _bar(row: Row, y: int) -> Iterable[str]:
    yield _text(_LABEL - 10, y, f"{row.section}: {row.name}", "right")
    length = min(row.ratio, _RATIO_MAX) / _RATIO_MAX * _BAR
    kind = "short" if row.verdict is Verdict.SHORT else "bar"
    yield f'<rect class="{kind}" x="{_LABEL}" y="{y - 11}" width="{length:.1f}" height="14" rx="2"/>'
    if row.target is not None and not row.own:
        yield _line(min(row.target, _RATIO_MAX), y - 14, y + 6, "target")
    yield _text(_LABEL + _BAR + 10, y, f"{row.ratio:.2f}", "part")
    yield _text(_LABEL + _BAR + 50, y, f"{number(row.node)} : {number(row.etcd)} {row.unit}", "small")


def _line(ratio: float, top: int, bottom: int, kind: str) -> str:
    x = _LABEL + ratio / _RATIO_MAX * _BAR
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
