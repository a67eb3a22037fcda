"""What a command over SSH prints is read by a thread, which may outlive both the command and the event loop."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import paramiko
import pytest

from etcdops.errors import Unreachable
from etcdops.remote.ssh import _AHEAD_MAX, _SSHRunning


class Told:
    """The side of a channel that a reader sees: always readable, with as much as a test wants."""

    def __init__(self, pieces: int, *, ends: bool) -> None:
        self._pipe = os.pipe()
        os.write(self._pipe[1], b"x")  # so that `select` does not wait
        self.left = pieces
        self.eof_received = ends
        self.closed = False

    def fileno(self) -> int:
        return self._pipe[0]

    def recv_ready(self) -> bool:
        return self.left > 0

    def recv(self, size: int) -> bytes:
        self.left -= 1
        return b"%d" % self.left

    def recv_stderr_ready(self) -> bool:
        return False

    def recv_stderr(self, size: int) -> bytes:
        return b""

    def close(self) -> None:
        self.closed = True

    def let_go(self) -> None:
        for end in self._pipe:
            os.close(end)


def broken(error: Exception) -> Unreachable:
    return Unreachable(str(error))


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.mark.parametrize("pieces", [0, 4 * _AHEAD_MAX])
def test_a_reader_that_outlives_the_event_loop_leaves_nothing_behind(threads: ThreadPoolExecutor, pieces: int) -> None:
    """Nobody reads any more, whether it waits for room or for more; warnings of what was never awaited are errors."""
    channel = Told(pieces, ends=False)

    async def begin_and_abandon() -> None:
        running = _SSHRunning(cast("paramiko.Channel", channel), threads, lambda: None, broken)
        await asyncio.sleep(0)
        running.abandon()

    asyncio.run(begin_and_abandon())
    threads.shutdown(wait=True)
    gc.collect()
    channel.let_go()


async def test_everything_comes_in_order_and_no_faster_than_it_is_taken(threads: ThreadPoolExecutor) -> None:
    """What is not read stays with the host: a command that prints for ever does not fill our memory."""
    channel = Told(5 * _AHEAD_MAX, ends=True)
    running = _SSHRunning(cast("paramiko.Channel", channel), threads, lambda: None, broken)
    printed = running.printed()
    found = [(await anext(printed)).data]
    for _ in range(50):
        await asyncio.sleep(0)
    assert channel.left >= 3 * _AHEAD_MAX
    found += [piece.data async for piece in printed]
    assert found == [b"%d" % number for number in reversed(range(5 * _AHEAD_MAX))]
    channel.let_go()
