"""`etcdops diagnose`: what is wrong, told by logs that are given, or fetched from hosts."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.diagnose_hosts import SINCE_DEFAULT_S, Asked, fetched_logs, hint_without_logs
from etcdops.cli.diagnose_input import (
    FETCHED_HINT,
    moment,
    require_etcds,
    require_lines,
    require_lines_of_then,
    window_of,
)
from etcdops.cli.diagnostics import note
from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import accept_new_option, cluster_option, inventory_option
from etcdops.cli.language import LANGUAGE_OPTION, terminal_language
from etcdops.cli.options import DEFAULT_WIDTH, Invocation, current, general_options
from etcdops.cli.output import Look, write
from etcdops.errors import DeadlinePassed, ExitCode, UsageError

if TYPE_CHECKING:
    from etcdops.diagnosis.diagnose import Progress
    from etcdops.diagnosis.finding import Diagnosis
    from etcdops.diagnosis.reading import Source
    from etcdops.diagnosis.window import Window
    from etcdops.doctor.examine import Examination
    from etcdops.doctor.observation import Observation

SILENT_S, REDRAW_S = 0.5, 0.2
"""What is read sooner shows no progress; how often it is drawn."""

_IN_LOGS = {"en": "In the logs:", "zh": "日志中："}


@click.command(
    "diagnose",
    cls=OpsCommand,
    examples=[
        ("what is wrong with this member?", "journalctl -u etcd | etcdops diagnose"),
        ("a cluster of the inventory: its logs are fetched", "etcdops diagnose --cluster prod"),
        ("a host, by its name for ssh", "etcdops diagnose --host root@10.0.0.1 --since 2h"),
        ("this machine's unit, or container", "etcdops diagnose --unit etcd"),
        ("all members at once: one picture, clocks put right", "etcdops diagnose m1.log m2.log.gz m3/"),
        ("for a ticket", "etcdops diagnose --markdown etcd.log"),
        ("for a script", "etcdops diagnose --json etcd.log | jq '.findings[0].slug'"),
        ("what does that cause mean?", "etcdops explain cluster-id-mismatch"),
    ],
)
@click.argument("logs", nargs=-1, metavar="[LOG]...")
@cluster_option
@inventory_option
@click.option(
    "--host", "hosts", metavar="HOST[,HOST]", default="", help="Only these; outside an inventory, as for ssh."
)
@click.option("--unit", metavar="NAME", default="", help="A unit of systemd, here or on --host.")
@click.option("--container", metavar="NAME", default="", help="A container, here or on --host.")
@click.option("--logs-only", is_flag=True, help="Do not look at members and hosts as they are now.")
@accept_new_option
@click.option(
    "--since", metavar="TIME", help="Only lines from then on: 2026-01-31T08:00:00Z, 2h. Of logs that are fetched: 24h."
)
@click.option("--until", metavar="TIME", help="Only lines up to then.")
@click.option("--json", "as_json", is_flag=True, help="As -w json: a stable document.")
@click.option("--markdown", is_flag=True, help="For a ticket.")
@click.option("--full", is_flag=True, help="Fix and checks for every finding.")
@click.option("--timeline", is_flag=True, help="What happened when, over all members, first.")
@LANGUAGE_OPTION
@general_options
def command(
    logs: tuple[str, ...],
    name: str,
    given: tuple[Path, ...],
    hosts: str,
    unit: str,
    container: str,
    logs_only: bool,
    accept_new: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
    markdown: bool,
    full: bool,
    timeline: bool,
    lang: str | None,
) -> int:
    """Say what is wrong, prove it by lines, and give the next command.

    LOG is a file (.gz .xz .bz2 .zst too), a folder of them, or - for standard input. etcd 2.0 to 3.7, text or JSON,
    behind any prefix of journald, docker, Kubernetes or compose. Instead of LOG, a cluster, hosts, a unit or a
    container: their logs are fetched, and members and hosts are looked at as they are now. Exit 0: nothing to do; 5:
    there are findings; 2: there was nothing to read, or nothing of that time.
    """
    invocation = current()
    asked = Asked(given, name, tuple(filter(None, hosts.split(","))), unit, container, accept_new, logs_only)
    language = lang or terminal_language()
    with _sources(invocation, logs, asked, since, until) as (sources, window, seen):
        from etcdops.diagnosis.diagnose import diagnose

        diagnosis = diagnose(sources, window, _progress(invocation))
    examination = _examined(seen, diagnosis)
    if not asked:
        require_lines_of_then(diagnosis, window)
        require_etcds(diagnosis)
    elif examination is None:
        require_lines(diagnosis, FETCHED_HINT)
    shown = "json" if as_json or invocation.format == "json" else "markdown" if markdown else "text"
    write(_rendered(invocation, diagnosis, examination, shown, language, full=full, timeline=timeline))
    if not any(source.lines for source in diagnosis.sources):
        note("warning: there was not one line to read")
    healthy = diagnosis.healthy if examination is None else examination.healthy
    return int(ExitCode.OK if healthy else ExitCode.UNHEALTHY)


def _examined(seen: Observation | None, diagnosis: Diagnosis) -> Examination | None:
    """What logs tell, held against what members and hosts show now. None: nobody looked at them."""
    if seen is None:
        return None
    from etcdops.doctor.examine import examine

    return examine(dataclasses.replace(seen, logs=diagnosis))


def _rendered(
    invocation: Invocation,
    diagnosis: Diagnosis,
    examination: Examination | None,
    shown: str,
    language: str,
    *,
    full: bool,
    timeline: bool,
) -> str:
    from etcdops.cli import diagnose_view
    from etcdops.diagnosis.names import names_of, with_names

    if shown == "json":
        return _json(diagnosis, examination, language)
    width = shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns
    look = invocation.look
    parts: list[str] = []
    if timeline and diagnosis.timeline and shown == "text":
        parts.append(diagnose_view.render_timeline(diagnosis, look, width=width) + "\n")
    found, called = diagnosis.findings, names_of(diagnosis)
    live = ""
    if examination is not None:
        from etcdops.cli.diagnose_live_view import members_listed

        found, called = examination.logs, called | members_listed(examination.observation.view)
        live = _live(examination, look, width, shown, language, full=full)
        if not diagnosis.sources:
            return "\n".join([*parts, live])
    left = dataclasses.replace(diagnosis, findings=with_names(found, called))
    below = examination.below if examination is not None else {}
    now = {named: below.get(one, ()) for named, one in zip(left.findings, found, strict=True)}
    if shown == "markdown":
        told = diagnose_view.render_markdown(left, language, now)
    else:
        told = diagnose_view.render_report(left, look, width=width, language=language, full=full, now=now)
        told = f"{_IN_LOGS[language]}\n{told}" if live else told
    if live and examination is not None:
        parts += [told + "\n", live] if _worse(left, examination) else [live, told]
    else:
        parts.append(told)
    return "\n".join(parts)


def _json(diagnosis: Diagnosis, examination: Examination | None, language: str) -> str:
    if examination is None:
        from etcdops.cli.diagnose_view import diagnosis_json

        return diagnosis_json(diagnosis, language)
    # Only now: what looks at clusters takes longer to load than most logs to read.
    from etcdops.cli.diagnose_live_view import whole_json

    return whole_json(diagnosis, examination, language)


def _live(examination: Examination, look: Look, width: int, shown: str, language: str, *, full: bool) -> str:
    """What was seen, without what logs say: that is told by itself."""
    from etcdops.cli.doctor_view import render_examination

    plain = look if shown == "text" else Look(color=False, ascii=False)
    text = render_examination(examination, plain, width=min(width, 120), language=language, full=full, logs=False)
    return text if shown == "text" else f"````text\n{text}````\n"


def _worse(left: Diagnosis, examination: Examination) -> bool:
    """Whether logs tell of worse than the look: then they are read first."""
    live = max((one.severity for one in examination.findings), default=None)
    logs = max((one.severity for one in left.findings), default=None)
    return logs is not None and (live is None or logs > live)


@contextlib.contextmanager
def _sources(
    invocation: Invocation, logs: tuple[str, ...], asked: Asked, since: str | None, until: str | None
) -> Iterator[tuple[list[Source], Window, Observation | None]]:
    """What is to be read, which part of it counts, and what is seen live of who wrote it."""
    from etcdops.diagnosis.reading import STDIN, find_sources
    from etcdops.diagnosis.window import Window

    if asked and logs:
        raise UsageError("logs were given and are to be fetched as well", hint="leave out the files, or the options")
    if asked:
        from etcdops.doctor.gather.log_files import Span

        span = Span(moment(since, "--since") or time.time() - SINCE_DEFAULT_S, moment(until, "--until"))
        with fetched_logs(invocation, asked, span) as fetched:
            # The hosts have cut them to the span, or taken the last lines before it.
            yield [log.source for log in fetched.logs], Window(), fetched.observation
        return
    names = list(logs)
    if not names:
        if sys.stdin.isatty():
            raise UsageError("no log was given", hint=hint_without_logs())
        names = [STDIN]
    yield find_sources(names), window_of(since, until), None


def _progress(invocation: Invocation) -> Progress | None:
    """Keeps --timeout, and shows on a terminal how far the reading is. None when neither is wanted."""
    limit_s, shows = invocation.timeout_s, _shows_progress(invocation)
    if limit_s is None and not shows:
        return None
    started = shown = time.monotonic()

    def note_progress(name: str, done: int, size: int | None) -> None:
        nonlocal shown
        now = time.monotonic()
        if limit_s is not None and now - started > limit_s:
            raise DeadlinePassed(f"not done within {limit_s:g} s", hint="give more time with --timeout, or fewer logs")
        over = size is not None and done >= size
        if shows and now - started > SILENT_S and (over or now - shown > REDRAW_S):
            shown = now
            share = f" {done / size:.0%}" if size else ""
            sys.stderr.write("\r\x1b[K" if over else f"\rreading {name}{share}\x1b[K")
            sys.stderr.flush()

    return note_progress


def _shows_progress(invocation: Invocation) -> bool:
    return not invocation.quiet and sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
