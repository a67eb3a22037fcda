"""What is sent on a channel, in an order that the protocol allows: nothing after our answer to a close.

paramiko sends data and the end of data outside of its lock, so that its own answer to a close of the other side can
come before them. OpenSSH takes that for a violation and ends the whole connection: "ieof packet referred to nonexistent
channel". It hits commands that end while their standard input is being fed or closed, above all on busy machines.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable

import paramiko
from paramiko.common import MSG_CHANNEL_CLOSE, cMSG_CHANNEL_DATA
from paramiko.message import Message

from etcdops.remote.way import Way


class _Order:
    """Of one channel. Whoever closes never waits: it may be the thread that reads what a sender waits for."""

    def __init__(self) -> None:
        self._sending = threading.Lock()
        self._closing: deque[Callable[[], object]] = deque()

    def send(self, work: Callable[[], object]) -> None:
        with self._sending:
            work()
        self._close()

    def close(self, work: Callable[[], object]) -> None:
        """Now, or by the thread that sends, when it is done."""
        self._closing.append(work)
        self._close()

    def _close(self) -> None:
        while self._closing and self._sending.acquire(blocking=False):
            try:
                while self._closing:
                    self._closing.popleft()()
            finally:
                self._sending.release()


_orders: weakref.WeakKeyDictionary[paramiko.Channel, _Order] = weakref.WeakKeyDictionary()
_orders_lock = threading.Lock()


def _order(channel: paramiko.Channel) -> _Order:
    with _orders_lock:
        return _orders.setdefault(channel, _Order())


def _answer_close(channel: paramiko.Channel, message: Message) -> None:
    """Called in the transport's thread when the other side closes a channel."""
    _order(channel).close(lambda: paramiko.Channel._handle_close(channel, message))  # type: ignore[attr-defined]


class OrderedTransport(paramiko.Transport):
    """A connection whose channels keep the order, if they are used by the functions below."""

    def __init__(self, way: Way) -> None:
        super().__init__(way)  # type: ignore[arg-type]  # the types know sockets only
        self.way = way

    _channel_handler_table = {  # noqa: RUF012 - as in paramiko, which looks it up on the instance
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # not in the types
        MSG_CHANNEL_CLOSE: _answer_close,
    }


def send_all(channel: paramiko.Channel, data: bytes) -> None:
    """As `Channel.sendall`. Raises: OSError - it is closed."""
    while data:
        data = data[_send(channel, data) :]


def _send(channel: paramiko.Channel, data: bytes) -> int:
    with channel.lock:
        # waits for room, or for the end: so it cannot be in the order, which the end waits for
        size: int = 0 if channel.closed else channel._wait_for_send_window(len(data))  # type: ignore[attr-defined]
    if size == 0:
        raise OSError("Socket is closed")
    message = Message()
    message.add_byte(cMSG_CHANNEL_DATA)
    message.add_int(channel.remote_chanid)
    message.add_string(data[:size])
    sent = False

    def send() -> None:
        nonlocal sent
        transport = channel.get_transport()
        if not channel.closed and transport is not None:
            transport._send_user_message(message)  # type: ignore[attr-defined]
            sent = True

    _order(channel).send(send)
    if not sent:
        raise OSError("Socket is closed")
    return size


def end_sending(channel: paramiko.Channel) -> None:
    """As `Channel.shutdown_write`; of a closed one nothing is sent."""
    _order(channel).send(lambda: None if channel.closed else channel.shutdown_write())


def close(channel: paramiko.Channel) -> None:
    """As `Channel.close`; a sender at work finishes first."""
    _order(channel).close(channel.close)
