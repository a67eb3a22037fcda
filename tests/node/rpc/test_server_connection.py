"""gRPC on one connection: answers, errors, limits and endings, byte by byte."""

from __future__ import annotations

import gzip
import itertools
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.h2_port import H2Port
from etcdops.node.rpc.http2 import ErrorCode, PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.server_connection import PULL_BYTES
from etcdops.node.rpc.service import Methods, RpcError, StatusCode, Unary
from tests.fakes.http2_client import FakeClient, call_headers, message
from tests.node.rpc.rig import BREAK, CHAT, ECHO, FAIL, KEEP, Build, ServerRig

MIB = 1024 * 1024


def test_a_unary_call_is_answered_with_head_message_and_status(rig: ServerRig) -> None:
    """grpc doc/PROTOCOL-HTTP2.md, Responses."""
    answer = rig.call(ECHO, b"hello")
    assert answer.headers == {":status": "200", "content-type": "application/grpc"}
    assert answer.messages == [b"hello"]
    assert answer.trailers == {"grpc-status": "0"}
    assert answer.ended
    assert answer.reset is None
    assert rig.server.calls_open == 0


def test_an_empty_message_is_a_message(rig: ServerRig) -> None:
    """Five bytes of prefix and nothing else, both ways."""
    assert rig.call(ECHO, b"").messages == [b""]


def test_an_answer_may_come_later(rig: ServerRig) -> None:
    """Handlers answer from callbacks; the shell is woken to write."""
    answer = rig.call(KEEP, b"x")
    assert not answer.ended
    wakes = rig.wakes
    rig.handlers.requests[0][1].reply(b"now")
    assert rig.wakes == wakes + 1
    rig.read()
    assert answer.messages == [b"now"]


def test_only_the_first_answer_counts(rig: ServerRig) -> None:
    """UnaryCall: a second answer is ignored."""
    answer = rig.call(KEEP, b"x")
    call = rig.handlers.requests[0][1]
    call.reply(b"first")
    call.reply(b"second")
    call.fail(RpcError(StatusCode.INTERNAL, "third"))
    rig.read()
    assert answer.messages == [b"first"]
    assert answer.status == (0, "")


def test_answers_of_one_turn_leave_in_one_piece(rig: ServerRig) -> None:
    """Many small answers, one write."""
    sent = b"".join(rig.client.call(ECHO, b"%d" % number)[1] for number in range(100))
    rig.server.receive(sent)
    rig.client.read(rig.server.pull())
    assert rig.server.pull() == b""
    assert sum(answer.ended for answer in rig.client.answers.values()) == 100


def test_an_error_is_one_frame_with_an_encoded_message(rig: ServerRig) -> None:
    """Trailers-only; the message percent-encoded as UTF-8."""
    rig.handlers.error = RpcError(StatusCode.NOT_FOUND, "100% of Ünïcode\n")
    answer = rig.call(FAIL)
    assert answer.headers[":status"] == "200"
    assert answer.status == (5, "100%25 of %C3%9Cn%C3%AFcode%0A")
    assert answer.trailers == {}
    assert answer.ended


def test_a_broken_handler_fails_its_own_call_only(rig: ServerRig, caplog: pytest.LogCaptureFixture) -> None:
    """An exception is logged and answered with UNKNOWN."""
    with caplog.at_level(logging.ERROR):
        answer = rig.call(BREAK)
    assert answer.status[0] == StatusCode.UNKNOWN
    assert "handler of a call failed" in caplog.text
    assert rig.call(ECHO, b"on").messages == [b"on"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Service/Nope", "unknown method Nope for service test.Service"),
        ("/no.Such/Echo", "unknown service no.Such"),
        ("/test.Service/Echo/More", "unknown service test.Service/Echo"),
        ("/test.Service/", "unknown method  for service test.Service"),
        ("test.Service/Echo", 'malformed method name: "test.Service/Echo"'),
        ("/Echo", 'malformed method name: "/Echo"'),
        ("/", 'malformed method name: "/"'),
        ("*", 'malformed method name: "*"'),
        ('/a"b', 'malformed method name: "/a\\"b"'),
    ],
)
def test_paths_that_lead_nowhere_are_unimplemented(rig: ServerRig, path: str, text: str) -> None:
    """grpc-go's words; a path without a leading slash finds nothing (CVE-2026-33186)."""
    answer = rig.call(path)
    assert answer.status == (StatusCode.UNIMPLEMENTED, text)
    assert rig.handlers.requests == []


def test_a_missing_path_is_unimplemented(rig: ServerRig) -> None:
    """No :path at all."""
    stream_id, sent = rig.client.headers([pair for pair in call_headers("/x") if pair[0] != ":path"], end=True)
    rig.feed(sent)
    assert rig.client.answer(stream_id).status == (StatusCode.UNIMPLEMENTED, 'malformed method name: ""')


