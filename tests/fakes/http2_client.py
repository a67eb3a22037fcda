"""An HTTP/2 and gRPC client made of bytes: it builds any frame, also wrong ones, and reads what a server answers."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from etcdops.node.rpc.http2 import PREFACE

Pairs = Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]


def call_headers(path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The headers every gRPC client sends, then `more`."""
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *more,
    ]


def message(payload: bytes, *, flag: int = 0) -> bytes:
    """A gRPC message with its prefix."""
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


def messages(data: bytes) -> list[bytes]:
    """The payloads of a run of gRPC messages."""
    found = []
    while data:
        size = int.from_bytes(data[1:5], "big")
        assert len(data) >= size + 5, "a message cut short"
        found.append(data[5 : 5 + size])
        data = data[5 + size :]
    return found


@dataclass
class Answer:
    """What a server sent on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    ended: bool = False
    reset: int | None = None
    frames: list[int] = field(default_factory=list)  # sizes of its DATA frames

    @property
    def messages(self) -> list[bytes]:
        return messages(self.data)

    @property
    def status(self) -> tuple[int, str]:
        """grpc-status and grpc-message (still percent-encoded)."""
        last = self.trailers or self.headers
        return int(last["grpc-status"]), last.get("grpc-message", "")


class FakeClient:
    """Builds a client's bytes, and reads a server's into `answers` by stream."""

    def __init__(self) -> None:
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self._unread = b""
        self._block = b""
        self.next_stream_id = 1
        self.answers: dict[int, Answer] = {}
        self.frames: list[Frame] = []
        self.goaways: list[GoAwayFrame] = []
        self.settings: dict[int, int] = {}
        self.settings_acks = 0
        self.pings: list[bytes] = []
        self.ping_acks: list[bytes] = []
        self.window_updates: dict[int, int] = {}

    # Building

    def hello(self, settings: dict[int, int] | None = None) -> bytes:
        """Preface and SETTINGS."""
        return PREFACE + SettingsFrame(0, settings=settings or {}).serialize()

    def headers(
        self, pairs: Pairs, *, end: bool = False, stream_id: int | None = None, huffman: bool = True
    ) -> tuple[int, bytes]:
        """A request's HEADERS frame on a new stream."""
        if stream_id is None:
            stream_id = self.next_stream_id
            self.next_stream_id += 2
        frame = HeadersFrame(stream_id, data=self._encoder.encode(list(pairs), huffman=huffman))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        return stream_id, frame.serialize()

    def data(self, stream_id: int, data: bytes, *, end: bool = False, padding: int | None = None) -> bytes:
        """One DATA frame."""
        frame = DataFrame(stream_id, data)
        if padding is not None:
            frame.flags.add("PADDED")
            frame.pad_length = padding
        if end:
            frame.flags.add("END_STREAM")
        return frame.serialize()

    def call(self, path: str, payload: bytes = b"", *more: tuple[str, str], end: bool = True) -> tuple[int, bytes]:
        """A whole unary request, in DATA frames of at most 16 KiB."""
        stream_id, sent = self.headers(call_headers(path, *more))
        framed = message(payload)
        for cut in range(0, len(framed), 16_384):
            last = cut + 16_384 >= len(framed)
            sent += self.data(stream_id, framed[cut : cut + 16_384], end=end and last)
        return stream_id, sent

    @staticmethod
    def reset(stream_id: int, code: int = 8) -> bytes:
        return RstStreamFrame(stream_id, error_code=code).serialize()

    @staticmethod
    def window_update(stream_id: int, increment: int) -> bytes:
        return WindowUpdateFrame(stream_id, window_increment=increment).serialize()

    @staticmethod
    def ping(data: bytes = b"12345678", *, ack: bool = False) -> bytes:
        return PingFrame(0, opaque_data=data, flags=("ACK",) if ack else ()).serialize()

    @staticmethod
    def settings_frame(settings: dict[int, int]) -> bytes:
        return SettingsFrame(0, settings=settings).serialize()

    @staticmethod
    def goaway(last_stream_id: int = 0) -> bytes:
        return GoAwayFrame(0, last_stream_id=last_stream_id).serialize()

    @staticmethod
    def raw_frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
        """Any frame, also one that breaks the rules."""
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream_id) + payload

    # Reading

    def read(self, data: bytes) -> None:
        """Take a server's bytes."""
        self._unread += data
        while len(self._unread) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._unread[:9]))
            if len(self._unread) < 9 + length:
                return
            frame.parse_body(memoryview(self._unread[9 : 9 + length]))
            self._unread = self._unread[9 + length :]
            self.frames.append(frame)
            self._note(frame)

    def answer(self, stream_id: int) -> Answer:
        return self.answers.setdefault(stream_id, Answer())

    def _note(self, frame: Frame) -> None:
        match frame:
            case HeadersFrame() | ContinuationFrame():
                self._block += bytes(frame.data)
                if isinstance(frame, HeadersFrame) and "END_STREAM" in frame.flags:
                    self.answer(frame.stream_id).ended = True
                if "END_HEADERS" in frame.flags:
                    block, self._block = self._block, b""
                    self._note_headers(self.answer(frame.stream_id), block)
            case DataFrame():
                answer = self.answer(frame.stream_id)
                answer.data += bytes(frame.data)
                answer.frames.append(len(frame.data))
                answer.ended = answer.ended or "END_STREAM" in frame.flags
            case RstStreamFrame():
                self.answer(frame.stream_id).reset = frame.error_code
            case GoAwayFrame():
                self.goaways.append(frame)
            case SettingsFrame():
                if "ACK" in frame.flags:
                    self.settings_acks += 1
                else:
                    self.settings.update(frame.settings)
            case PingFrame():
                (self.ping_acks if "ACK" in frame.flags else self.pings).append(bytes(frame.opaque_data))
            case WindowUpdateFrame():
                before = self.window_updates.get(frame.stream_id, 0)
                self.window_updates[frame.stream_id] = before + frame.window_increment
            case _:
                raise AssertionError(f"a server sends no {frame!r}")

    def _note_headers(self, answer: Answer, block: bytes) -> None:
        pairs = {_text(name): _text(value) for name, value in self._decoder.decode(block, raw=True)}
        if not answer.headers:
            answer.headers = pairs
        else:
            answer.trailers = pairs


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
