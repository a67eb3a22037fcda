"""The hub against a model: whatever streams block and wake, every watcher sees its history once and in order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from etcdops.ids import Revision
from etcdops.node.storage.reading import Event, EventType
from etcdops.node.watch.hub import WatchHub
from etcdops.node.watch.watcher import Watcher


class History:
    """A store that remembers events, and forgets what is below `compact_revision`."""

    def __init__(self) -> None:
        self.revision = Revision(1)
        self.compact_revision = Revision(-1)
        self.all: list[Event] = []

    def write(self, *keys: bytes) -> list[Event]:
        self.revision = Revision(self.revision + 1)
        events = [
            Event(EventType.DELETE if key.isupper() else EventType.PUT, b"kv", key, self.revision, sub, False, 0)
            for sub, key in enumerate(keys)
        ]
        self.all += events
        return events

    def events(self, low: Revision, high: Revision, *, limit: int) -> list[Event]:
        found: list[Event] = []
        for event in self.all:
            if low <= event.revision < high:
                if len(found) >= limit and found[-1].revision != event.revision:
                    break
                found.append(event)
        return found


class Stream:
    """Takes what it is given until `room` runs out."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.seen: dict[int, list[Event]] = {}
        self.compactions: dict[int, int] = {}

    @property
    def writable(self) -> bool:
        return self.room > 0

    def deliver(self, watcher: Watcher, revision: Revision, events: Sequence[Event]) -> None:
        assert self.writable, "delivered to a full stream"
        assert events, "delivered nothing"
        self.room -= 1
        assert all(event.revision <= revision for event in events)
        self.seen.setdefault(watcher.id, []).extend(events)

    def compacted(self, watcher: Watcher, compact_revision: Revision) -> None:
        self.compactions[watcher.id] = compact_revision


class CountingStream(Stream):
    """Remembers each delivery by itself."""

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.told: list[tuple[int, Revision, Sequence[Event]]] = []

    def deliver(self, watcher: Watcher, revision: Revision, events: Sequence[Event]) -> None:
        super().deliver(watcher, revision, events)
        self.told.append((watcher.id, revision, events))


class World:
    def __init__(self) -> None:
        self.history = History()
        self.turn: deque[Callable[[], None]] = deque()
        self.hub = WatchHub(self.history, self.turn.append)

    def write(self, *keys: bytes) -> None:
        events = self.history.write(*keys)
        self.hub.notify(self.history.revision, events)

    def run(self, turns: int = 1_000_000) -> None:
        while self.turn and turns:
            self.turn.popleft()()
            turns -= 1


def wanted(watcher: Watcher, start: int, history: History) -> list[Event]:
    def covers(key: bytes) -> bool:
        if watcher.end == b"":
            return key == watcher.key
        return watcher.key <= key and (watcher.end is None or key < watcher.end)

    return [
        event
        for event in history.all
        if event.revision >= start
        and covers(event.key)
        and not (watcher.no_put and event.type is EventType.PUT)
        and not (watcher.no_delete and event.type is EventType.DELETE)
    ]


@pytest.mark.parametrize("seed", range(30))
def test_every_watcher_sees_its_history_once_and_in_order(seed: int) -> None:
    """W18, W19, W42: random writes, watchers, blocked streams and partly run turns."""
    draw = random.Random(seed)
    world = World()
    keys = [b"a", b"b", b"B", b"c", b"d"]
    streams = [Stream(draw.choice([0, 1, 3, 1000])) for _ in range(4)]
    watchers: list[tuple[Watcher, int]] = []
    for _ in range(400):
        match draw.randrange(8):
            case 0 | 1 | 2 | 3:
                world.write(*draw.sample(keys, draw.randrange(1, 4)))
            case 4 if len(watchers) < 40:
                end = draw.choice([b"", b"", None, b"c", b"zz"])
                watcher = Watcher(
                    draw.choice(streams),
                    len(watchers),
                    draw.choice(keys[:2]),
                    end,
                    no_put=draw.random() < 0.1,
                    no_delete=draw.random() < 0.1,
                )
                revision = world.history.revision
                start = draw.choice([revision + 1, 1, max(1, revision - 5), revision + 4])
                world.hub.add(watcher, Revision(start))
                watchers.append((watcher, start))
            case 5:
                stream = draw.choice(streams)
                stream.room = draw.choice([0, 1, 5])
                world.hub.stream_writable()
            case 6:
                world.run(turns=1)
            case _:
                world.hub.catch_up(events_max=draw.choice([1, 3]))
    for stream in streams:
        stream.room = 1_000_000
    world.hub.stream_writable()
    world.run()
    for watcher, start in watchers:
        stream_of = next(stream for stream in streams if stream is watcher.stream)
        assert stream_of.seen.get(watcher.id, []) == wanted(watcher, start, world.history)
        assert world.hub.is_caught_up(watcher) == (start <= world.history.revision + 1)
    assert world.hub.slow_watchers_count == 0


