"""Asking whether a host that nobody knows yet is the right one."""

from __future__ import annotations

import select
import sys
import threading
from typing import TYPE_CHECKING

from etcdops.cli.diagnostics import note
from etcdops.cli.output import printable

if TYPE_CHECKING:
    from etcdops.remote.host_keys import HostKeyPolicy, OfferedKey

_POLL_S = 0.2


class HostKeyQuestion:
    """The question, asked in threads of the connector; nobody is asked without a terminal.

    A thread that waits for a person cannot be interrupted: `withdraw` ends the waiting when the command ends.
    """

    def __init__(self) -> None:
        self._withdrawn = threading.Event()

    def withdraw(self) -> None:
        """From now on the answer is no, also to the question that is open."""
        self._withdrawn.set()

    def ask(self, key: OfferedKey) -> bool:
        """Whether the person says yes, or types the fingerprint, as with ssh."""
        if not sys.stdin.isatty():
            return False
        note(
            f"The host {printable(key.host)} ({printable(key.known_as)}) is not known."
            f" Its {printable(key.kind)} key is\n  {key.fingerprint}\n"
            "On the host, `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` prints it."
            " Trust it from now on? (yes, no, or the fingerprint)"
        )
        return self._line().strip() in ("yes", key.fingerprint)

    def _line(self) -> str:
        while not self._withdrawn.is_set():
            if select.select([sys.stdin], [], [], _POLL_S)[0]:
                return sys.stdin.readline()
        return ""


def host_key_policy(question: HostKeyQuestion, *, accept_new: bool) -> HostKeyPolicy:
    """The files of OpenSSH; a new key is asked about, or taken with --accept-new; a changed one is never taken."""
    from etcdops.remote.host_keys import HostKeyPolicy

    return HostKeyPolicy(accept_new=accept_new, ask=question.ask)
