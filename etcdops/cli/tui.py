"""`etcdops tui`: the dashboard."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.language import LANGUAGE_OPTION, terminal_language
from etcdops.cli.options import cluster_options, connection_options, current, general_options
from etcdops.client.settings import LOCAL_DEFAULT, ConnectionSettings, parse_bool
from etcdops.errors import UsageError
from etcdops.inventory.protection import Protection

SCREENS = ("dashboard", "members", "keys", "logs", "runs")
"""A copy of `tui.app.SCREENS`, pinned by a test: --help must not import Textual."""

INTERVAL_MIN_S = 0.2
READ_ONLY_VARIABLE = "ETCDOPS_READ_ONLY"


@click.command(
    "tui",
    cls=OpsCommand,
    examples=[
        ("the dashboard of a cluster", "etcdops --endpoints http://10.0.0.1:2379 tui"),
        ("look, but never touch", "etcdops tui --read-only"),
        ("begin with the keys, look every 10 s", "etcdops tui --screen keys --every 10"),
        ("the logs of all members, merged, as they grow", "etcdops tui --cluster prod --screen logs"),
        ("logs at hand", "etcdops tui --log m1.log --log m2.log.gz"),
    ],
)
@click.option("--screen", type=click.Choice(SCREENS), default=None, help="Begin with this screen (dashboard).")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="PATH",
    help="Follow this log, or a folder of them; may be repeated. Else those of --local or of the inventory.",
)
@click.option("--no-logs", is_flag=True, help="Read no logs, so log in to no host for them.")
@click.option("--every", type=float, default=2.0, metavar="SECONDS", help="Look at the cluster this often (2).")
@click.option("--read-only", is_flag=True, help=f"Refuse every change; also {READ_ONLY_VARIABLE}=1.")
@click.option("--title", default="", metavar="NAME", help="What to call the cluster; its name or first endpoint.")
@LANGUAGE_OPTION
@cluster_options
@connection_options
@general_options
def command(
    screen: str | None,
    logs: tuple[str, ...],
    no_logs: bool,
    every: float,
    read_only: bool,
    title: str,
    lang: str | None,
) -> int:
    """The dashboard, the members, the keys and the logs of a cluster, as they change.

    With --log alone no cluster is asked. Of a cluster that its inventory calls protected it begins read-only.
    """
    if not every >= INTERVAL_MIN_S:
        raise UsageError(f"--every {every:g} is too often", hint=f"at least {INTERVAL_MIN_S:g} seconds")
    from_environment = parse_bool(os.environ.get(READ_ONLY_VARIABLE, ""), READ_ONLY_VARIABLE)
    invocation = current()
    settings = invocation.connection_settings()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the dashboard needs a terminal", hint="etcdops status --watch prints lines instead")
    if os.environ.get("TERM", "") == "dumb":
        raise UsageError(
            "TERM=dumb: this terminal cannot draw a screen", hint="etcdops status --watch prints lines instead"
        )
    from etcdops.cli.tui_logs import chosen_logs  # late, as everything --help does not need
    from etcdops.tui.app import run_tui  # late: --help must not pay for Textual

    locked_by = "--read-only" if read_only else READ_ONLY_VARIABLE if from_environment else ""
    logs_only = bool(logs) and settings.source == LOCAL_DEFAULT  # an address nobody named is likely nobody's
    name = title or invocation.cluster
    return run_tui(
        None if logs_only else settings,
        title=name or ("logs" if logs_only else cluster_title(settings, invocation.connection.get("local"))),
        read_only=bool(locked_by) or invocation.protection is Protection.PROTECTED,
        ascii=bool(invocation.general.get("ascii")),
        interval_s=every,
        screen=screen or ("logs" if logs else SCREENS[0]),
        logs=chosen_logs(invocation, logs, wanted=not no_logs),
        locked_by=locked_by,
        color=str(invocation.general.get("color") or "auto"),
        language=lang or terminal_language(),
    )


def cluster_title(settings: ConnectionSettings, local: str | None) -> str:
    """A short name for a cluster nobody named: what cluster.json says, else its first endpoint without scheme."""
    if local is not None:
        from etcdops.playbooks.cluster_file import load_cluster

        return load_cluster(Path(local).absolute()).name
    return settings.endpoints[0].partition("://")[2] or settings.endpoints[0]
