"""HTTP/2 by our own frame loop: the fast implementation of the port.

It does the part of RFC 9113 that a gRPC server needs: no push, no priorities, no upgrade. `h2_port.py` is what it is
compared with, by `tests/contracts/http2_port.py` and by random byte streams.
"""

from __future__ import annotations

import struct

from etcdops.node.rpc.header_block import BadBlock, BlockDecoder, ListTooLong, encode_block
from etcdops.node.rpc.http2 import (
    CONNECTION_WINDOW_BYTES,
    HEADER_BYTES_MAX,
    PREFACE,
    STREAM_WINDOW_BYTES,
    ErrorCode,
    Headers,
    Http2Events,
)

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    range(10)
)
_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4
_PADDED = 0x8
_WITH_PRIORITY = 0x20

_INITIAL_WINDOW_SIZE = 4
_FRAME_SIZE = 5
_FRAME_BYTES_MAX = 16_384  # what we take: the default
_DEFAULT_WINDOW = 65_535
_WINDOW_MAX = 2**31 - 1
_BLOCK_BYTES_MAX = 2 * HEADER_BYTES_MAX  # of one block in its CONTINUATIONs
_KEPT_HEADERS_MAX = 256

_frame_head = struct.Struct(">HBBBL")  # length (high 16 bits, low 8), type, flags, stream
_u32 = struct.Struct(">L")
_setting = struct.Struct(">HL")


