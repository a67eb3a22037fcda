"""The client's end of calls to a simulated member: production handlers get these for the gRPC server's."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping

from etcdops.node.rpc.service import RpcError
from tests.sim.loop import MemberLoop, SimLoop


class CallLost(Exception):
    """The connection broke, or the client gave up: nobody knows what became of the request."""


class SimUnary:
    """Implements UnaryCall. `answered` resolves after the answer's way back."""

    def __init__(self, loop: SimLoop, delay_s: Callable[[], float]) -> None:
        self._loop = loop
        self._delay_s = delay_s
        self.metadata: Mapping[str, str | bytes] = {}
        self.peer = "127.0.0.1:1"
        self.cancelled = False
        self.deadline: float | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.closed: Callable[[], None] = lambda: None
        self.answered: asyncio.Future[bytes] = loop.create_future()
        self._over = False

    def reply(self, message: bytes) -> None:
        self._finish(lambda: self.answered.set_result(message))

    def fail(self, error: RpcError) -> None:
        self._finish(lambda: self.answered.set_exception(error))

    def disconnected(self) -> None:
        """The member is gone, or not there."""
        if not self._over:
            self._finish(lambda: self.answered.set_exception(CallLost("the connection broke")))

    def give_up(self) -> None:
        """The client waits no longer."""
        self.cancelled = True
        self.closed()
        if not self.answered.done():
            self.answered.set_exception(CallLost("timed out"))

    def _finish(self, answer: Callable[[], None]) -> None:
        assert not self._over, "a call was answered twice"
        self._over = True
        self.closed()

        def arrive() -> None:
            if not self.answered.done():
                answer()

        self._loop.call_later(self._delay_s(), arrive)


class SimStream:
    """Implements StreamCall. What the member sends is read by the client after a while, in order."""

    def __init__(self, loop: SimLoop, draw: random.Random, received: Callable[[bytes], None]) -> None:
        """Args: received gets each message; it is called while the stream is open only."""
        self._loop = loop
        self._draw = draw
        self._received = received
        self.member_loop: MemberLoop
        self.metadata: Mapping[str, str | bytes] = {}
        self.peer = "127.0.0.1:1"
        self.cancelled = False
        self.deadline: float | None = None
        self.on_message: Callable[[bytes], None] | None = None
        self.on_half_close: Callable[[], None] | None = None
        self.on_cancel: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.closed: Callable[[], None] = lambda: None
        self.ended: asyncio.Future[RpcError | None] = loop.create_future()
        self.room = 1 << 30
        """Messages on their way above which the member is told to wait."""
        self.read_s = 0.0
        """How long the client takes for a message."""
        self._under_way: deque[bytes] = deque()
        self._said: deque[bytes] = deque()
        self._full = False
        self._reading = False
        self._opened = False

    def send(self, message: bytes) -> bool:
        if self.ended.done() or self.cancelled:
            return False
        self._under_way.append(message)
        if not self._reading:
            self._reading = True
            self._loop.call_later(self._draw.uniform(0.0002, 0.002) + self.read_s, self._read)
        self._full = len(self._under_way) >= self.room
        return not self._full

    def _read(self) -> None:
        self._reading = False
        if self.ended.done() or self.cancelled:
            return
        self._received(self._under_way.popleft())
        if self._under_way:
            self._reading = True
            self._loop.call_later(self.read_s + 0.0001, self._read)
        elif self._full:
            self._full = False
            self.member_loop.run(self._writable)

    def _writable(self) -> None:
        if self.on_writable is not None and not self.ended.done() and not self.cancelled:
            self.on_writable()

    def open(self, handler: Callable[[SimStream], None]) -> None:
        """The member hears of the stream, and then of what was said meanwhile."""
        handler(self)
        self._opened = True
        self._hear()

    def say(self, message: bytes) -> None:
        """The client sends a message. Messages of one stream never overtake each other, nor its beginning."""
        self._said.append(message)
        self.member_loop.call_soon(self._hear)

    def _hear(self) -> None:
        while self._opened and self._said and self.on_message is not None:
            message = self._said.popleft()
            if not self.ended.done() and not self.cancelled:
                self.on_message(message)

    def send_headers(self) -> None:
        """The client learns nothing from them."""

    def pause(self) -> None:
        """The client never says much."""

    def resume(self) -> None:
        """See `pause`."""

    def end(self, error: RpcError | None = None) -> None:
        self.closed()
        if not self.ended.done():
            self.ended.set_result(error)

    def disconnected(self) -> None:
        """The member is gone."""
        self.end(None)

    def cancel(self) -> None:
        """The client goes away."""
        if not self.ended.done() and not self.cancelled:
            self.cancelled = True
            self.closed()
            if self.on_cancel is not None:
                self.member_loop.run(self.on_cancel)
