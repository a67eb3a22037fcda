"""Namespaces of Linux that end with the test run, however it ends.

A holder is a process that sits in namespaces of its own and does nothing; the kernel kills it when the run is gone, and
removes namespaces nobody is in, with all their mounts, links and addresses. Nothing has a name on the machine. It takes
root, or rather the right to make namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

_READY_TIMEOUT_S = 10.0
_COMMAND_TIMEOUT_S = 10.0
_TOOLS = ("setpriv", "unshare", "nsenter", "mount", "ip")
_FILE_OF = {"mount": "mnt", "net": "net"}


class Holder:
    """Owns one namespace of each kind in `kinds`: "mount", "net"."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *(f"--{kind}" for kind in kinds), "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._inside():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise OSError(f"no namespaces of {', '.join(kinds)} can be made here")
            time.sleep(0.01)

    def _inside(self) -> bool:
        try:
            # "sleep" comes last: until then this is setpriv or unshare.
            if Path(f"/proc/{self.pid}/comm").read_text().strip() != "sleep":
                return False
            files = [_FILE_OF[kind] for kind in self.kinds]
            return all(
                os.readlink(f"/proc/{self.pid}/ns/{file}") != os.readlink(f"/proc/self/ns/{file}") for file in files
            )
        except OSError:
            return False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def launcher(self) -> tuple[str, ...]:
        """Put before a command to run it inside, in the working directory of the run."""
        doors = (f"--{kind}=/proc/{self.pid}/ns/{_FILE_OF[kind]}" for kind in self.kinds)
        return ("nsenter", *doors, "--", "env", f"--chdir={Path.cwd()}")

    def run(self, *command: str) -> str:
        """Run a command inside; returns what it printed. Raises: CalledProcessError."""
        done = subprocess.run(
            [*self.launcher, *command], check=True, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S
        )
        return done.stdout

    def outside(self, path: Path) -> Path:
        """Where a path inside is seen from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(_COMMAND_TIMEOUT_S)


def why_no_namespaces() -> str:
    """The reason why this machine cannot make them; "" when it can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed (util-linux, iproute2)"
    if os.geteuid() != 0:
        return "namespaces need root"
    try:
        holder = Holder("mount", "net")
    except OSError as error:
        return str(error)
    holder.close()
    return ""