@pytest.mark.parametrize(
    ("changed", "status", "code", "text"),
    [
        (("content-type", "text/html"), "415", 3, 'invalid gRPC request content-type "text/html"'),
        (("content-type", "application/grpcx"), "415", 3, 'invalid gRPC request content-type "application/grpcx"'),
        (("content-type", ""), "415", 3, 'invalid gRPC request content-type ""'),
        ((":method", "GET"), "405", 13, 'Received a HEADERS frame with :method "GET" which should be POST'),
    ],
)
def test_what_is_not_grpc_gets_an_http_status(
    rig: ServerRig, changed: tuple[str, str], status: str, code: int, text: str
) -> None:
    """grpc-go http2Server.operateHeaders; browsers and probes see the HTTP status."""
    pairs = [changed if pair[0] == changed[0] else pair for pair in call_headers(ECHO)]
    stream_id, sent = rig.client.headers(pairs)
    rig.feed(sent)
    answer = rig.client.answer(stream_id)
    assert answer.headers[":status"] == status
    assert answer.status == (code, text)
    assert answer.reset == ErrorCode.NO_ERROR, "the client has not ended its side"


@pytest.mark.parametrize("path", [ECHO, FAIL, "/no.Service/Method"])
@pytest.mark.parametrize(
    ("content_type", "answered"),
    [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc+proto"),
        ("application/grpc+JSON", "application/grpc+json"),
        ("application/grpc;charset=x", "application/grpc+charset=x"),
    ],
)
def test_every_form_of_grpc_content_type_is_taken_and_said_back(
    rig: ServerRig, content_type: str, answered: str, path: str
) -> None:
    """grpc-go grpcutil.ContentSubtype and ContentType; with errors too."""
    pairs = [("content-type", content_type) if pair[0] == "content-type" else pair for pair in call_headers(path)]
    stream_id, sent = rig.client.headers(pairs)
    rig.feed(sent + rig.client.data(stream_id, message(b"x"), end=True))
    answer = rig.client.answer(stream_id)
    assert answer.headers["content-type"] == answered
    assert answer.messages == ([b"x"] if path == ECHO else [])


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (("grpc-timeout", "S"), 'malformed grpc-timeout: transport: timeout string is too short: "S"'),
        (("grpc-timeout", "123456789S"), 'malformed grpc-timeout: transport: timeout string is too long: "123456789S"'),
        (("grpc-timeout", "12x"), 'malformed grpc-timeout: transport: timeout unit is not recognized: "12x"'),
        (("grpc-timeout", "-1S"), 'malformed grpc-timeout: strconv.ParseUint: parsing "-1": invalid syntax'),
        (("key-bin", "!!"), 'malformed binary metadata "!!" in header "key-bin": illegal base64 data at input byte 0'),
        (
            ("key-bin", "abcde"),
            'malformed binary metadata "abcde" in header "key-bin": illegal base64 data at input byte 4',
        ),
        (
            ("key-bin", "YQ="),
            'malformed binary metadata "YQ=" in header "key-bin": illegal base64 data at input byte 2',
        ),
    ],
)
def test_headers_that_cannot_be_read_are_refused(rig: ServerRig, header: tuple[str, str], text: str) -> None:
    """HTTP 400 and INTERNAL, as grpc-go."""
    answer = rig.call(ECHO, b"x", header)
    assert answer.headers[":status"] == "400"
    assert answer.status == (StatusCode.INTERNAL, text)


def test_a_connection_header_is_a_protocol_error(rig: ServerRig) -> None:
    """gRFC A41."""
    answer = rig.call(ECHO, b"x", ("connection", "close"))
    assert answer.reset == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "header",
    [
        ("X-Upper", "a"), ("", "a"), ("with space", "a"), ("a:b", "a"), (":unknown", "a"), (":path", "/b/c"),
        (":status", "200"), ("x-a", "a\x01b"), ("x-a", "a\nb"),
    ],
)  # fmt: skip
def test_headers_no_http2_server_takes_reset_the_stream(rig: ServerRig, header: tuple[str, str]) -> None:
    """RFC 9113 section 8.2.1 and 8.3; the connection goes on."""
    assert rig.call(ECHO, b"x", header).reset == ErrorCode.PROTOCOL_ERROR
    assert rig.call(ECHO, b"x", ("x-a_~'|b", "a\tb \u00e9")).messages == [b"x"]


def test_a_pseudo_header_after_others_resets_the_stream(rig: ServerRig) -> None:
    """RFC 9113 section 8.3."""
    stream_id, sent = rig.client.headers([*call_headers(ECHO)[4:], *call_headers(ECHO)[:4]])
    rig.feed(sent)
    assert rig.client.answer(stream_id).reset == ErrorCode.PROTOCOL_ERROR


