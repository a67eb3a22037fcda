"""Watch responses as bytes: the encoded event of the store goes to every watcher as it is.

Field numbers are etcdserverpb.WatchResponse's and mvccpb.Event's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from etcdops.node.apply.wire import delimited, number_field
from etcdops.node.storage.reading import Event, EventType

_WATCH_ID = b"\x10"
_CREATED = b"\x18\x01"
_CANCELED = b"\x20\x01"
_COMPACT_REVISION = b"\x28"
_CANCEL_REASON = b"\x32"
_FRAGMENT = b"\x38\x01"
_EVENTS = b"\x5a"
_TYPE_DELETE = b"\x08\x01"
_KV = b"\x12"
_PREV_KV = b"\x1a"

ENCODED_BYTES_MAX = 1024 * 1024
"""Of encoded events kept: a slice of history of usual values (see hub.py), or the newest change alone."""

INVALID_WATCH_ID = -1
"""In a creation that failed, and in a progress message for the whole stream."""


def event_field(event: Event, prev_kv: bytes | None = None) -> bytes:
    """One event as a field of a watch response."""
    kind = _TYPE_DELETE if event.type is EventType.DELETE else b""
    before = delimited(_PREV_KV, prev_kv) if prev_kv is not None else b""
    return delimited(_EVENTS, kind + delimited(_KV, event.kv) + before)


class EventFields:
    """Event fields without previous values, encoded once for all watchers that get an event at about the same time."""

    def __init__(self) -> None:
        # Revision and number in it are an event's identity in one cluster's history.
        self._encoded: dict[tuple[int, int], bytes] = {}
        self._size_bytes = 0
        self._last: Sequence[Event] = ()
        self._last_joined = b""

    def joined(self, events: Sequence[Event]) -> bytes:
        """All their fields in a row: joined once for the watchers that are given the same list one after the other."""
        if events is not self._last:
            self._last_joined = b"".join(map(self, events))
            self._last = events
        return self._last_joined

    def __call__(self, event: Event) -> bytes:
        identity = (event.revision, event.sub)
        field = self._encoded.get(identity)
        if field is None:
            field = event_field(event)
            self._size_bytes += len(field)
            if self._size_bytes > ENCODED_BYTES_MAX:
                self._encoded.clear()
                self._size_bytes = len(field)
            self._encoded[identity] = field
        return field


def events_message(header: bytes, watch_id: int, events: Iterable[bytes], *, fragment: bool = False) -> bytes:
    """A response with event fields; none of them is a progress notification."""
    return b"".join((header, number_field(_WATCH_ID, watch_id), _FRAGMENT if fragment else b"", *events))


def created_message(header: bytes, watch_id: int) -> bytes:
    return header + number_field(_WATCH_ID, watch_id) + _CREATED


def refused_message(header: bytes, reason: str) -> bytes:
    """The watch was not created; the stream goes on."""
    failed = number_field(_WATCH_ID, INVALID_WATCH_ID) + _CREATED + _CANCELED
    return header + failed + delimited(_CANCEL_REASON, reason.encode())


def canceled_message(header: bytes, watch_id: int, *, compact_revision: int = 0) -> bytes:
    """The watch is over: the client wished it so, or its history was compacted."""
    return header + number_field(_WATCH_ID, watch_id) + _CANCELED + number_field(_COMPACT_REVISION, compact_revision)


def fragments(header: bytes, watch_id: int, events: list[bytes], size_max_bytes: int) -> Iterator[bytes]:
    """The messages of a watch that asked for fragments: each below the size if it has more than one event.

    Source: etcd server/etcdserver/api/v3rpc/watch.go, sendFragments.
    """
    fixed = len(header) + len(number_field(_WATCH_ID, watch_id))
    if len(events) < 2 or fixed + sum(map(len, events)) < size_max_bytes:
        yield events_message(header, watch_id, events)
        return
    fixed += len(_FRAGMENT)
    part: list[bytes] = []
    size = fixed
    for event in events:
        if part and size + len(event) >= size_max_bytes:
            yield events_message(header, watch_id, part, fragment=True)
            part, size = [], fixed
        part.append(event)
        size += len(event)
    yield events_message(header, watch_id, part)
