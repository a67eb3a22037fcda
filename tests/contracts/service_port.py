"""What every manager of members must do, on a real host with a real etcd. Test classes inherit it, with a `bench`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import pytest

from etcdops.remote.command import command
from etcdops.remote.session import Session
from etcdops.rendering.files import RenderedFile
from etcdops.services.failures import ServiceFailed
from etcdops.services.port import Origin, Service, ServiceStatus, State

TIMEOUT_S = 60.0
TOKEN = "a \"b\" $c %d \\e 'f' #g"
"""A value that every manager's file format has to quote."""


class Bench(Protocol):
    """A service on a host that has etcd."""

    @property
    def session(self) -> Session: ...

    @property
    def service(self) -> Service: ...

    @property
    def data_dir(self) -> str:
        """As the host sees it."""

    def files(self, flags: Mapping[str, str]) -> Sequence[RenderedFile]:
        """What is installed for a member with these flags beside `--data-dir`."""


async def wait_for(service: Service, state: State) -> ServiceStatus:
    """Poll until it is so."""
    deadline = time.monotonic() + TIMEOUT_S
    while (found := await service.status()).state is not state:
        assert time.monotonic() < deadline, f"{found} instead of {state}"
        await asyncio.sleep(0.1)
    return found


class ServiceContract:
    """Every test begins without the service."""

    async def test_what_is_not_there_is_absent(self, bench: Bench) -> None:
        """Not an error to ask, to stop or to take away; starting it is one, with the next step."""
        assert (await bench.service.status()).state is State.ABSENT
        await bench.service.stop()
        assert not await bench.service.uninstall()
        found = await bench.service.effective_config()
        assert (found.running, found.next_start) == (None, None)
        with pytest.raises(
            ServiceFailed, match=f"{bench.session.host}: {bench.service.name} is not installed"
        ) as caught:
            await bench.service.start(timeout_s=TIMEOUT_S)
        assert caught.value.hint

    async def test_installing_shows_what_it_changes_and_changes_nothing_the_second_time(self, bench: Bench) -> None:
        """And starts nothing. `compare` says the same before."""
        files = bench.files({"name": "m1"})
        compared = await bench.service.compare(files)
        installed = await bench.service.install(files)
        assert compared.diffs == installed.diffs
        assert set(installed.diffs) == {file.path for file in files}
        assert any("m1" in diff for diff in installed.diffs.values())
        assert not await bench.service.compare(files)
        assert not await bench.service.install(files)
        assert (await bench.service.status()).state is State.STOPPED
        other = bench.files({"name": "m2"})
        changed = await bench.service.install(other)
        assert "-" in "".join(changed.diffs.values())
        assert any("m2" in diff for diff in changed.diffs.values())

    async def test_a_member_is_started_stopped_and_started_again(self, bench: Bench) -> None:
        """Each twice: the second time nothing happens."""
        await bench.service.install(bench.files({"name": "m1"}))
        await bench.service.start(timeout_s=TIMEOUT_S)
        first = await bench.service.status()
        assert first.state is State.RUNNING
        assert first.pid is not None
        assert first.since is None or abs(time.time() - first.since) < 120
        await bench.service.start(timeout_s=TIMEOUT_S)
        assert (await bench.service.status()).pid == first.pid
        assert await self._printed(bench, b"etcd-version")
        await bench.service.restart(timeout_s=TIMEOUT_S)
        second = await bench.service.status()
        assert second.state is State.RUNNING
        assert second.pid not in (None, first.pid)
        for _ in range(2):
            await bench.service.stop(timeout_s=TIMEOUT_S)
            stopped = await bench.service.status()
            assert (stopped.state, stopped.pid) == (State.STOPPED, None)
        assert await bench.session.stat(f"/proc/{second.pid}/fd") is None

    async def test_a_member_that_does_not_start_is_told_with_its_own_words(self, bench: Bench) -> None:
        """The last lines of its log are in the error; and the corrected one starts."""
        await bench.service.install(bench.files({"name": "m1", "heartbeat-interval": "no-number"}))
        with pytest.raises(ServiceFailed, match=f"{bench.session.host}: {bench.service.name} ") as caught:
            await bench.service.start(timeout_s=TIMEOUT_S)
        assert "no-number" in caught.value.cause, caught.value.lines()
        assert caught.value.hint
        await bench.service.stop(timeout_s=TIMEOUT_S)
        await bench.service.install(bench.files({"name": "m1"}))
        await bench.service.start(timeout_s=TIMEOUT_S)

    async def test_a_member_that_was_killed_is_started_again_or_has_failed(self, bench: Bench) -> None:
        """It never looks as if it had been stopped on purpose."""
        await bench.service.install(bench.files({"name": "m1"}))
        await bench.service.start(timeout_s=TIMEOUT_S)
        before = await bench.service.status()
        await bench.session.run(command("kill", "-KILL", str(before.pid), user="root"))
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = await bench.service.status()
            assert found.state is not State.STOPPED, found
            if found.state is State.FAILED:
                assert "KILL" in found.reason or "137" in found.reason
                return
            if found.state is State.RUNNING and found.pid != before.pid:
                return
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.1)

    async def test_what_it_runs_with_and_would_run_with(self, bench: Bench) -> None:
        """The process is asked, not only the files; a change shows until the restart."""
        await bench.service.install(bench.files({"name": "m1", "initial-cluster-token": TOKEN, "pre-vote": "false"}))
        stopped = await bench.service.effective_config()
        assert stopped.running is None
        assert stopped.next_start is not None
        assert stopped.next_start.value("initial-cluster-token") == TOKEN
        await bench.service.start(timeout_s=TIMEOUT_S)
        found = await bench.service.effective_config()
        assert found.running is not None
        assert found.next_start is not None
        assert {name: setting.value for name, setting in found.running.flags.items()} == {
            name: setting.value for name, setting in found.next_start.flags.items()
        }
        assert found.running.value("initial-cluster-token") == TOKEN
        assert found.running.value("pre-vote") == "false"
        assert found.running.flags["name"].origin in (Origin.FLAG, Origin.VARIABLE)
        assert found.running.flags["name"].where
        assert "etcd" in found.running.program
        assert found.next_start.user in ("", found.running.user)
        assert found.pending == ()
        await bench.service.install(bench.files({"name": "m1", "initial-cluster-token": TOKEN, "max-wals": "7"}))
        assert (await bench.service.effective_config()).pending == ("max-wals", "pre-vote")
        await bench.service.restart(timeout_s=TIMEOUT_S)
        found = await bench.service.effective_config()
        assert found.running is not None
        assert found.running.value("max-wals") == "7"
        assert found.pending == ()

    async def test_its_log_can_be_followed(self, bench: Bench) -> None:
        """What comes later comes too."""
        await bench.service.install(bench.files({"name": "m1"}))
        await bench.service.start(timeout_s=TIMEOUT_S)
        following = bench.service.logs(lines=1, follow=True)
        async with asyncio.timeout(TIMEOUT_S):
            assert await anext(following)
            stopping = asyncio.create_task(bench.service.stop(timeout_s=TIMEOUT_S))
            async for line in following:
                if b"closed etcd server" in line:
                    break
            await stopping
        await following.aclose()  # type: ignore[attr-defined]  # an async generator, as all of ours are
        assert [line async for line in bench.service.logs(since=time.time() + 3600)] == []
        assert len([line async for line in bench.service.logs(lines=3)]) == 3

    async def test_uninstalling_takes_away_everything_but_the_data(self, bench: Bench) -> None:
        """Not while it runs; what stood in a file's place before comes back."""
        files = bench.files({"name": "m1"})
        await bench.service.install(files)
        await bench.service.start(timeout_s=TIMEOUT_S)
        with pytest.raises(ServiceFailed, match="running") as caught:
            await bench.service.uninstall()
        assert "stop" in caught.value.hint
        await bench.service.stop(timeout_s=TIMEOUT_S)
        assert await bench.service.uninstall()
        assert (await bench.service.status()).state is State.ABSENT
        assert [await bench.session.stat(file.path, user="root") for file in files] == [None] * len(files)
        assert await bench.session.stat(f"{bench.data_dir}/member/snap/db", user="root") is not None
        assert not await bench.service.uninstall()

    @staticmethod
    async def _printed(bench: Bench, text: bytes) -> bool:
        return any([text in line async for line in bench.service.logs(lines=500)])
