"""What is sent byte by byte to every server, and nothing a usual client would send: name -> conversation -> lines."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.wire import Wire, shown
from tests.fakes.http2_client import call_headers, message

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"
WATCH = "/etcdserverpb.Watch/Watch"
ASK = pb.RangeRequest(key=b"/wire/nothing", serializable=True).SerializeToString()
QUIET_S = 1.0
"""After this long without an end, a stream is taken to stay open."""

Case = Callable[[Wire], list[str]]
Pairs = list[tuple[str, str]]


def head(changed: dict[str, str | None], path: str = RANGE) -> Pairs:
    """A call's headers with some replaced or, where None, left out."""
    values: dict[str, str | None] = {**dict(call_headers(path)), **changed}
    return [(name, value) for name, value in values.items() if value is not None]


def call(pairs: Pairs, *data: bytes, quiet_s: float = QUIET_S) -> Case:
    """One call: its headers, then DATA frames of which the last one ends it."""

    def converse(wire: Wire) -> list[str]:
        stream_id, sent = wire.http2.headers(pairs, end=not data)
        for number, part in enumerate(data):
            for cut in range(0, max(1, len(part)), 16_384):
                piece = part[cut : cut + 16_384]
                last = number == len(data) - 1 and cut + 16_384 >= len(part)
                sent += wire.http2.data(stream_id, piece, end=last)
        wire.send(sent)
        return [*shown(wire.answer(stream_id, quiet_s)), *wire.goaways(), *(["closed"] if wire.closed else [])]

    return converse


def payload(content: bytes, path: str = RANGE) -> Case:
    """One call whose message is this."""
    return call(head({}, path), message(content))


def frames(build: Callable[[Wire], bytes]) -> Case:
    """Bytes after the hello; then a call, to see whether the connection still serves."""

    def converse(wire: Wire) -> list[str]:
        wire.settle()
        wire.send(build(wire))
        stream_id, sent = wire.http2.call(RANGE, ASK)
        wire.send(sent)
        answer = wire.answer(stream_id, QUIET_S)
        served = answer.trailers.get("grpc-status") == "0"
        return ["serves on"] if served else [*wire.goaways(), "the connection has ended"]

    return converse


def _runs_out(wire: Wire) -> list[str]:
    """A watch that the client wants for three tenths of a second. Which code the words have is a race in 3.4."""
    stream_id, sent = wire.http2.headers(head({"grpc-timeout": "300m"}, WATCH))
    wire.send(sent + wire.http2.data(stream_id, message(b"\x0a\x03\x0a\x01a")))
    return [line for line in shown(wire.answer(stream_id)) if not line.startswith("grpc-status")]


def _open_stream(wire: Wire) -> tuple[int, bytes]:
    return wire.http2.headers(call_headers(WATCH))


MESSAGES: dict[str, Case] = {
    "a field nobody knows": payload(ASK + b"\x9a\x06\x03abc"),
    "a varint nobody knows": payload(ASK + b"\x98\x06\x01"),
    "a fixed64 nobody knows": payload(ASK + b"\x99\x06" + bytes(8)),
    "a fixed32 nobody knows": payload(ASK + b"\x9d\x06" + bytes(4)),
    "a group nobody knows": payload(ASK + b"\x9b\x06\x08\x01\x9c\x06"),
    "a group without end": payload(ASK + b"\x9b\x06\x08\x01"),
    "an end without group": payload(ASK + b"\x9c\x06"),
    "the same field twice": payload(ASK + b"\x0a\x01a"),
    "an empty message": payload(b""),
    "a length without content": payload(b"\x0a\x05ab"),
    "a tag cut short": payload(ASK + b"\x98"),
    "a tag of eleven bytes": payload(ASK + b"\xff" * 11),
    "a value cut short": payload(b"\x0a\x01a\x18"),
    "a value of eleven bytes": payload(b"\x0a\x01a\x18" + b"\xff" * 11),
    "a length of eleven bytes": payload(b"\x0a" + b"\xff" * 11),
    "a length above 2^63": payload(b"\x0a" + b"\xff" * 9 + b"\x01"),
    "a number where bytes belong": payload(b"\x08\x01"),
    "bytes where a number belongs": payload(b"\x0a\x01a\x1a\x01a"),
    "wire type 6": payload(ASK + b"\x9e\x06"),
    "wire type 7": payload(ASK + b"\x9f\x06"),
    "field number 0": payload(b"\x00\x01"),
    "an operation that is no message": payload(b"\x12\x03\x12\x05a", "/etcdserverpb.KV/Txn"),
    "a compare with a cut value": payload(b"\x0a\x02\x18\x05", "/etcdserverpb.KV/Txn"),
    "an enum beyond 32 bits": payload(ASK + b"\x28\xff\xff\xff\xff\xff\x01"),
    "a bool that is 2": payload(ASK + b"\x38\x02"),
    "a revision above 2^63": payload(b"\x0a\x01a\x20" + b"\xff" * 9 + b"\x01"),
    "a name that is no UTF-8": payload(b"\x0a\x02\xff\xfe", "/etcdserverpb.Auth/UserGet"),
    "a URL that is no UTF-8": payload(b"\x0a\x02\xff\xfe", "/etcdserverpb.Cluster/MemberAdd"),
}
"""Encoded messages with something wrong or new in them."""

