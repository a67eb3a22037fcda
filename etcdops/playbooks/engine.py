"""Runs the steps of a plan, journaling each, so that a run cut off anywhere goes on from there or is taken back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from etcdops.clock import Clock, SystemClock
from etcdops.errors import ClusterUnsafe, EtcdopsError, PartlyApplied, VerificationFailed
from etcdops.files import replace_file
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.plan import Danger, Result
from etcdops.playbooks.run_event import Kind, Listener, RunEvent
from etcdops.playbooks.step import Step, UndoableStep

AT_ONCE = 8
"""How many independent steps run at the same time, at the most."""
UNTOUCHED = "nothing was changed"
GO_ON = "some steps are done and others are not: go on with this run, or take it back, before doing anything else"


class RunStopped(PartlyApplied):
    """The run stopped between two steps because somebody asked it to."""

    code = "stopped"


class StopRequest:
    """Asks a run of this process to stop after the step it is at. Other processes ask by `ask_to_stop`."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True


def ask_to_stop(journal: Journal) -> None:
    """Ask the process that works on a run, whichever it is, to stop after the step it is at. Raises: OSError."""
    replace_file(journal.stop_path, b"stop after the step at work\n")


async def execute(
    steps: Sequence[Step],
    journal: Journal,
    state: RunState,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    at_once: int = AT_ONCE,
    clock: Clock | None = None,
) -> dict[str, Result]:
    """Do every step the journal does not call done, and end the journal.

    For each: `check`; if not done, ask again whether it is safe, intent into the journal and `act`; then `verify`, and
    the outcome into the journal. Neighbours that the plan calls independent run at once, `at_once` at the most; when
    one fails those at work are waited for and no other is begun.

    Returns: the results of all steps, those of earlier runs included.
    Raises: a step's own error while no step has acted - nothing was changed, and the journal is closed so that the next
        run looks anew. PartlyApplied - a later step failed, and its error is the cause; the journal stays open, and
        running the same command again goes on. VerificationFailed - a step was done and the outcome is wrong: same.
        RunStopped - as asked.
    """
    run = _Run(steps, journal, state, listener, stop or StopRequest(), clock or SystemClock())
    return await run.forward(at_once)


async def roll_back(
    steps: Sequence[Step],
    journal: Journal,
    state: RunState,
    listener: Listener,
    *,
    stop: StopRequest | None = None,
    clock: Clock | None = None,
) -> None:
    """Take back what was done, last step first, and end the journal. Cut off anywhere, it is done again from there.

    Raises: ClusterUnsafe - a step that changed something cannot be taken back; nothing was done. PartlyApplied - one
        failed to be taken back; running it again goes on. RunStopped - as asked; same.
    """
    run = _Run(steps, journal, state, listener, stop or StopRequest(), clock or SystemClock())
    await run.backward()


class _StepFailed(Exception):
    """Carries what `_Run.forward` makes the operator's error of."""

    def __init__(self, step: Step, error: EtcdopsError) -> None:
        super().__init__(error.message)
        self.step = step
        self.error = error


