"""Starts a member on a data directory, in this process, and says what it found there."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from etcdops.clock import SystemClock
from etcdops.node.api.errors import EtcdError
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_PUT
from etcdops.node.config import load_config
from etcdops.node.raft.types import HardState
from etcdops.node.server.bootstrap import boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.server import Server
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.power.history import Content

FORCE = "--force-new-cluster"
TIMEOUT_S = 20.0
_FAST = ("--heartbeat-interval=2", "--election-timeout=10", "--listen-peer-urls=http://127.0.0.1:0")


@contextmanager
def quiet() -> Iterator[None]:
    """Members that are started by the dozen say little of interest, and are stopped before they have said it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a member started from, and what it then showed."""

    content: Content
    hard_state: HardState
    """As it was on disk."""

    last_index: int
    """Of the raft log on disk."""


def start(root: Path, flags: Sequence[str], *, serves: bool = True) -> Found:
    """Start a member on `root`, put a key, stop it; and start it again on a copy made before it stopped: everything is
    still there. `root` is changed.

    Args: flags of the member; serves - it is a cluster of its own, so it can be written to.
    Raises: StartRefused; Broken.
    """
    if not serves:
        return asyncio.run(_start(root, flags, None, serves=False))
    copy = root.with_name(root.name + "-copy")
    try:
        found = asyncio.run(_start(root, flags, copy, serves=True))
        again_flags = [flag for flag in flags if flag != FORCE]
        again = asyncio.run(_start(copy, again_flags, None, serves=True))
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    if again.content.revision != found.content.revision + 1:
        raise Broken(f"the second start shows revision {again.content.revision}, not {found.content.revision + 1}")
    if again.hard_state.term < found.hard_state.term:
        raise Broken(f"the second start is at term {again.hard_state.term}, after {found.hard_state.term}")
    return found


async def _start(root: Path, flags: Sequence[str], copy: Path | None, *, serves: bool) -> Found:
    config = load_config([f"--data-dir={root}", *flags, *_FAST], {})
    directory = DataDir.open(root)
    try:
        booted = await boot(config, directory)
    except BaseException:
        directory.close()
        raise
    hard_state, last_index = booted.raft_log.hard_state, int(booted.raft_log.last_index)
    server = Server(config, directory, booted, SystemClock())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await server.start()
            if serves:
                await _wait_linearized(server)
            else:
                await _wait_applied(server, int(hard_state.commit))
            content = _content(server)
            if copy is not None:
                await _put(server)
                shutil.copytree(root, copy, ignore=shutil.ignore_patterns("*-shm"))
    except TimeoutError:
        raise Broken(f"it does not serve within {TIMEOUT_S} s: {server.ending}") from None
    finally:
        await server.stop()
    if server.ending is not None:
        raise Broken(f"it ended: {server.ending}")
    return Found(content, hard_state, last_index)


async def _wait_linearized(server: Server) -> None:
    """Until everything in the log is applied, which takes a leader's first entry."""
    while server.ending is None:
        told: asyncio.Future[EtcdError | None] = asyncio.get_running_loop().create_future()
        server.linearize(lambda error, told=told: None if told.done() else told.set_result(error))  # type: ignore[misc]
        if server.is_leader and await told is None:
            return
        await asyncio.sleep(0.002)


async def _wait_applied(server: Server, commit: int) -> None:
    while server.ending is None and server.applied_index < commit:  # noqa: ASYNC110 - nor when an entry is applied
        await asyncio.sleep(0.002)


async def _put(server: Server) -> None:
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    request = pb.PutRequest(key=b"after the cut", value=b"of power").SerializeToString()
    server.propose(FIELD_PUT, request, lambda outcome: None if told.done() else told.set_result(outcome))
    outcome = await told
    if outcome.error is not None:
        raise Broken(f"a put after the start was refused: {outcome.error}")


def _content(server: Server) -> Content:
    store = server.state
    hash_kv, compacted, revision = store.mvcc.hash_kv()
    return Content(
        revision=int(revision),
        compacted=int(compacted),
        hash_kv=hash_kv,
        leases=frozenset(int(lease.id) for lease in store.leases.all()),
        members=frozenset(int(member.id) for member in server.members.members()),
    )