def test_two_hosts_are_refused(rig: ServerRig) -> None:
    """gRFC A41."""
    assert rig.call(ECHO, b"x", ("host", "a"), ("host", "b")).headers[":status"] == "400"


def test_metadata_reaches_the_handler(rig: ServerRig) -> None:
    """Lowercase names, last value wins, -bin decoded with or without padding, gRPC's own left out."""
    rig.call(
        ECHO,
        b"x",
        ("token", "first"),
        ("token", "second"),
        ("raw-bin", "AAH/"),
        ("short-bin", "AAE"),
        ("grpc-accept-encoding", "gzip"),
        ("grpc-timeout", "10S"),
        ("user-agent", "grpc-go/1.59"),
    )
    call = rig.handlers.requests[0][1]
    assert dict(call.metadata) == {
        "token": "second",
        "raw-bin": b"\x00\x01\xff",
        "short-bin": b"\x00\x01",
        "grpc-accept-encoding": "gzip",
        "user-agent": "grpc-go/1.59",
    }
    assert call.peer == "10.0.0.9:4711"
    assert call.deadline == 1_010.0


def test_text_that_is_no_utf8_is_kept_apart(rig: ServerRig) -> None:
    """X10: a handler can see that client-api-version is not UTF-8, nothing breaks before it."""
    stream_id, sent = rig.client.headers([*call_headers(ECHO)])
    block = sent[9:] + b"\x00\x07version\x02\xff\xfe"
    rig.feed(rig.client.raw_frame(1, 4, stream_id, block) + rig.client.data(stream_id, message(b"x"), end=True))
    value = rig.handlers.requests[0][1].metadata["version"]
    assert isinstance(value, str)
    assert value.encode("utf-8", "surrogateescape") == b"\xff\xfe"


# Messages


def test_a_message_in_single_bytes(rig: ServerRig) -> None:
    """Framing of gRPC and of HTTP/2 are independent."""
    stream_id = rig.open(ECHO)
    framed = message(b"slowly")
    for number, byte in enumerate(framed):
        rig.feed(rig.client.data(stream_id, bytes([byte]), end=number == len(framed) - 1))
    assert rig.client.answer(stream_id).messages == [b"slowly"]


def test_many_messages_in_one_frame(rig: ServerRig) -> None:
    """Each one is delivered, in order."""
    stream_id = rig.open()
    rig.say(stream_id, b"a", b"b", b"c", end=True)
    assert rig.handlers.events == ["0 message a", "0 message b", "0 message c", "0 half close"]


def test_a_message_of_exactly_the_limit_is_taken(build: Build) -> None:
    """The limit is inclusive."""
    rig = build(Limits(receive_bytes_max=1_000))
    assert rig.call(ECHO, b"x" * 1_000).messages == [b"x" * 1_000]


def test_a_message_above_the_limit_is_refused_by_its_prefix(build: Build) -> None:
    """Q05; the bytes need not even come."""
    rig = build(Limits(receive_bytes_max=1_000))
    stream_id = rig.open(ECHO)
    rig.feed(rig.client.data(stream_id, message(b"x" * 1_001)[:5]))
    answer = rig.client.answer(stream_id)
    assert answer.status == (StatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max (1001 vs. 1000)")
    assert answer.reset == ErrorCode.NO_ERROR
    assert rig.server.calls_open == 0


def test_gzip_messages_are_unpacked(rig: ServerRig) -> None:
    """grpc-encoding gzip, message flag 1; flag 0 stays allowed."""
    stream_id = rig.open(CHAT, ("grpc-encoding", "gzip"))
    rig.feed(rig.client.data(stream_id, message(gzip.compress(b"packed"), flag=1) + message(b"plain")))
    assert rig.handlers.events == ["0 message packed", "0 message plain"]


def test_an_unknown_encoding_is_unimplemented(rig: ServerRig) -> None:
    """grpc-go's words."""
    answer = rig.call(ECHO, b"x", ("grpc-encoding", "snappy"))
    assert answer.status == (
        StatusCode.UNIMPLEMENTED,
        'grpc: Decompressor is not installed for grpc-encoding "snappy"',
    )


@pytest.mark.parametrize(
    ("encoding", "sent", "code", "text"),
    [
        ((), message(b"x", flag=1), 13, "grpc: compressed flag set with identity or empty encoding"),
        (
            (("grpc-encoding", "identity"),),
            message(b"x", flag=1),
            13,
            "grpc: compressed flag set with identity or empty encoding",
        ),
        ((), message(b"x", flag=7), 13, "grpc: received unexpected payload format 7"),
        (
            (("grpc-encoding", "gzip"),),
            message(gzip.compress(b"\0" * 5_000, mtime=0), flag=1),
            8,
            "grpc: received message after decompression larger than max 1000",
        ),
    ],
)
def test_messages_that_cannot_be_unpacked(
    build: Build, encoding: tuple[tuple[str, str], ...], sent: bytes, code: int, text: str
) -> None:
    """grpc-go rpc_util.go; a small payload that unpacks to a big one is stopped on the way."""
    rig = build(Limits(receive_bytes_max=1_000))
    stream_id = rig.open(ECHO, *encoding)
    rig.feed(rig.client.data(stream_id, sent, end=True))
    assert rig.client.answer(stream_id).status == (code, text)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"no gzip at all"])
