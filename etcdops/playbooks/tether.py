"""Run as a script: notes its process ID in a file and becomes another program.

    python tether.py PARENT_PID PID_FILE PROGRAM ARGUMENT ...

With a PARENT_PID other than 0 the kernel ends the program together with that process, so a member started by
`etcdops demo` does not outlive it, not even when the demo is killed with SIGKILL.
The ID is written here, not by the parent alone: a parent killed right after the fork must not leave a member nobody
knows of. And it is a program of its own rather than `preexec_fn`: Python code between fork and exec can hang where
other threads run. Imports nothing of etcdops, to start fast.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Source: Linux prctl(2). The signal is sent when the starting *thread* ends: start members on the main thread."""


def start_time(pid: int) -> str:
    """Clock ticks since boot at which a process started; "" when it is gone or a zombie, or where there is no /proc.

    Source: Linux proc(5), /proc/PID/stat, fields 3 (state) and 22 (starttime); the name before them may hold anything.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]


def write_pid_file(path: str, pid: int) -> None:
    """Replace the file by one that names this process."""
    part = f"{path}.{os.getpid()}.part"
    with open(part, "w", encoding="utf-8") as file:
        json.dump({"pid": pid, "started": start_time(pid)}, file)
    os.replace(part, path)


def main(arguments: list[str]) -> None:
    parent, pid_file, program = int(arguments[0]), arguments[1], arguments[2:]
    if parent and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)  # it died before we could ask for the signal
    write_pid_file(pid_file, os.getpid())
    os.execvp(program[0], program)  # noqa: S606 - the arguments are a list, no shell is involved


if __name__ == "__main__":
    main(sys.argv[1:])
