"""One watcher, the stream it belongs to, and finding the watchers of a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from etcdops.ids import Revision
from etcdops.node.storage.reading import Event, EventType
from etcdops.node.watch.intervals import Intervals


class WatchStream(Protocol):
    """Where a watcher's events go; many watchers share one. Implemented by the Watch service."""

    @property
    def writable(self) -> bool:
        """False while what was sent before waits to be read: the hub then holds events back (in the store)."""

    def deliver(self, watcher: Watcher, revision: Revision, events: Sequence[Event]) -> None:
        """Send events, never none; `watcher` has then seen everything up to `revision`."""

    def compacted(self, watcher: Watcher, compact_revision: Revision) -> None:
        """The history `watcher` still needs is gone; it has been removed from the hub."""


class Watcher:
    """What somebody wants to see. `end` is b"" for one key, None for every key from `key` on, else exclusive."""

    __slots__ = ("end", "id", "key", "min_revision", "no_delete", "no_put", "stream", "synced")

    def __init__(
        self,
        stream: WatchStream,
        watch_id: int,
        key: bytes,
        end: bytes | None,
        *,
        no_put: bool = False,
        no_delete: bool = False,
    ) -> None:
        self.stream = stream
        self.id = watch_id
        self.key = key
        self.end = end
        self.no_put = no_put
        self.no_delete = no_delete
        self.min_revision = Revision(0)
        """Invariant: every matching event below it was delivered, none at or above it (unless `synced`, see hub)."""
        self.synced = False

    @property
    def filtered(self) -> frozenset[EventType]:
        """Kinds of changes it does not want to see."""
        kinds = {EventType.PUT: self.no_put, EventType.DELETE: self.no_delete}
        return frozenset(kind for kind, unwanted in kinds.items() if unwanted)


class WatcherGroup:
    """Watchers by what they watch, so that an event finds its watchers without asking the others."""

    def __init__(self) -> None:
        # Dicts are ordered sets here: equal histories deliver in equal order.
        self._members: dict[Watcher, None] = {}
        self._keys: dict[bytes, dict[Watcher, None]] = {}
        self._ranges: Intervals[dict[Watcher, None]] = Intervals()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, watcher: Watcher) -> bool:
        return watcher in self._members

    def watchers(self) -> list[Watcher]:
        """All of them, in the order they were added."""
        return list(self._members)

    def add(self, watcher: Watcher) -> None:
        self._members[watcher] = None
        if watcher.end == b"":
            self._keys.setdefault(watcher.key, {})[watcher] = None
            return
        covered = (watcher.key, watcher.end)
        group = self._ranges.get(covered)
        if group is None:
            self._ranges.add(covered, {watcher: None})
        else:
            group[watcher] = None

    def remove(self, watcher: Watcher) -> None:
        """Take out a watcher that is in."""
        del self._members[watcher]
        if watcher.end == b"":
            group = self._keys[watcher.key]
            del group[watcher]
            if not group:
                del self._keys[watcher.key]
            return
        covered = (watcher.key, watcher.end)
        of_range = self._ranges.get(covered)
        if of_range is not None:
            del of_range[watcher]
            if not of_range:
                self._ranges.remove(covered)

    def matching(self, events: Sequence[Event]) -> dict[Watcher, Sequence[Event]]:
        """The events each watcher wants by key and filters, in their order; watchers without any are left out.

        Watchers of the same range without filters get the same list, so that it need be encoded only once.
        """
        of_group: dict[int, tuple[dict[Watcher, None], list[Event]]] = {}
        for event in events:
            single = self._keys.get(event.key)
            if single:
                of_group.setdefault(id(single), (single, []))[1].append(event)
            if self._ranges:
                for group in self._ranges.covering(event.key):
                    of_group.setdefault(id(group), (group, []))[1].append(event)
        wanted: dict[Watcher, Sequence[Event]] = {}
        for group, found in of_group.values():
            for watcher in group:
                if watcher.no_put or watcher.no_delete:
                    unwanted = watcher.filtered
                    chosen = [event for event in found if event.type not in unwanted]
                    if chosen:
                        wanted[watcher] = chosen
                else:
                    wanted[watcher] = found
        return wanted
