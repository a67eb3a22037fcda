"""The `etcdops` command: which commands there are, and the process's one way in and out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from etcdops import __version__
from etcdops.cli import diagnostics
from etcdops.cli.lazy import Entry, LazyGroup
from etcdops.cli.options import cluster_options, connection_options, general_options
from etcdops.cli.output import spell_out
from etcdops.errors import ExitCode

_SEE, _SAVE, _HOSTS, _RUN = "See", "Save and bring back", "Clusters on hosts", "Run members"
ENTRIES = (
    Entry("status", "Who answers, quorum, leader, lag, sizes, alarms; what to do next.", "etcdops.cli.status", _SEE),
    Entry("doctor", "What is wrong now: members and hosts, looked at live.", "etcdops.cli.doctor", _SEE),
    Entry("diagnose", "From logs to cause, proof and next command.", "etcdops.cli.diagnose", _SEE),
    Entry("bundle", "One file for whoever helps: logs, state, findings; no secrets.", "etcdops.cli.bundle", _SEE),
    Entry("explain", "What a finding means and how to mend it.", "etcdops.cli.explain", _SEE),
    Entry("tui", "The dashboard: members, keys, events, as they happen.", "etcdops.cli.tui", _SEE),
    Entry("snapshot", "Save, check and restore snapshots of the whole store.", "etcdops.cli.snapshot", _SAVE),
    Entry("recover", "Bring back a cluster that lost its quorum.", "etcdops.cli.recover", _SAVE),
    Entry("runs", "Procedures at work, cut off, past; go on, stop.", "etcdops.cli.runs", _SAVE),
    Entry("inventory", "Which clusters and hosts there are: check, show, import.", "etcdops.cli.inventory", _HOSTS),
    Entry("rollout", "From bare hosts to a healthy cluster; drift put right.", "etcdops.cli.rollout", _HOSTS),
    Entry("cert", "Certificates: list, renew, another authority.", "etcdops.cli.cert", _HOSTS),
    Entry("demo", "A cluster dies and comes back, before your eyes.", "etcdops.cli.demo", _RUN),
    Entry("local", "Show, start, stop what demo or recover left here.", "etcdops.cli.local", _RUN),
    Entry("node", "The bundled member: etcd's flags, API and logs.", "etcdops.cli.node", _RUN),
    Entry("version", "Versions of etcdops and of what it stands on.", "etcdops.cli.version", _RUN),
)

EPILOG = """\b
Exit codes: 0 done or healthy, 1 failed and nothing changed, 2 usage,
3 nobody reachable, 4 access denied, 5 unhealthy, 6 refused as unsafe,
7 changes are due (rollout plan), 8 not confirmed, 9 partly done,
10 done but not verified, 11 result unknown, 124 --timeout,
130 interrupted.
"""

COMPLETION_VARIABLE = "_ETCDOPS_COMPLETE"
"""What click's completion scripts set, e.g. `_ETCDOPS_COMPLETE=bash_source etcdops` prints the one for bash."""

SUGGESTIONS = """
Try next:
  etcdops status --watch     keep looking
  etcdops snapshot save F    a verified backup, now
  etcdops tui                the dashboard
  etcdops --help             everything else"""

SUGGESTIONS_FOR_STRANGERS = """
Try next:
  etcdops --endpoints URL status           a cluster elsewhere
  etcdops inventory import --this-host     which etcd runs on this machine?
  etcdops diagnose LOG                     what does its log say?
  etcdops demo                             no cluster yet: see one die and come back
  etcdops --help                           everything else"""
"""When nobody answers."""


@click.group(
    cls=LazyGroup,
    entries=ENTRIES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    examples=[
        ("is the cluster healthy? who answers? what next?", "etcdops --endpoints http://10.0.0.1:2379 status"),
        ("take a snapshot and check it", "etcdops snapshot save backup.db"),
        ("the quorum is gone for good: bring the cluster back", "etcdops recover --from-snapshot backup.db"),
    ],
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="etcdops", message="%(prog)s %(version)s")
@cluster_options
@connection_options
@general_options
@click.pass_context
def root(ctx: click.Context) -> object:
    """The operator's console for etcd clusters: see them, break them safely, bring them back.

    Without a command: `etcdops status`.
    """
    if ctx.invoked_subcommand is not None:
        return None
    status = root.get_command(ctx, "status")
    assert status is not None
    code = ctx.invoke(status)
    diagnostics.note(SUGGESTIONS_FOR_STRANGERS if code == ExitCode.UNREACHABLE else SUGGESTIONS)
    return code


def run(arguments: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    return diagnostics.run(lambda: _invoke(list(arguments)))


def _invoke(arguments: list[str]) -> object:
    # Not `root.main`: click's own ends (a closed pipe is its exit 1) would come before ours.
    completion = os.environ.get(COMPLETION_VARIABLE)
    if completion:
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "etcdops", COMPLETION_VARIABLE, completion)
    with root.make_context("etcdops", arguments) as context:
        return root.invoke(context)


def main() -> NoReturn:
    """The console script."""
    spell_out(sys.stdout, sys.stderr)
    code = run(sys.argv[1:])
    diagnostics.let_go()
    sys.exit(code)
