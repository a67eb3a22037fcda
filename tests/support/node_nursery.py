"""Members of the node as processes that start at once: forked from one that has imported everything.

They are the same processes as `python -m etcdops node`, with their own files, ports, signals and deaths; only the
seconds of importing are saved, for tests that start members by the hundred.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import IO

from tests.support.real_etcd import RealMember

_PR_SET_PDEATHSIG = 1


class NurseryProcess:
    """What `RealMember` needs of a subprocess.Popen; the process is the nursery's child, not ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._descriptor = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """0 once it has ended, however it did: only its parent is told more."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(["node"], timeout or 0)
        return 0

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._descriptor, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout_s: float | None) -> int | None:
        if self.returncode is None and select.select([self._descriptor], [], [], timeout_s)[0]:
            os.close(self._descriptor)
            self.returncode = 0
        return self.returncode


class Nursery:
    """Starts members. Ends, with all of them, when it is closed or its owner is gone."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait(10)
        _pipe(self._process.stdout).close()

    def start(self, arguments: list[str], log: str) -> NurseryProcess:
        """A member with these flags, writing to `log`."""
        asked = _pipe(self._process.stdin)
        asked.write(json.dumps([arguments, log]) + "\n")
        asked.flush()
        return NurseryProcess(int(_pipe(self._process.stdout).readline()))


class NurseryMember(RealMember):
    """A RealMember that comes from a nursery."""

    nursery: Nursery

    @classmethod
    def of(cls, member: RealMember, nursery: Nursery) -> NurseryMember:
        """The same member, not started yet."""
        made = cls(**{field.name: getattr(member, field.name) for field in fields(member)})
        made.nursery = nursery
        return made

    def start_nowait(self) -> None:
        assert self.process is None, f"{self.name} runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ready_marks = self._count_ready_marks()
        flags = self.command()[len(self.binaries.program) :]
        self.process = self.nursery.start(flags, str(self.log))  # type: ignore[assignment]  # all of Popen it needs


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _serve() -> None:
    """The nursery itself: one line asks for one member, its process ID is the answer."""
    _die_with_parent()
    import etcdops.cli.node  # noqa: F401  # what members share
    from etcdops.node import main as node

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    for line in sys.stdin:
        arguments, log = json.loads(line)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _die_with_parent()
            os.setsid()
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
                os.dup2(source, target)
            os._exit(node.main(arguments))
        print(pid, flush=True)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    _serve()
