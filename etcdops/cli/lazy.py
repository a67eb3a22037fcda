"""A click group that knows its commands by name and loads each one only when it is used.

`etcdops --help` must answer at once, and grpc or textual alone take longer to import than that answer may take.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from etcdops.cli.help import OpsGroup


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: `module` has it as `command`, or under its own name."""

    name: str
    summary: str
    module: str
    section: str

    def load(self) -> click.Command:
        module = importlib.import_module(self.module)
        found = getattr(module, "command", None) or getattr(module, self.name.replace("-", "_"), None)
        if not isinstance(found, click.Command):
            raise TypeError(f"{self.module} has no click command `command` or `{self.name}`")
        return found


class LazyGroup(OpsGroup):
    """Commands from a static table; listing them imports nothing."""

    def __init__(self, *arguments: Any, entries: Sequence[Entry], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.entries = {entry.name: entry for entry in entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        return entry.load() if entry else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.entries:
            raise click.UsageError(f"there is no command {args[0]!r}{self._nearest(args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def _nearest(self, wrong: str) -> str:
        import difflib  # only a typing error pays for it

        near = difflib.get_close_matches(wrong, list(self.entries), n=1)
        return f"; did you mean {near[0]!r}?" if near else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(len(name) for name in self.entries)
        for section in dict.fromkeys(entry.section for entry in self.entries.values()):
            with formatter.section(section):
                formatter.write_dl(
                    [(e.name.ljust(width), e.summary) for e in self.entries.values() if e.section == section]
                )