STREAMS: dict[str, Case] = {
    "Watch: a length without content": payload(b"\x0a\x05ab", WATCH),
    "Watch: wrong wire type": payload(b"\x08\x01", WATCH),
    "Watch: nothing of the union": payload(b"", WATCH),
    "Watch: its time is up": _runs_out,
    "Watch: half a prefix": call(head({}, WATCH), b"\0\0"),
    "LeaseKeepAlive: a value cut short": payload(b"\x08", "/etcdserverpb.Lease/LeaseKeepAlive"),
    "Snapshot: a value cut short": payload(b"\x08", "/etcdserverpb.Maintenance/Snapshot"),
    "Health: the server": payload(b"", "/grpc.health.v1.Health/Check"),
    "Health: another service": payload(b"\x0a\x01a", "/grpc.health.v1.Health/Check"),
    "Health: watched": payload(b"", "/grpc.health.v1.Health/Watch"),
    "Health: another service, watched": payload(b"\x0a\x01a", "/grpc.health.v1.Health/Watch"),
    "Health: listed": payload(b"", "/grpc.health.v1.Health/List"),
    "Election: no leader": payload(b"\x0a\x06nobody", "/v3electionpb.Election/Leader"),
    "Election: resigns without a key": payload(b"", "/v3electionpb.Election/Resign"),
    "Election: proclaims without a key": payload(b"", "/v3electionpb.Election/Proclaim"),
    "Election: observes nobody": payload(b"\x0a\x06nobody", "/v3electionpb.Election/Observe"),
    "Lock: no such lease": payload(b"\x10\x07", "/v3lockpb.Lock/Lock"),
    "Lock: unlocks nothing": payload(b"", "/v3lockpb.Lock/Unlock"),
}
"""Messages on streams, and services beside etcd's own."""

