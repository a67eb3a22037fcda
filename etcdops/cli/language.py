"""Which language findings and their pages are told in."""

from __future__ import annotations

import os

import click

from etcdops.diagnosis.causes import LANGUAGES

LANGUAGE_OPTION = click.option(
    "--lang", type=click.Choice(LANGUAGES), default=None, help="Language (that of the terminal)."
)


def terminal_language() -> str:
    """zh where the locale says so, else en. Source: POSIX, LC_ALL before LC_MESSAGES before LANG."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name)
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
