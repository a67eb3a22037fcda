"""Asking before a severe change: the name must be typed, because a habit types `y`."""

from __future__ import annotations

import sys

import click

from etcdops.cli.diagnostics import note
from etcdops.errors import NotConfirmed


def confirm_by_name(name: str, *, given: str | None, yes: bool, line: str) -> None:
    """Return if the change to `name` is confirmed: by --confirm, or by typing the name at a terminal.

    Args: line - the command that would need no question.
    Raises: NotConfirmed - another name was given or typed, or there is nobody to ask.
    """
    if given is not None:
        if given != name:
            raise NotConfirmed(f"--confirm {given} is not the cluster's name", hint=f"it is {name}")
        return
    if not sys.stdin.isatty():
        cause = "--yes does not cover a change as severe as this one" if yes else ""
        raise NotConfirmed("this must be confirmed by the cluster's name", cause=cause, hint=line)
    note(f"Type the cluster's name ({name}) to go on; anything else stops.")
    typed = click.prompt("name", default="", show_default=False, err=True)
    if typed.strip() != name:
        raise NotConfirmed("not confirmed; nothing was changed")
