"""What a gRPC service and its server know of each other: calls, statuses and the table of methods.

A handler is a plain function on the event loop. It gets encoded messages and a call, and answers through the call, at
once or later from a callback: never a task, a lock or a copy per request. How the bytes travel is no business of
this module: see `server_connection.py` for gRPC on HTTP/2 and `listener.py` for sockets.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from etcdops.node.go_text import quote


class StatusCode(enum.IntEnum):
    """How a call ended. Source: grpc doc/statuscodes.md."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A status other than OK. `message` is shown to the client word for word."""

    def __init__(self, code: StatusCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"rpc error: code = {self.code.name} desc = {self.message}"


Metadata = Mapping[str, str | bytes]
"""A call's headers by lowercase name, the last value of a name wins. Names ending in `-bin` have bytes, others str.

gRPC's own (`grpc-timeout`, `te`, `content-type`, pseudo headers) are not in it.
"""


def is_text(value: str | bytes) -> bool:
    """Whether a header's value is text: bytes that are no UTF-8 arrive as lone surrogates."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value))


class Call(Protocol):
    """What both kinds of call share."""

    @property
    def metadata(self) -> Metadata:
        """The request's headers; the mapping is shared between calls and must not be changed."""

    @property
    def peer(self) -> str:
        """Address of the client, `host:port` (`[host]:port` for IPv6)."""

    @property
    def cancelled(self) -> bool:
        """The client is gone, gave the call up, or the call's deadline passed. Answers are ignored from then on."""

    @property
    def deadline(self) -> float | None:
        """Event loop time (`loop.time()`) at which the client stops waiting; None if it set no `grpc-timeout`."""


class UnaryCall(Call, Protocol):
    """One request, one answer: exactly one of `reply` and `fail` is called, once, at any time.

    A second answer, or one to a cancelled call, is ignored. `on_cancel` is called at most once, before any answer.
    """

    on_cancel: Callable[[], None] | None

    def reply(self, message: bytes) -> None:
        """Answer OK with an encoded message. The bytes are kept, not copied, until they are sent."""

    def fail(self, error: RpcError) -> None:
        """Answer with an error status."""


class StreamCall(Call, Protocol):
    """Any number of messages both ways. The handler sets the callbacks it needs, then returns.

    Order: `on_message` for each message, then `on_half_close` once; `on_cancel` at most once, instead of everything
    that would have followed. No callback comes after `end()`. Callbacks come from the event loop, never from within
    a method of the call, except that `resume()` may deliver waiting messages at once.
    """

    on_message: Callable[[bytes], None] | None
    on_half_close: Callable[[], None] | None
    on_cancel: Callable[[], None] | None
    on_writable: Callable[[], None] | None

    def send(self, message: bytes) -> bool:
        """Queue an encoded message; it is not copied. Messages are sent in order, many in one write.

        Returns: False when more than the connection's stream mark waits to be sent: send nothing more until
            `on_writable` (a message sent all the same is queued all the same). False also once the call is over.
        """

    def send_headers(self) -> None:
        """Tell the client now that the call is accepted, before there is a message to send. Optional."""

    def end(self, error: RpcError | None = None) -> None:
        """Finish with OK or an error after what is queued; later calls are ignored."""

    def pause(self) -> None:
        """Take no more messages: the client may send one flow control window more, then it must wait."""

    def resume(self) -> None:
        """Undo `pause`."""


UnaryHandler = Callable[[bytes, UnaryCall], None]
"""Called with the encoded request. Raising RpcError is the same as `call.fail`; another exception answers UNKNOWN."""

StreamHandler = Callable[[StreamCall], None]
"""Called when the request's headers arrive; server streaming is this too: the first message is the request."""


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one request and one answer."""

    handler: UnaryHandler


@dataclass(frozen=True, slots=True)
class Stream:
    """A method that streams in at least one direction."""

    handler: StreamHandler


Method = Unary | Stream


@dataclass(slots=True)
class Traffic:
    """Bytes of all messages, as they are encoded, without gRPC's and HTTP/2's own."""

    received_bytes: int = 0
    sent_bytes: int = 0


class Methods(Mapping[str, Method]):
    """Every method a server has, by path: `/package.Service/Method`. Built once, then read-only.

    Raises: ValueError - a path of another form.
    """

    def __init__(self, methods: Mapping[str, Method], traffic: Traffic | None = None) -> None:
        for path in methods:
            if path.count("/") != 2 or not path.startswith("/") or path.endswith("/") or "//" in path:
                raise ValueError(f"not a gRPC method path: {path!r}")
        self._methods = dict(methods)
        self.traffic = traffic or Traffic()
        """What all connections have carried."""
        self._services = frozenset(path.split("/")[1] for path in methods)

    def __getitem__(self, path: str) -> Method:
        return self._methods[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._methods)

    def __len__(self) -> int:
        return len(self._methods)

    def find(self, path: str) -> Method:
        """The method at `path`.

        Raises: RpcError(UNIMPLEMENTED) with grpc-go's words - a malformed path, an unknown service or method.
        Source: grpc-go server.go, Server.handleStream.
        """
        method = self._methods.get(path)
        if method is not None:
            return method
        if not path.startswith("/") or "/" not in path[1:]:
            raise RpcError(StatusCode.UNIMPLEMENTED, f"malformed method name: {quote(path)}")
        service, _, name = path[1:].rpartition("/")
        if service not in self._services:
            raise RpcError(StatusCode.UNIMPLEMENTED, f"unknown service {service}")
        raise RpcError(StatusCode.UNIMPLEMENTED, f"unknown method {name} for service {service}")
