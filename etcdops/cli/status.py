"""`etcdops status`: one look at the cluster, or one after the other."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.language import LANGUAGE_OPTION, terminal_language
from etcdops.cli.options import Invocation, cluster_options, connection_options, current, general_options
from etcdops.cli.output import render_json, write
from etcdops.client.settings import ConnectionSettings, parse_seconds
from etcdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from etcdops.client.client import Client
    from etcdops.client.view import ClusterView

WATCH_DEFAULT_S = "2"
WATCH_MIN_S = 0.1


@click.command(
    "status",
    cls=OpsCommand,
    examples=[
        ("is it healthy? (exit 0 yes, 5 no, 3 nobody answers)", "etcdops status"),
        ("a cluster elsewhere, with TLS", "etcdops status --endpoints https://10.0.0.1:2379 --cacert ca.pem"),
        ("keep looking, every 5 seconds", "etcdops status --watch 5"),
        ("do all members hold the same data?", "etcdops status --hashes"),
        ("members that do not answer, by a script", "etcdops status -w json | jq '.members[] | select(.error)'"),
    ],
)
@click.option(
    "--watch",
    metavar="[SECONDS]",
    is_flag=False,
    flag_value=WATCH_DEFAULT_S,
    help=f"Look again every SECONDS ({WATCH_DEFAULT_S}) until Ctrl-C.",
)
@click.option("--hashes", is_flag=True, help="Compare the data of all members by their HashKV.")
@click.option("--plain", is_flag=True, help="One line for each look; nothing is redrawn.")
@click.option("--wide", is_flag=True, help="All columns, however wide.")
@LANGUAGE_OPTION
@cluster_options
@connection_options
@general_options
def command(
    watch: str | None = None,
    hashes: bool = False,
    plain: bool = False,
    wide: bool = False,
    lang: str | None = None,
) -> int:
    """Who answers, whether the quorum holds, who leads, who lags, and what to do next.

    All members are asked at once, also those that only the member list names. A member that does not answer is shown
    with the reason.
    """
    invocation = current()
    every_s = None if watch is None else parse_seconds(watch, "--watch")
    if every_s is not None and not WATCH_MIN_S <= every_s < 86_400:
        raise UsageError(f"--watch takes {WATCH_MIN_S:g} seconds to a day, not {watch}")
    settings = invocation.connection_settings()
    language = lang or terminal_language()
    show = _Printer(invocation, language, plain=plain, wide=wide, redraw=every_s is not None)
    code = invocation.run(_look(settings, show, every_s, hashes))
    if code == ExitCode.UNREACHABLE and "local" in invocation.connection:
        _tell_how_to_start(invocation, invocation.connection["local"])
    return code


def _tell_how_to_start(invocation: Invocation, directory: str) -> None:
    from etcdops.clock import SystemClock
    from etcdops.playbooks.cluster_file import load_cluster
    from etcdops.playbooks.journal import open_runs

    if not open_runs(load_cluster(Path(directory).absolute()).runs, SystemClock()):
        invocation.note(f"its members are of this machine; all at once: etcdops local start {shlex.quote(directory)}")


async def _look(settings: ConnectionSettings, show: _Printer, every_s: float | None, hashes: bool) -> int:
    import asyncio

    from etcdops.cli.status_view import exit_code
    from etcdops.client.client import Client
    from etcdops.client.view import observe

    async with Client(settings) as client:
        previous: ClusterView | None = None
        while True:
            with show.waiting(client) if previous is None else contextlib.nullcontext():
                view = await observe(client, timeout_s=settings.command_timeout_s, hashes=hashes)
            view = view.remembering(previous)
            show.notices(client)
            show.view(view, previous)
            previous = view
            if every_s is None:
                return int(exit_code(view))
            await asyncio.sleep(max(0.0, every_s - view.took_s))


class _Printer:
    """Prints looks: as a report, as JSON, as lines; on a terminal the report stays in place."""

    def __init__(self, invocation: Invocation, language: str, *, plain: bool, wide: bool, redraw: bool) -> None:
        self._invocation = invocation
        self._language = language
        self._plain = plain
        self._wide = wide
        self._watching = redraw
        self._redraw = redraw and not plain and invocation.format == "table" and invocation.controls_terminal
        self._noticed = 0
        self._first = True

    def waiting(self, client: Client) -> contextlib.AbstractContextManager[None]:
        """The first look can take seconds: say who is asked."""
        return self._invocation.waiting(f"asking {', '.join(client.endpoints)} ...")

    def notices(self, client: Client) -> None:
        """Say what the client wants said, each sentence once."""
        for text in client.notices[self._noticed :]:
            self._invocation.note(text)
        self._noticed = len(client.notices)

    def view(self, view: ClusterView, previous: ClusterView | None) -> None:
        from etcdops.cli.status_view import SCHEMA, summary_line, to_json

        look = self._invocation.look
        if self._invocation.format == "json":
            # While watching: one document a line, so that a reader can tell where one ends.
            write(render_json(SCHEMA, to_json(view, self._language), pretty=not self._watching))
        elif self._plain:
            write(look.text(summary_line(view, self._language)))
            self._changes(view, previous)
        elif self._redraw:
            # Home, draw, clear what is left below: no flicker, unlike clearing first.
            text = self._report(view).replace("\n", "\x1b[K\n")
            sys.stdout.write(("\x1b[2J" if self._first else "") + "\x1b[H" + text + "\x1b[J")
            sys.stdout.flush()
        else:
            write(("" if self._first else "\n") + self._report(view))
        self._first = False

    def _report(self, view: ClusterView) -> str:
        from etcdops.cli.status_view import render

        return render(view, self._invocation.look, wide=self._wide, language=self._language)

    def _changes(self, view: ClusterView, previous: ClusterView | None) -> None:
        from etcdops.cli.output import printable
        from etcdops.clock import rfc3339
        from etcdops.tui.model.changes import changes

        for event in changes(previous, view) if previous is not None else ():
            line = f"{rfc3339(event.at)} change: {event.subject}: {event.text}"
            write(self._invocation.look.text(printable(line)))
