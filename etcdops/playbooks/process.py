"""Processes of members: found again by a file, never mistaken for another process that got the same number."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.playbooks import tether

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ProcessID:
    """A process: its number, and when it started so that a reused number is noticed ("" where nobody says)."""

    pid: int
    started: str

    @staticmethod
    def of(pid: int) -> ProcessID:
        return ProcessID(pid, tether.start_time(pid))

    @staticmethod
    def load(path: Path) -> ProcessID | None:
        """The process a file names, None when there is no such file or it is not one of ours."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return ProcessID(int(data["pid"]), str(data["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def alive(self) -> bool:
        """Whether this very process runs. A process that ended and was not collected yet does not."""
        if self.started:
            return tether.start_time(self.pid) == self.started
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send a signal unless the process is gone."""
        if self.alive:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass  # it ended in between

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait for the end of the process; whether it came in time."""
        child = _children.get(self.pid)
        if child is not None:
            try:
                child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                return False
            del _children[self.pid]
            return True
        deadline = time.monotonic() + timeout_s
        if hasattr(os, "pidfd_open") and self.alive:
            try:
                descriptor = os.pidfd_open(self.pid)
            except OSError:
                return not self.alive
            try:
                select.select([descriptor], [], [], max(0.0, timeout_s))
            finally:
                os.close(descriptor)
        while self.alive and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return not self.alive


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes this one started, until they were seen to end: only a parent can collect a process that ended."""


def spawn(
    command: Sequence[str], *, log: Path, pid_file: Path, environment: Mapping[str, str], tethered: bool
) -> ProcessID:
    """Start a program in a session of its own, so that Ctrl-C at our terminal does not reach it; output goes to `log`.

    Args: tethered - it ends with us, whatever happens to us. Then this must be called on the main thread.
    Raises: EtcdopsError - it cannot be started.
    """
    if shutil.which(command[0]) is None:
        raise EtcdopsError(f"cannot start {command[0]}: there is no such program", hint="check its path")
    launcher = [sys.executable, "-ISs", tether.__file__, str(os.getpid() if tethered else 0), str(pid_file)]
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with log.open("ab") as output:
        try:
            child = subprocess.Popen(
                [*launcher, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            raise EtcdopsError(f"cannot start {command[0]}: {error.strerror}") from error
    _children[child.pid] = child
    tether.write_pid_file(str(pid_file), child.pid)
    return ProcessID.of(child.pid)
