"""Who is at work on a run: an operator, a machine, a process that is never mistaken for another one."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from etcdops.playbooks.plan import Json
from etcdops.playbooks.process import ProcessID


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that works on a run, or did."""

    user: str
    machine: str
    process: ProcessID

    @staticmethod
    def this() -> Worker:
        return Worker(_user(), socket.gethostname(), ProcessID.of(os.getpid()))

    @property
    def owner(self) -> str:
        """`user@machine`, for people."""
        return f"{self.user}@{self.machine}"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, so that `alive` means anything."""
        return self.machine == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether it runs still; of another machine's nobody here can tell, and it counts as running."""
        return not self.is_here or self.process.alive

    def __str__(self) -> str:
        return f"{self.owner}, process {self.process.pid}"

    def to_json(self) -> dict[str, Json]:
        return {
            "user": self.user,
            "machine": self.machine,
            "pid": self.process.pid,
            "started": self.process.started,
        }

    @staticmethod
    def from_json(data: object) -> Worker | None:
        """None: this names nobody."""
        if not isinstance(data, Mapping):
            return None
        try:
            process = ProcessID(int(str(data["pid"])), str(data["started"]))
            return Worker(str(data["user"]), str(data["machine"]), process)
        except (KeyError, ValueError):
            return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a user without a name, as in some containers
