"""What waits to be sent on a connection: fair between streams, within flow control, and no faster than the socket.

Only what cannot go out at once comes here: big answers, and everything while the socket or a window is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from etcdops.node.rpc.http2 import Headers, Http2Port


class _Queue:
    """What one stream has to send."""

    __slots__ = ("above_mark", "chunks", "size", "trailers")

    def __init__(self) -> None:
        self.chunks: deque[bytes | memoryview] = deque()
        self.size = 0
        self.trailers: Headers | None = None
        self.above_mark = False

    def take(self, size: int) -> bytes | memoryview:
        """The first `size` bytes at most, without a copy when one chunk has them all."""
        first = self.chunks[0]
        if len(first) > size:
            view = memoryview(first)
            self.chunks[0] = view[size:]
            self.size -= size
            return view[:size]
        self.chunks.popleft()
        self.size -= len(first)
        if not self.chunks or len(first) + len(self.chunks[0]) > size:
            return first
        joined = [first]
        room = size - len(first)
        while self.chunks and len(self.chunks[0]) <= room:
            chunk = self.chunks.popleft()
            joined.append(chunk)
            room -= len(chunk)
            self.size -= len(chunk)
        return b"".join(joined)


class Outbox:
    """The queues of one connection.

    Args: mark_bytes - a stream above it is told to stop; on_writable(stream_id) - it may go on; on_sent(stream_id) -
        its trailers are out. Both are called from within `pump` only.
    """

    def __init__(
        self,
        port: Http2Port,
        mark_bytes: int,
        on_writable: Callable[[int], None],
        on_sent: Callable[[int], None],
    ) -> None:
        self._port = port
        self._mark = mark_bytes
        self._on_writable = on_writable
        self._on_sent = on_sent
        self._queues: dict[int, _Queue] = {}
        self._ready: deque[int] = deque()  # invariant: a stream is in at most one of ready and blocked
        self._blocked: dict[int, None] = {}
        self.size = 0
        """Bytes waiting on all streams."""

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._queues

    @property
    def has_ready(self) -> bool:
        """Whether `pump` may find something to send."""
        return bool(self._ready)

    def put(self, stream_id: int, *chunks: bytes) -> bool:
        """Queue bytes. Returns: whether the stream is still below its mark."""
        queue = self._queues.get(stream_id)
        if queue is None:
            queue = self._queues[stream_id] = _Queue()
            self._ready.append(stream_id)
        size = sum(map(len, chunks))
        queue.chunks.extend(chunks)
        queue.size += size
        self.size += size
        if queue.size > self._mark:
            queue.above_mark = True
        return not queue.above_mark

    def finish(self, stream_id: int, trailers: Headers) -> None:
        """Queue the end of a stream that has bytes queued."""
        self._queues[stream_id].trailers = trailers

    def drop(self, stream_id: int) -> None:
        """Forget a stream that is gone."""
        queue = self._queues.pop(stream_id, None)
        if queue is not None:
            self.size -= queue.size
            self._blocked.pop(stream_id, None)

    def unblock(self, stream_id: int) -> None:
        """The client's window has room again; 0: the connection's."""
        if stream_id:
            if stream_id in self._blocked:
                del self._blocked[stream_id]
                self._ready.append(stream_id)
        elif self._blocked:
            self._ready.extend(self._blocked)
            self._blocked.clear()

    def pump(self, budget_bytes: int) -> None:
        """Send one frame of each stream in turn until `budget_bytes` are out or no stream can send."""
        port = self._port
        frame_max = port.frame_bytes_max
        while self._ready and budget_bytes > 0:
            stream_id = self._ready.popleft()
            queue = self._queues.get(stream_id)
            if queue is None:
                continue  # dropped
            if queue.size:
                room = min(port.sendable(stream_id), frame_max)
                if room <= 0:
                    self._blocked[stream_id] = None
                    continue
                data = queue.take(room)
                port.send_data(stream_id, data)
                self.size -= len(data)
                budget_bytes -= len(data)
            if queue.size:
                self._ready.append(stream_id)
            elif queue.trailers is not None:
                del self._queues[stream_id]
                port.send_headers(stream_id, queue.trailers, end=True)
                self._on_sent(stream_id)
            else:
                del self._queues[stream_id]
            if queue.above_mark and queue.size <= self._mark // 2:
                queue.above_mark = False
                self._on_writable(stream_id)