class _ConnectionError(Exception):
    """The client broke the protocol: the connection ends with `code`."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class _Stream:
    """An open stream; gone from the table as soon as both sides have ended it or one has reset it."""

    __slots__ = ("receive_window", "remote_ended", "send_window", "unreleased")

    def __init__(self, send_window: int, remote_ended: bool) -> None:
        self.send_window = send_window
        self.receive_window = STREAM_WINDOW_BYTES
        self.unreleased = 0  # taken by the server, not yet told to the client
        self.remote_ended = remote_ended


class FramePort:
    """See Http2Port."""

    def __init__(self, events: Http2Events, streams_max: int) -> None:
        self._events = events
        self._decoder = BlockDecoder()
        self._streams: dict[int, _Stream] = {}
        self._last_stream_id = 0
        self._rest = b""
        self._greeting_left = PREFACE
        self._settings_seen = False
        self._continued: tuple[int, bool, bytearray] | None = None
        self._send_window = _DEFAULT_WINDOW
        self._initial_send_window = _DEFAULT_WINDOW
        self._receive_window = CONNECTION_WINDOW_BYTES
        self._unreleased = 0
        self._frame_bytes_max = _FRAME_BYTES_MAX
        self._leaving = False
        self._failed = False
        self._kept: dict[Headers, bytes] = {}
        settings = ((3, streams_max), (_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES), (6, HEADER_BYTES_MAX))
        body = b"".join(_setting.pack(name, value) for name, value in settings)
        self._out: list[bytes | memoryview] = [
            _frame(_SETTINGS, 0, 0, body),
            _frame(_WINDOW_UPDATE, 0, 0, _u32.pack(CONNECTION_WINDOW_BYTES - _DEFAULT_WINDOW)),
        ]
        self._out_bytes = sum(map(len, self._out))

    @property
    def closed(self) -> bool:
        return self._failed or (self._leaving and not self._streams)

    @property
    def pending_bytes(self) -> int:
        return self._out_bytes

    @property
    def frame_bytes_max(self) -> int:
        return self._frame_bytes_max

    def take(self) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        return data

    def receive(self, data: bytes) -> None:
        if self._failed:
            return
        try:
            if self._greeting_left:
                data = self._greet(data)
            self._rest = self._frames(self._rest + data if self._rest else data)
        except _ConnectionError as error:
            self.goaway(error.code, last_stream_id=self._last_stream_id, debug=error.reason.encode())
            self._failed = True

    def _greet(self, data: bytes) -> bytes:
        wanted = self._greeting_left
        size = min(len(wanted), len(data))
        if data[:size] != wanted[:size]:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
        self._greeting_left = wanted[size:]
        return data[size:]

    def _frames(self, data: bytes) -> bytes:
        """Handle every complete frame. Returns: what is left. The hot loop: DATA and HEADERS are taken apart here."""
        position, end = 0, len(data)
        streams, events = self._streams, self._events
        while end - position >= 9 and not self._failed:
            high, low, kind, flags, stream_id = _frame_head.unpack_from(data, position)
            length = high << 8 | low
            if length > _FRAME_BYTES_MAX:
                raise _ConnectionError(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + 9
            position = start + length
            if position > end:
                position = start - 9
                break
            payload = data[start:position]
            if self._continued is not None and kind != _CONTINUATION:
                raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a header block interrupted")
            if kind == _DATA:
                self._receive_window -= length
                if self._receive_window < 0:
                    raise _ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection's window")
                if flags & _PADDED:
                    payload = _unpad(payload)
                stream = streams.get(stream_id)
                if stream is None or stream.remote_ended:
                    self._data_for_nobody(stream_id, stream, length)
                    continue
                stream.receive_window -= length
                if stream.receive_window < 0:
                    self.reset(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
                    self.release_connection(length)
                    events.on_reset(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
                    continue
                ended = flags & _END_STREAM == _END_STREAM
                stream.remote_ended = ended
                if not payload and not ended:
                    events.on_control()
                events.on_data(stream_id, payload, length, ended)
            elif kind == _HEADERS:
                if not self._settings_seen:
                    raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "no SETTINGS first")
                if flags & (_PADDED | _WITH_PRIORITY):
                    payload = _without_extras(payload, flags)
                if flags & _END_HEADERS:
                    self._header_block(stream_id, payload, flags & _END_STREAM == _END_STREAM)
                else:
                    self._continued = (stream_id, flags & _END_STREAM == _END_STREAM, bytearray(payload))
            else:
                self._other_frame(kind, flags, stream_id, payload)
        return data[position:] if position else data

    def _data_for_nobody(self, stream_id: int, stream: _Stream | None, length: int) -> None:
        """DATA for a stream that is over: from a client that has not heard yet, or one that does not care."""
        if stream_id > self._last_stream_id or stream_id % 2 == 0:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "data for a stream that was never opened")
        if stream is not None:
            self.reset(stream_id, ErrorCode.STREAM_CLOSED)
            self._events.on_reset(stream_id, ErrorCode.STREAM_CLOSED)
        self.release_connection(length)
        if not length:
            self._events.on_control()

    def _header_block(self, stream_id: int, block: bytes, ended: bool) -> None:
        if stream_id % 2 == 0:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client's stream with an even number")
        try:
            headers = self._decoder.decode(block)
        except BadBlock as error:
            raise _ConnectionError(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        except ListTooLong:
            self._open(stream_id, ended)
            self.reset(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            self._events.on_reset(stream_id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        if stream_id > self._last_stream_id:
            self._open(stream_id, ended)
            self._events.on_request(stream_id, headers, ended)
            return
        stream = self._streams.get(stream_id)
        if stream is None and not ended:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a stream number that goes back")  # no trailers, a request
        if stream is None or stream.remote_ended:
            self._events.on_control()  # trailers of a stream that is over
        elif not ended:
            self.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
            self._events.on_reset(stream_id, ErrorCode.PROTOCOL_ERROR)
        else:
            stream.remote_ended = True
            self._events.on_end(stream_id)

    def _open(self, stream_id: int, ended: bool) -> None:
        if stream_id > self._last_stream_id:
            self._last_stream_id = stream_id
            self._streams[stream_id] = _Stream(self._initial_send_window, ended)

    def _other_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._settings_seen and kind != _SETTINGS:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "no SETTINGS first")
        match kind:
            case 8:
                self._window_update(stream_id, payload)
            case 6:
                self._ping(flags, stream_id, payload)
            case 3:
                self._rst_stream(stream_id, payload)
            case 4:
                self._settings(flags, stream_id, payload)
            case 9:
                self._continuation(flags, stream_id, payload)
            case 7:
                self._leaving = True
            case 5:
                raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a client cannot push")
            case _:
                self._events.on_control()

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a WINDOW_UPDATE of another size than 4")
        increment = _u32.unpack(payload)[0] & _WINDOW_MAX
        if stream_id == 0:
            self._send_window += increment
            if increment == 0 or self._send_window > _WINDOW_MAX:
                code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
                raise _ConnectionError(code, "a window that cannot be")
            self._events.on_window(0)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if stream_id > self._last_stream_id:
                raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a window for a stream that was never opened")
            return
        stream.send_window += increment
        if increment == 0 or stream.send_window > _WINDOW_MAX:
            code = ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR
            self.reset(stream_id, code)
            self._events.on_reset(stream_id, code)
            return
        self._events.on_window(stream_id)

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if len(payload) != 8 or stream_id:
            code = ErrorCode.PROTOCOL_ERROR if stream_id else ErrorCode.FRAME_SIZE_ERROR
            raise _ConnectionError(code, "a damaged PING")
        if flags & _ACK:
            self._events.on_ping_ack(payload)
            return
        self._write(_frame(_PING, _ACK, 0, payload))
        self._events.on_ping()

    def _rst_stream(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise _ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a RST_STREAM of another size than 4")
        if stream_id > self._last_stream_id or stream_id == 0:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a reset of a stream that was never opened")
        if self._streams.pop(stream_id, None) is not None:
            self._events.on_reset(stream_id, _u32.unpack(payload)[0])

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & _ACK:
            if payload:
                raise _ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a SETTINGS acknowledgement with settings")
            return
        if len(payload) % 6:
            raise _ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS cut short")
        self._settings_seen = True
        for name, value in _setting.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._set_initial_window(value)
            elif name == _FRAME_SIZE:
                if not 16_384 <= value <= 16_777_215:
                    raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, f"a frame size of {value}")
                self._frame_bytes_max = min(value, 64 * 1024)  # bigger frames would only hold up other streams
            elif name == 2 and value > 1:
                raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH of {value}")
        self._write(_frame(_SETTINGS, _ACK, 0, b""))
        self._events.on_control()
        self._events.on_window(0)

    def _set_initial_window(self, value: int) -> None:
        if value > _WINDOW_MAX:
            raise _ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value}")
        change = value - self._initial_send_window
        self._initial_send_window = value
        for stream in self._streams.values():
            stream.send_window += change
            if stream.send_window > _WINDOW_MAX:
                raise _ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, "a window that cannot be")

    def _continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._continued is None or self._continued[0] != stream_id:
            raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION of nothing")
        _, ended, block = self._continued
        block += payload
        if len(block) > _BLOCK_BYTES_MAX or not (payload or flags & _END_HEADERS):
            raise _ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & _END_HEADERS:
            self._continued = None
            self._header_block(stream_id, bytes(block), ended)

    # Sending

    def sendable(self, stream_id: int) -> int:
        stream = self._streams.get(stream_id)
        return 0 if stream is None else min(self._send_window, stream.send_window)

    def send_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        block = self._block(headers)
        flags = _END_HEADERS | _END_STREAM if end else _END_HEADERS
        if len(block) <= _FRAME_BYTES_MAX:
            self._write(_frame(_HEADERS, flags, stream_id, block))
        else:
            self._write_continued(stream_id, flags, block)
        if end and stream.remote_ended:
            del self._streams[stream_id]

    def _write_continued(self, stream_id: int, flags: int, block: bytes) -> None:
        pieces = [block[cut : cut + _FRAME_BYTES_MAX] for cut in range(0, len(block), _FRAME_BYTES_MAX)]
        self._write(_frame(_HEADERS, flags & ~_END_HEADERS, stream_id, pieces[0]))
        for piece in pieces[1:-1]:
            self._write(_frame(_CONTINUATION, 0, stream_id, piece))
        self._write(_frame(_CONTINUATION, _END_HEADERS, stream_id, pieces[-1]))

    def _block(self, headers: Headers) -> bytes:
        block = self._kept.get(headers)
        if block is None:
            block = encode_block(headers)
            if len(self._kept) >= _KEPT_HEADERS_MAX:
                self._kept.clear()
            self._kept[headers] = block
        return block

    def send_data(self, stream_id: int, data: bytes | memoryview) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        size = len(data)
        stream.send_window -= size
        self._send_window -= size
        self._out.append(_frame_head.pack(size >> 8, size & 0xFF, _DATA, 0, stream_id))
        self._out.append(data)
        self._out_bytes += size + 9

    def respond(self, stream_id: int, head: Headers, data: bytes, trailers: Headers) -> None:
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        size = len(data)
        stream.send_window -= size
        self._send_window -= size
        block, ending = self._block(head), self._block(trailers)
        pack = _frame_head.pack
        frames = b"".join(
            (
                pack(0, len(block), _HEADERS, _END_HEADERS, stream_id),
                block,
                pack(size >> 8, size & 0xFF, _DATA, 0, stream_id),
                data,
                pack(0, len(ending), _HEADERS, _END_HEADERS | _END_STREAM, stream_id),
                ending,
            )
        )
        self._out.append(frames)
        self._out_bytes += len(frames)
        if stream.remote_ended:
            del self._streams[stream_id]

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        if self._streams.pop(stream_id, None) is not None:
            self._write(_frame(_RST_STREAM, 0, stream_id, _u32.pack(code)))

    def release(self, stream_id: int, flow_bytes: int) -> None:
        self.release_connection(flow_bytes)
        self.release_stream(stream_id, flow_bytes)

    def release_connection(self, flow_bytes: int) -> None:
        self._unreleased += flow_bytes
        if self._unreleased >= CONNECTION_WINDOW_BYTES // 2:
            self._write(_frame(_WINDOW_UPDATE, 0, 0, _u32.pack(self._unreleased)))
            self._receive_window += self._unreleased
            self._unreleased = 0

    def release_stream(self, stream_id: int, flow_bytes: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is None or stream.remote_ended:
            return
        stream.unreleased += flow_bytes
        if stream.unreleased >= STREAM_WINDOW_BYTES // 2:
            self._write(_frame(_WINDOW_UPDATE, 0, stream_id, _u32.pack(stream.unreleased)))
            stream.receive_window += stream.unreleased
            stream.unreleased = 0

    def ping(self, data: bytes) -> None:
        self._write(_frame(_PING, 0, 0, data))

    def goaway(self, code: ErrorCode, *, last_stream_id: int, debug: bytes = b"") -> None:
        self._write(_frame(_GOAWAY, 0, 0, _u32.pack(last_stream_id) + _u32.pack(code) + debug))

    def _write(self, frame: bytes) -> None:
        self._out.append(frame)
        self._out_bytes += len(frame)


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    size = len(payload)
    return _frame_head.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def _unpad(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise _ConnectionError(ErrorCode.PROTOCOL_ERROR, "padding beyond its frame")
    return payload[1 : len(payload) - payload[0]]


def _without_extras(payload: bytes, flags: int) -> bytes:
    """A HEADERS frame without padding and priority."""
    if flags & _PADDED:
        payload = _unpad(payload)
    if flags & _WITH_PRIORITY:
        if len(payload) < 5:
            raise _ConnectionError(ErrorCode.FRAME_SIZE_ERROR, "a priority cut short")
        payload = payload[5:]
    return payload
