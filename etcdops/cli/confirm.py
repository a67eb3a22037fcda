"""Asking before a change: `y` for one that a cluster goes on serving through, its name for one as severe as a recovery.

The name must be typed because a habit types `y`. Which of both it is, is the cluster's protection to say.
"""

from __future__ import annotations

import shlex
import sys

import click

from etcdops.cli.diagnostics import note
from etcdops.errors import NotConfirmed
from etcdops.inventory.protection import Protection

_NO = "not confirmed; nothing was changed"


def require_confirmation(
    cluster: str, *, protection: Protection, severe: bool, confirm: str | None, yes: bool = False
) -> None:
    """Return if the change of `cluster` is confirmed: by --confirm, by --yes where that will do, or at a terminal.

    Raises: NotConfirmed - another name was given or typed, somebody said no, or there is nobody to ask; the hint is the
        command that would need no question.
    """
    by_name = protection.wants_name(severe=severe)
    if confirm is not None:
        if confirm != cluster:
            raise NotConfirmed(f"--confirm {confirm} is not the cluster's name", hint=f"it is {cluster}")
        return
    if yes and not by_name:
        return
    if not sys.stdin.isatty():
        raise _unasked(cluster, protection, by_name=by_name, yes=yes)
    if not by_name:
        if not click.confirm(f"change {cluster}?", err=True):
            raise NotConfirmed(_NO)
        return
    note(f"Type the cluster's name ({cluster}) to go on; anything else stops.")
    typed = click.prompt("name", default="", show_default=False, err=True)
    if typed.strip() != cluster:
        raise NotConfirmed(_NO)


def _unasked(cluster: str, protection: Protection, *, by_name: bool, yes: bool) -> NotConfirmed:
    answer = ["--confirm", cluster] if by_name else ["--yes"]
    line = shlex.join(["etcdops", *(word for word in sys.argv[1:] if word != "--yes"), *answer])
    if not by_name:
        return NotConfirmed("this must be confirmed", hint=line)
    cause = "" if not yes else "--yes does not cover a change as severe as this one"
    if yes and protection is Protection.PROTECTED:
        cause = f"{cluster} is protected in the inventory: --yes does not cover it"
    return NotConfirmed("this must be confirmed by the cluster's name", cause=cause, hint=line)
