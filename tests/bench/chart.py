"""A chart of a report, as SVG without any library; it follows the reader's light or dark theme.

Every bar starts at the line where both engines are equal and grows to the right where the node is better, to the left
where etcd is, on a logarithmic scale: twice as good is as long as half as good.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from tests.bench.figures import Better, Report, Row, Verdict, number

_WIDTH, _ROW, _TOP, _MARGIN = 960, 21, 92, 16
_LABEL, _EQUAL, _HALF = 318, 476, 140
_FACTOR, _NODE, _ETCD = 678, 768, 852
"""Where columns of numbers end."""

_FACTOR_MAX = 8.0
"""Longer bars are cut, with an arrow; their number says how long they are."""

_TICKS = (8, 4, 2, 1, 2, 4, 8)

_STYLE = """
  text { font: 12px ui-sans-serif, system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 17px; font-weight: 600 } .part { font-weight: 600; font-size: 13px } .bold { font-weight: 600 }
  .small { fill: #59636e } .tick { fill: #59636e; font-size: 10.5px; text-anchor: middle }
  .right { text-anchor: end } .number { text-anchor: end; font-variant-numeric: tabular-nums }
  .card { fill: #f6f8fa; stroke: #d1d9e0 } .grid { stroke: #d1d9e0 } .equal { stroke: #59636e }
  .ahead { fill: #2f9e68 } .behind { fill: #6ea8dc } .short { fill: #d9703b }
  .target { stroke: #1f2328; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small, .tick { fill: #9198a1 } .card { fill: #151b23; stroke: #3d444d }
    .grid { stroke: #2a313c } .equal { stroke: #9198a1 } .target { stroke: #e6edf3 }
    .ahead { fill: #3fb97f } .behind { fill: #4d86bd } .short { fill: #e0824f }
  }
"""


def chart(report: Report) -> str:
    """The whole SVG document."""
    body: list[str] = []
    y = _TOP
    for section, rows in itertools.groupby(report.rows, key=lambda row: row.section):
        part = list(rows)
        body += _card(section, part, y)
        y += (len(part) + 1) * _ROW + 24
    shape = f'viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" role="img"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape} aria-label="{_title(report)}">',
        f"<style>{_STYLE}</style>",
        _text(_MARGIN, 28, _title(report), "title"),
        *_legend(report),
        *_head(),
    ]
    return "\n".join([*head, *body, "</svg>"]) + "\n"


def _title(report: Report) -> str:
    return f"The bundled node beside etcd {report.setting.get('etcd', '')}, same machine, same run"


def _legend(report: Report) -> Iterable[str]:
    x = _MARGIN
    words = (("ahead", "node ahead"), ("behind", "etcd ahead"), ("short", "target missed"))
    for kind, text in words:
        yield f'<rect class="{kind} key" x="{x}" y="41" width="12" height="12" rx="3"/>'
        yield _text(x + 18, 51, text, "small")
        x += 40 + 6 * len(text) + 10
    yield f'<line class="target" x1="{x}" x2="{x}" y1="40" y2="54"/>'
    yield _text(x + 8, 51, "target", "small")
    about = (report.setting.get("machine", ""), report.taken_at[:10])
    yield _text(_WIDTH - _MARGIN, 51, ", ".join(filter(None, about)), "small right")


def _head() -> Iterable[str]:
    y = _TOP - 12
    for position, factor in enumerate(_TICKS):
        x = _EQUAL + (position - 3) * _HALF / 3
        yield _text(x, y, "equal" if factor == 1 else f"{factor}×", "tick")
    for x, text in ((_FACTOR, "factor"), (_NODE, "node"), (_ETCD, "etcd")):
        yield _text(x, y, text, "small right")


def _card(section: str, rows: Sequence[Row], y: int) -> Iterable[str]:
    height = (len(rows) + 1) * _ROW + 12
    yield f'<rect class="card" x="0.5" y="{y}" width="{_WIDTH - 1}" height="{height}" rx="8"/>'
    yield _text(_MARGIN, y + _ROW, section, "part")
    top, bottom = y + 6, y + height - 6
    for step in range(-3, 4):
        x = _EQUAL + step * _HALF / 3
        yield f'<line class="{"grid" if step else "equal"}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
    for position, row in enumerate(rows):
        yield from _bar(row, y + (position + 2) * _ROW)


def _bar(row: Row, y: int) -> Iterable[str]:
    yield _text(_LABEL, y, row.name, "right")
    factor = _goodness(row, row.judged)
    if factor:
        x = _place(factor)
        kind = "short" if row.verdict is Verdict.SHORT else "ahead" if factor >= 1 else "behind"
        left, length = min(x, _EQUAL), max(abs(x - _EQUAL), 1.5)
        yield f'<rect class="{kind}" x="{left:.1f}" y="{y - 11}" width="{length:.1f}" height="13" rx="2.5"/>'
        if factor > _FACTOR_MAX or factor < 1 / _FACTOR_MAX:
            yield _text(x + (8 if factor > 1 else -8), y, "›" if factor > 1 else "‹", "tick")
    if row.target is not None:
        x = _place(_goodness(row, row.target))
        yield f'<line class="target" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 13}" y2="{y + 4}"/>'
    yield _text(_FACTOR, y, f"{factor:.2f}" if factor else "", "number bold")
    yield _text(_NODE, y, number(row.node), "number")
    yield _text(_ETCD, y, number(row.etcd), "number small")
    yield _text(_ETCD + 10, y, "of own" if row.own else row.unit, "small")


def _goodness(row: Row, ratio: float) -> float:
    """How many times as good as etcd (for the node's own: as with few keys); 0 when that is unknown."""
    if not ratio:
        return 0.0
    return ratio if row.better is Better.HIGHER else 1 / ratio


def _place(factor: float) -> float:
    cut = min(max(factor, 1 / _FACTOR_MAX), _FACTOR_MAX)
    return _EQUAL + math.log(cut) / math.log(_FACTOR_MAX) * _HALF


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
