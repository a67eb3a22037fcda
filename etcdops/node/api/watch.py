"""The Watch service: requests of one stream in, watch responses of many watchers out, in order.

Flow control is by not reading and not sending: a stream whose client does not read stops being sent events (the hub
keeps its watchers' place in the store) and, when its control answers pile up too, its requests are no longer read.
Source: etcd server/etcdserver/api/v3rpc/watch.go.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from google.protobuf.message import DecodeError

from etcdops.ids import Revision
from etcdops.node.api.answer import Headers
from etcdops.node.api.errors import WATCH_DUPLICATE_ID, WATCH_EMPTY_RANGE
from etcdops.node.api.metrics import RpcStats
from etcdops.node.api.port import ServerPort, TimerHandle
from etcdops.node.api.streams import OpenStreams
from etcdops.node.api.undecodable import unreadable_message
from etcdops.node.rpc.service import RpcError, StreamCall
from etcdops.node.storage.reading import Event
from etcdops.node.watch.messages import (
    INVALID_WATCH_ID,
    EventFields,
    canceled_message,
    created_message,
    event_field,
    events_message,
    fragments,
    refused_message,
)
from etcdops.node.watch.watcher import Watcher
from etcdops.proto import etcdserverpb_pb2 as pb

log = logging.getLogger(__name__)

GRPC_OVERHEAD_BYTES = 512 * 1024
"""What a message may have above max-request-bytes. Source: etcd v3rpc/grpc.go."""

PROGRESS_JITTER = 0.1


class WatchService:
    """Handler of etcdserverpb.Watch/Watch."""

    def __init__(self, server: ServerPort, headers: Headers, streams: OpenStreams) -> None:
        self._server = server
        self._headers = headers
        self._streams = streams
        self._event_fields = EventFields()
        # Spreads progress messages of streams opened together; nothing depends on its numbers.
        self._random = random.Random()

    def watch(self, call: StreamCall, stats: RpcStats) -> None:
        self._server.metrics.watch_streams += 1
        interval = self._server.limits.watch_progress_interval_s
        interval *= 1 + PROGRESS_JITTER * self._random.random()
        WatchSession(self._server, self._headers, self._event_fields, self._streams, call, stats, interval)


class WatchSession:
    """One watch stream: its watchers and the way to its client."""

    def __init__(
        self,
        server: ServerPort,
        headers: Headers,
        event_fields: EventFields,
        streams: OpenStreams,
        call: StreamCall,
        stats: RpcStats,
        progress_interval_s: float,
    ) -> None:
        self._server = server
        self._hub = server.hub
        self._headers = headers
        self._event_fields = event_fields
        self._streams = streams
        self._call = call
        self._stats = stats
        self._size_max_bytes = server.limits.max_request_bytes + GRPC_OVERHEAD_BYTES
        self._watchers: dict[int, Watcher] = {}
        # IDs of watchers that a compaction cancelled. They are in use until the client cancels them too.
        self._compacted: set[int] = set()
        self._next_id = 0
        self._open = True
        self.writable = True
        self._progress_interval_s = progress_interval_s
        self._progress_timer: TimerHandle | None = None
        # Watchers that want progress messages: True when nothing was sent since the last interval.
        self._progress_due: dict[int, bool] = {}
        self._prev_kv: set[int] = set()
        self._fragment: set[int] = set()
        call.on_message = self._on_message
        call.on_cancel = self._on_cancel
        call.on_writable = self._on_writable
        # A half-closed stream stays open for events.
        streams.opened(call, self.end)
        call.send_headers()

    # What the client says.

    def _on_message(self, message: bytes) -> None:
        self._stats.received += 1
        self._hub.flush()  # what happened before a request is told before its answer
        try:
            request = pb.WatchRequest.FromString(message)
        except DecodeError:
            self._server.metrics.count_stream_failure("receive", "watch")
            self.end(unreadable_message(pb.WatchRequest, message))
            return
        match request.WhichOneof("request_union"):
            case "create_request":
                self._create(request.create_request)
            case "cancel_request":
                self._cancel(request.cancel_request.watch_id)
            case "progress_request":
                self._progress_of_all()
            case _:
                log.debug("ignored a watch request of an unknown kind")

    def _create(self, request: pb.WatchCreateRequest) -> None:
        key = request.key or b"\x00"
        end = None if request.range_end == b"\x00" else request.range_end
        header = self._headers(self._hub.revision)
        if end and key >= end:
            self._send(refused_message(header, WATCH_EMPTY_RANGE))
            return
        watch_id = request.watch_id
        if watch_id == 0:
            while self._is_used(self._next_id):
                self._next_id += 1
            watch_id = self._next_id
            self._next_id += 1
        elif self._is_used(watch_id):
            self._send(refused_message(header, WATCH_DUPLICATE_ID))
            return
        watcher = Watcher(
            self,
            watch_id,
            key,
            end,
            no_put=pb.WatchCreateRequest.NOPUT in request.filters,
            no_delete=pb.WatchCreateRequest.NODELETE in request.filters,
        )
        self._watchers[watch_id] = watcher
        if request.prev_kv:
            self._prev_kv.add(watch_id)
        if request.fragment:
            self._fragment.add(watch_id)
        if request.progress_notify:
            self._progress_due[watch_id] = True
            self._start_progress_timer()
        self._send(created_message(header, watch_id))
        self._hub.add(watcher, Revision(request.start_revision or self._hub.revision + 1))

    def _is_used(self, watch_id: int) -> bool:
        return watch_id in self._watchers or watch_id in self._compacted

    def _cancel(self, watch_id: int) -> None:
        watcher = self._forget(watch_id)
        if watcher is not None:
            self._hub.remove(watcher)
        if watcher is not None or watch_id in self._compacted:
            self._compacted.discard(watch_id)
            self._send(canceled_message(self._headers(self._hub.revision), watch_id))

    def _forget(self, watch_id: int) -> Watcher | None:
        self._prev_kv.discard(watch_id)
        self._fragment.discard(watch_id)
        self._progress_due.pop(watch_id, None)
        return self._watchers.pop(watch_id, None)

    def _on_writable(self) -> None:
        self.writable = True
        self._call.resume()
        self._hub.stream_writable()

    def _on_cancel(self) -> None:
        self._close()
        self._stats.count_failed(1)

    def end(self, error: RpcError) -> None:
        """Finish the whole stream with an error."""
        if self._open:
            self._close()
            self._stats.count_failed(error.code)
            self._call.end(error)

    def _close(self) -> None:
        self._open = False
        self.writable = False
        self._streams.closed(self._call)
        self._server.metrics.watch_streams -= 1
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()

    # What the hub says.

    def deliver(self, watcher: Watcher, revision: Revision, events: Sequence[Event]) -> None:
        watch_id = watcher.id
        header = self._headers(revision)
        encoded: list[bytes]
        if watch_id in self._prev_kv:
            encoded = [event_field(event, self._prev_kv_of(event)) for event in events]
        elif watch_id in self._fragment:
            encoded = list(map(self._event_fields, events))
        else:
            encoded = [self._event_fields.joined(events)]
        self._server.metrics.events_sent += len(events)
        if watch_id in self._fragment:
            for message in fragments(header, watch_id, encoded, self._size_max_bytes):
                self._send(message)
        else:
            self._send(events_message(header, watch_id, encoded))
        if watch_id in self._progress_due:
            self._progress_due[watch_id] = False

    def _prev_kv_of(self, event: Event) -> bytes | None:
        return None if event.create else self._server.state.mvcc.prev_kv(event)

    def compacted(self, watcher: Watcher, compact_revision: Revision) -> None:
        self._forget(watcher.id)
        self._compacted.add(watcher.id)
        # The one watch response whose header has no revision.
        header = self._headers.without_revision()
        self._send(canceled_message(header, watcher.id, compact_revision=compact_revision))

    def _send(self, message: bytes) -> None:
        self._stats.sent += 1
        if not self._call.send(message) and self._open:
            self.writable = False
            self._call.pause()

    # Progress.

    def _progress_of_all(self) -> None:
        """One message for the whole stream, if that is true of every watcher; asked in vain it is not repeated."""
        if self._watchers and self.writable and all(map(self._hub.is_caught_up, self._watchers.values())):
            self._send(events_message(self._headers(self._hub.revision), INVALID_WATCH_ID, ()))

    def _start_progress_timer(self) -> None:
        if self._progress_timer is None:
            self._progress_timer = self._server.call_later(self._progress_interval_s, self._progress_interval)

    def _progress_interval(self) -> None:
        self._progress_timer = None
        for watch_id, due in self._progress_due.items():
            if due and self.writable and self._hub.is_caught_up(self._watchers[watch_id]):
                self._send(events_message(self._headers(self._hub.revision), watch_id, ()))
            self._progress_due[watch_id] = True
        if self._progress_due:
            self._start_progress_timer()
