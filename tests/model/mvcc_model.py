"""MVCC as its definition says it: a list of all changes ever made, and everything computed from it anew.

Written from etcd's semantics without a look at the store, slow on purpose. Protobuf encodes, etcd's rules hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import crc32c

from etcdops.proto import mvccpb_pb2


class Put(NamedTuple):
    """One write of a transaction."""

    key: bytes
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """One deletion of a transaction; range_end as in the API."""

    key: bytes
    range_end: bytes = b""


Operation = Put | Delete


class Change(NamedTuple):
    """One stored revision of a key; kv is None for a deletion."""

    main: int
    sub: int
    key: bytes
    kv: bytes | None


class CompactedError(Exception):
    """The revision is below the compacted one."""


class FutureError(Exception):
    """The revision is above the current one."""


def in_range(key: bytes, start: bytes, range_end: bytes) -> bool:
    """Whether a key is in [start, range_end), by the API's convention."""
    if not range_end:
        return key == start
    return key >= start and (range_end == b"\0" or key < range_end)


@dataclass
class MvccModel:
    """`changes` is never shortened: what a compaction leaves is computed too."""

    changes: list[Change] = field(default_factory=list)
    revision: int = 1
    compacted: int = -1

    def copy(self) -> MvccModel:
        """A model that goes its own way from here."""
        return MvccModel(list(self.changes), self.revision, self.compacted)

    # --- writes ---

    def apply(self, operations: Sequence[Operation]) -> list[Change]:
        """One transaction; returns its changes in order."""
        made: list[Change] = []
        main = self.revision + 1
        for operation in operations:
            alive = self._alive([*self.changes, *made])
            if isinstance(operation, Put):
                old = alive.get(operation.key)
                kv = mvccpb_pb2.KeyValue(
                    key=operation.key,
                    create_revision=old.create_revision if old else main,
                    mod_revision=main,
                    version=old.version + 1 if old else 1,
                    value=operation.value,
                    lease=operation.lease,
                )
                made.append(Change(main, len(made), operation.key, kv.SerializeToString(deterministic=True)))
            else:
                for key in sorted(alive):
                    if in_range(key, operation.key, operation.range_end):
                        made.append(Change(main, len(made), key, None))
        if made:
            self.changes += made
            self.revision = main
        return made

    def compact(self, revision: int) -> None:
        if revision <= self.compacted:
            raise CompactedError
        if revision > self.revision:
            raise FutureError
        self.compacted = revision

    # --- reads ---

    def range(self, start: bytes, range_end: bytes, revision: int, limit: int) -> tuple[list[bytes], int]:
        if revision > self.revision:
            raise FutureError
        if 0 < revision < self.compacted:
            raise CompactedError
        return self.read(self.changes, start, range_end, revision if revision > 0 else self.revision, limit)

    def read(
        self, changes: Sequence[Change], start: bytes, range_end: bytes, revision: int, limit: int
    ) -> tuple[list[bytes], int]:
        """Pairs and their count in a history that need not be the model's own."""
        alive = self._alive([change for change in changes if change.main <= revision])
        found = [
            alive[key].SerializeToString(deterministic=True) for key in sorted(alive) if in_range(key, start, range_end)
        ]
        return found[:limit] if limit > 0 else found, len(found)

    def kv_before(self, key: bytes, revision: int) -> bytes | None:
        if revision - 1 < self.compacted:
            return None
        found, _ = self.read(self.changes, key, b"", revision - 1, 0)
        return found[0] if found else None

    def events(self, low: int, high: int) -> list[Change]:
        if low < self.compacted:
            raise CompactedError
        return [change for change in self.kept(self.compacted) if low <= change.main < high]

    def leases(self) -> list[tuple[bytes, int]]:
        alive = self._alive(self.changes)
        return [(key, alive[key].lease) for key in sorted(alive) if alive[key].lease]

    # --- compaction and hash ---

    def kept(self, revision: int) -> list[Change]:
        """What is there after a compaction to `revision`: C07, C08."""
        newest = {change.key: change for change in self.changes if change.main <= revision}
        return [
            change
            for change in self.changes
            if change.main > revision
            or (newest[change.key] == change and (change.kv is not None or change.main == revision))
        ]

    def hash_kv(self, revision: int) -> tuple[int, int, int]:
        """Source: etcd server/storage/mvcc/hash.go, kvHasher."""
        if 0 < revision < self.compacted:
            raise CompactedError
        if revision > self.revision:
            raise FutureError
        revision = revision or self.revision
        newest = {change.key: change for change in self.changes if change.main <= revision}
        keep = {change[:2] for change in newest.values() if change.kv is not None}
        checksum = crc32c.crc32c(b"key")
        for change in self.kept(self.compacted):
            if change.main > revision:
                continue
            if change.main <= self.compacted and keep and change[:2] not in keep:
                continue
            if change.main == self.compacted and change.kv is None:
                continue
            stored = change.main.to_bytes(8, "big") + b"_" + change.sub.to_bytes(8, "big")
            if change.kv is None:
                stored += b"t" + mvccpb_pb2.KeyValue(key=change.key).SerializeToString()
            else:
                stored += change.kv
            checksum = crc32c.crc32c(stored, checksum)
        return checksum, self.compacted, revision

    @staticmethod
    def _alive(changes: Sequence[Change]) -> dict[bytes, mvccpb_pb2.KeyValue]:
        newest = {change.key: change.kv for change in changes}
        return {key: mvccpb_pb2.KeyValue.FromString(kv) for key, kv in newest.items() if kv is not None}
