"""Runs that go on in a process of their own, whatever becomes of the terminal they were begun from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.playbooks.runs import KnownRun


def log_path(known: KnownRun) -> Path:
    """Where such a process says what it says: beside the journal."""
    return known.journal.path.with_suffix(".log")


def go_on_detached(known: KnownRun, more: Sequence[str] = ()) -> int:
    """Start `etcdops runs resume` for a run that was confirmed here. It needs no terminal and has none.

    Args: more - further arguments, such as where a password is read from.
    Returns: its process number. Raises: EtcdopsError - it cannot be started.
    """
    line = [
        *(sys.executable, "-m", "etcdops", "runs", "resume", str(known.journal.path)),
        *("--confirm", known.state.plan.cluster, *more),
    ]
    try:
        with log_path(known).open("ab") as output:
            child = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
    except OSError as error:
        raise EtcdopsError(
            f"{known.run} cannot go on by itself: {error.strerror}", hint="go on with it here"
        ) from error
    return child.pid