def test_damaged_gzip_is_internal(rig: ServerRig, damage: object) -> None:
    """Cut short, or never gzip."""
    assert callable(damage)
    stream_id = rig.open(ECHO, ("grpc-encoding", "gzip"))
    rig.feed(rig.client.data(stream_id, message(damage(gzip.compress(b"packed")), flag=1), end=True))
    assert rig.client.answer(stream_id).status[0] == StatusCode.INTERNAL


def test_a_unary_call_without_a_message(rig: ServerRig) -> None:
    """The client ends at once, or within a message."""
    stream_id, sent = rig.client.headers(call_headers(ECHO), end=True)
    rig.feed(sent)
    assert rig.client.answer(stream_id).status == (StatusCode.UNKNOWN, "EOF")
    stream_id = rig.open(ECHO)
    rig.feed(rig.client.data(stream_id, message(b"xyz")[:-1], end=True))
    assert rig.client.answer(stream_id).status == (StatusCode.UNKNOWN, "unexpected EOF")
    stream_id = rig.open(CHAT)
    rig.feed(rig.client.data(stream_id, message(b"xyz")[:-1], end=True))
    assert rig.client.answer(stream_id).status == (StatusCode.INTERNAL, "unexpected EOF")


def test_unfinished_requests_of_a_connection_have_a_bound(build: Build) -> None:
    """Limits.incomplete_bytes_max: one client cannot make the server hold any amount."""
    rig = build(Limits(incomplete_bytes_max=50_000))
    opened = [rig.open(ECHO) for _ in range(6)]
    for stream_id in opened:
        rig.feed(rig.client.data(stream_id, message(b"x" * 20_000)[:10_000]))
    answers = [rig.client.answers.get(stream_id) for stream_id in opened]
    refused = [answer for answer in answers if answer is not None and answer.ended]
    assert len(refused) == 1
    assert refused[0].status == (
        StatusCode.RESOURCE_EXHAUSTED,
        "grpc: more than 50000 bytes of unfinished requests on one connection",
    )
    rig.feed(rig.client.data(opened[0], message(b"x" * 20_000)[10_000:], end=True))
    assert rig.client.answer(opened[0]).messages == [b"x" * 20_000]


# Streams


def test_a_stream_talks_both_ways(rig: ServerRig) -> None:
    """Bidirectional, ended by the server with OK."""
    stream_id = rig.open()
    call = rig.handlers.streams[0]
    rig.say(stream_id, b"hi")
    assert call.send(b"one")
    assert call.send(b"two")
    rig.read()
    answer = rig.client.answer(stream_id)
    assert answer.messages == [b"one", b"two"]
    call.end()
    call.end(RpcError(StatusCode.INTERNAL, "too late"))
    assert not call.send(b"too late")
    rig.read()
    assert answer.status == (0, "")
    assert answer.reset == ErrorCode.NO_ERROR


def test_a_stream_may_end_with_an_error_before_and_after_messages(rig: ServerRig) -> None:
    """Trailers-only, or trailers after data."""
    first, second = rig.open(), rig.open()
    rig.handlers.streams[0].end(RpcError(StatusCode.UNAVAILABLE, "etcdserver: no leader"))
    rig.handlers.streams[1].send(b"x")
    rig.handlers.streams[1].end(RpcError(StatusCode.UNAVAILABLE, "etcdserver: no leader"))
    rig.read()
    assert rig.client.answer(first).status == (14, "etcdserver: no leader")
    assert rig.client.answer(first).trailers == {}
    assert rig.client.answer(second).messages == [b"x"]
    assert rig.client.answer(second).trailers["grpc-status"] == "14"


def test_headers_may_go_before_the_first_message(rig: ServerRig) -> None:
    """Clients of a watch wait for them."""
    stream_id = rig.open()
    rig.handlers.streams[0].send_headers()
    rig.handlers.streams[0].send_headers()
    rig.read()
    assert rig.client.answer(stream_id).headers[":status"] == "200"
    rig.handlers.streams[0].send(b"x")
    rig.read()
    assert rig.client.answer(stream_id).messages == [b"x"]


