"""The sending end of a stream: a queue of encoded messages and the answer that they are written into.

Source: etcd server/etcdserver/api/rafthttp/stream.go, streamWriter.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from aiohttp import web

from etcdops.ids import MemberID, format_id
from etcdops.node.peer.framing import Encoder
from etcdops.node.peer.status import PeerStatus
from etcdops.node.peer.stream import HEARTBEAT_INTERVAL_S, IO_TIMEOUT_S, StreamKind
from etcdops.node.raft.types import Message
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

QUEUE_MESSAGES_MAX = 4096
"""Source: etcd rafthttp/stream.go, streamBufSize."""

QUEUE_BYTES_MAX = 64 * 1024 * 1024
"""etcd bounds the number of messages only, of up to 1 MiB each. One message of any size fits an empty queue."""

_WRITE_BYTES = 256 * 1024
"""The most that is written at once: each such piece must move within IO_TIMEOUT_S."""


class _Connection:
    """One dialled stream: what waits to be written to it, in the order of its encoder."""

    def __init__(self, request: web.BaseRequest, encoder: Encoder) -> None:
        self.encoder = encoder
        self.frames: list[bytes] = []
        self.held_bytes = 0
        self.wake = asyncio.Event()
        self.replaced = False
        self._request = request

    def push(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.held_bytes += len(frame)
        self.wake.set()

    def take(self) -> bytes:
        """What is written next: everything that waits, in portions of about _WRITE_BYTES."""
        if self.held_bytes <= _WRITE_BYTES:
            taken, self.frames = self.frames, []
        else:
            size = count = 0
            while size < _WRITE_BYTES:
                size += len(self.frames[count])
                count += 1
            taken = self.frames[:count]
            del self.frames[:count]
        data = b"".join(taken)
        self.held_bytes -= len(data)
        return data

    def close(self) -> None:
        """Let the peer see the end now, even if it does not read."""
        self.replaced = True
        self.wake.set()
        if self._request.transport is not None:
            self._request.transport.abort()


class StreamWriter:
    """Messages of one kind of stream to one peer. Works while the peer has dialled; a new connection replaces the old.

    Args: lost(member) is called when queued messages were lost together with the connection.
    """

    def __init__(
        self, kind: StreamKind, local: MemberID, peer: MemberID, status: PeerStatus, lost: Callable[[MemberID], None]
    ) -> None:
        self._kind = kind
        self._peer = peer
        self._status = status
        self._lost = lost
        self._connection: _Connection | None = None
        self._stopped = False
        self._names = {"local-member-id": format_id(local), "remote-peer-id": format_id(peer)}

    @property
    def working(self) -> bool:
        """Whether the peer has dialled this stream, so that messages can go this way."""
        return self._connection is not None

    def send(self, message: Message) -> bool:
        """Queue `message` on a working stream. False: the queue is full, the message is dropped."""
        connection = self._connection
        if connection is None:
            return False
        if connection.frames and (
            len(connection.frames) >= QUEUE_MESSAGES_MAX or connection.held_bytes >= QUEUE_BYTES_MAX
        ):
            return False
        connection.push(connection.encoder.encode(message))
        return True

    async def serve(self, request: web.BaseRequest, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer the dialled `request` with the stream, until the connection breaks or is replaced."""
        response = web.StreamResponse(headers=headers)
        response.force_close()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"")  # sends the headers: the dialler waits for them
        if self._stopped:
            return response
        connection = _Connection(request, self._kind.encoder())
        self._attach(connection)
        reason: BaseException | None = None
        try:
            await self._pump(connection, response)
        except (OSError, TimeoutError) as error:
            reason = error
        except asyncio.CancelledError as error:  # aiohttp cancels the handler when the dialler is gone
            reason = error
            raise
        finally:
            self._detach(connection, reason)
        return response

    def stop(self) -> None:
        """End the connection, and every one that is being dialled."""
        self._stopped = True
        self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            _logger.warning("closed TCP streaming connection with remote peer", extra=fields(self._log_names()))

    def _attach(self, connection: _Connection) -> None:
        self._close()
        names = self._names
        _logger.info(
            "set message encoder",
            extra=fields(
                {"from": names["local-member-id"], "to": names["remote-peer-id"]}, stream_type=self._kind.label
            ),
        )
        self._connection = connection
        self._status.activate()
        _logger.info("established TCP streaming connection with remote peer", extra=fields(self._log_names()))

    def _detach(self, connection: _Connection, reason: BaseException | None) -> None:
        if connection.frames:
            self._lost(self._peer)
        if self._connection is not connection:
            return
        self._connection = None
        self._status.stats.sent_failures += 1
        self._status.deactivate(self._kind.label, "write", _words(reason))
        _logger.warning("lost TCP streaming connection with remote peer", extra=fields(self._log_names()))

    def _log_names(self) -> dict[str, str]:
        return {"stream-writer-type": self._kind.label, **self._names}

    async def _pump(self, connection: _Connection, response: web.StreamResponse) -> None:
        stats = self._status.stats
        heartbeat = _Heartbeat(connection)
        try:
            while not connection.replaced:
                if not connection.frames:
                    connection.wake.clear()
                    await connection.wake.wait()
                    continue
                data = connection.take()
                for start in range(0, len(data), _WRITE_BYTES):
                    piece = data if len(data) <= _WRITE_BYTES else data[start : start + _WRITE_BYTES]
                    async with asyncio.timeout(IO_TIMEOUT_S):
                        await response.write(piece)
                stats.sent_bytes += len(data)
        finally:
            heartbeat.cancel()


class _Heartbeat:
    """Pushes a link heartbeat whenever an interval ends with nothing waiting."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(HEARTBEAT_INTERVAL_S, self._beat)

    def _beat(self) -> None:
        if not self._connection.frames:
            self._connection.push(self._connection.encoder.heartbeat)
        self._timer = self._loop.call_later(HEARTBEAT_INTERVAL_S, self._beat)

    def cancel(self) -> None:
        self._timer.cancel()


def _words(reason: BaseException | None) -> str:
    if isinstance(reason, TimeoutError):
        return "i/o timeout"
    if reason is None or isinstance(reason, asyncio.CancelledError):
        return "connection closed by the remote peer"
    return str(reason) or type(reason).__name__
