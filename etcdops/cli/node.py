"""`etcdops node`: hands its command line, untouched, to the bundled member, which reads it as etcd would."""

from __future__ import annotations

import click


@click.command(
    "node",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> object:
    """Run a member: etcd's flags, variables, API, wire protocol and log messages on one SQLite file."""
    from etcdops.node.main import main

    return main(list(arguments))
