"""What one watcher has after each message of its streams: used by the client to resume, by the checks to judge."""

from __future__ import annotations

from collections.abc import Iterable

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.broken import Broken
from tests.model.watched import Watched
from tests.robustness.record import Opened, Seen


def take(watched: Watched, message: pb.WatchResponse) -> None:
    """The next message. Raises: Broken - it has what was received before; `watched` is then as after the message.

    Which revisions are complete: all below the last event's and itself (a revision is never split), all of a progress
    message's header, and what was compacted is lost for good. Headers of events tell the store's revision, not how far
    the watcher is. Source: etcd client/v3/watch.go, serveSubstream.
    """
    if message.created:
        if not watched.next:  # from now on
            watched.start = watched.next = message.header.revision + 1
        return
    if message.compact_revision:
        # Of the compacted revision itself only what the compaction keeps may still be there: begin behind it.
        watched.skipped.append((watched.next, message.compact_revision + 1))
        watched.next = max(watched.next, message.compact_revision + 1)
    if message.canceled:
        return
    if not message.events:
        watched.next = max(watched.next, message.header.revision + 1)
        return
    again = [event for event in message.events if event.kv.mod_revision < watched.next]
    expected = watched.next
    watched.events.extend(message.events)
    watched.next = max(watched.next, message.events[-1].kv.mod_revision + 1)
    if again:
        raise Broken(
            "watch",
            f"{watched.name} got revision {again[0].kv.mod_revision} again, it has all below {expected}",
        )


def watchers(opened: Iterable[Opened], seen: Iterable[Seen]) -> list[Watched]:
    """All watchers of a run with everything they received.

    Raises: Broken - something came twice, or split.
    """
    found: dict[str, Watched] = {}
    for one in opened:
        if one.watcher not in found:
            found[one.watcher] = Watched(
                one.watcher, one.key, one.range_end, one.prev_kv, start=one.start, next=one.start
            )
    for message in seen:
        take(found[message.watcher], pb.WatchResponse.FromString(message.message))
    return list(found.values())
