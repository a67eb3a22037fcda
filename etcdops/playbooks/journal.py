"""The record of a run: one JSON line per event, each on the disk before the run goes on.

    {"event": "planned", "at": ..., "plan": {...}}     first line
    {"event": "intent",  "at": ..., "step": ID}        before a step acts
    {"event": "done",    "at": ..., "step": ID, "result": {...}}
    {"event": "failed",  "at": ..., "step": ID, "error": "..."}
    {"event": "finished" | "abandoned", "at": ...}     last line of a run that needs no more

A line cut short by a crash is no line: it is dropped and its event happens again. After a loss of power its end may be
there without its beginning, which then is zeros.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from etcdops.clock import Clock
from etcdops.errors import ClusterUnsafe, EtcdopsError
from etcdops.files import make_folder, sync_folder
from etcdops.playbooks.plan import Json, Plan, Result

SUFFIX = ".jsonl"


@dataclass(slots=True)
class RunState:
    """What a journal says so far."""

    plan: Plan
    started_at: float
    """Unix time."""
    results: dict[str, Result] = field(default_factory=dict)
    """Of the steps that are done."""
    acted: bool = False
    """Whether any step changed something, or was about to when the run was cut off."""
    interrupted: str = ""
    """The step that was begun and has no outcome, if any."""
    ended: str = ""
    """`finished` or `abandoned`; empty while the run can go on."""


class Journal:
    """An open journal. Every write is synced before it returns.

    Raises: EtcdopsError - the file is not a journal.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock

    @classmethod
    def create(cls, folder: Path, plan: Plan, clock: Clock, *, name: str) -> Journal:
        """Start the journal of a new run; its first line is the plan."""
        make_folder(folder)
        journal = cls(folder / f"{name}{SUFFIX}", clock)
        os.close(os.open(journal.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        sync_folder(folder)
        journal._append({"event": "planned", "plan": plan.to_json()})
        return journal

    def intent(self, step: str) -> None:
        self._append({"event": "intent", "step": step})

    def done(self, step: str, result: Result) -> None:
        self._append({"event": "done", "step": step, "result": result})

    def failed(self, step: str, error: BaseException) -> None:
        self._append({"event": "failed", "step": step, "error": str(error) or type(error).__name__})

    def finished(self) -> None:
        self._append({"event": "finished"})

    def abandoned(self) -> None:
        self._append({"event": "abandoned"})

    def load(self) -> RunState | None:
        """What is in the journal; None when not even the plan got to the disk: nothing was done then."""
        state: RunState | None = None
        for line in _complete_lines(self.path):
            event = line.get("event")
            if event == "planned":
                state = RunState(_plan(line, self.path), _time(line))
            elif state is None:
                raise EtcdopsError(f"{self.path} does not begin with a plan", hint="it is not a journal of etcdops")
            elif event == "intent":
                state.interrupted = str(line["step"])
                state.acted = True
            elif event == "done":
                state.results[str(line["step"])] = cast("Result", line["result"])
                state.interrupted = ""
            elif event in ("finished", "abandoned"):
                state.ended = str(event)
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


def open_runs(folder: Path, clock: Clock) -> list[tuple[Journal, RunState]]:
    """Runs in a folder that were begun and not ended, oldest first."""
    found: list[tuple[Journal, RunState]] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        journal = Journal(path, clock)
        state = journal.load()
        if state is not None and not state.ended:
            found.append((journal, state))
    return found


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
                f"another run is at work on this cluster (process {holder})", hint="wait for it to end"
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


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
    except (KeyError, TypeError) as error:
        raise EtcdopsError(f"{path} is damaged: its plan cannot be read") from error


def _time(line: Mapping[str, Json]) -> float:
    at = line.get("at")
    return float(at) if isinstance(at, (int, float)) else 0.0
