"""One revision of one key, the form both formats are read as: everything that counts and hashes keys works on it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from google.protobuf.message import DecodeError

from etcdops.errors import SnapshotCorrupt
from etcdops.proto import mvccpb_pb2

_REVISION = struct.Struct(">QcQ")
_SEPARATOR = b"_"
_TOMBSTONE_MARK = b"t"
REVISION_MAX = (1 << 63) - 1
NO_COMPACTION = -1
"""etcd's compacted revision of a store that was never compacted."""


class Record(NamedTuple):
    """A put or a delete as the store keeps it. Records are ordered by (main, sub)."""

    main: int
    sub: int
    tombstone: bool
    kv: bytes
    """Encoded mvccpb.KeyValue; of a tombstone it holds the key only. Empty for the mark of a bumped revision."""

    def parsed(self) -> mvccpb_pb2.KeyValue:
        """The decoded KeyValue. Raises: SnapshotCorrupt - the bytes are none."""
        try:
            return mvccpb_pb2.KeyValue.FromString(self.kv)
        except DecodeError as error:
            raise SnapshotCorrupt(f"the key at revision {self.main}.{self.sub} cannot be decoded") from error


def encode_revision(main: int, sub: int = 0, *, tombstone: bool = False) -> bytes:
    """A revision as etcd keys it: 17 bytes, 18 for a tombstone.

    Source: etcd server/storage/mvcc/revision.go, RevToBytes.
    """
    return _REVISION.pack(main, _SEPARATOR, sub) + (_TOMBSTONE_MARK if tombstone else b"")


def decode_revision(key: bytes) -> tuple[int, int, bool]:
    """(main, sub, tombstone) of a key of etcd's `key` bucket. Raises: SnapshotCorrupt - it is no revision."""
    if len(key) in (17, 18):
        main, separator, sub = _REVISION.unpack_from(key)
        if separator == _SEPARATOR and key[17:] in (b"", _TOMBSTONE_MARK) and max(main, sub) <= REVISION_MAX:
            return main, sub, len(key) == 18
    raise SnapshotCorrupt(f"{key[:40]!r} is not a revision of a key")
