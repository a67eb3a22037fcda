"""A cluster on the test hosts that is changed while it serves."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import IO, TypeVar

from etcdops.client.settings import ConnectionSettings
from etcdops.clock import SystemClock
from etcdops.playbooks.journal import SUFFIX, Journal, RunState
from etcdops.playbooks.on_hosts import RunHosts, reaching, source_of
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.procedures import RunOutcome, carry_out
from etcdops.playbooks.runs import KnownRun, begin_run, runs_on_hosts
from tests.hosts.host import Host
from tests.playbooks.rollout.on_hosts import Bench, HostsAccess

T = TypeVar("T")
_STEP_TIMEOUT_S = 120.0


class ChangingBench(Bench):
    """What a `Bench` does, and changes of the cluster that runs."""

    def settings(self) -> ConnectionSettings:
        """Of an application: every member, and the certificates that lie beside the inventory."""
        pki = self.folder / "pki" / "prod"
        return ConnectionSettings(
            tuple(f"https://{host.address}:2379" for host in self.hosts),
            cacert=str(pki / "client" / "trusted.crt"),
            cert=str(pki / "operator.crt"),
            key=str(pki / "operator.key"),
        )

    async def reach(self, work: Callable[[RunHosts], Awaitable[T]]) -> T:
        """With sessions to the hosts."""
        request = self.request()
        source = source_of(request.paths, request.inventory, request.cluster)
        async with reaching(request.inventory, request.cluster, source, HostsAccess(self.hosts)) as run:
            return await work(run)

    async def change(self, make: Callable[[RunHosts], Awaitable[Plan | None]]) -> RunOutcome | None:
        """Plan and carry out; None: nothing to do."""
        plan = await self.reach(make)
        if plan is None:
            return None
        journal = begin_run(runs_on_hosts(plan.cluster), plan, SystemClock())
        known = KnownRun(journal, RunState(plan, 0.0, journal.run))
        return await carry_out(known, HostsAccess(self.hosts), self.events.append)

    def killed_at_every_step(self, *begin: str) -> list[str]:
        """Run a command of the command line and kill its process at every step once, also a moment into it.

        Returns: the titles of the steps it was killed at. It came to its end.
        """
        self.write()
        killed: list[str] = []
        arguments: Sequence[str] = (*begin, "--events", "json")
        while True:
            run, title = self._until(arguments, killed)
            if not title:
                return killed
            killed.append(title)
            arguments = ("runs", "resume", run, "--confirm", "prod", "--events", "json")

    def _until(self, arguments: Sequence[str], done: Sequence[str]) -> tuple[str, str]:
        """(run, step it was killed at; empty: it ended). Kills at the first step it was not killed at before."""
        process = subprocess.Popen(
            [sys.executable, "-m", "etcdops", *arguments],
            env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        run, title = "", ""
        with process:
            for line in process.stdout:
                event = json.loads(line)
                run = event["run"]
                if event["event"] == "started" and event["step"] not in done:
                    title = event["step"]
                    _wait_in(title, process.stdout, 0.5 * (len(done) % 3))  # at once, or in the middle of it
                    process.send_signal(signal.SIGKILL)
                    break
            process.stdout.read()
            said = process.stderr.read().decode()
            status = process.wait(timeout=_STEP_TIMEOUT_S)
        assert title or status == 0, said
        # the last step can be done, and the run at its end, before the kill comes
        return run, "" if status == 0 or _has_ended(run) else title


def _wait_in(step: str, events: IO[bytes], timeout_s: float) -> None:
    """Until it ends, for then others begin that are to be killed too. Args: events - unbuffered."""
    deadline = time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0 and select.select([events], [], [], left)[0]:
        line = events.readline()
        if not line or json.loads(line).get("step") == step:
            return


def _has_ended(run: str) -> bool:
    journal = Journal(runs_on_hosts("prod") / f"{run}{SUFFIX}", SystemClock())
    state = journal.load()
    return state is not None and bool(state.ended)


def process_of(host: Host) -> str:
    """Of the member."""
    return host.run(["pidof", "etcd"]).stdout.strip()
