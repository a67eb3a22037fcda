"""Runs the steps of a plan in order, journaling each, so that a run cut off anywhere goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from etcdops.errors import EtcdopsError, PartlyApplied, VerificationFailed
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.plan import Result, Step


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One event of a run, for whoever shows it."""

    kind: Literal["started", "complete", "skipped", "failed"]
    """`skipped`: the journal says it was done in an earlier run."""
    step: Step
    number: int
    """From 1."""
    total: int
    took_s: float = 0.0
    result: Result | None = None
    error: str = ""


Listener = Callable[[StepEvent], None]


async def execute(steps: Sequence[Step], journal: Journal, state: RunState, listener: Listener) -> dict[str, Result]:
    """Do every step the journal does not call done, and end the journal.

    For each: `check`; if not done, intent into the journal and `act`; then `verify`, and the outcome into the journal.

    Returns: the results of all steps, those of earlier runs included.
    Raises: a step's own error while no step has acted - nothing was changed, and the journal is closed so that the next
        run looks anew. PartlyApplied - a later step failed, and its error is the cause; the journal stays open, and
        running the same command again goes on. VerificationFailed - a step was done and the outcome is wrong: same.
    """
    for number, step in enumerate(steps, 1):
        if step.id in state.results and step.lasting:
            listener(StepEvent("skipped", step, number, len(steps), result=state.results[step.id]))
            continue
        listener(StepEvent("started", step, number, len(steps)))
        started = time.monotonic()
        try:
            if not await step.check():
                journal.intent(step.id)
                await step.act()
                state.acted = True
            result = await step.verify()
        except EtcdopsError as error:
            journal.failed(step.id, error)
            listener(StepEvent("failed", step, number, len(steps), time.monotonic() - started, error=error.message))
            if not state.acted:
                journal.abandoned()
                raise  # the error speaks for itself
            raise _explain(error, step, number, len(steps), journal) from error
        journal.done(step.id, result)
        state.results[step.id] = result
        listener(StepEvent("complete", step, number, len(steps), time.monotonic() - started, result))
    journal.finished()
    return state.results


def _explain(error: EtcdopsError, step: Step, number: int, total: int, journal: Journal) -> EtcdopsError:
    """The error as the operator gets it: what is done, what is not, how to go on."""
    message = f"stopped at step {number} of {total} ({step.title}): {error.message}"
    hint = "; ".join(
        part for part in (error.hint, f"then run the same command again: {journal.path} knows where") if part
    )
    kind = VerificationFailed if isinstance(error, VerificationFailed) else PartlyApplied
    return kind(message, cause=error.cause, hint=hint)
