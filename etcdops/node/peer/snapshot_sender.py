"""Databases to a peer: 8 bytes of length, the SNAP message, then the database until the body ends.

The database is read from its file in portions and never held in memory; nothing here looks inside it.
Source: etcd server/etcdserver/api/rafthttp/snapshot_sender.go.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO

import aiohttp

from etcdops.ids import MemberID, format_id
from etcdops.node.peer import codec
from etcdops.node.peer.environment import Environment, error_words
from etcdops.node.peer.post import PostFailed, post
from etcdops.node.peer.status import PeerStatus
from etcdops.node.peer.urls import UrlPicker
from etcdops.node.raft.types import Message
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

PATH = "/raft/snapshot"

STALL_TIMEOUT_S = 30.0
"""How long the sender waits for the next portion to move."""

ANSWER_TIMEOUT_S = 300.0
"""How long it waits for the answer after the last byte: the receiver brings all of it to disk first."""

_SOURCE = "sendMsgSnap"
_PORTION_BYTES = 256 * 1024
_LENGTH = struct.Struct(">Q")


class SnapshotSender:
    """Posts databases to one peer."""

    def __init__(
        self, environment: Environment, peer: MemberID, picker: UrlPicker, status: PeerStatus, executor: Executor
    ) -> None:
        self._environment = environment
        self._peer = peer
        self._picker = picker
        self._status = status
        self._executor = executor
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=environment.dial_timeout_s)

    def start(self, message: Message, path: Path) -> asyncio.Task[None]:
        """Begin to send the SNAP `message` and the file at `path`; raft is told once how it went, however it ends."""
        self._status.stats.snapshots_in_flight += 1
        sent: list[bool] = []
        started = self._environment.clock.monotonic()

        async def send() -> None:
            sent.append(await self._send(message, path))

        task = self._environment.tasks.spawn(send(), f"snapshot to {format_id(self._peer)}")
        # Not in `send`: a task that is cancelled before its first step never gets there.
        task.add_done_callback(lambda _: self._ended(sent == [True], started))
        return task

    def _ended(self, sent: bool, started: float) -> None:
        stats, handler = self._status.stats, self._environment.handler
        stats.snapshots_in_flight -= 1
        if sent:
            stats.snapshots_sent += 1
            stats.snapshot_sends_s.observe(self._environment.clock.monotonic() - started)
        else:
            stats.snapshot_send_failures += 1
            handler.report_unreachable(self._peer)
        handler.report_snapshot(self._peer, sent)

    async def _send(self, message: Message, path: Path) -> bool:
        assert message.snapshot is not None
        envelope = codec.encode_message(message)
        about: dict[str, object] = {
            "snapshot-index": message.snapshot.metadata.index,
            "remote-peer-id": format_id(self._peer),
        }
        url = self._picker.pick()
        try:
            with _open(path) as file:
                about["bytes"] = size = len(envelope) + os.fstat(file.fileno()).st_size
                _logger.info("sending database snapshot", extra=fields(about))
                await self._post(url, _LENGTH.pack(len(envelope)) + envelope, file)
        except (PostFailed, OSError) as error:
            _logger.warning("failed to send database snapshot", extra=fields(about, error=error_words(error)))
            self._picker.unreachable(url)
            self._status.deactivate(_SOURCE, "post", error_words(error))
            return False
        self._status.activate()
        self._status.stats.sent_bytes += size
        _logger.info("sent database snapshot", extra=fields(about))
        return True

    async def _post(self, url: str, head: bytes, file: BinaryIO) -> None:
        async with asyncio.timeout(STALL_TIMEOUT_S) as deadline:
            await post(
                self._environment,
                self._peer,
                url + PATH,
                body=self._body(head, file, deadline),
                content_type="application/octet-stream",
                timeout=self._timeout,
            )

    async def _body(self, head: bytes, file: BinaryIO, deadline: asyncio.Timeout) -> AsyncIterator[bytes]:
        """The request body. A portion is asked for when the one before has gone out, which moves the deadline."""
        loop = asyncio.get_running_loop()
        yield head
        while portion := await loop.run_in_executor(self._executor, file.read, _PORTION_BYTES):
            _move(deadline, STALL_TIMEOUT_S)
            yield portion
        _move(deadline, ANSWER_TIMEOUT_S)


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def _move(deadline: asyncio.Timeout, seconds: float) -> None:
    if not deadline.expired():
        deadline.reschedule(asyncio.get_running_loop().time() + seconds)