def test_a_paused_stream_takes_nothing_and_holds_up_nobody(rig: ServerRig) -> None:
    """pause stops messages and the window of this stream; resume delivers what waits."""
    stream_id = rig.open()
    call = rig.handlers.streams[0]
    call.pause()
    rig.say(stream_id, b"a", b"b")
    for _ in range(30):
        rig.say(stream_id, b"x" * 16_000)
    rig.feed(rig.client.data(stream_id, b"", end=True))
    assert rig.handlers.events == []
    assert stream_id not in rig.client.window_updates
    assert rig.call(ECHO, b"other").messages == [b"other"]
    call.resume()
    rig.read()
    assert rig.handlers.events[:2] == ["0 message a", "0 message b"]
    assert len(rig.handlers.events) == 33
    assert rig.handlers.events[-1] == "0 half close"


def test_a_paused_stream_unpacks_nothing(rig: ServerRig) -> None:
    """A megabyte of gzip may be a gigabyte: it is unpacked one by one when the handler is ready."""
    stream_id = rig.open(CHAT, ("grpc-encoding", "gzip"))
    call = rig.handlers.streams[0]
    call.pause()
    packed = message(gzip.compress(b"x" * 100, mtime=0), flag=1)
    rig.feed(rig.client.data(stream_id, packed * 3 + packed[:7]))
    rig.feed(rig.client.data(stream_id, packed[7:], end=True))
    call.resume()
    rig.read()
    assert rig.handlers.events == ["0 message " + "x" * 100] * 4 + ["0 half close"]


def test_a_paused_stream_cut_short_fails_when_resumed(rig: ServerRig) -> None:
    """What is wrong with held bytes shows when they are taken."""
    stream_id = rig.open()
    rig.handlers.streams[0].pause()
    rig.feed(rig.client.data(stream_id, message(b"abc") + message(b"def")[:-1], end=True))
    rig.handlers.streams[0].resume()
    rig.read()
    assert rig.handlers.events == ["0 message abc", "0 cancel"]
    assert rig.client.answer(stream_id).status == (StatusCode.INTERNAL, "unexpected EOF")


def test_a_resumed_stream_gets_its_window_back(rig: ServerRig) -> None:
    """The client may go on where it was stopped."""
    stream_id = rig.open()
    call = rig.handlers.streams[0]
    call.pause()
    for _ in range(64):
        rig.say(stream_id, b"x" * 16_000)
    call.resume()
    rig.read()
    for _ in range(64):
        rig.say(stream_id, b"x" * 16_000)
    assert len(rig.handlers.events) == 128
    assert not rig.client.goaways


def test_resume_may_pause_again(rig: ServerRig) -> None:
    """A handler that takes one message at a time."""
    stream_id = rig.open()
    call = rig.handlers.streams[0]
    taken: list[bytes] = []

    def take_one(received: bytes) -> None:
        taken.append(received)
        call.pause()

    call.on_message = take_one
    rig.say(stream_id, b"a", b"b", b"c", end=True)
    assert taken == [b"a"]
    call.resume()
    assert taken == [b"a", b"b"]
    call.resume()
    call.resume()
    assert taken == [b"a", b"b", b"c"]
    assert rig.handlers.events == ["0 half close"]


def test_send_says_stop_above_the_mark_and_go_on_below_half(build: Build) -> None:
    """StreamCall.send: bounded buffers for a client that reads slowly."""
    rig = build(Limits(stream_mark_bytes=100_000), settings={4: 20_000})
    stream_id = rig.open()
    call = rig.handlers.streams[0]
    sent = list(itertools.takewhile(lambda _: call.send(b"x" * 10_000), itertools.count()))
    assert len(sent) >= 9
    rig.read()
    assert rig.handlers.events == [], "the client's window is full"
    rig.feed(rig.client.window_update(0, 1_000_000) + rig.client.window_update(stream_id, 1_000_000))
    assert rig.handlers.events == ["0 writable"]
    assert len(rig.client.answer(stream_id).messages) == len(sent) + 1
    assert call.send(b"more")


def test_nothing_is_said_to_a_stream_that_ended(build: Build) -> None:
    """No on_writable after end()."""
    rig = build(Limits(stream_mark_bytes=1_000))
    stream_id = rig.open()
    call = rig.handlers.streams[0]
    while call.send(b"x" * 20_000):
        pass
    call.end()
    rig.feed(rig.client.window_update(0, 10_000_000) + rig.client.window_update(stream_id, 10_000_000))
    assert rig.handlers.events == []
    assert rig.client.answer(stream_id).status == (0, "")


