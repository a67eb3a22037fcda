"""How help reads: usage, one sentence, examples first, then options in sections. Plain text at 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


class SectionOption(click.Option):
    """An option that is listed under its own heading instead of `Options`."""

    def __init__(self, *arguments: Any, section: str = "Options", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.section = section


class HelpMixin(click.Command):
    """`examples` are pairs of what one wants and the line that does it; they come before the options."""

    examples: Sequence[tuple[str, str]] = ()

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                for purpose, line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}# {purpose}\n")
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        if isinstance(self, click.Group):
            self.format_commands(ctx, formatter)
        # The command's own options come before those that every command has.
        for heading in sorted(sections, key=lambda name: name != "Options"):
            with formatter.section(heading):
                formatter.write_dl(sections[heading], col_max=28)


class OpsCommand(HelpMixin, click.Command):
    """A command of etcdops."""

    def __init__(self, *arguments: Any, examples: Sequence[tuple[str, str]] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples


def first_sentence(text: str) -> str:
    """Of a command's help, without the full stop."""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


class OpsGroup(HelpMixin, click.Group):
    """A group of commands under one noun, e.g. `etcdops snapshot save|status|restore`."""

    def __init__(self, *arguments: Any, examples: Sequence[tuple[str, str]] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each command with the first sentence of its help, whole: click would cut it at the end of the line."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(one.help or "")) for name, one in commands if one is not None])
