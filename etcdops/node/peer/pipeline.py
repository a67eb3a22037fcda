"""Messages posted one by one: the way while a peer has not dialled its streams, and the only one to a remote.

Source: etcd server/etcdserver/api/rafthttp/pipeline.go.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from etcdops.ids import MemberID, format_id
from etcdops.node.peer import codec
from etcdops.node.peer.environment import Environment
from etcdops.node.peer.post import PostFailed, post
from etcdops.node.peer.status import PeerStatus
from etcdops.node.peer.stream import IO_TIMEOUT_S
from etcdops.node.peer.urls import UrlPicker
from etcdops.node.raft.types import Message
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

PATH = "/raft"
QUEUE_NAME = "pipeline"
CONNECTIONS = 4
QUEUE_MESSAGES_MAX = 64


class Pipeline:
    """A short queue of messages and the workers that post them, in no certain order."""

    def __init__(self, environment: Environment, peer: MemberID, picker: UrlPicker, status: PeerStatus) -> None:
        self._environment = environment
        self._peer = peer
        self._picker = picker
        self._status = status
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_MESSAGES_MAX)
        self._names = {"local-member-id": environment.identity.name, "remote-peer-id": format_id(peer)}
        self._timeout = aiohttp.ClientTimeout(
            total=2 * IO_TIMEOUT_S, sock_connect=environment.dial_timeout_s, sock_read=IO_TIMEOUT_S
        )

    def start(self) -> list[asyncio.Task[None]]:
        """Begin to post. The caller ends the returned tasks."""
        _logger.info("started HTTP pipelining with remote peer", extra=fields(self._names))
        keep = self._environment.tasks.keep
        return [keep(self._work, f"pipeline to {format_id(self._peer)}") for _ in range(CONNECTIONS)]

    def send(self, message: Message) -> bool:
        """Queue `message`. False: the queue is full, the message is dropped."""
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    async def _work(self) -> None:
        while True:
            await self._post(await self._queue.get())

    async def _post(self, message: Message) -> None:
        stats = self._status.stats
        url = self._picker.pick()
        body = codec.encode_message(message)
        try:
            await post(
                self._environment,
                self._peer,
                url + PATH,
                body=body,
                content_type="application/protobuf",
                timeout=self._timeout,
            )
        except PostFailed as error:
            self._picker.unreachable(url)
            self._status.deactivate(QUEUE_NAME, "write", error)
            stats.sent_failures += 1
            self._environment.handler.report_unreachable(self._peer)
        else:
            self._status.activate()
            stats.sent_bytes += len(body)
