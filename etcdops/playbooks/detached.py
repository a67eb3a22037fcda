"""Runs that go on in a process of their own, whatever becomes of the terminal they were begun from."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.playbooks.runs import KnownRun

TAKEN_TIMEOUT_S = 60.0
_POLL_S = 0.1
_SHOWN_LINES = 6


def log_path(known: KnownRun) -> Path:
    """Where such a process says what it says: beside the journal."""
    return known.journal.path.with_suffix(".log")


def go_on_detached(known: KnownRun, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start `etcdops runs resume` for a run that was confirmed here. It needs no terminal and has none.

    Args: more - further arguments, such as where a password is read from.
    Raises: EtcdopsError - it cannot be started.
    """
    line = [
        *(sys.executable, "-m", "etcdops", "runs", "resume", str(known.journal.path)),
        *("--confirm", known.state.plan.cluster, *more),
    ]
    try:
        with log_path(known).open("ab") as output:
            return subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
    except OSError as error:
        raise EtcdopsError(
            f"{known.run} cannot go on by itself: {error.strerror}", hint="go on with it here"
        ) from error


def wait_taken(known: KnownRun, child: subprocess.Popen[bytes], *, timeout_s: float = TAKEN_TIMEOUT_S) -> None:
    """Return when the process has the run in its hands, so that whoever looks at it from now on sees it at work.

    Also when that takes too long: hosts may be slow to let it in. Raises: EtcdopsError - it ended before that.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        ended = child.poll()
        state = known.journal.load()
        if state is not None and state.by is not None and state.by.process.pid == child.pid:
            return
        if ended is not None:
            raise EtcdopsError(
                f"the process that was to go on with {known.run} ended at once, with status {ended}",
                cause=_last_lines(log_path(known)),
                hint=f"mend that, then: etcdops runs resume {known.run}",
            )
        time.sleep(_POLL_S)


def _last_lines(path: Path) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-_SHOWN_LINES:])
    except OSError:
        return ""