def test_a_big_answer_leaves_room_for_others(build: Build) -> None:
    """100 MiB under flow control: frames take turns, the connection holds little more than one write."""
    rig = build(settings={4: 2**31 - 1})
    rig.feed(rig.client.window_update(0, 2**31 - 1 - 65_535))
    rig.server.receive(rig.client.call(KEEP, b"big")[1] + rig.client.call(KEEP, b"small")[1])
    big, small = (call for _, call in rig.handlers.requests)
    payload = b"x" * (100 * MIB)
    big.reply(payload)
    small.reply(b"y" * 20_000)
    pulls = []
    while data := rig.server.pull():
        pulls.append(len(data))
        if len(pulls) <= 2:
            rig.client.read(data)
    assert max(pulls) <= PULL_BYTES + 64 * 1024 + 4_096
    assert rig.client.answer(3).ended, "the small one did not wait for the big one"
    assert not rig.client.answer(1).ended
    assert sum(pulls) > 100 * MIB
    assert rig.server.calls_open == 0


def test_answers_wait_while_the_socket_is_full(rig: ServerRig) -> None:
    """set_writable(False): nothing more is produced, set_writable(True): all of it is."""
    rig.server.set_writable(False)
    answers = [rig.call(ECHO, b"%d" % number) for number in range(10)]
    assert not any(answer.ended for answer in answers)
    rig.server.set_writable(True)
    rig.read()
    assert [answer.messages for answer in answers] == [[b"%d" % number] for number in range(10)]


def test_a_blocked_stream_blocks_only_itself(build: Build) -> None:
    """A stream whose own window is full lets the others pass."""
    rig = build(settings={4: 1_000})
    rig.feed(rig.client.window_update(0, 10_000_000))
    slow = rig.call(ECHO, b"x" * 5_000)
    assert len(slow.data) == 1_000
    quick = rig.call(ECHO, b"y" * 900)
    assert quick.messages == [b"y" * 900]
    rig.feed(rig.client.window_update(1, 10_000))
    assert slow.messages == [b"x" * 5_000]
    assert slow.status == (0, "")


# Ends


def test_a_deadline_ends_the_call(rig: ServerRig) -> None:
    """grpc-timeout: the handler hears of it, the client gets DEADLINE_EXCEEDED (Q03)."""
    answer = rig.call(KEEP, b"x", ("grpc-timeout", "100m"))
    call = rig.handlers.requests[0][1]
    rig.pass_time(0.09)
    assert not call.cancelled
    rig.pass_time(0.02)
    assert call.cancelled
    assert rig.handlers.events == ["cancel x"]
    assert answer.status == (StatusCode.DEADLINE_EXCEEDED, "context deadline exceeded")
    call.reply(b"late")
    rig.read()
    assert answer.data == b""


def test_a_deadline_ends_a_stream(rig: ServerRig) -> None:
    """Also one that is in the middle of its answer."""
    stream_id = rig.open(CHAT, ("grpc-timeout", "1S"))
    rig.handlers.streams[0].send(b"x")
    rig.pass_time(1.01)
    assert rig.handlers.events == ["0 cancel"]
    assert rig.client.answer(stream_id).status == (4, "context deadline exceeded")


def test_a_deadline_frees_what_a_client_does_not_read(build: Build) -> None:
    """Queued answers are dropped, the stream is reset."""
    rig = build(settings={4: 0})
    stream_id = rig.open(CHAT, ("grpc-timeout", "1S"))
    rig.handlers.streams[0].send(b"x" * 50_000)
    rig.pass_time(1.01)
    assert rig.client.answer(stream_id).reset == ErrorCode.CANCEL
    assert rig.server.calls_open == 0


def test_an_answered_call_has_no_deadline(rig: ServerRig) -> None:
    """And its wheel entry is gone."""
    rig.call(ECHO, b"x", ("grpc-timeout", "1S"))
    assert len(rig.deadlines) == 0
    rig.pass_time(2)
    assert rig.handlers.events == []


def test_a_deadline_of_nothing_is_over_before_it_begins(rig: ServerRig) -> None:
    """grpc-go: early abort."""
    assert rig.call(ECHO, b"x", ("grpc-timeout", "0n")).status == (4, "context deadline exceeded")
    assert rig.handlers.requests == []


def test_a_reset_cancels_the_call(rig: ServerRig) -> None:
    """RST_STREAM: on_cancel once, answers vanish."""
    rig.call(KEEP, b"x")
    rig.feed(rig.client.reset(1))
    call = rig.handlers.requests[0][1]
    assert call.cancelled
    assert rig.handlers.events == ["cancel x"]
    call.reply(b"late")
    rig.read()
    assert not rig.client.answer(1).ended
    assert rig.server.calls_open == 0


