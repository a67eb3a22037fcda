"""Run a command as another user of the host: sudo, with or without a password.

The password goes to sudo's standard input, as its first line. `-k` makes sudo ask for it whatever it remembers, so that
the line is always taken by sudo and never reaches the program. That needs a rule for all commands, not one without a
password for some of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from etcdops.errors import AccessDenied
from etcdops.remote.command import Argument
from etcdops.secret import Secret


@dataclass(frozen=True, slots=True)
class Become:
    """How to become another user on a host. Without a password, sudo must not want one."""

    password: Secret | None = None
    needed: bool = True
    """Not when the login user may do everything by itself: commands for others are then run as they are."""


def sudo_argv(argv: tuple[Argument, ...], user: str, become: Become) -> tuple[Argument, ...]:
    """The command line that runs `argv` as `user`."""
    asking = ("-n",) if become.password is None else ("-k", "-S", "-p", "")
    return ("sudo", *asking, "-H", "-u", user, "--", *argv)


def sudo_stdin(stdin: bytes, become: Become) -> bytes:
    """What to send to it: the password's line first, where there is one."""
    if become.password is None:
        return stdin
    return become.password.reveal().encode() + b"\n" + stdin


_REFUSALS = (
    # what sudo says (in English: LC_ALL=C), what it means, what to do
    ("a password is required", "sudo wants a password and none is given", "set become.password in the inventory"),
    ("no password was provided", "the password for sudo is wrong", "correct become.password in the inventory"),
    ("incorrect password", "the password for sudo is wrong", "correct become.password in the inventory"),
    ("sorry, try again", "the password for sudo is wrong", "correct become.password in the inventory"),
    ("not in the sudoers file", "the user may not use sudo", "add a rule under /etc/sudoers.d, or use another user"),
    ("is not allowed to", "sudo does not allow this command", "give the user a rule for ALL commands"),
    ("must have a tty", "sudo wants a terminal", "remove `requiretty` for this user from /etc/sudoers"),
    ("unknown user", "there is no such user on the host", "make the user, or correct the inventory"),
    ("sudo: not found", "the host has no sudo", "install sudo, or log in as root (ssh.user)"),
    ("sudo: command not found", "the host has no sudo", "install sudo, or log in as root (ssh.user)"),
)


def refusal(host: str, user: str, stderr: bytes) -> AccessDenied | None:
    """The error behind sudo's own message; None when `stderr` is not sudo's."""
    text = stderr.decode(errors="replace").strip()
    lines = [line for line in text.splitlines() if "sudo" in line or "try again" in line.lower()]
    for said, meaning, hint in _REFUSALS:
        for line in lines:
            if said in line.lower():
                return AccessDenied(f"{host}: cannot become {user}: {meaning}", cause=line, hint=hint)
    return None