def test_somebody_far_behind_does_not_hold_up_the_others() -> None:
    """Slices take turns between those who wait."""
    world = World()
    for _ in range(50):
        world.write(b"a")
    far, near = Stream(1000), Stream(1000)
    world.hub.add(Watcher(far, 1, b"a", b""), Revision(1))
    world.hub.add(Watcher(near, 2, b"a", b""), Revision(45))
    for _ in range(8):
        world.hub.catch_up(events_max=4)
    assert len(near.seen[2]) == 7
    assert len(far.seen[1]) < 50


def test_a_compacted_watcher_is_told_once_and_forgotten() -> None:
    """W10, W14."""
    world = World()
    for _ in range(5):
        world.write(b"a")
    world.history.compact_revision = Revision(4)
    stream = Stream(10)
    watcher = Watcher(stream, 1, b"a", b"")
    world.hub.add(watcher, Revision(2))
    world.run()
    assert stream.compactions == {1: 4}
    assert world.hub.watchers_count == 0
    world.hub.remove(watcher)


def test_after_a_snapshot_watchers_read_on_where_they_were() -> None:
    """W38: what they saw before does not come again, what the snapshot brought does."""
    world = World()
    stream = Stream(100)
    world.hub.add(Watcher(stream, 1, b"a", b""), Revision(2))
    world.write(b"a")
    world.write(b"b")
    newer = History()
    newer.all, newer.revision = list(world.history.all), world.history.revision
    newer.write(b"a")
    world.hub.restored(newer)
    world.run()
    assert [event.revision for event in stream.seen[1]] == [2, 4]
    world.hub.notify(Revision(5), newer.write(b"a"))
    world.run()
    assert [event.revision for event in stream.seen[1]] == [2, 4, 5]


def test_the_changes_of_one_turn_are_told_together() -> None:
    """One message a watcher, and one list of events for all who want the same."""
    world = World()
    stream = CountingStream(100)
    for number in range(3):
        world.hub.add(Watcher(stream, number, b"a", None), Revision(2))
    world.write(b"a")
    world.write(b"b", b"c")
    assert stream.told == []
    world.run()
    assert [(watch_id, revision, len(events)) for watch_id, revision, events in stream.told] == [
        (0, 3, 3),
        (1, 3, 3),
        (2, 3, 3),
    ]
    assert stream.told[0][2] is stream.told[1][2] is stream.told[2][2]


def test_whoever_asks_the_hub_finds_everything_told() -> None:
    """W42: a progress message says that nothing below its revision is missing."""
    asks: tuple[Callable[[WatchHub, Watcher], object], ...] = (
        lambda hub, watcher: hub.is_caught_up(watcher),
        lambda hub, watcher: hub.add(Watcher(Stream(9), 2, b"z", b""), Revision(9)),
        lambda hub, watcher: hub.remove(watcher),
        lambda hub, watcher: hub.catch_up(),
    )
    for ask in asks:
        world = World()
        stream = Stream(100)
        watcher = Watcher(stream, 1, b"a", b"")
        world.hub.add(watcher, Revision(2))
        world.write(b"a")
        ask(world.hub, watcher)
        assert [event.revision for event in stream.seen[1]] == [2]
        world.run()
        assert len(stream.seen[1]) == 1


def test_what_waits_to_be_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message stays small enough for any client, whatever one turn applies."""
    monkeypatch.setattr("etcdops.node.watch.hub.PENDING_BYTES_MAX", 5 * len(b"kv"))
    world = World()
    stream = CountingStream(100)
    world.hub.add(Watcher(stream, 1, b"a", b""), Revision(2))
    for _ in range(14):
        world.write(b"a")
    assert [len(events) for _, _, events in stream.told] == [6, 6]
    world.run()
    assert [len(events) for _, _, events in stream.told] == [6, 6, 2]


def test_what_was_not_told_before_a_snapshot_is_told_from_it() -> None:
    """W38: events that waited come from the new store, once."""
    world = World()
    stream = Stream(100)
    world.hub.add(Watcher(stream, 1, b"a", b""), Revision(2))
    world.write(b"a")
    world.run()
    world.write(b"a")
    newer = History()
    newer.all, newer.revision = list(world.history.all), world.history.revision
    newer.write(b"a")
    world.hub.restored(newer)
    assert [event.revision for event in stream.seen[1]] == [2]
    world.run()
    assert [event.revision for event in stream.seen[1]] == [2, 3, 4]
