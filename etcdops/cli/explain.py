"""`etcdops explain SLUG|CODE`: the page of one cause or one live finding, offline."""

from __future__ import annotations

import shutil

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.language import LANGUAGE_OPTION, terminal_language
from etcdops.cli.options import DEFAULT_WIDTH, current, general_options
from etcdops.cli.output import Cell, Column, Json, render_json, render_table, write
from etcdops.errors import UsageError

_TITLES = {"en": ("CODE", "SEVERITY", "MEANING"), "zh": ("代码", "级别", "含义")}


@click.command(
    "explain",
    cls=OpsCommand,
    examples=[
        ("what it means, what to check, how to mend it", "etcdops explain quota-exceeded"),
        ("a finding of status, doctor or the dashboard", "etcdops explain E107"),
        ("everything there is a page about", "etcdops explain --list"),
    ],
)
@click.argument("code", required=False, metavar="[CODE]")
@click.option("--list", "listed", is_flag=True, help="All codes, one line each.")
@LANGUAGE_OPTION
@general_options
def command(code: str | None, listed: bool, lang: str | None) -> None:
    """Explain a finding by its code: cause, checks, remedy, links. Needs no network."""
    from etcdops.cli.code_view import code_json, render_code
    from etcdops.cli.diagnose_view import WORDS, page_json, render_page
    from etcdops.diagnosis.causes import catalogue, find_cause
    from etcdops.doctor.codes import codes, find_code, is_code

    invocation = current()
    language = lang or terminal_language()
    width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
    as_json = invocation.format == "json"
    if code and is_code(code):
        page = find_code(code)
        write(
            code_json(page, language) if as_json else render_code(page, invocation.look, width=width, language=language)
        )
        return
    if code:
        cause = find_cause(code)
        write(
            page_json(cause, language)
            if as_json
            else render_page(cause, invocation.look, width=width, language=language)
        )
        return
    if not listed:
        raise UsageError("no code was given", hint="etcdops explain CODE, or etcdops explain --list")
    causes, live = list(catalogue().values()), list(codes().values())
    if as_json:
        rows: list[Json] = [{"slug": c.slug, "severity": c.severity.word, "title": c.title[language]} for c in causes]
        pages: list[Json] = [{"code": c.code, "severity": c.severity.word, "title": c.title[language]} for c in live]
        write(render_json("etcdops.explain.list/1", {"causes": rows, "codes": pages}))
        return
    columns = tuple(Column(title) for title in _TITLES[language])
    listed_pages = [(c.slug, c.severity, c.title) for c in causes] + [(c.code, c.severity, c.title) for c in live]
    cells = [
        (Cell(name), Cell(WORDS[language][severity.word]), Cell(title[language]))
        for name, severity, title in listed_pages
    ]
    write(render_table(columns, cells, invocation.look, width=width))