class _Run:
    """One process's work on a run."""

    def __init__(
        self,
        steps: Sequence[Step],
        journal: Journal,
        state: RunState,
        listener: Listener,
        stop: StopRequest,
        clock: Clock,
    ) -> None:
        self._steps = steps
        self._journal = journal
        self._state = state
        self._listener = listener
        self._stop = stop
        self._clock = clock
        self._numbers = {step.id: number for number, step in enumerate(steps, 1)}

    async def forward(self, at_once: int) -> dict[str, Result]:
        self._forget_stop()
        self._tell("resumed" if self._state.acted or self._state.results else "begun")
        for wave in _waves(self._steps):
            if self._stop_asked:
                raise self._stopped(wave[0])
            await self._wave(wave, at_once)
            if left := [step for step in wave if step.id not in self._state.results]:
                raise self._stopped(left[0])
        self._journal.finished()
        self._state.ended = "finished"
        self._tell("finished")
        return self._state.results

    async def _wave(self, wave: Sequence[Step], at_once: int) -> None:
        """Steps that do not depend on each other. Raises: the operator's error of the first one that failed."""
        failures: list[_StepFailed] = []
        gate = asyncio.Semaphore(at_once)

        async def one(step: Step) -> None:
            async with gate:
                if failures or (len(wave) > 1 and self._stop_asked):
                    return
                try:
                    await self._one(step)
                except _StepFailed as failed:
                    failures.append(failed)

        if len(wave) == 1:
            await one(wave[0])
        else:
            async with asyncio.TaskGroup() as group:
                for step in wave:
                    group.create_task(one(step))
        if failures:
            raise self._explain(failures)

    async def _one(self, step: Step) -> None:
        if step.id in self._state.results and step.lasting:
            self._tell("skipped", step, result=self._state.results[step.id])
            return
        self._state.results.pop(step.id, None)
        self._tell("started", step)
        started = time.monotonic()
        try:
            async with _deadline(step):
                result = await self._carry_out(step)
        except EtcdopsError as error:
            safe_now = self._safe_now([step])
            self._journal.failed(step.id, error, safe_now)
            took_s = time.monotonic() - started
            self._tell("failed", step, took_s=took_s, error=error.message, safe_now=safe_now)
            raise _StepFailed(step, error) from error
        except Exception as error:
            # A defect of ours: it is recorded as one, and the journal says at which step.
            self._journal.failed(step.id, error, self._safe_now([step]))
            raise
        took_s = time.monotonic() - started
        self._journal.done(step.id, result, took_s)
        self._state.results[step.id] = result
        self._tell("complete", step, took_s=took_s, result=result)

    async def _carry_out(self, step: Step) -> Result:
        if not await step.check():
            if step.spec.danger.is_asked_again:
                await _require_safe(step, self._state.plan.forced)
            self._journal.intent(step.id)
            self._state.acted = True
            await step.act()
        return await step.verify()

    async def backward(self) -> None:
        begun = [step for step in self._steps if step.id in self._state.results or step.id in self._state.interrupted]
        self._refuse_lasting_changes(begun)
        self._forget_stop()
        for step in reversed(begun):
            if not isinstance(step, UndoableStep):
                continue
            if self._stop_asked:
                raise self._rollback_stopped(step)
            self._tell("undoing", step)
            self._journal.undo(step.id)
            started = time.monotonic()
            try:
                async with _deadline(step):
                    await step.undo(self._state.results.get(step.id, {}))
            except EtcdopsError as error:
                safe_now = f"its rollback is half done: repeat it with etcdops runs rollback {self._journal.run}"
                self._journal.failed(step.id, error, safe_now)
                self._tell("failed", step, error=error.message, safe_now=safe_now)
                hint = "; ".join(part for part in (error.hint, f"safe now: {safe_now}") if part)
                raise PartlyApplied(
                    f"the rollback stopped at {step.title!r}: {error.message}", cause=error.cause, hint=hint
                ) from error
            self._journal.undone(step.id)
            self._state.results.pop(step.id, None)
            self._tell("undone", step, took_s=time.monotonic() - started)
        self._journal.rolled_back()
        self._state.ended = "rolled-back"
        self._tell("rolled-back")

    def _refuse_lasting_changes(self, begun: Sequence[Step]) -> None:
        stuck = [step for step in begun if step.spec.danger is not Danger.READ and not isinstance(step, UndoableStep)]
        if stuck:
            others = dict.fromkeys(filter(None, (step.other_way_back() for step in stuck)))
            raise ClusterUnsafe(
                f"{self._journal.run} cannot be taken back: {'; '.join(step.title for step in stuck)} cannot be undone",
                cause="nothing was changed now",
                hint="; ".join((f"go on with it: etcdops runs resume {self._journal.run}", *others)),
            )

    def _stopped(self, at: Step) -> EtcdopsError:
        run = self._journal.run
        self._forget_stop()
        if not self._state.acted:
            self._journal.abandoned()
            self._state.ended = "abandoned"
            self._tell("abandoned")
            return RunStopped("stopped as asked before anything was changed", hint="nothing is left to go on with")
        self._journal.stopped()
        self._tell("stopped")
        return RunStopped(
            f"stopped as asked before step {self._numbers[at.id]} of {len(self._steps)} ({at.title})",
            hint=f"safe now: {self._safe_now([at])}; then etcdops runs resume {run}",
        )

    def _rollback_stopped(self, at: Step) -> EtcdopsError:
        self._forget_stop()
        self._journal.stopped()
        self._tell("stopped")
        again = f"finish it: etcdops runs rollback {self._journal.run}"
        return RunStopped(f"stopped as asked before {at.title!r} was taken back", hint=again)

    @property
    def _stop_asked(self) -> bool:
        return self._stop.asked or self._journal.stop_path.exists()

    def _forget_stop(self) -> None:
        """What was asked of an earlier process is not asked of this one."""
        self._journal.stop_path.unlink(missing_ok=True)

    def _explain(self, failures: Sequence[_StepFailed]) -> EtcdopsError:
        """The error as the operator gets it: what is done, what is not, what is safe, how to go on."""
        step, error = failures[0].step, failures[0].error
        if not self._state.acted:
            self._journal.abandoned()
            self._state.ended = "abandoned"
            self._tell("abandoned")
            return error  # the error speaks for itself
        others = [f"also {failed.step.title}: {failed.error.message}" for failed in failures[1:]]
        hint = "; ".join(
            part
            for part in (
                error.hint,
                f"safe now: {self._safe_now([failed.step for failed in failures])}",
                f"then run the same command again: {self._journal.path} knows where"
                f" (or etcdops runs resume {self._journal.run})",
            )
            if part
        )
        kind = VerificationFailed if isinstance(error, VerificationFailed) else PartlyApplied
        return kind(
            f"stopped at step {self._numbers[step.id]} of {len(self._steps)} ({step.title}): {error.message}",
            cause="\n".join(part for part in (error.cause, *others) if part),
            hint=hint,
        )

    def _safe_now(self, failed: Sequence[Step]) -> str:
        if not self._state.acted:
            return UNTOUCHED
        return "; ".join(dict.fromkeys(step.safe_now() for step in failed if step.safe_now())) or GO_ON

    def _tell(
        self,
        kind: Kind,
        step: Step | None = None,
        *,
        took_s: float = 0.0,
        result: Result | None = None,
        error: str = "",
        safe_now: str = "",
    ) -> None:
        self._listener(
            RunEvent(
                kind,
                self._journal.run,
                self._clock.wall(),
                step.spec if step is not None else None,
                self._numbers[step.id] if step is not None else 0,
                len(self._steps),
                took_s,
                result,
                error,
                safe_now,
            )
        )


def _waves(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Neighbours that may run at once, together; every other step alone."""
    for together, wave in itertools.groupby(steps, key=lambda step: step.spec.together):
        if together:
            yield list(wave)
        else:
            yield from ([step] for step in wave)


async def _require_safe(step: Step, forced: frozenset[str]) -> None:
    verdict = await step.judge()
    if verdict is not None and not verdict.allowed and verdict.code not in forced:
        raise ClusterUnsafe(
            f"{step.title}: not safe now: {verdict.reason}",
            cause=f"it was safe when the plan was made; now {verdict.before}",
            hint=verdict.instead,
        )


@asynccontextmanager
async def _deadline(step: Step) -> AsyncIterator[None]:
    """The step's own deadline. Raises: EtcdopsError - it passed."""
    limit = asyncio.timeout(step.spec.timeout_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise EtcdopsError(
            f"{step.title} was not done within {step.spec.timeout_s:.0f} s",
            hint="see what keeps it: a full or slow disk, a host that does not answer",
        ) from error
