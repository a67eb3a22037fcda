"""A procedure on a folder: each step makes a file. Killed, stopped, resumed and taken back as a real one.

    python -m tests.playbooks.toy FOLDER begin              make the plan, carry it out
    python -m tests.playbooks.toy FOLDER COMMAND ...        etcdops COMMAND ... with this procedure known

`FOLDER/kill` may name a moment, such as `in b`, at which the process is killed, once. `FOLDER/wait-STEP` holds a step
until it is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from etcdops.clock import SystemClock
from etcdops.errors import EtcdopsError, VerificationFailed
from etcdops.playbooks.engine import execute
from etcdops.playbooks.journal import RunState, run_lock
from etcdops.playbooks.on_hosts import Access
from etcdops.playbooks.plan import Danger, Plan, Result, StepSpec
from etcdops.playbooks.procedures import Procedure, add_procedure
from etcdops.playbooks.runs import begin_run
from etcdops.playbooks.step import Step, StepKinds, UndoableStep

NAME = "toy"
STEPS = (
    StepSpec("look", "look around", "look"),
    StepSpec("a", "make a", "make", danger=Danger.MILD),
    StepSpec("b", "make b", "make", danger=Danger.MILD, together="pair"),
    StepSpec("c", "make c", "make", danger=Danger.MILD, together="pair"),
    StepSpec("d", "make d", "make", danger=Danger.SEVERE),
)


class Look(Step):
    """Reads only."""

    async def check(self) -> bool:
        return True


class Make(UndoableStep):
    """Makes a file named for the step; half of it first, so that a crash can come between."""

    def __init__(self, spec: StepSpec, folder: Path) -> None:
        super().__init__(spec)
        self.folder = folder
        self.path = folder / f"made-{spec.id}"

    async def check(self) -> bool:
        return self.path.exists() and self.path.read_text() == "whole"

    async def act(self) -> None:
        self._moment("before")
        while (self.folder / f"wait-{self.id}").exists():  # noqa: ASYNC110 - the event is another process's
            await asyncio.sleep(0.01)
        if (self.folder / f"fail-{self.id}").exists():
            raise EtcdopsError(f"{self.id} cannot be made", hint="remove what hinders it")
        self.path.write_text("half")
        self._moment("in")
        self.path.write_text("whole")
        with (self.folder / "acts").open("a") as log:
            log.write(f"{self.id}\n")
        self._moment("after")

    async def verify(self) -> Result:
        self._moment("verify")
        if self.path.read_text() != "whole":
            raise VerificationFailed(f"{self.id} is half made")
        return {"made": self.path.name}

    async def undo(self, result: Result) -> None:
        self._moment("undo")
        self.path.unlink(missing_ok=True)
        self._moment("undone")

    def _moment(self, name: str) -> None:
        chosen = self.folder / "kill"
        if chosen.exists() and chosen.read_text() == f"{name} {self.id}":
            chosen.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


KINDS: StepKinds[Path] = StepKinds(NAME)
KINDS.add("look", lambda spec, folder: Look(spec))
KINDS.add("make", Make)


def make_plan(folder: Path, steps: Sequence[StepSpec] = STEPS) -> Plan:
    return Plan(NAME, "toys", {"folder": str(folder)}, ("make four files",), ("nothing",), tuple(steps))


def rebuild(plan: Plan, access: Access | None = None) -> list[Step]:
    return KINDS.build(plan, Path(str(plan.inputs["folder"])))


async def begin(folder: Path) -> None:
    plan = make_plan(folder)
    journal = begin_run(folder / "runs", plan, SystemClock())
    print(journal.run, flush=True)
    await execute(rebuild(plan), journal, RunState(plan, 0.0, journal.run), lambda event: None)


def begin_locked(folder: Path) -> None:
    with run_lock(folder / "runs"):
        asyncio.run(begin(folder))


def main(folder: Path, arguments: list[str]) -> int:
    from etcdops.cli import diagnostics
    from etcdops.cli.main import run

    add_procedure(NAME, Procedure(rebuild))
    return diagnostics.run(lambda: begin_locked(folder)) if arguments == ["begin"] else run(arguments)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
