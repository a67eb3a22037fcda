"""One transaction on the keys: all its changes share a main revision and are numbered in the order they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdops.ids import LeaseID, Revision
from etcdops.node.storage.errors import TooManyChanges
from etcdops.node.storage.reading import CurrentRow, Event, EventType, kind_of
from etcdops.snapshot.keyvalue import encode, encode_deleted
from etcdops.snapshot.sqlite_schema import SUB_BITS, SUB_MAX

if TYPE_CHECKING:
    from etcdops.node.storage.batch import Bindings
    from etcdops.node.storage.mvcc import Mvcc, RangeResult

_NEWEST = "SELECT rev, create_rev, version FROM current WHERE key = ?"
_ADD_CHANGE = "INSERT INTO revision (rev, key, prev, kv) VALUES (?, ?, ?, ?)"
_ADD_KEY = "INSERT INTO current (rev, create_rev, version, lease, key) VALUES (?, ?, ?, ?, ?)"
_MOVE_KEY = "UPDATE current SET rev = ?, create_rev = ?, version = ?, lease = ? WHERE key = ?"
_BURY_KEY = "UPDATE current SET rev = ?, create_rev = 0, version = 0, lease = 0 WHERE key = ?"
_ALIVE = {
    "one": "SELECT key, rev FROM current WHERE key = ? AND version > 0",
    "open": "SELECT key, rev FROM current WHERE key >= ? AND version > 0 ORDER BY key",
    "closed": "SELECT key, rev FROM current WHERE key >= ? AND key < ? AND version > 0 ORDER BY key",
}


class WriteTxn:
    """Made by `Mvcc.begin`, finished by `end` or `abort`; at most one is open at a time.

    Reads within it see its writes. A StorageFailed in any call leaves it to be aborted.
    """

    def __init__(self, store: Mvcc, main: Revision) -> None:
        self._store = store
        self._batch = store.batch
        self._read = store.execute
        self._main = main
        self._first = main << SUB_BITS
        self._events: list[Event] = []
        self._mark = store.batch.mark()

    @property
    def revision(self) -> Revision:
        """The revision a response to this transaction names: the new one after a change, else the store's."""
        return self._main if self._events else Revision(self._main - 1)

    def __len__(self) -> int:
        """Changes so far."""
        return len(self._events)

    def put(self, key: bytes, value: bytes, lease_id: LeaseID) -> bytes:
        """Write a pair; returns it encoded. Raises: TooManyChanges, StorageFailed."""
        rev = self._next_rev(1)
        rows: list[tuple[int, int, int]] = list(self._read(_NEWEST, (key,)))
        if rows:
            prev, create_rev, version = rows[0]
            if version == 0:
                create_rev = rev
            version += 1
            move = _MOVE_KEY
        else:
            prev, create_rev, version, move = 0, rev, 1, _ADD_KEY
        created = create_rev >> SUB_BITS
        kv = encode(key, created, self._main, version, value, lease_id)
        write = self._batch.write
        write(_ADD_CHANGE, (rev, key, prev, kv))
        write(move, (rev, create_rev, version, lease_id, key))
        self._events.append(Event(EventType.PUT, kv, key, self._main, rev & SUB_MAX, created == self._main, prev))
        return kv

    def delete_range(self, key: bytes, range_end: bytes) -> list[bytes]:
        """Delete the keys of a range, in key order; returns them. Raises: TooManyChanges, StorageFailed."""
        kind = kind_of(range_end)
        bindings = (key, range_end) if kind == "closed" else (key,)
        alive: list[tuple[bytes, int]] = list(self._read(_ALIVE[kind], bindings))
        if not alive:
            return []
        rev = self._next_rev(len(alive))
        buried: list[Bindings] = []
        changes: list[Bindings] = []
        for found, prev in alive:
            changes.append((rev, found, prev, None))
            buried.append((rev, found))
            shown = encode_deleted(found, self._main)
            self._events.append(Event(EventType.DELETE, shown, found, self._main, rev & SUB_MAX, False, prev))
            rev += 1
        self._batch.write_many(_ADD_CHANGE, changes)
        self._batch.write_many(_BURY_KEY, buried)
        return [found for found, _ in alive]

    def get(self, key: bytes) -> CurrentRow | None:
        """The key as this transaction sees it."""
        return self._store.get(key)

    def range(
        self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        """As `Mvcc.range`, with this transaction's writes: revision 0 and its own revision see them."""
        return self._store.range_in(self.revision, key, range_end, revision, limit, count_only)

    def end(self) -> list[Event]:
        """Finish: the store's revision rises by one if anything changed. Returns the changes in order."""
        self._store.finish(self._main if self._events else None)
        return self._events

    def abort(self) -> None:
        """Undo everything this transaction did. Raises: StorageFailed - the store must not be used any more."""
        self._batch.rewind(self._mark)
        self._events.clear()
        self._store.finish(None)

    def _next_rev(self, count: int) -> int:
        sub = len(self._events)
        if sub + count > SUB_MAX + 1:
            raise TooManyChanges(
                f"one transaction cannot change {sub + count} keys",
                cause=f"the changes of a transaction are numbered up to {SUB_MAX}",
                hint="delete in smaller ranges",
            )
        return self._first | sub
