"""What a watcher received, over all its streams, and whether it is what happened."""

from __future__ import annotations

from dataclasses import dataclass, field

from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.model.api_model import Model, covers
from tests.model.broken import Broken


@dataclass(slots=True)
class Watched:
    """What one watcher received, over all its streams."""

    name: str
    key: bytes
    range_end: bytes
    prev_kv: bool
    start: int
    """The first revision it wants."""
    next: int
    """All events below it were received, or are known to be compacted."""
    events: list[mvccpb.Event] = field(default_factory=list)
    skipped: list[tuple[int, int]] = field(default_factory=list)
    """Revisions [low, high) that were compacted before they could be sent."""


def check_watched(seen: Watched, model: Model, *, compacted: int | None = None) -> None:
    """Raises: Broken - an event is missing, wrong, or out of order.

    Args: compacted - up to where there may have been a compaction by now, if the model does not know it.
    Of the compacted revision itself a watcher may get only what a compaction keeps, see Mvcc.events.
    """
    wanted = [
        happened
        for happened in model.events
        if seen.start <= happened.revision < seen.next
        and covers(happened.key, seen.key, seen.range_end)
        and not any(low <= happened.revision < high for low, high in seen.skipped)
    ]
    found = {(event.kv.mod_revision, event.kv.key) for event in seen.events}
    position = 0
    for happened in wanted:
        event = seen.events[position] if position < len(seen.events) else None
        if event is None or (event.kv.mod_revision, event.kv.key) != (happened.revision, happened.key):
            if (happened.revision, happened.key) not in found:
                raise Broken("watch", f"{seen.name} missed {happened.key!r} at revision {happened.revision}")
            raise Broken("watch", f"{seen.name} got {happened.key!r} at revision {happened.revision} out of order")
        _check_event(seen, event, happened.kv, happened.before, model.compacted if compacted is None else compacted)
        position += 1
    if position != len(seen.events):
        raise Broken("watch", f"{seen.name} got {len(seen.events) - position} events that never happened")


def _check_event(
    seen: Watched, event: mvccpb.Event, kv: mvccpb.KeyValue | None, before: mvccpb.KeyValue | None, compacted: int
) -> None:
    deleted = event.type == mvccpb.Event.DELETE
    shown = kv or mvccpb.KeyValue(key=event.kv.key, mod_revision=event.kv.mod_revision)
    if deleted != (kv is None) or event.kv != shown:
        raise Broken("watch", f"{seen.name} got {event}, which is not what happened")
    if event.HasField("prev_kv") and (not seen.prev_kv or event.prev_kv != before):
        raise Broken("watch", f"{seen.name} got {event.kv.key!r} at {event.kv.mod_revision} with a wrong prev_kv")
    # It is read from the revision before when the event is sent: a compaction may have been faster.
    if seen.prev_kv and before is not None and compacted < event.kv.mod_revision and not event.HasField("prev_kv"):
        raise Broken("watch", f"{seen.name} got {event.kv.key!r} at {event.kv.mod_revision} without its prev_kv")
