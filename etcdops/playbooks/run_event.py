"""What happens in a run, as one stream for everybody who shows it: plain lines, JSON lines, the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from etcdops.clock import rfc3339
from etcdops.playbooks.plan import Json, Result, StepSpec

SCHEMA = "etcdops.run-event/1"

Kind: TypeAlias = Literal[
    "begun", "resumed", "started", "complete", "skipped", "failed", "stopped", "undoing", "undone",
    "finished", "abandoned", "rolled-back",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event. Those of a step carry it; the others are of the run as a whole."""

    kind: Kind
    """`skipped`: the journal says it was done in an earlier run. `complete` is done and proved."""
    run: str
    at: float
    """Unix time."""
    step: StepSpec | None = None
    number: int = 0
    """From 1; 0 without a step."""
    total: int = 0
    """How many steps the plan has."""
    took_s: float = 0.0
    result: Result | None = None
    error: str = ""
    safe_now: str = ""
    """After a failure: what may be done without harm."""

    @property
    def step_id(self) -> str:
        """The step's ID, empty for the run as a whole."""
        return self.step.id if self.step is not None else ""

    def to_json(self) -> dict[str, Json]:
        """One line of `--events json`. Fields that say nothing are left out; `schema`, `event`, `run`, `at` never."""
        line: dict[str, Json] = {"schema": SCHEMA, "event": self.kind, "run": self.run, "at": rfc3339(self.at)}
        if self.step is not None:
            line |= {
                "step": self.step.id,
                "title": self.step.title,
                "host": self.step.host or None,
                "danger": str(self.step.danger),
                "number": self.number,
            }
        line["total"] = self.total
        if self.kind in ("complete", "failed", "undone"):
            line["took_s"] = round(self.took_s, 3)
        if self.result is not None:
            line["result"] = self.result
        if self.kind == "failed":
            line |= {"error": self.error, "safe_now": self.safe_now or None}
        return line


Listener = Callable[[RunEvent], None]
