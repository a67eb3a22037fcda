"""What the Runs screen says: a table of runs, and one of them step by step. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from etcdops.clock import rfc3339
from etcdops.playbooks.plan import StepSpec
from etcdops.playbooks.runs import KnownRun
from etcdops.tui.model.table import Column, layout_columns, row_line
from etcdops.tui.model.text import Align, Line, Span, Tone, clean, clip, fit, wrap

CATALOGUE = (
    ("recover-from-snapshot", "bring back a cluster that lost its quorum", "etcdops recover --from-snapshot FILE"),
    ("recover-on-hosts", "the same on the hosts of an inventory", "etcdops recover --from-snapshot FILE -i INVENTORY"),
)
"""Procedures there are: name, what for, how to begin one."""

_TONES: Mapping[str, Tone] = {
    "running": Tone.ACCENT,
    "finished": Tone.OK,
    "failed": Tone.FAIL,
    "interrupted": Tone.WARN,
    "stopped": Tone.WARN,
}
_MARKS: Mapping[str, str] = {"running": "▶", "finished": "✓", "failed": "✖", "interrupted": "▲", "stopped": "▲"}


def run_columns() -> list[Column[KnownRun]]:
    """Of the table; what gives way first has the largest rank."""
    return [
        Column("run", "RUN", 7, lambda run, cells: (Span(clip(clean(run.run), cells), Tone.STRONG),)),
        Column("status", "STATUS", 13, _status),
        Column("steps", "STEPS", 6, _steps, Align.RIGHT),
        Column("cluster", "CLUSTER", 10, lambda run, cells: _text(run.state.plan.cluster, cells), stretch_max=24),
        Column("procedure", "PROCEDURE", 21, lambda run, cells: _text(run.state.plan.procedure, cells)),
        Column("started", "STARTED", 17, lambda run, cells: _text(_minute(run.state.started_at), cells), rank=1),
        Column("by", "BY", 14, lambda run, cells: _text(_owner(run), cells), rank=2, stretch_max=30),
    ]


def run_row(run: KnownRun, cells: int) -> Line:
    return row_line(layout_columns(run_columns(), cells), run, dim=bool(run.state.ended))


def run_title(run: KnownRun) -> Line:
    """Of the frame round one run."""
    plan = run.state.plan
    return (
        Span(f"Run {clean(run.run)}", Tone.STRONG),
        Span(f"  {clean(plan.procedure)} on {clean(plan.cluster)}  "),
        *_status(run, 20),
    )


def run_lines(run: KnownRun, cells: int) -> list[Line]:
    """The steps with their marks, then what is lost, what failed and what can be done now."""
    state = run.state
    lines = [_step_line(run, number, step, cells) for number, step in enumerate(state.plan.steps, 1)]
    lines += [(), _fact("plan hash", state.plan.digest[:16])]
    for label, texts, tone in (
        ("lost by it", state.plan.losses, Tone.PLAIN),
        ("failed", (state.error,) if state.error and not state.ended else (), Tone.FAIL),
        ("now", (advice(run),), Tone.ACCENT),
        ("journal", (shorten(run.journal.path),), Tone.DIM),
    ):
        lines += _facts(label, texts, tone, cells)
    return lines


def advice(run: KnownRun) -> str:
    """What can be done with it."""
    state = run.state
    if state.ended:
        return f"nothing: it is {state.ended}"
    if state.status == "running":
        return f"x stops it after its step; it goes on without this console: etcdops runs attach {run.run}"
    if state.rolling_back:
        return f"finish taking it back: etcdops runs rollback {run.run}"
    changed = "some steps are done and others are not" if state.acted else "nothing was changed yet"
    return f"{changed}; u goes on with it, in a process of its own"


def shorten(path: Path) -> str:
    """A path for people, from `~` on where it is below the home folder."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except ValueError:
        return str(path)


def catalogue_lines(cells: int) -> list[Line]:
    """Shown where there is no run yet: what could be begun, and how."""
    lines: list[Line] = [(Span("No run yet. What there is:", Tone.DIM),)]
    for name, purpose, command in CATALOGUE:
        lines += [
            (Span(clip(f"{name}: {purpose}", cells)),),
            (Span(clip(f"  {command}", cells), Tone.KEY),),
        ]
    return lines


def _step_line(run: KnownRun, number: int, step: StepSpec, cells: int) -> Line:
    state = run.state
    if step.id in state.results:
        mark, tone = "✓", Tone.OK
    elif step.id in state.interrupted:
        mark, tone = ("▶", Tone.ACCENT) if state.status == "running" else ("✖", Tone.FAIL)
    else:
        mark, tone = " ", Tone.DIM
    host = f"  on {clean(step.where)}" if step.where else ""
    return (
        Span(f"{mark} ", tone),
        Span(f"{number:>2} ", Tone.LABEL),
        Span(clip(f"{clean(step.title)}{host}", cells - 5), Tone.PLAIN if mark.strip() else Tone.DIM),
    )


def _facts(label: str, texts: tuple[str, ...], tone: Tone, cells: int) -> list[Line]:
    rows = [row for text in texts for row in wrap(clean(text), cells - 12)]
    return [(Span(fit(label if not at else "", 12), Tone.LABEL), Span(row, tone)) for at, row in enumerate(rows)]


def _fact(label: str, text: str) -> Line:
    return (Span(fit(label, 12), Tone.LABEL), Span(text))


def _status(run: KnownRun, cells: int) -> Line:
    status = run.state.status
    return (Span(clip(f"{_MARKS.get(status, '·')} {status}", cells), _TONES.get(status, Tone.DIM)),)


def _steps(run: KnownRun, cells: int) -> Line:
    return _text(f"{len(run.state.results)}/{len(run.state.plan.steps)}", cells)


def _owner(run: KnownRun) -> str:
    return run.state.by.owner if run.state.by is not None else "-"


def _text(text: str, cells: int) -> Line:
    return (Span(clip(clean(text), cells)),)


def _minute(at: float) -> str:
    return rfc3339(at)[:16].replace("T", " ") + "Z"
