"""Watch responses put together by hand are what the protobuf library writes."""

from __future__ import annotations

import pytest

from etcdops.ids import Revision
from etcdops.node.storage.reading import Event, EventType
from etcdops.node.watch import messages
from etcdops.node.watch.messages import EventFields, event_field
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvcc


def _event(revision: int, sub: int, kind: EventType = EventType.PUT) -> Event:
    kv = mvcc.KeyValue(key=b"k%d" % sub, mod_revision=revision, value=b"v" * (revision % 7)).SerializeToString()
    return Event(kind, kv, b"k%d" % sub, Revision(revision), sub, True, 0)


def test_an_event_encoded_once_for_all_watchers_is_the_event() -> None:
    """Whatever order revisions are asked for in, and again: an old encoding is never taken for another event."""
    fields = EventFields()
    asked = [(2, 0), (2, 1), (2, 0), (3, 0), (3, 1), (2, 1), (3, 0), (300, 0)]
    for revision, sub in asked:
        event = _event(revision, sub, EventType.DELETE if sub else EventType.PUT)
        assert fields(event) == event_field(event)
        parsed = pb.WatchResponse.FromString(fields(event)).events[0]
        assert (parsed.kv.SerializeToString(), parsed.type) == (event.kv, int(bool(sub)))


def test_encodings_are_not_kept_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion may have any number of events, and one event may be larger than all that is kept."""
    monkeypatch.setattr(messages, "ENCODED_BYTES_MAX", 100)
    fields = EventFields()
    for sub in range(50):
        assert fields(_event(9, sub)) == event_field(_event(9, sub))
        assert sum(map(len, fields._encoded.values())) <= 100
    large = _event(9, 99)._replace(kv=b"\n\x64" + b"k" * 100)
    assert fields(large) == event_field(large)
    assert fields(_event(10, 0)) == event_field(_event(10, 0))
    assert len(fields._encoded) == 1
