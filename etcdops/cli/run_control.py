"""Working on a run from the command line: Ctrl-C once stops after the step at work, twice stops at once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import click

from etcdops.cli.diagnostics import clear_line, note
from etcdops.cli.options import Invocation
from etcdops.cli.output import write
from etcdops.cli.run_view import RunPrinter
from etcdops.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from etcdops.client.settings import ConnectionSettings
    from etcdops.inventory.model import Inventory
    from etcdops.inventory.reach import Ways
    from etcdops.playbooks.engine import StopRequest
    from etcdops.playbooks.plan import Plan
    from etcdops.playbooks.run_event import Listener, RunEvent
    from etcdops.playbooks.runs import KnownRun
    from etcdops.remote.pool import Open

T = TypeVar("T")

events_option = click.option(
    "--events",
    type=click.Choice(["text", "json"]),
    default="text",
    help="How steps are told: text on stderr, or JSON lines on stdout.",
)


def work_on(invocation: Invocation, stop: StopRequest, work: Callable[[], Awaitable[T]]) -> T:
    """Run `work`, which heeds `stop`. Raises: RunStopped, with the exit code of an interruption if it was one."""
    from etcdops.playbooks.engine import RunStopped

    interrupted = False

    def ask() -> None:
        nonlocal interrupted
        interrupted = True
        stop.ask()

    try:
        return invocation.run(_until_signalled(work, ask))
    except RunStopped as stopped:
        if interrupted:
            stopped.exit_code = ExitCode.INTERRUPTED
        raise
    except KeyboardInterrupt:
        clear_line()
        note("stopped in the middle; the journal knows where: run the same command again to go on")
        raise


async def _until_signalled(work: Callable[[], Awaitable[T]], ask: Callable[[], None]) -> T:
    import asyncio  # late: --help must not pay for it

    working = asyncio.current_task()
    assert working is not None
    loop = asyncio.get_running_loop()
    asked = 0

    def signalled() -> None:
        nonlocal asked
        asked += 1
        ask()
        if asked > 1:
            working.cancel()
        else:
            clear_line()
            note("stopping after this step; once more stops at once, in the middle of it")

    # What is ignored stays ignored: `nohup` means that a hang-up is no reason to stop.
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    signals = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]
    for number in signals:
        loop.add_signal_handler(number, signalled)
    try:
        return await work()
    except asyncio.CancelledError:
        if asked > 1:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


def printer_for(invocation: Invocation, events: str) -> Listener:
    """Who shows the events of a run: `text` on stderr, `json` as lines on stdout."""
    return print_json_event if events == "json" else RunPrinter(invocation.look, quiet=invocation.quiet)


def print_json_event(event: RunEvent) -> None:
    """One event as one line on stdout, at once."""
    sys.stdout.write(json.dumps(event.to_json(), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def go_on_alone(invocation: Invocation, known: KnownRun) -> None:
    """Hand a run to a process of its own, and tell how to watch it.

    Raises: UsageError - it would need a person, or a password that everybody could see.
    """
    from etcdops.playbooks.detached import go_on_detached, wait_taken

    child = go_on_detached(known, access_arguments(invocation))
    with invocation.waiting(f"waiting until process {child.pid} has {known.run} in its hands ..."):
        wait_taken(known, child)
    write(f"{known.run} goes on as process {child.pid}; watch it: etcdops runs attach {known.run}")


def access_arguments(invocation: Invocation) -> list[str]:
    """What the other process needs to reach the members. Raises: UsageError - a password would be seen by everybody."""
    typed = invocation.connection
    if "password" in typed or ":" in str(typed.get("user", "")):
        raise UsageError("a detached run cannot be given a password like this", hint="use --password-file FILE")
    names = ("cluster", "inventory", "user", "password_file", "cacert", "cert", "key", "server_name")
    return [part for name in names if typed.get(name) for part in (f"--{name.replace('_', '-')}", str(typed[name]))]


@dataclasses.dataclass(slots=True)
class TypedAccess:
    """`on_hosts.Access` from what was typed: user, password file, certificates; the endpoints are the plan's.

    Hosts are logged in to as their inventory says.
    """

    invocation: Invocation
    accept_new: bool = False
    """Trust host keys that were not seen before."""
    _ways: Ways | None = None

    def learn(self, inventory: Inventory) -> None:
        """Read the secrets of its hosts now: a person who is asked for a password may answer with Ctrl-C."""
        from etcdops.inventory.reach import ways_in

        self._ways = ways_in(inventory)

    def learn_plan(self, plan: Plan) -> None:
        """`learn`, when the plan is about hosts. Raises: as `on_hosts.planned_inventory`."""
        from etcdops.playbooks.on_hosts import names_hosts, planned_inventory

        if names_hosts(plan):
            self.learn(planned_inventory(plan)[0])

    def secrets(self, settings: ConnectionSettings | None) -> Iterator[str]:
        """What was learned, and the password of `settings`, in plain text: to be taken out of what others may read."""
        from etcdops.remote.target import Target

        passwords = [settings.password] if settings is not None else []
        for way in (self._ways or {}).values():
            if isinstance(way, Target):
                passwords += [way.password, way.become.password]
        yield from (password.reveal() for password in passwords if password)

    @contextlib.contextmanager
    def connecting(self, inventory: Inventory) -> Iterator[Open]:
        from etcdops.cli.host_key_question import HostKeyQuestion, host_key_policy
        from etcdops.inventory.reach import opening
        from etcdops.remote.ssh import Connector
        from etcdops.remote.ssh_config import SSHConfig

        if self._ways is None:
            self.learn(inventory)
        ways = self._ways
        assert ways is not None
        question = HostKeyQuestion()
        connector = Connector(host_key_policy(question, accept_new=self.accept_new), SSHConfig())
        try:
            with opening(inventory, ways, connector) as open_host:
                yield open_host
        finally:
            question.withdraw()

    def settings(self, endpoints: Sequence[str], cluster: str) -> ConnectionSettings:
        self.invocation.connection["endpoints"] = ",".join(endpoints)
        self.invocation.connection.pop("local", None)
        typed = self.invocation.connection_settings()
        return dataclasses.replace(typed, endpoints=tuple(endpoints), source=f"cluster {cluster}")
