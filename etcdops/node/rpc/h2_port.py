"""HTTP/2 by the `h2` library: the reference implementation of the port."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame, SettingsFrame

from etcdops.node.rpc.http2 import (
    CONNECTION_WINDOW_BYTES,
    HEADER_BYTES_MAX,
    STREAM_WINDOW_BYTES,
    ErrorCode,
    Headers,
    Http2Events,
)

_DEFAULT_WINDOW_BYTES = 65_535


class H2Port:
    """See Http2Port. Header checks of h2 are off: it would end the connection where gRPC answers one call."""

    def __init__(self, events: Http2Events, streams_max: int) -> None:
        self._events = events
        self._closed = False
        self._ready = bytearray()
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        codes = h2.settings.SettingCodes
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                codes.MAX_HEADER_LIST_SIZE: HEADER_BYTES_MAX,
                codes.MAX_FRAME_SIZE: 16_384,
                codes.HEADER_TABLE_SIZE: 4_096,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self._collect()
        # told to the client but not to h2, which would end the connection where one stream is to be refused
        self._ready += SettingsFrame(0, settings={codes.MAX_CONCURRENT_STREAMS: streams_max}).serialize()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def pending_bytes(self) -> int:
        self._collect()
        return len(self._ready)

    @property
    def frame_bytes_max(self) -> int:
        return self._h2.max_outbound_frame_size

    def receive(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            received = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._closed = True  # h2 has put the GOAWAY that says why into its output
            return
        for event in received:
            self._dispatch(event)

    def _dispatch(self, event: h2.events.Event) -> None:
        events = self._events
        match event:
            case h2.events.RequestReceived():
                events.on_request(event.stream_id, _tuples(event.headers), event.stream_ended is not None)
            case h2.events.DataReceived():
                ended = event.stream_ended is not None
                flow_bytes = event.flow_controlled_length or 0
                if not event.data and not ended:
                    events.on_control()
                events.on_data(event.stream_id, bytes(event.data or b""), flow_bytes, ended)
            case h2.events.TrailersReceived():
                events.on_end(event.stream_id)
            case h2.events.StreamReset():
                if event.remote_reset:
                    events.on_reset(event.stream_id, int(event.error_code or 0))
            case h2.events.WindowUpdated():
                events.on_window(event.stream_id)
            case h2.events.PingReceived():
                events.on_ping()
            case h2.events.PingAckReceived():
                events.on_ping_ack(event.ping_data or b"")
            case h2.events.RemoteSettingsChanged():
                events.on_control()
                events.on_window(0)
            case h2.events.PriorityUpdated():
                events.on_control()
            case h2.events.ConnectionTerminated():
                self._closed = True
            case _:
                pass

    def take(self) -> bytes:
        self._collect()
        data = bytes(self._ready)
        self._ready.clear()
        return data

    def _collect(self) -> None:
        self._ready += self._h2.data_to_send()

    def sendable(self, stream_id: int) -> int:
        stream = self._h2.streams.get(stream_id)
        if stream is None or not stream.open:
            return 0
        try:
            return self._h2.local_flow_control_window(stream_id)
        except h2.exceptions.ProtocolError:
            return 0

    def send_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        try:
            self._h2.send_headers(stream_id, list(headers), end_stream=end)
        except h2.exceptions.ProtocolError:
            return  # the stream or the connection is gone: its calls hear of it by on_reset or by the shell

    def send_data(self, stream_id: int, data: bytes | memoryview) -> None:
        try:
            self._h2.send_data(stream_id, data)
        except h2.exceptions.ProtocolError:
            return

    def respond(self, stream_id: int, head: Headers, data: bytes, trailers: Headers) -> None:
        self.send_headers(stream_id, head, end=False)
        self.send_data(stream_id, data)
        self.send_headers(stream_id, trailers, end=True)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        try:
            self._h2.reset_stream(stream_id, code)
        except h2.exceptions.ProtocolError:
            return

    def release(self, stream_id: int, flow_bytes: int) -> None:
        if not flow_bytes:
            return
        try:
            self._h2.acknowledge_received_data(flow_bytes, stream_id)
        except (h2.exceptions.ProtocolError, KeyError):
            return

    def release_connection(self, flow_bytes: int) -> None:
        if flow_bytes and not self._closed:
            self._h2.increment_flow_control_window(flow_bytes)

    def release_stream(self, stream_id: int, flow_bytes: int) -> None:
        try:
            self._h2.increment_flow_control_window(flow_bytes, stream_id)
        except (h2.exceptions.ProtocolError, KeyError):
            return

    def ping(self, data: bytes) -> None:
        if not self._closed:
            self._h2.ping(data)

    def goaway(self, code: ErrorCode, *, last_stream_id: int, debug: bytes = b"") -> None:
        # h2's own close_connection would forbid to finish the streams that are open
        self._collect()
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=int(code), additional_data=debug)
        self._ready += frame.serialize()


def _tuples(headers: object) -> Headers:
    assert isinstance(headers, list)
    return tuple((bytes(name), bytes(value)) for name, value in headers)
