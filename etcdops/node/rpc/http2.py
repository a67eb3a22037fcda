"""The port to HTTP/2: what gRPC needs of it, so that implementations can be exchanged and compared.

An implementation turns bytes into events and calls into bytes. It does no I/O and knows no time. `tests/contracts`
holds what every implementation must do.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The bytes an HTTP/2 client sends first. Source: RFC 9113 section 3.4."""

Headers = tuple[tuple[bytes, bytes], ...]
"""Names (lowercase) and values in order, pseudo headers first."""

HEADER_BYTES_MAX = 64 * 1024
"""Most bytes one header list may have (names, values, and 32 for each, as HTTP/2 counts)."""

STREAM_WINDOW_BYTES = 1024 * 1024
"""What a client may send on one stream before the server took it: two of these hold any message etcd accepts."""

CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
"""The same for all streams of a connection together."""


class ErrorCode(enum.IntEnum):
    """Why a stream or connection is ended. Source: RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Http2Events(Protocol):
    """What the port calls, from within `receive` only and in the order of the bytes."""

    def on_request(self, stream_id: int, headers: Headers, ended: bool) -> None:
        """A client opened a stream; `ended`: it sends nothing more on it."""

    def on_data(self, stream_id: int, data: bytes, flow_bytes: int, ended: bool) -> None:
        """Bytes of a stream. `flow_bytes` (padding included) must be given back by `Http2Port.release`.

        They may still come for a stream the server has finished or reset, and must be given back all the same.
        """

    def on_end(self, stream_id: int) -> None:
        """The client sends nothing more on a stream, said without data (trailers)."""

    def on_reset(self, stream_id: int, code: int) -> None:
        """The client gave a stream up. Also for streams the server has finished, while the port still knows them."""

    def on_window(self, stream_id: int) -> None:
        """More may be sent on a stream; 0: on the connection, or on every stream."""

    def on_ping(self) -> None:
        """The client pinged; the port has answered."""

    def on_ping_ack(self, data: bytes) -> None:
        """The client answered a ping."""

    def on_control(self) -> None:
        """A frame that carries nothing for gRPC: SETTINGS, PRIORITY, an empty DATA. For counting abuse."""


class Http2Port(Protocol):
    """One server connection. Created with the preface still to come."""

    @property
    def closed(self) -> bool:
        """The client broke the protocol, or went away with GOAWAY and no stream is left: write `take()`, then close."""

    @property
    def pending_bytes(self) -> int:
        """How much `take()` would give, roughly: for keeping what waits for the socket small."""

    @property
    def frame_bytes_max(self) -> int:
        """Most bytes the client takes in one DATA frame."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the client; events are delivered before it returns. Never raises for any bytes."""

    def take(self) -> bytes:
        """Everything to be written so far, in order; empty when there is nothing."""

    def sendable(self, stream_id: int) -> int:
        """Bytes that flow control allows on a stream now; may be 0 or negative, 0 for streams that are gone."""

    def send_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """A HEADERS frame: head, trailers (with `end`), or both in one. Ignored for streams that are gone."""

    def send_data(self, stream_id: int, data: bytes | memoryview) -> None:
        """One DATA frame of at most `min(sendable(stream_id), frame_bytes_max)` bytes."""

    def respond(self, stream_id: int, head: Headers, data: bytes, trailers: Headers) -> None:
        """A whole response of one small message: the same as head, one DATA frame and trailers with `end`."""

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Give a stream up; what the client still sends on it is swallowed."""

    def release(self, stream_id: int, flow_bytes: int) -> None:
        """Received bytes were used up: the client may send as many more, on the stream and on the connection."""

    def release_connection(self, flow_bytes: int) -> None:
        """The same for the connection only, so that one slow stream does not hold up the others."""

    def release_stream(self, stream_id: int, flow_bytes: int) -> None:
        """The same for the stream only, after `release_connection`."""

    def ping(self, data: bytes) -> None:
        """Send a PING of 8 bytes."""

    def goaway(self, code: ErrorCode, *, last_stream_id: int, debug: bytes = b"") -> None:
        """Tell the client that streams above `last_stream_id` will not be served. Open ones go on."""


PortFactory = Callable[[Http2Events, int], Http2Port]
"""Makes a port: (events, most streams the client may have open) -> port."""
