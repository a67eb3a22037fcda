"""What a server's HEADERS frames say: response heads, trailers, and refusals."""

from __future__ import annotations

from etcdops.node.rpc.http2 import Headers
from etcdops.node.rpc.service import RpcError

CONTENT_TYPE = b"application/grpc"
HEAD: Headers = ((b":status", b"200"), (b"content-type", CONTENT_TYPE))
OK_TRAILERS: Headers = ((b"grpc-status", b"0"),)


def error_trailers(error: RpcError) -> Headers:
    """How a call ends with an error, after HEAD was sent."""
    return ((b"grpc-status", b"%d" % error.code), (b"grpc-message", percent_encode(error.message)))


def head_of(content_type: bytes) -> Headers:
    """How an answer begins."""
    return HEAD if content_type == CONTENT_TYPE else (HEAD[0], (b"content-type", content_type))


def refusal(error: RpcError, http_status: int = 200, head: Headers = HEAD) -> Headers:
    """A whole response in one frame: head and trailers together (grpc calls it trailers-only)."""
    return ((b":status", b"%d" % http_status), head[1], *error_trailers(error))


def percent_encode(message: str) -> bytes:
    """A status message as a header may hold it. Source: grpc doc/PROTOCOL-HTTP2.md, Percent-Encoded."""
    raw = message.encode("utf-8", "replace")
    if raw.isascii() and message.isprintable() and b"%" not in raw:
        return raw
    return b"".join(b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte for byte in raw)
