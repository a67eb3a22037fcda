"""What every HTTP/2 port must do: subclass `Http2PortContract` with a `port_factory` fixture.

Source: RFC 9113, as far as a gRPC server needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from etcdops.node.rpc.http2 import (
    CONNECTION_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
    ErrorCode,
    Headers,
    Http2Port,
    PortFactory,
)
from tests.fakes.http2_client import FakeClient, call_headers

Event = tuple[object, ...]

HEAD: Headers = ((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS: Headers = ((b"grpc-status", b"0"),)


@dataclass
class Recorder:
    """Notes the events of a port, and gives received bytes back at once."""

    port: Http2Port | None = None
    releases: bool = True
    events: list[Event] = field(default_factory=list)
    controls: int = 0

    def on_request(self, stream_id: int, headers: Headers, ended: bool) -> None:
        self.events.append(("request", stream_id, headers, ended))

    def on_data(self, stream_id: int, data: bytes, flow_bytes: int, ended: bool) -> None:
        self.events.append(("data", stream_id, data, ended))
        if self.releases and self.port is not None:
            self.port.release(stream_id, flow_bytes)

    def on_end(self, stream_id: int) -> None:
        self.events.append(("end", stream_id))

    def on_reset(self, stream_id: int, code: int) -> None:
        self.events.append(("reset", stream_id, code))

    def on_window(self, stream_id: int) -> None:
        self.events.append(("window", stream_id))

    def on_ping(self) -> None:
        self.events.append(("ping",))

    def on_ping_ack(self, data: bytes) -> None:
        self.events.append(("ping ack", data))

    def on_control(self) -> None:
        self.controls += 1

    def of(self, *kinds: str) -> list[Event]:
        """Only events of these kinds."""
        return [event for event in self.events if event[0] in kinds]


class Rig:
    """A port, its events and a client."""

    def __init__(self, factory: PortFactory, *, streams_max: int = 100, settings: dict[int, int] | None = None) -> None:
        self.recorder = Recorder()
        self.port = self.recorder.port = factory(self.recorder, streams_max)
        self.client = FakeClient()
        self.feed(self.client.hello(settings))

    def feed(self, data: bytes) -> None:
        self.port.receive(data)
        self.read()

    def read(self) -> None:
        self.client.read(self.port.take())

    def open(self, path: str = "/a.B/C", *, end: bool = False) -> int:
        """A request the port has seen."""
        stream_id, sent = self.client.headers(call_headers(path), end=end)
        self.feed(sent)
        return stream_id


class Http2PortContract:
    """The tests."""

    @pytest.fixture
    def rig(self, port_factory: PortFactory) -> Rig:
        return Rig(port_factory)

    def test_greets_with_settings_and_acknowledges_the_clients(self, rig: Rig) -> None:
        """RFC 9113 section 3.4: both sides begin with SETTINGS; the stream limit is announced."""
        assert rig.client.settings[3] == 100
        assert rig.client.settings[4] == STREAM_WINDOW_BYTES
        assert rig.client.settings_acks == 1
        assert rig.client.window_updates[0] == CONNECTION_WINDOW_BYTES - 65_535

    def test_delivers_a_request_with_its_headers_in_order(self, rig: Rig) -> None:
        """Headers arrive as bytes, pseudo headers first, repeated ones kept."""
        pairs = call_headers("/a.B/C", ("x", "1"), ("x", "2"))
        stream_id, sent = rig.client.headers(pairs)
        rig.feed(sent)
        expected = tuple((name.encode(), value.encode()) for name, value in pairs)
        assert rig.recorder.of("request") == [("request", stream_id, expected, False)]

    def test_delivers_the_same_request_again_and_again(self, rig: Rig) -> None:
        """Repeated header blocks (all indexed) and changed ones in between decode alike."""
        for round_number in range(20):
            value = "same" if round_number % 3 else f"value {round_number}"
            _, sent = rig.client.headers(call_headers("/a.B/C", ("x-token", value)), end=True)
            rig.feed(sent)
            request = rig.recorder.of("request")[-1]
            assert isinstance(request[2], tuple)
            assert dict(request[2])[b"x-token"] == value.encode()

    @pytest.mark.parametrize("huffman", [True, False])
    def test_understands_both_ways_to_write_texts(self, rig: Rig, huffman: bool) -> None:
        """RFC 7541 section 5.2."""
        _, sent = rig.client.headers(call_headers("/a.B/C", ("x", "~!@# text")), huffman=huffman)
        rig.feed(sent)
        request = rig.recorder.of("request")[0]
        assert isinstance(request[2], tuple)
        assert (b"x", b"~!@# text") in request[2]

    def test_delivers_data_and_the_end_of_a_stream(self, rig: Rig) -> None:
        """END_STREAM on DATA, on HEADERS, and by trailers."""
        first = rig.open()
        rig.feed(rig.client.data(first, b"abc") + rig.client.data(first, b"", end=True))
        second = rig.open(end=True)
        third = rig.open()
        _, trailers = rig.client.headers([("x", "y")], end=True, stream_id=third)
        rig.feed(trailers)
        assert rig.recorder.of("data", "end") == [
            ("data", first, b"abc", False),
            ("data", first, b"", True),
            ("end", third),
        ]
        assert [event[3] for event in rig.recorder.of("request")] == [False, True, False]
        assert second in [event[1] for event in rig.recorder.of("request")]

    def test_padding_is_removed_and_counted(self, rig: Rig) -> None:
        """RFC 9113 section 6.1: padding counts against the window."""
        stream_id = rig.open()
        for _ in range(5 * STREAM_WINDOW_BYTES // 512):
            rig.feed(rig.client.data(stream_id, b"x", padding=255))
        assert not rig.client.goaways
        assert rig.client.window_updates[stream_id] >= STREAM_WINDOW_BYTES

    def test_header_blocks_in_several_frames(self, rig: Rig) -> None:
        """RFC 9113 section 6.10: HEADERS and CONTINUATION are one block."""
        stream_id, sent = rig.client.headers(call_headers("/a.B/C"))
        block = sent[9:]
        parts = [block[:7], block[7:20], block[20:]]
        rig.feed(
            rig.client.raw_frame(1, 0, stream_id, parts[0])
            + rig.client.raw_frame(9, 0, stream_id, parts[1])
            + rig.client.raw_frame(9, 4, stream_id, parts[2])
        )
        assert len(rig.recorder.of("request")) == 1

    def test_responds_with_head_data_and_trailers(self, rig: Rig) -> None:
        """The whole of a small answer."""
        stream_id = rig.open(end=True)
        rig.port.respond(stream_id, HEAD, b"hello", TRAILERS)
        rig.read()
        answer = rig.client.answer(stream_id)
        assert answer.headers == {":status": "200", "content-type": "application/grpc"}
        assert (answer.data, answer.trailers, answer.ended) == (b"hello", {"grpc-status": "0"}, True)

    def test_the_same_answer_in_pieces(self, rig: Rig) -> None:
        """send_headers, send_data and trailers by themselves."""
        stream_id = rig.open()
        rig.port.send_headers(stream_id, HEAD, end=False)
        rig.port.send_data(stream_id, b"one")
        rig.port.send_data(stream_id, memoryview(b"two"))
        rig.port.send_headers(stream_id, TRAILERS, end=True)
        rig.read()
        answer = rig.client.answer(stream_id)
        assert (answer.data, answer.trailers, answer.ended) == (b"onetwo", {"grpc-status": "0"}, True)

    def test_long_trailers_fit_by_continuation(self, rig: Rig) -> None:
        """A status message above one frame."""
        stream_id = rig.open(end=True)
        rig.port.send_headers(stream_id, (*HEAD, (b"grpc-message", b"x" * 40_000)), end=True)
        rig.read()
        assert rig.client.answer(stream_id).headers["grpc-message"] == "x" * 40_000
        assert rig.client.answer(stream_id).ended

    def test_sendable_is_the_smaller_of_both_windows(self, rig: Rig) -> None:
        """RFC 9113 section 5.2: stream and connection windows, from SETTINGS and WINDOW_UPDATE."""
        first, second = rig.open(), rig.open()
        assert rig.port.sendable(first) == 65_535
        rig.port.send_data(first, b"x" * 16_000)
        assert rig.port.sendable(first) == 65_535 - 16_000
        assert rig.port.sendable(second) == 65_535 - 16_000, "the connection's window is used up too"
        rig.feed(rig.client.window_update(0, 16_000))
        assert rig.port.sendable(second) == 65_535
        rig.feed(rig.client.window_update(first, 1_000))
        assert rig.port.sendable(first) == 65_535 - 15_000
        assert rig.recorder.of("window")[-2:] == [("window", 0), ("window", first)]

    def test_a_changed_initial_window_moves_open_streams(self, rig: Rig) -> None:
        """RFC 9113 section 6.9.2: the window may even become negative."""
        stream_id = rig.open()
        rig.port.send_data(stream_id, b"x" * 10_000)
        rig.feed(rig.client.settings_frame({4: 5_000}))
        assert rig.port.sendable(stream_id) == -5_000
        rig.feed(rig.client.settings_frame({4: 30_000}))
        assert rig.port.sendable(stream_id) == 20_000

    def test_the_clients_frame_size_is_respected(self, port_factory: PortFactory) -> None:
        """RFC 9113 section 6.5.2, SETTINGS_MAX_FRAME_SIZE."""
        assert Rig(port_factory).port.frame_bytes_max == 16_384
        assert Rig(port_factory, settings={5: 32_768}).port.frame_bytes_max == 32_768

    def test_released_bytes_open_the_windows_again(self, rig: Rig) -> None:
        """A client may send for ever as long as the server takes it."""
        stream_id = rig.open()
        for _ in range(3 * CONNECTION_WINDOW_BYTES // 16_384):
            rig.feed(rig.client.data(stream_id, b"x" * 16_384))
        assert not rig.client.goaways
        assert len(rig.recorder.of("data")) == 3 * CONNECTION_WINDOW_BYTES // 16_384

    def test_a_stream_that_is_not_released_stops_only_itself(self, rig: Rig) -> None:
        """release_connection lets the others go on; release_stream lets it go on too."""
        rig.recorder.releases = False
        slow, fast = rig.open(), rig.open()
        held = STREAM_WINDOW_BYTES
        for _ in range(held // 16_384):
            rig.feed(rig.client.data(slow, b"x" * 16_384))
        rig.port.release_connection(held)
        rig.read()
        assert slow not in rig.client.window_updates
        assert rig.client.window_updates[0] >= CONNECTION_WINDOW_BYTES - 65_535
        rig.recorder.releases = True
        for _ in range(CONNECTION_WINDOW_BYTES // 16_384):
            rig.feed(rig.client.data(fast, b"x" * 16_384))
        assert not rig.client.goaways
        rig.port.release_stream(slow, held)
        rig.read()
        assert rig.client.window_updates[slow] == held

    def test_data_beyond_the_window_is_an_error(self, rig: Rig) -> None:
        """RFC 9113 section 6.9.1: the stream or the connection ends."""
        rig.recorder.releases = False
        stream_id = rig.open()
        for _ in range(STREAM_WINDOW_BYTES // 16_384 + 1):
            rig.feed(rig.client.data(stream_id, b"x" * 16_384))
        assert rig.port.closed or rig.client.answer(stream_id).reset == ErrorCode.FLOW_CONTROL_ERROR

    def test_a_client_reset_is_told_once(self, rig: Rig) -> None:
        """RST_STREAM ends a stream; answers to it vanish."""
        stream_id = rig.open()
        rig.feed(rig.client.reset(stream_id, 8))
        rig.port.respond(stream_id, HEAD, b"late", TRAILERS)
        rig.port.send_headers(stream_id, TRAILERS, end=True)
        rig.read()
        assert rig.recorder.of("reset") == [("reset", stream_id, 8)]
        assert stream_id not in rig.client.answers
        assert rig.port.sendable(stream_id) == 0

    def test_a_server_reset_reaches_the_client_and_swallows_the_rest(self, rig: Rig) -> None:
        """Data and trailers that were under way neither hurt nor leak the connection's window."""
        stream_id = rig.open()
        rig.port.reset(stream_id, ErrorCode.CANCEL)
        rig.read()
        assert rig.client.answer(stream_id).reset == ErrorCode.CANCEL
        for _ in range(CONNECTION_WINDOW_BYTES // 16_384 + 10):
            rig.feed(rig.client.data(stream_id, b"x" * 16_384))
        _, trailers = rig.client.headers([("x", "y")], end=True, stream_id=stream_id)
        rig.feed(trailers)
        assert not rig.port.closed
        other = rig.open(end=True)
        assert rig.recorder.of("request")[-1][1] == other, "header compression is still in step"

    def test_frames_for_a_finished_stream_do_no_harm(self, rig: Rig) -> None:
        """A WINDOW_UPDATE or RST_STREAM may be under way when the answer ends."""
        stream_id = rig.open(end=True)
        rig.port.respond(stream_id, HEAD, b"x", TRAILERS)
        rig.read()
        rig.feed(rig.client.window_update(stream_id, 10) + rig.client.reset(stream_id))
        assert not rig.port.closed
        rig.open()
        assert len(rig.recorder.of("request")) == 2

    def test_pings_are_answered_and_sent(self, rig: Rig) -> None:
        """RFC 9113 section 6.7."""
        rig.feed(rig.client.ping(b"abcdefgh"))
        assert rig.client.ping_acks == [b"abcdefgh"]
        rig.port.ping(b"12345678")
        rig.read()
        assert rig.client.pings == [b"12345678"]
        rig.feed(rig.client.ping(b"12345678", ack=True))
        assert rig.recorder.of("ping", "ping ack") == [("ping",), ("ping ack", b"12345678")]

    def test_goaway_leaves_open_streams_alone(self, rig: Rig) -> None:
        """RFC 9113 section 6.8: a graceful end."""
        stream_id = rig.open(end=True)
        rig.port.goaway(ErrorCode.NO_ERROR, last_stream_id=stream_id, debug=b"bye")
        rig.port.respond(stream_id, HEAD, b"x", TRAILERS)
        rig.read()
        assert [(frame.last_stream_id, frame.additional_data) for frame in rig.client.goaways] == [(stream_id, b"bye")]
        assert rig.client.answer(stream_id).ended

    def test_empty_frames_and_settings_are_counted(self, rig: Rig) -> None:
        """What carries nothing is reported, so that a flood of it can be stopped."""
        before = rig.recorder.controls
        stream_id = rig.open()
        rig.feed(rig.client.data(stream_id, b"") + rig.client.settings_frame({4: 70_000}))
        rig.feed(rig.client.raw_frame(2, 0, stream_id, b"\0\0\0\0\1"))
        assert rig.recorder.controls == before + 3

    def test_unknown_frames_are_read_over(self, rig: Rig) -> None:
        """RFC 9113 section 4.1."""
        rig.feed(rig.client.raw_frame(0xF3, 0xFF, 0, b"anything"))
        rig.open()
        assert len(rig.recorder.of("request")) == 1

    BROKEN = {  # noqa: RUF012  # a table, never changed
        "data on stream 0": FakeClient.raw_frame(0, 0, 0, b"x"),
        "data on a stream never opened": FakeClient.raw_frame(0, 0, 7, b"x"),
        "reset of a stream never opened": FakeClient.raw_frame(3, 0, 7, b"\0\0\0\x08"),
        "reset of another size": FakeClient.raw_frame(3, 0, 1, b"\0\0\x08"),
        "a frame too long": FakeClient.raw_frame(0, 0, 1, b"x" * 16_385),
        "a ping of another size": FakeClient.raw_frame(6, 0, 0, b"1234567"),
        "a ping on a stream": FakeClient.raw_frame(6, 0, 1, b"12345678"),
        "settings of another size": FakeClient.raw_frame(4, 0, 0, b"12345"),
        "settings on a stream": FakeClient.raw_frame(4, 0, 1, b"\0\1\0\0\0\0"),
        "a settings ack with content": FakeClient.raw_frame(4, 1, 0, b"\0\1\0\0\0\0"),
        "a frame size setting too small": FakeClient.raw_frame(4, 0, 0, b"\0\5\0\0\0\x10"),
        "a window setting too big": FakeClient.raw_frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"),
        "an empty window update": FakeClient.raw_frame(8, 0, 0, b"\0\0\0\0"),
        "a window update too big": FakeClient.raw_frame(8, 0, 0, b"\x7f\xff\xff\xff"),
        "a push": FakeClient.raw_frame(5, 4, 1, b"\0\0\0\2"),
        "a continuation of nothing": FakeClient.raw_frame(9, 4, 1, b""),
        "headers on an even stream": FakeClient.raw_frame(1, 4, 2, b"\x82"),
        "headers on stream 0": FakeClient.raw_frame(1, 4, 0, b"\x82"),
        "a damaged header block": FakeClient.raw_frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff"),
        "a header index out of the table": FakeClient.raw_frame(1, 4, 1, b"\xfe"),
        "a header text cut short": FakeClient.raw_frame(1, 4, 1, b"\x00\x7f"),
        "a header block interrupted": FakeClient.raw_frame(1, 0, 1, b"\x82") + FakeClient.raw_frame(6, 0, 0, b"8" * 8),
        "padding beyond its frame": FakeClient.raw_frame(1, 4 | 8, 1, b"\x09\x82"),
    }

    @pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
    def test_a_broken_connection_is_ended_with_a_reason(self, rig: Rig, broken: bytes) -> None:
        """RFC 9113 section 5.4.1: GOAWAY with an error code, and nothing is believed after it."""
        rig.feed(broken)
        assert rig.port.closed
        assert len(rig.client.goaways) == 1
        assert rig.client.goaways[0].error_code != 0
        rig.open()
        assert rig.recorder.of("request") == []

    def test_a_client_without_preface_is_sent_away(self, port_factory: PortFactory) -> None:
        """RFC 9113 section 3.4."""
        recorder = Recorder()
        port = port_factory(recorder, 100)
        port.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b" " * 20)
        assert port.closed
        assert recorder.events == []

    def test_a_header_block_without_end_is_cut_off(self, rig: Rig) -> None:
        """CVE-2024-27316: CONTINUATION flood."""
        rig.feed(rig.client.raw_frame(1, 0, 1, b"\x82"))
        for _ in range(2_000):
            if rig.port.closed:
                break
            rig.feed(rig.client.raw_frame(9, 0, 1, b"\x82" * 1_000))
        assert rig.port.closed

    def test_a_header_list_too_long_is_no_request(self, rig: Rig) -> None:
        """SETTINGS_MAX_HEADER_LIST_SIZE, and what small blocks can expand to."""
        pairs = [*call_headers("/a.B/C"), *((f"x-{number}", "v" * 1_000) for number in range(70))]
        stream_id, sent = rig.client.headers(pairs)
        frame_bytes = 16_000
        block = sent[9:]
        pieces = [block[cut : cut + frame_bytes] for cut in range(0, len(block), frame_bytes)]
        rig.feed(rig.client.raw_frame(1, 4 if len(pieces) == 1 else 0, stream_id, pieces[0]))
        for number, piece in enumerate(pieces[1:], 2):
            rig.feed(rig.client.raw_frame(9, 4 if number == len(pieces) else 0, stream_id, piece))
        assert rig.recorder.of("request") == []
        assert rig.port.closed or rig.client.answer(stream_id).reset is not None

    def test_a_closed_port_takes_everything_and_says_nothing(self, rig: Rig) -> None:
        """No call on a port that has failed may raise."""
        stream_id = rig.open()
        rig.feed(rig.client.raw_frame(5, 4, 1, b"\0\0\0\2"))
        rig.port.respond(stream_id, HEAD, b"x", TRAILERS)
        rig.port.send_headers(stream_id, HEAD, end=True)
        rig.port.reset(stream_id, ErrorCode.CANCEL)
        rig.port.release(stream_id, 10)
        rig.port.release_connection(10)
        rig.port.release_stream(stream_id, 10)
        rig.port.ping(b"12345678")
        assert rig.port.sendable(stream_id) >= 0
        rig.port.receive(b"more")