CALLS: dict[str, Case] = {
    "a usual call": call(head({}), message(ASK)),
    "no message": call(head({})),
    "no message, ended by a frame": call(head({}), b""),
    "half a prefix": call(head({}), b"\0\0"),
    "half a message": call(head({}), message(ASK)[:-1]),
    "two messages": call(head({}), message(ASK) * 2),
    "more than a message": call(head({}), message(ASK) + b"\0\0\0"),
    "flag 2": call(head({}), message(ASK, flag=2)),
    "flag 255": call(head({}), message(ASK, flag=255)),
    "packed, which nobody said": call(head({}), message(gzip.compress(ASK), flag=1)),
    "packed as identity": call(head({"grpc-encoding": "identity"}), message(ASK, flag=1)),
    "gzip": call(head({"grpc-encoding": "gzip"}), message(gzip.compress(ASK), flag=1)),
    "gzip, but plain": call(head({"grpc-encoding": "gzip"}), message(ASK)),
    "gzip that is none": call(head({"grpc-encoding": "gzip"}), message(ASK, flag=1)),
    "gzip cut short": call(head({"grpc-encoding": "gzip"}), message(gzip.compress(ASK)[:-6], flag=1)),
    "gzip, asking for gzip": call(
        head({"grpc-encoding": "gzip", "grpc-accept-encoding": "gzip"}), message(gzip.compress(ASK), flag=1)
    ),
    "asking for gzip": call(head({"grpc-accept-encoding": "gzip, deflate"}), message(ASK)),
    "a bomb": call(head({"grpc-encoding": "gzip"}, PUT), message(gzip.compress(bytes(10_000_000)), flag=1)),
    "deflate": call(head({"grpc-encoding": "deflate"}), message(zlib.compress(ASK), flag=1)),
    "snappy, but plain": call(head({"grpc-encoding": "snappy"}), message(ASK)),
    "a length of 4 GiB": call(head({}, PUT), b"\0\xff\xff\xff\xff"),
    **{
        f"content-type {kind}": call(head({"content-type": kind}), message(ASK))
        for kind in (
            None, "application/grpc+proto", "application/grpc;charset=utf-8", "application/grpc+json",
            "application/grpc-web", "application/grpcx", "application/json", "text/plain", "Application/Grpc",
        )
    },
    "a refused call of another content-type": call(head({"content-type": "application/grpc+x"}, PUT), message(b"")),
    **{f"method {verb}": call(head({":method": verb}), message(ASK)) for verb in ("GET", "PUT", "OPTIONS", "post")},
    **{
        f"without {name}": call(head({name: None}), message(ASK))
        for name in (":path", ":method", ":scheme", ":authority", "te")
    },
    **{
        f"path {path!r}": call(head({}, path), message(ASK))
        for path in (
            "/", "//", "/a", "a/b", "*", "/etcdserverpb.KV/", "/etcdserverpb.KV/Range/", "/etcdserverpb.KV/range",
            "/etcdserverpb.KV/Range?x=1", "/KV/Range", "//etcdserverpb.KV/Range", "/v3/kv/range", "/health",
            "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/etcdserverpb.KV/%52ange",
            "/v3electionpb.Election/Nothing", "/v3lockpb.Lock/Nothing", "/etcdserverpb.Election/Leader",
        )
    },
    **{
        f"grpc-timeout {timeout!r}": call(head({"grpc-timeout": timeout}), message(ASK))
        for timeout in (
            "1", "S", "1x", "xS", "+1S", "1.5S", "1 S", "12345678S", "123456789S", "99999999H", " 1S", "1S ", "5M",
            "1_0S",
        )
    },
    **{
        f"{name}: {value}": call([*head({}), (name, value)], message(ASK))
        for name, value in (
            ("te", "gzip"), ("connection", "close"), ("host", "a"), ("x-bin", "////"), ("x-bin", "not base64!"),
            ("x-bin", "YQ"), ("x-bin", "YQ=="), ("user-agent", "x"), ("grpc-status", "0"), ("hasleader", "true"),
            ("hasleader", "false"), ("token", ""), ("client-api-version", "3.5"), ("grpc-tags-bin", "AAA"),
            ("grpc-trace-bin", "AAA"), ("transfer-encoding", "chunked"), ("content-length", "5"), ("X-Upper", "a"),
            ("", "a"), ("with space", "a"), (":unknown", "a"), (":path", "/b/c"), ("grpc-previous-rpc-attempts", "2"),
            (":status", "200"), ("a:b", "a"), ("a_~'|b", "a"), ("x-a", "a\x01b"), ("x-a", "\u00e9"),
            ("x-bin", "abcde"), ("x-bin", "ab=c"), ("x-bin", "YQ="),
        )
    },
    **{
        f"{size} bytes of headers": call(
            head({}) + [(f"x-{number}", "y" * 1000) for number in range(size // 1000)], message(ASK)
        )
        for size in (4_000, 14_000)
    },
}  # fmt: skip
"""Calls with odd headers and odd framing."""


def _headers_in_pieces(wire: Wire, size: int) -> bytes:
    pairs = call_headers(RANGE, *((f"x-{number}", "y" * 1000) for number in range(size // 1000)))
    block = wire.http2._encoder.encode(pairs)
    stream_id = wire.http2.next_stream_id
    wire.http2.next_stream_id += 2
    sent = wire.http2.raw_frame(1, 0, stream_id, block[:16_384])
    rest = block[16_384:]
    for cut in range(0, len(rest), 16_384):
        last = cut + 16_384 >= len(rest)
        sent += wire.http2.raw_frame(9, 4 if last else 0, stream_id, rest[cut : cut + 16_384])
    return sent + wire.http2.data(stream_id, message(ASK), end=True)


FRAMES: dict[str, Case] = {
    "a frame nobody knows": frames(lambda wire: wire.http2.raw_frame(0x42, 0, 0, b"abc")),
    "a frame nobody knows, on a stream": frames(lambda wire: wire.http2.raw_frame(0x42, 0xFF, 7, b"abc")),
    "PRIORITY": frames(lambda wire: wire.http2.raw_frame(2, 0, 9, bytes(5))),
    "PRIORITY of 4 bytes": frames(lambda wire: wire.http2.raw_frame(2, 0, 9, bytes(4))),
    "PUSH_PROMISE": frames(lambda wire: wire.http2.raw_frame(5, 4, 1, bytes(4))),
    "CONTINUATION of nothing": frames(lambda wire: wire.http2.raw_frame(9, 4, 1, b"")),
    "DATA on stream 0": frames(lambda wire: wire.http2.raw_frame(0, 0, 0, b"abc")),
    "DATA on a stream nobody opened": frames(lambda wire: wire.http2.raw_frame(0, 0, 99, b"abc")),
    "HEADERS on stream 0": frames(lambda wire: wire.http2.raw_frame(1, 4, 0, b"\x88")),
    "HEADERS on an even stream": frames(lambda wire: wire.http2.headers(call_headers(RANGE), stream_id=2)[1]),
    "HEADERS nobody can decode": frames(lambda wire: wire.http2.raw_frame(1, 4, 1, b"\xff\xff\xff\xff")),
    "RST_STREAM of nothing": frames(lambda wire: wire.http2.raw_frame(3, 0, 99, bytes(4))),
    "RST_STREAM on stream 0": frames(lambda wire: wire.http2.raw_frame(3, 0, 0, bytes(4))),
    "RST_STREAM of 3 bytes": frames(lambda wire: wire.http2.raw_frame(3, 0, 1, bytes(3))),
    "SETTINGS on a stream": frames(lambda wire: wire.http2.raw_frame(4, 0, 1, b"")),
    "SETTINGS of 5 bytes": frames(lambda wire: wire.http2.raw_frame(4, 0, 0, bytes(5))),
    "SETTINGS with a window of 2^31": frames(lambda wire: wire.http2.settings_frame({4: 1 << 31})),
    "SETTINGS with frames of 1 byte": frames(lambda wire: wire.http2.settings_frame({5: 1})),
    "SETTINGS with push 2": frames(lambda wire: wire.http2.settings_frame({2: 2})),
    "SETTINGS nobody knows": frames(lambda wire: wire.http2.settings_frame({0x99: 1})),
    "SETTINGS without header table": frames(lambda wire: wire.http2.settings_frame({1: 0})),
    "an acknowledgement with content": frames(lambda wire: wire.http2.raw_frame(4, 1, 0, bytes(6))),
    "PING of 7 bytes": frames(lambda wire: wire.http2.raw_frame(6, 0, 0, bytes(7))),
    "PING on a stream": frames(lambda wire: wire.http2.raw_frame(6, 0, 1, bytes(8))),
    "PING nobody asked": frames(lambda wire: wire.http2.ping(ack=True)),
    "GOAWAY from the client": frames(lambda wire: wire.http2.goaway()),
    "WINDOW_UPDATE of 0": frames(lambda wire: wire.http2.window_update(0, 1)[:-4] + bytes(4)),
    "WINDOW_UPDATE beyond 2^31": frames(lambda wire: wire.http2.window_update(0, 0x7FFFFFFF)),
    "WINDOW_UPDATE of 3 bytes": frames(lambda wire: wire.http2.raw_frame(8, 0, 0, bytes(3))),
    "a frame of 16,385 bytes": frames(lambda wire: wire.http2.raw_frame(0x42, 0, 0, bytes(16_385))),
    "DATA padded beyond its end": frames(lambda wire: wire.http2.raw_frame(0, 8, 1, b"\xff")),
    "headers in pieces": frames(lambda wire: _headers_in_pieces(wire, 60_000)),
    "1 MB of headers": frames(lambda wire: _headers_in_pieces(wire, 1_000_000)),
    "a stream number that goes back": frames(
        lambda wire: (
            wire.http2.headers(call_headers(RANGE), stream_id=wire.http2.next_stream_id + 20)[1]
            + wire.http2.call(RANGE, ASK)[1]
        )
    ),
}
"""Frames between a hello and a usual call."""


def _settings(wire: Wire) -> list[str]:
    wire.settle()
    return [f"SETTINGS {name}: {value}" for name, value in sorted(wire.http2.settings.items())]


def _pings(count: int, *, with_call: bool) -> Case:
    def converse(wire: Wire) -> list[str]:
        wire.settle()
        if with_call:
            wire.send(_open_stream(wire)[1])
            wire.settle()
        for _ in range(count):
            wire.send(wire.http2.ping())
        wire.read_until(lambda: bool(wire.http2.goaways), QUIET_S)
        return wire.goaways() or ["nothing"]

    return converse


def _many(count: int) -> Case:
    """So many calls at once on one connection."""

    def converse(wire: Wire) -> list[str]:
        calls = [wire.http2.call(RANGE, ASK) for _ in range(count)]
        wire.send(b"".join(sent for _, sent in calls))
        answers = [wire.answer(stream_id) for stream_id, _ in calls]
        return [f"{sum(answer.trailers.get('grpc-status') == '0' for answer in answers)} of {count} answered"]

    return converse


def _reset_after_headers(wire: Wire) -> list[str]:
    """A stream the client gives up, again and again; then a usual call."""
    sent = b""
    for _ in range(50):
        stream_id, opened = _open_stream(wire)
        sent += opened + wire.http2.reset(stream_id)
    stream_id, asked = wire.http2.call(RANGE, ASK)
    wire.send(sent + asked)
    return shown(wire.answer(stream_id))


CONNECTIONS: dict[str, Case] = {
    "settings": _settings,
    "3 pings": _pings(3, with_call=False),
    "10 pings": _pings(10, with_call=False),
    "10 pings during a call": _pings(10, with_call=True),
    "500 calls at once": _many(500),
    "calls given up": _reset_after_headers,
}
"""What is said about a connection as a whole."""


def _request(method: str, path: str, *headers: str, version: str = "1.1", body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", *headers]
    if version == "1.1" and not any(header.lower().startswith("host") for header in headers):
        lines.insert(1, "Host: localhost")
    return "\r\n".join([*lines, "Connection: close", "", body]).encode()


HTTP1_HEADERS = (
    "access-control-allow-origin",
    "content-type",
    "allow",
    "x-content-type-options",
    "location",
    "connection",
    "transfer-encoding",
)
PAGES = (
    "/health", "/health?serializable=true", "/health?exclude=NOSPACE", "/health/", "/livez", "/readyz",
    "/readyz/linearizable_read", "/readyz/nonsense", "/livez?verbose", "/livez?exclude=serializable_read",
    "/", "/nothing", "//health", "/health%20", "/VERSION", "/metrics/", "/version/", "/debug", "/debug/",
    "/debug/vars", "/debug/pprof", "/debug/pprof/", "/debug/requests", "/v2/keys", "/v2/members", "/v2/stats/self",
    "/v3/kv/range", "/v3alpha/kv/range", "/members", "/raft", "/config/local/log", "/etcdserverpb.KV/Range",
)  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW")
HTTP1: dict[str, bytes] = {
    **{f"GET {page}": _request("GET", page) for page in PAGES},
    **{
        f"{method} {page}": _request(method, page, "Content-Length: 0")
        for page in ("/health", "/version", "/livez", "/nothing")
        for method in METHODS
        if method != "GET"
    },
    "GET /health with a body": _request("GET", "/health", "Content-Length: 3", body="abc"),
    "GET /health in pieces": _request("GET", "/health", "Transfer-Encoding: chunked", body="3\r\nabc\r\n0\r\n\r\n"),
    "GET /health, HTTP/1.0": _request("GET", "/health", version="1.0"),
    "GET /health without a host": b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n",
    "GET /health of two hosts": _request("GET", "/health", "Host: a", "Host: b"),
    "GET http://a/health": _request("GET", "http://a/health"),
    "a request that is none": b"hello\r\n\r\n",
    "a version that is none": b"GET /health HTTP/9.9\r\nHost: a\r\n\r\n",
    "a header that is none": b"GET /health HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
    "an upgrade to h2c": _request("GET", "/health", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA").replace(
        b"Connection: close", b"Connection: Upgrade, HTTP2-Settings"
    ),
}
"""Requests of HTTP/1.1 on the client port."""
