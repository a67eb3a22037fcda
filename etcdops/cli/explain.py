"""`etcdops explain SLUG`: the page of one cause, offline."""

from __future__ import annotations

import shutil

import click

from etcdops.cli.diagnose import LANGUAGE_OPTION, terminal_language
from etcdops.cli.help import OpsCommand
from etcdops.cli.options import DEFAULT_WIDTH, current, general_options
from etcdops.cli.output import Cell, Column, Json, render_json, render_table, write
from etcdops.errors import UsageError


@click.command(
    "explain",
    cls=OpsCommand,
    examples=[
        ("what it means, what to check, how to mend it", "etcdops explain quota-exceeded"),
        ("all causes that diagnose knows", "etcdops explain --list"),
    ],
)
@click.argument("code", required=False, metavar="[CODE]")
@click.option("--list", "listed", is_flag=True, help="All codes, one line each.")
@LANGUAGE_OPTION
@general_options
def command(code: str | None, listed: bool, lang: str | None) -> None:
    """Explain a finding by its code: cause, checks, remedy, links. Needs no network."""
    from etcdops.cli.diagnose_view import WORDS, page_json, render_page
    from etcdops.diagnosis.causes import catalogue, find_cause

    invocation = current()
    language = lang or terminal_language()
    width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
    if code:
        cause = find_cause(code)
        as_json = invocation.format == "json"
        write(
            page_json(cause, language)
            if as_json
            else render_page(cause, invocation.look, width=width, language=language)
        )
        return
    if not listed:
        raise UsageError("no code was given", hint="etcdops explain CODE, or etcdops explain --list")
    causes = list(catalogue().values())
    if invocation.format == "json":
        rows: list[Json] = [{"slug": c.slug, "severity": c.severity.word, "title": c.title[language]} for c in causes]
        write(render_json("etcdops.explain.list/1", {"causes": rows}))
        return
    columns = (Column("CODE"), Column("SEVERITY"), Column("MEANING"))
    cells = [(Cell(c.slug), Cell(WORDS[language][c.severity.word]), Cell(c.title[language])) for c in causes]
    write(render_table(columns, cells, invocation.look, width=width))