def test_a_lost_connection_cancels_everything(rig: ServerRig) -> None:
    """The socket is gone."""
    rig.call(KEEP, b"x")
    rig.open()
    rig.server.lost()
    assert sorted(rig.handlers.events) == ["0 cancel", "cancel x"]
    assert not rig.handlers.streams[0].send(b"x")


def test_a_cancel_callback_may_fail(rig: ServerRig, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the others are still cancelled."""
    rig.open()
    rig.open()

    def fail() -> None:
        raise ZeroDivisionError

    rig.handlers.streams[0].on_cancel = fail
    rig.server.lost()
    assert rig.handlers.events == ["1 cancel"]


def test_more_streams_than_allowed_are_refused(build: Build) -> None:
    """REFUSED_STREAM, which clients retry; room again once a call ends."""
    rig = build(Limits(streams_max=2))
    assert rig.client.settings[3] == 2
    rig.call(KEEP, b"1")
    rig.call(KEEP, b"2")
    assert rig.call(ECHO, b"3").reset == ErrorCode.REFUSED_STREAM
    rig.handlers.requests[0][1].reply(b"")
    rig.read()
    assert rig.call(ECHO, b"4").messages == [b"4"]


def test_a_client_that_reads_no_answers_gets_no_new_calls(build: Build) -> None:
    """Limits.backlog_bytes_max."""
    rig = build(Limits(backlog_bytes_max=100_000), settings={4: 0})
    for _ in range(6):
        rig.call(ECHO, b"x" * 20_000)
    assert rig.call(ECHO, b"y").reset == ErrorCode.REFUSED_STREAM


def test_pings_that_come_too_often_end_the_connection(rig: ServerRig) -> None:
    """X06: the third ping within 5 s while a call is open; GOAWAY as grpc-go's."""
    rig.open()
    for _ in range(4):
        assert not rig.client.goaways
        rig.clock.advance(1)
        rig.feed(rig.client.ping())
    assert [(frame.error_code, frame.additional_data) for frame in rig.client.goaways] == [
        (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")
    ]
    assert rig.server.closed


def test_pings_at_the_allowed_pace_are_welcome(rig: ServerRig) -> None:
    """Every 5 s while a call is open."""
    rig.open()
    for _ in range(20):
        rig.clock.advance(5)
        rig.feed(rig.client.ping())
    assert not rig.client.goaways
    assert len(rig.client.ping_acks) == 20


def test_pings_without_a_call_must_be_rarer(rig: ServerRig) -> None:
    """PermitWithoutStream is off in etcd."""
    for _ in range(4):
        rig.clock.advance(10)
        rig.feed(rig.client.ping())
    assert rig.client.goaways


def test_sending_data_forgives_pings(rig: ServerRig) -> None:
    """Bandwidth probes come with data and are no keepalive."""
    rig.open()
    for _ in range(20):
        rig.feed(rig.client.ping())
        rig.handlers.streams[0].send(b"x")
        rig.read()
    assert not rig.client.goaways


def test_a_silent_client_is_pinged_and_given_up(build: Build) -> None:
    """X06: 2 h of silence, 20 s to answer."""
    rig = build(Limits(keepalive_interval_s=7200, keepalive_timeout_s=20))

    def tick() -> bool:
        alive = rig.server.tick(rig.clock.monotonic())
        rig.read()
        return alive

    assert tick()
    rig.clock.advance(7199)
    assert tick()
    assert rig.client.pings == []
    rig.clock.advance(1)
    assert tick()
    assert len(rig.client.pings) == 1
    rig.feed(rig.client.ping(rig.client.pings[0], ack=True))
    rig.clock.advance(30)
    assert tick()
    rig.clock.advance(7200)
    assert tick()
    assert len(rig.client.pings) == 2
    rig.clock.advance(19)
    assert tick()
    rig.clock.advance(1)
    assert not tick()


def test_rapid_resets_end_the_connection(build: Build) -> None:
    """CVE-2023-44487: opening and dropping calls for ever."""
    rig = build(Limits(resets_burst=50, resets_per_s=10))
    count = 0
    while not rig.server.closed:
        stream_id, sent = rig.client.call(KEEP, b"x")
        rig.feed(sent + rig.client.reset(stream_id))
        count += 1
        assert count < 100
    assert count == 51
    assert rig.client.goaways[0].additional_data == b"too_many_resets"


def test_resets_at_a_human_pace_are_fine(build: Build) -> None:
    """The allowance grows back."""
    rig = build(Limits(resets_burst=5, resets_per_s=10))
    for _ in range(100):
        stream_id, sent = rig.client.call(KEEP, b"x")
        rig.feed(sent + rig.client.reset(stream_id))
        rig.clock.advance(0.2)
    assert not rig.client.goaways


def test_resets_after_the_answer_are_fine(build: Build) -> None:
    """Clients hang up like that."""
    rig = build(Limits(resets_burst=5, resets_per_s=1))
    for _ in range(50):
        stream_id, sent = rig.client.call(ECHO, b"x")
        rig.feed(sent)
        rig.feed(rig.client.reset(stream_id))
    assert not rig.client.goaways


def test_a_flood_of_empty_frames_ends_the_connection(build: Build) -> None:
    """CVE-2019-9515 and its kin."""
    rig = build(Limits(controls_burst=50, controls_per_s=1))
    for _ in range(60):
        rig.feed(rig.client.settings_frame({4: 70_000}))
    assert rig.server.closed
    assert rig.client.goaways[0].additional_data == b"too_many_control_frames"


def test_draining_lets_open_calls_finish(rig: ServerRig) -> None:
    """Two GOAWAYs with a ping between them, as grpc-go: no call under way is lost, none begins after."""
    answer = rig.call(KEEP, b"old")
    rig.server.drain()
    rig.read()
    assert rig.client.goaways[0].last_stream_id == 2**31 - 1
    under_way = rig.call(KEEP, b"under way")
    rig.feed(rig.client.ping(rig.client.pings[0], ack=True))
    assert rig.client.goaways[1].last_stream_id == 3
    assert not rig.server.closed
    too_late = rig.call(ECHO, b"too late")
    for _, call in rig.handlers.requests:
        call.reply(b"done")
    rig.read()
    assert answer.messages == under_way.messages == [b"done"]
    assert too_late.data == b""
    assert rig.server.closed


def test_draining_an_idle_connection_closes_it(rig: ServerRig) -> None:
    """As soon as the client has read the first GOAWAY."""
    rig.server.drain()
    rig.read()
    assert not rig.server.closed
    rig.feed(rig.client.ping(rig.client.pings[0], ack=True))
    assert rig.server.closed


def test_calls_that_outlive_the_grace_are_ended(rig: ServerRig) -> None:
    """Every client hears why."""
    answer = rig.call(KEEP, b"x")
    stream_id = rig.open()
    rig.server.end_calls(RpcError(StatusCode.UNAVAILABLE, "etcdserver: server stopped"))
    rig.read()
    assert answer.status == (14, "etcdserver: server stopped")
    assert rig.client.answer(stream_id).status == (14, "etcdserver: server stopped")
    assert sorted(rig.handlers.events) == ["0 cancel", "cancel x"]


def test_answering_before_the_client_has_ended_frees_the_stream(rig: ServerRig) -> None:
    """RST_STREAM(NO_ERROR) after the trailers, as RFC 9113 section 8.1 wants."""
    answer = rig.call(ECHO, b"x", end=False)
    assert answer.messages == [b"x"]
    assert answer.reset == ErrorCode.NO_ERROR


def test_methods_refuse_paths_no_client_can_send() -> None:
    """A typo in the table is found at start."""
    for path in ("a.B/C", "/a.B/", "/a.B", "/a/b/c", "//x"):
        with pytest.raises(ValueError, match="not a gRPC method path"):
            Methods({path: Unary(lambda request, call: None)})


@st.composite
def dialogues(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Calls of a client and what handlers must see of them."""
    client = FakeClient()
    sent = b""  # the rig has greeted already
    expected = []
    for _ in range(draw(st.integers(1, 12))):
        payload = draw(st.binary(max_size=draw(st.sampled_from([3, 300, 40_000]))))
        packed = draw(st.booleans())
        more = (("grpc-encoding", "gzip"),) if packed else ()
        stream_id, headers = client.headers(call_headers(ECHO, *more))
        framed = message(gzip.compress(payload, mtime=0), flag=1) if packed else message(payload)
        sent += headers
        size = draw(st.integers(1, 16_384)) if len(framed) < 1_000 else 16_384
        for cut in range(0, len(framed), size):
            sent += client.data(stream_id, framed[cut : cut + size], end=cut + size >= len(framed))
        expected.append((ECHO, payload))
    return sent, expected


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(dialogues(), st.lists(st.integers(0, 10_000_000), max_size=40), st.sampled_from([FramePort, H2Port]))
def test_any_split_of_the_bytes_gives_the_same_calls(
    dialogue: tuple[bytes, list[tuple[str, bytes]]], cuts: list[int], port: PortFactory
) -> None:
    """What handlers see does not depend on how TCP cuts the stream."""
    sent, expected = dialogue
    rig = ServerRig(port)
    edges = [0, *sorted(cut % (len(sent) + 1) for cut in cuts), len(sent)]
    for start, end in itertools.pairwise(edges):
        rig.feed(sent[start:end])
    assert [(ECHO, request) for request, _ in rig.handlers.requests] == expected
    assert all(answer.ended for answer in rig.client.answers.values())
