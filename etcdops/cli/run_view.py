"""How plans and running steps read."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

from etcdops.cli.output import Look, printable
from etcdops.numbers import show_duration
from etcdops.wording import counted

if TYPE_CHECKING:
    from etcdops.playbooks.journal import RunState
    from etcdops.playbooks.plan import Plan
    from etcdops.playbooks.run_event import RunEvent

_WIDTH = 80


def render_plan(plan: Plan, state: RunState | None, look: Look, *, width: int = _WIDTH) -> str:
    """What will be done and what is lost; for a run that goes on, what is done already. Within `width` columns."""
    lines = [look.style(f"Plan: {plan.procedure} of {plan.cluster}", "head")]
    lines += [_wrap(f"{number}.", printable(line), width) for number, line in enumerate(plan.summary, 1)]
    lines.append(look.style("Lost by it:", "head"))
    loss = look.style("▲", "warn")
    lines += [_wrap("▲", printable(line), width).replace("▲", loss, 1) for line in plan.losses]
    lines.append(f"Plan hash: {plan.digest[:16]}")
    if state is not None:
        done = f"{len(state.results)} of {counted(len(plan.steps), 'step')}"
        lines.append(look.style(f"This run was begun before and goes on; done: {done}", "head"))
    return "\n".join(lines)


def _wrap(mark: str, text: str, width: int) -> str:
    return textwrap.fill(text, width, initial_indent=f"  {mark} ", subsequent_indent=" " * 5, break_on_hyphens=False)


class RunPrinter:
    """Prints the events of a run, on stderr by default: on a terminal the step at work is shown while it is."""

    def __init__(self, look: Look, *, quiet: bool, stream: TextIO | None = None, indent: str = "") -> None:
        self._look = look
        self._quiet = quiet
        self._stream = stream or sys.stderr
        self._indent = indent
        self._redraw = self._stream.isatty()

    def __call__(self, event: RunEvent) -> None:
        if event.step is None or (self._quiet and event.kind != "failed"):
            return
        place, title = f"{event.number:>2}/{event.total}", printable(event.step.title)
        if event.kind in ("started", "undoing"):
            if self._redraw:
                self._write(f"{self._indent}{place} {self._look.text('…')} {title}", end="")
            return
        mark, note = _outcome(event)
        line = self._look.text(f"{self._indent}{place} {mark} {title}  {printable(note)}")
        self._write(f"\r\x1b[K{line}" if self._redraw else line, end="\n")

    def _write(self, text: str, *, end: str) -> None:
        self._stream.write(text + end)
        self._stream.flush()


def _outcome(event: RunEvent) -> tuple[str, str]:
    """The mark of a step that came to an end, and what is said beside it."""
    if event.kind == "skipped":
        return "·", "done before"
    if event.kind == "failed":
        return "✖", event.error
    if event.kind == "undone":
        return "↶", f"taken back, {show_duration(event.took_s)}"
    return "✓", show_duration(event.took_s)
