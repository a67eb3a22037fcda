"""Options that commands share, declared once, and what they amount to.

They may stand before or after the command's name, as with etcdctl; the later one wins.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from etcdops.cli import diagnostics
from etcdops.cli.help import SectionOption
from etcdops.cli.output import Look, choose_look, fit
from etcdops.client.settings import ConnectionFlags, ConnectionSettings, Resolved, parse_seconds, resolve
from etcdops.clock import SystemClock
from etcdops.errors import DeadlinePassed, NotConfirmed, UsageError
from etcdops.inventory.protection import Protection
from etcdops.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Coroutine

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

DEFAULT_WIDTH = 80


@dataclass(slots=True)
class Invocation:
    """What was typed in shared options so far. One for each run; commands get it with `current()`."""

    connection: dict[str, Any] = field(default_factory=dict)
    general: dict[str, Any] = field(default_factory=dict)
    cluster: str = ""
    """The cluster of an inventory that `connection_settings` chose; empty: none."""
    protection: Protection = Protection.NORMAL
    """Of that cluster."""

    @property
    def format(self) -> str:
        """table or json."""
        return str(self.general.get("write_out") or os.environ.get("ETCDOPS_WRITE_OUT") or "table")

    @property
    def quiet(self) -> bool:
        return bool(self.general.get("quiet"))

    @property
    def timeout_s(self) -> float | None:
        """How long the whole command may take; None = as long as its own deadlines add up to."""
        text = self.general.get("timeout")
        return None if text is None else parse_seconds(text, "--timeout")

    @property
    def look(self) -> Look:
        """How stdout may look."""
        return choose_look(self.general.get("color") or "auto", bool(self.general.get("ascii")), sys.stdout)

    @property
    def controls_terminal(self) -> bool:
        """Whether stdout is a terminal on which the cursor may be moved."""
        return sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")

    def note(self, text: str) -> None:
        """Say something on stderr unless --quiet."""
        if not self.quiet:
            diagnostics.note(text)

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show on a terminal what is waited for, before the wait; the line is gone afterwards."""
        shown = not self.quiet and sys.stderr.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
        if shown:
            # A line that the terminal breaks could not be taken away again.
            sys.stderr.write(fit(text, shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns - 1) + "\r")
            sys.stderr.flush()
        try:
            yield
        finally:
            if shown:
                sys.stderr.write("\x1b[K")
                sys.stderr.flush()

    def connection_settings(self) -> ConnectionSettings:
        """Where to connect: notes say on stderr which source was taken; a missing password is asked for on a terminal.

        Raises: UsageError; NotConfirmed when a password is needed and there is no terminal.
        """
        resolved = self._of_inventory() or resolve(ConnectionFlags(**self._connection_flags()), os.environ)
        for text in resolved.notes:
            self.note(text)
        if not resolved.needs_password:
            return resolved.settings
        return _with_password(resolved.settings)

    def _of_inventory(self) -> Resolved | None:
        """The cluster that --cluster, --inventory or the environment choose, and the ways to it; None: they do not."""
        from etcdops.cli.inventory_connection import chosen_cluster, reached  # late: pydantic

        chosen = chosen_cluster(self.connection, os.environ)
        if chosen is None:
            return None
        self.cluster, self.protection = chosen.cluster.name, chosen.cluster.protection
        typed = {key: value for key, value in self.connection.items() if key not in ("inventory", "cluster", "local")}
        return reached(chosen, ConnectionFlags(**typed), os.environ, self)

    def _connection_flags(self) -> dict[str, Any]:
        """What was typed, with the endpoints of `--local DIR` in its place."""
        typed = {key: value for key, value in self.connection.items() if key not in ("inventory", "cluster")}
        directory = typed.pop("local", None)
        if directory is None:
            return typed
        if "endpoints" in typed:
            raise UsageError("--local and --endpoints name two clusters", hint="give one of them")
        from etcdops.playbooks.cluster_file import load_cluster  # late, as everything --help does not need
        from etcdops.playbooks.journal import open_runs

        spec = load_cluster(Path(directory).absolute())
        for _, state in open_runs(spec.runs, SystemClock()):
            self.note(f"{state.run} of {spec.name} is unfinished: etcdops runs show {state.run}")
        return {**typed, "endpoints": ",".join(spec.endpoints)}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run async work under --timeout. Raises: DeadlinePassed."""
        import asyncio  # late: --help must not pay for it

        try:
            timeout_s = self.timeout_s
        except UsageError:
            work.close()  # never started: Python would complain at exit
            raise

        async def bounded() -> T:
            limit = asyncio.timeout(timeout_s)
            try:
                async with limit:
                    return await work
            except TimeoutError as error:
                if not limit.expired():
                    raise
                hint = "give more time with --timeout"
                raise DeadlinePassed(f"not done within {timeout_s:g} s", hint=hint) from error

        return asyncio.run(bounded())


def _with_password(settings: ConnectionSettings) -> ConnectionSettings:
    import dataclasses

    if not sys.stdin.isatty():
        raise NotConfirmed(
            f"user {settings.username!r} has no password and there is no terminal to ask at",
            hint="give it with --password-file FILE",
        )
    text = click.prompt(f"Password of {settings.username}", hide_input=True, err=True)
    return dataclasses.replace(settings, password=Secret(text))


def current() -> Invocation:
    """The shared options of this run."""
    found = click.get_current_context().find_root().ensure_object(Invocation)
    assert isinstance(found, Invocation)
    return found


def _store(place: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value is not None and parameter.name:
            getattr(ctx.find_root().ensure_object(Invocation), place)[parameter.name] = value

    return callback


def _shared(place: str, section: str, *declarations: str, **settings: Any) -> Callable[[F], F]:
    return click.option(
        *declarations,
        cls=SectionOption,
        section=section,
        callback=_store(place),
        expose_value=False,
        default=None,
        **settings,
    )


def _connection(*declarations: str, **settings: Any) -> Callable[[F], F]:
    return _shared("connection", "Connection", *declarations, **settings)


def _general(*declarations: str, **settings: Any) -> Callable[[F], F]:
    return _shared("general", "Output and limits", *declarations, **settings)


_CONNECTION: tuple[Callable[[Any], Any], ...] = (
    _connection("--endpoints", metavar="URLS", help="Members to ask, separated by commas."),
    _connection("--local", metavar="DIR", help="A cluster on this machine that DIR/cluster.json describes."),
    _connection("--cacert", metavar="FILE", help="Trust only these certificate authorities."),
    _connection("--cert", metavar="FILE", help="Our certificate, for members that want one."),
    _connection("--key", metavar="FILE", help="The key of --cert."),
    _connection("--server-name", metavar="NAME", help="The name members' certificates carry."),
    _connection(
        "--insecure-skip-tls-verify",
        is_flag=True,
        help="Accept whatever certificate a member presents first, and only that one afterwards.",
    ),
    _connection("--user", metavar="NAME", help="User name; NAME:PASSWORD as in etcdctl."),
    _connection("--password-file", metavar="FILE", help="The user's password; asked for otherwise."),
    _connection("--password", metavar="TEXT", hidden=True, help="As in etcdctl; others can read it."),
    _connection("--dial-timeout", metavar="TIME", help="For one connection (2s)."),
    _connection("--command-timeout", metavar="TIME", help="For one request (5s)."),
)
_CLUSTER: tuple[Callable[[Any], Any], ...] = (
    _connection("--cluster", metavar="NAME", help="A cluster of the inventory: members, TLS, user, the way there."),
    _connection("-i", "--inventory", metavar="PATH", help="File or directory it is in (see inventory)."),
)
_GENERAL: tuple[Callable[[Any], Any], ...] = (
    _general("-w", "--write-out", type=click.Choice(["table", "json"]), help="Format (table)."),
    _general("--timeout", metavar="TIME", help="For the whole command; exit 124 when it passes."),
    _general("--color", type=click.Choice(["auto", "always", "never"]), help="Colours (auto)."),
    _general("--ascii", is_flag=True, help="No symbols beyond ASCII."),
    _general("-q", "--quiet", is_flag=True, help="No notes on stderr."),
)


def connection_options(function: F) -> F:
    """Adds where to connect and as whom; read them with `current().connection_settings()`."""
    for option in reversed(_CONNECTION):
        function = option(function)
    return function


def cluster_options(function: F) -> F:
    """Adds --cluster and --inventory to those, for commands that work on any cluster."""
    for option in reversed(_CLUSTER):
        function = option(function)
    return function


def general_options(function: F) -> F:
    """Adds format, colours, --timeout and --quiet; read them from `current()`."""
    for option in reversed(_GENERAL):
        function = option(function)
    return function
