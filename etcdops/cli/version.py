"""`etcdops version`: what to write into a report."""

from __future__ import annotations

import platform

import click

from etcdops import __version__
from etcdops.cli.help import OpsCommand
from etcdops.cli.options import current, general_options
from etcdops.cli.output import render_json, write

LIBRARIES = ("grpcio", "protobuf", "apsw", "click", "textual")


@click.command("version", cls=OpsCommand, examples=[("for a report", "etcdops version -w json")])
@general_options
def command() -> None:
    """Versions of etcdops, Python and the libraries it stands on."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {"etcdops": __version__, "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "missing"
    if current().format == "json":
        write(render_json("etcdops.version/1", {"versions": found}))
    else:
        write("\n".join(f"{name:10}{number}" for name, number in found.items()))
