"""Following a run that another process works on, from its journal alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from etcdops.errors import EtcdopsError
from etcdops.playbooks.journal import Journal
from etcdops.playbooks.plan import Json, Plan, Result
from etcdops.playbooks.run_event import Kind, RunEvent

POLL_S = 0.1

_KINDS: Mapping[str, Kind] = {
    "planned": "begun",
    "resumed": "resumed",
    "intent": "started",
    "done": "complete",
    "failed": "failed",
    "stopped": "stopped",
    "undo": "undoing",
    "undone": "undone",
    "finished": "finished",
    "abandoned": "abandoned",
    "rolled-back": "rolled-back",
}


async def follow(journal: Journal, plan: Plan, *, poll_s: float = POLL_S) -> AsyncIterator[RunEvent]:
    """Its events from the first on, live, until nobody works on it any more.

    A step that was found done has no `started`: only what acts is noted before.
    Raises: EtcdopsError - the journal is damaged, or was removed.
    """
    shown = 0
    while True:
        # Asked before reading: what a process wrote before it ended is read then.
        working = _is_worked_on(journal)
        lines = journal.lines()
        for line in lines[shown:]:
            yield _event(journal, plan, line)
        shown = len(lines)
        if not working:
            return
        await asyncio.sleep(poll_s)


def past_events(journal: Journal, plan: Plan) -> list[RunEvent]:
    """What happened so far."""
    return [_event(journal, plan, line) for line in journal.lines()]


def _is_worked_on(journal: Journal) -> bool:
    try:
        state = journal.load()
    except OSError as error:
        raise EtcdopsError(f"{journal.path} is gone: {error.strerror}") from error
    return state is not None and state.status == "running"


def _event(journal: Journal, plan: Plan, line: Mapping[str, Json]) -> RunEvent:
    step_id = str(line.get("step", ""))
    number, step = next(((n, s) for n, s in enumerate(plan.steps, 1) if s.id == step_id), (0, None))
    result = line.get("result")
    return RunEvent(
        kind=_KINDS.get(str(line.get("event")), "resumed"),
        run=journal.run,
        at=_number(line.get("at")),
        step=step,
        number=number,
        total=len(plan.steps),
        took_s=_number(line.get("took_s")),
        result=_result(result),
        error=str(line.get("error", "")),
        safe_now=str(line.get("safe_now", "")),
    )


def _result(value: Json) -> Result | None:
    return dict(value) if isinstance(value, Mapping) else None


def _number(value: Json) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
