"""Exceptions that nobody caught: which end the member, and which only what they broke."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.node.config import load_config
from etcdops.node.peer import tasks as tasks_module
from etcdops.node.peer.tasks import Tasks
from etcdops.node.server.bootstrap import boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.loop_errors import LoopErrors
from etcdops.node.server.server import Server
from tests.support.ports import free_ports

DEADLINE_S = 10.0


class Unforeseen(Exception):
    """Something that no code expects."""


def _fail(*_: object) -> None:
    raise Unforeseen("out of nowhere")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Never started, with the handler that `etcdops node` installs."""
    loop = asyncio.get_running_loop()
    config = load_config(["--data-dir", str(tmp_path / "data")], {})
    directory = DataDir.open(tmp_path / "data")
    made = Server(config, directory, await boot(config, directory), SystemClock())
    LoopErrors(made.failed).install(loop)
    yield made
    loop.set_exception_handler(None)
    await made.stop()


async def _ended(server: Server) -> str:
    async with asyncio.timeout(DEADLINE_S):
        ending = await server.wait_ended()
    assert ending.error is not None
    return ending.error.message


def _timer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._publisher, "tick", _fail)
    server._schedule_tick(asyncio.get_running_loop().time() - 1.0)


def _turn_of_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.hub, "catch_up", _fail)
    server.hub._call_soon(server.hub._run_slice)


def _task(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server._cluster_version, "decide", _fail)
    monkeypatch.setattr("etcdops.node.server.server.fetch_versions", _fail)
    monkeypatch.setattr(Server, "is_leader", property(_fail))
    server._spawn(server._decide_cluster_version())


def _result_of_a_thread(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.run_in_background(lambda: 1, _fail)


@pytest.mark.parametrize("place", [_timer, _turn_of_the_hub, _task, _result_of_a_thread])
async def test_a_member_whose_own_work_fails_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch, place: Callable[[Server, pytest.MonkeyPatch], None]
) -> None:
    """What it was to do is not done, and would never be: half a member is worse than none."""
    place(server, monkeypatch)
    assert await _ended(server) == "internal error: Unforeseen: out of nowhere"


async def test_a_broken_connection_and_a_library_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The loop has closed the connection by then; a client must not be able to end the member."""
    heard: list[BaseException] = []
    errors = LoopErrors(heard.append)
    ours = _ours()
    errors.handle({"message": "Fatal error", "exception": ours, "transport": object(), "protocol": object()})
    errors.handle({"message": "a library's callback", "exception": Unforeseen()})
    errors.handle({"message": "Task was destroyed but it is pending!"})
    assert heard == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]
    errors.handle({"message": "Exception in callback", "exception": ours})
    assert heard == [ours]


def _ours() -> Exception:
    """An exception that was raised in the node's code."""
    try:
        LoopErrors(_fail).install(None)  # type: ignore[arg-type]  # whatever fails there
    except AttributeError as error:
        return error
    raise AssertionError


async def test_a_links_work_begins_again_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise this member would go on, and never hear from the other one again."""
    monkeypatch.setattr(tasks_module, "AGAIN_AFTER_S", 0.0)
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        if len(tries) < 3:
            _fail()

    tasks = Tasks()
    async with asyncio.timeout(DEADLINE_S):
        await tasks.keep(work, "stream from 1")
    assert len(tries) == 3
    assert caplog.text.count("a task of the peer transport failed: stream from 1") == 2


_BROKEN_MEMBER = """
import sys
from etcdops.node.main import main
from etcdops.node.server.housekeeping import Housekeeping

def tick(self, now):
    raise RuntimeError("out of nowhere")

Housekeeping.tick = tick
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.real
@pytest.mark.slow
def test_a_process_with_such_a_failure_ends_loudly(tmp_path: Path) -> None:
    """One fatal line in zap's shape with the traceback, three lines for people, status 1."""
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    flags = [
        f"--data-dir={tmp_path / 'data'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", _BROKEN_MEMBER, *flags], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert '"level":"panic"' in done.stderr
    assert "RuntimeError: out of nowhere" in done.stderr
    assert '"level":"fatal"' in done.stderr
    assert "error member-failed: internal error: RuntimeError: out of nowhere" in done.stderr.splitlines()
