"""gRPC's length-prefixed messages: one flag byte, four bytes of length, the message; split over DATA frames anyhow."""

from __future__ import annotations

import zlib

from etcdops.node.go_text import quote
from etcdops.node.rpc.service import RpcError, StatusCode

PREFIX_BYTES = 5

_PLAIN = b"\x00"
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib's way of saying: with a gzip header


def prefix(message: bytes) -> bytes:
    """The five bytes before an uncompressed message. Answers are never compressed: the clients here are near."""
    return _PLAIN + len(message).to_bytes(4, "big")


def check_encoding(encoding: str) -> None:
    """Refuse a call whose messages nobody here can read.

    Raises: RpcError(UNIMPLEMENTED). Source: grpc-go server.go, Server.processUnaryRPC.
    """
    if encoding not in ("", "identity", "gzip"):
        raise RpcError(
            StatusCode.UNIMPLEMENTED, f"grpc: Decompressor is not installed for grpc-encoding {quote(encoding)}"
        )


class MessageReader:
    """Joins the bytes of one call into messages. Holds at most one incomplete message, and none above the limit."""

    __slots__ = ("_buffer", "_encoding", "_needed", "_size_max")

    def __init__(self, size_max: int, encoding: str = "") -> None:
        self._size_max = size_max
        self._encoding = encoding
        self._buffer = bytearray()
        self._needed = PREFIX_BYTES  # bytes the buffer must have before there is anything to do

    @property
    def buffered_bytes(self) -> int:
        """Bytes of an incomplete message; 0 between two messages."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order.

        Raises: RpcError with grpc-go's words - a message above the limit, damaged, or compressed in an unknown way.
            The reader must not be used after that. Source: grpc-go rpc_util.go, parser.recvMsg.
        """
        if not self._buffer and len(data) >= PREFIX_BYTES:
            size = int.from_bytes(data[1:5], "big")
            if len(data) == size + PREFIX_BYTES and size <= self._size_max:  # nearly every call
                return [self._message(data[0], data[PREFIX_BYTES:])]
        buffer = self._buffer
        buffer += data
        messages = []
        start = 0
        while len(buffer) - start >= self._needed:
            size = int.from_bytes(buffer[start + 1 : start + PREFIX_BYTES], "big")
            if size > self._size_max:
                raise RpcError(
                    StatusCode.RESOURCE_EXHAUSTED,
                    f"grpc: received message larger than max ({size} vs. {self._size_max})",
                )
            self._needed = size + PREFIX_BYTES
            if len(buffer) - start < self._needed:
                break
            messages.append(self._message(buffer[start], bytes(buffer[start + PREFIX_BYTES : start + self._needed])))
            start += self._needed
            self._needed = PREFIX_BYTES
        if start:
            del buffer[:start]
        return messages

    def _message(self, flag: int, payload: bytes) -> bytes:
        if flag == 0:
            return payload
        if flag != 1:
            raise RpcError(StatusCode.INTERNAL, f"grpc: received unexpected payload format {flag}")
        if self._encoding != "gzip":
            raise RpcError(StatusCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
        return gunzip(payload, self._size_max)


def gunzip(payload: bytes, size_max: int) -> bytes:
    """Unpack a gzip payload; a small one that would unpack to more than `size_max` bytes is refused on the way.

    Raises: RpcError. Source: grpc-go rpc_util.go, decompress.
    """
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        message = unpacker.decompress(payload, size_max + 1)
    except zlib.error as error:
        # zlib says it all in one way; Go says the one thing that happens in its own.
        reason = "gzip: invalid header" if "header" in str(error) else error
        raise RpcError(StatusCode.INTERNAL, f"grpc: failed to decompress the received message: {reason}") from error
    if len(message) > size_max:
        raise RpcError(
            StatusCode.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {size_max}"
        )
    if not unpacker.eof:
        raise RpcError(StatusCode.INTERNAL, "grpc: failed to read decompressed data: unexpected EOF")
    return message
