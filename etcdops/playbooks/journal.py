"""The record of a run: one JSON line per event, each on the disk before the run goes on.

    {"event": "planned", "at": ..., "run": "r-0c4f", "by": {...}, "plan": {...}}     first line
    {"event": "resumed", "at": ..., "by": {...}}       another process goes on with it
    {"event": "intent",  "at": ..., "step": ID}        before a step acts
    {"event": "done",    "at": ..., "step": ID, "took_s": ..., "result": {...}}
    {"event": "failed",  "at": ..., "step": ID, "error": "...", "safe_now": "..."}
    {"event": "stopped", "at": ...}                    after a step, because somebody asked for it
    {"event": "undo" | "undone", "at": ..., "step": ID}         before and after a step is taken back
    {"event": "finished" | "abandoned" | "rolled-back", "at": ...}     last line of a run that needs no more

A line cut short by a crash is no line: it is dropped and its event happens again. After a loss of power its end may be
there without its beginning, which then is zeros.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from etcdops.clock import Clock
from etcdops.errors import ClusterUnsafe, EtcdopsError
from etcdops.files import make_folder, sync_folder
from etcdops.playbooks.plan import Json, Plan, Result
from etcdops.playbooks.worker import Worker

SUFFIX = ".jsonl"
STOP_SUFFIX = ".stop"
ENDS = ("finished", "abandoned", "rolled-back")


@dataclass(slots=True)
class RunState:
    """What a journal says so far."""

    plan: Plan
    started_at: float
    """Unix time."""
    run: str = ""
    """Its ID, such as `r-0c4f`."""
    results: dict[str, Result] = field(default_factory=dict)
    """Of the steps that are done."""
    acted: bool = False
    """Whether any step changed something, or was about to when the run was cut off."""
    interrupted: set[str] = field(default_factory=set)
    """Steps that were begun and have no outcome, if any."""
    ended: str = ""
    """`finished`, `abandoned` or `rolled-back`; empty while the run can go on."""
    rolling_back: bool = False
    """It was begun to be taken back: it cannot go forward any more."""
    stopped: bool = False
    """The last process that worked on it stopped as it was asked to."""
    error: str = ""
    """What the last process that worked on it failed with, if it did."""
    by: Worker | None = None
    """Who works on it, or did last."""
    last_at: float = 0.0
    """Unix time of its last line."""

    @property
    def status(self) -> str:
        """One word for lists."""
        if self.ended:
            return self.ended
        if self.error:
            return "failed"
        if self.stopped:
            return "stopped"
        return "running" if self.by is not None and self.by.alive else "interrupted"


class Journal:
    """An open journal. Every write is synced before it returns.

    Raises: EtcdopsError - the file is not a journal.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock

    @property
    def run(self) -> str:
        """The run's ID."""
        return self.path.name.removesuffix(SUFFIX)

    @property
    def stop_path(self) -> Path:
        """While this file is there, the run is asked to stop after the step it is at."""
        return self.path.with_name(self.run + STOP_SUFFIX)

    @classmethod
    def create(cls, folder: Path, plan: Plan, clock: Clock, *, name: str = "") -> Journal:
        """Start the journal of a new run; its first line is the plan. Args: name - the run's ID, random by default."""
        make_folder(folder)
        journal = cls(folder / f"{name or new_run_id()}{SUFFIX}", clock)
        os.close(os.open(journal.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        sync_folder(folder)
        journal._append({"event": "planned", "run": journal.run, "by": Worker.this().to_json(), "plan": plan.to_json()})
        return journal

    def resumed(self) -> None:
        """This process goes on with it."""
        self._append({"event": "resumed", "by": Worker.this().to_json()})

    def intent(self, step: str) -> None:
        self._append({"event": "intent", "step": step})

    def done(self, step: str, result: Result, took_s: float = 0.0) -> None:
        self._append({"event": "done", "step": step, "took_s": round(took_s, 3), "result": result})

    def failed(self, step: str, error: BaseException, safe_now: str = "") -> None:
        self._append(
            {"event": "failed", "step": step, "error": str(error) or type(error).__name__, "safe_now": safe_now}
        )

    def stopped(self) -> None:
        self._append({"event": "stopped"})

    def undo(self, step: str) -> None:
        self._append({"event": "undo", "step": step})

    def undone(self, step: str) -> None:
        self._append({"event": "undone", "step": step})

    def finished(self) -> None:
        self._append({"event": "finished"})

    def abandoned(self) -> None:
        self._append({"event": "abandoned"})

    def rolled_back(self) -> None:
        self._append({"event": "rolled-back"})

    def lines(self) -> list[Mapping[str, Json]]:
        """Every event so far, as it was written. Raises: EtcdopsError - damaged."""
        return list(_complete_lines(self.path))

    def load(self) -> RunState | None:
        """What is in the journal; None when not even the plan got to the disk: nothing was done then."""
        state: RunState | None = None
        for line in _complete_lines(self.path):
            if line.get("event") == "planned":
                state = RunState(_plan(line, self.path), _time(line), self.run, by=Worker.from_json(line.get("by")))
            elif state is None:
                raise EtcdopsError(f"{self.path} does not begin with a plan", hint="it is not a journal of etcdops")
            else:
                _take(state, line)
            state.last_at = _time(line)
        return state

    def _append(self, event: dict[str, Json]) -> None:
        line = json.dumps({**event, "at": self._clock.wall()}, separators=(",", ":")).encode() + b"\n"
        with self.path.open("r+b") as file:
            end = _end_of_last_line(file.read())
            file.seek(end)
            file.truncate()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def new_run_id() -> str:
    """Short enough to be typed; whoever makes a run sees to it that no other one has it."""
    return f"r-{secrets.token_hex(2)}"


def open_runs(folder: Path, clock: Clock) -> list[tuple[Journal, RunState]]:
    """Runs in a folder that were begun and not ended, oldest first."""
    found: list[tuple[Journal, RunState]] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        journal = Journal(path, clock)
        state = journal.load()
        if state is not None and not state.ended:
            found.append((journal, state))
    return sorted(found, key=lambda run: run[1].started_at)


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """One run at a time on a cluster; the lock goes with the process that holds it, however it ends.

    Raises: ClusterUnsafe - another process holds it.
    """
    make_folder(folder)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise ClusterUnsafe(
                f"another run is at work on this cluster (process {holder})",
                hint="wait for it to end, or look at it: etcdops runs list",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _take(state: RunState, line: Mapping[str, Json]) -> None:
    """One event after the first."""
    event, step = line.get("event"), str(line.get("step", ""))
    if event == "resumed":
        state.by, state.error, state.stopped = Worker.from_json(line.get("by")), "", False
    elif event == "intent":
        state.interrupted.add(step)
        state.acted = True
    elif event == "done":
        state.results[step] = cast("Result", line["result"])
        state.interrupted.discard(step)
    elif event == "failed":
        state.error = str(line.get("error", ""))
    elif event == "stopped":
        state.stopped = True
    elif event == "undo":
        state.rolling_back = True
    elif event == "undone":
        state.results.pop(step, None)
        state.interrupted.discard(step)
    elif event in ENDS:
        state.ended = str(event)


def _complete_lines(path: Path) -> Iterator[Mapping[str, Json]]:
    raw = path.read_bytes()
    for line in raw[: _end_of_last_line(raw)].splitlines():
        try:
            event = json.loads(line)
        except ValueError as error:
            raise EtcdopsError(f"{path} is damaged: a line in it is not JSON") from error
        if not isinstance(event, dict):
            raise EtcdopsError(f"{path} is damaged: a line in it is not an event")
        yield event


def _end_of_last_line(raw: bytes) -> int:
    end = raw.rfind(b"\n") + 1
    begin = raw.rfind(b"\n", 0, max(end - 1, 0)) + 1
    return begin if b"\0" in raw[begin:end] else end


def _plan(line: Mapping[str, Json], path: Path) -> Plan:
    try:
        return Plan.from_json(cast("Mapping[str, Json]", line["plan"]))
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdopsError(f"{path} is damaged: its plan cannot be read") from error


def _time(line: Mapping[str, Json]) -> float:
    at = line.get("at")
    return float(at) if isinstance(at, (int, float)) else 0.0
