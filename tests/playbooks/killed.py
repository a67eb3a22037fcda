"""etcdops, killed by SIGKILL at a moment of a run.

    python -m tests.playbooks.killed "acted place:h1" COMMAND ...

Moments of a step: `intent` and `undo`, when the line is in the journal; `during`, a little later, and before the
outcome is in any case; `acted`, before the outcome is; `done` and `undone`, after it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from etcdops.cli.main import run
from etcdops.playbooks.journal import Journal
from etcdops.playbooks.plan import Result

_A_LITTLE_S = 0.15


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str) -> None:
    """Let every journal of this process kill it at the moment."""
    phase, step = moment.split(" ")
    intent, done, undo, undone = Journal.intent, Journal.done, Journal.undo, Journal.undone

    def killing_intent(self: Journal, at: str) -> None:
        intent(self, at)
        if at == step and phase == "intent":
            kill()
        if at == step and phase == "during":
            threading.Timer(_A_LITTLE_S, kill).start()

    def killing_done(self: Journal, at: str, result: Result, took_s: float = 0.0) -> None:
        if at == step and phase in ("during", "acted"):
            kill()
        done(self, at, result, took_s)
        if at == step and phase == "done":
            kill()

    def killing_undo(self: Journal, at: str) -> None:
        undo(self, at)
        if at == step and phase == "undo":
            kill()

    def killing_undone(self: Journal, at: str) -> None:
        undone(self, at)
        if at == step and phase == "undone":
            kill()

    for name, patched in (
        ("intent", killing_intent), ("done", killing_done), ("undo", killing_undo), ("undone", killing_undone),
    ):  # fmt: skip
        setattr(Journal, name, patched)


if __name__ == "__main__":
    arm(sys.argv[1])
    sys.exit(run(sys.argv[2:]))
