"""How many bytes entries take, encoded and as payload, without encoding them."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from etcdops.node.raft.types import Entry

ENTRY_OVERHEAD_BYTES_MAX = 30
"""An encoded entry is never longer than its data and this: three tags and varints, and the length of the data."""

_data_of = attrgetter("data")


def payload_size_bytes(entries: Sequence[Entry]) -> int:
    """The bytes of data in `entries`; empty entries weigh nothing, so a limit on this never refuses them."""
    return sum(map(len, map(_data_of, entries)))


def entry_size_bytes(entry: Entry) -> int:
    """The length of `entry` as raftpb.Entry. Source: etcd raft/raftpb raft.pb.go (3.5), Entry.Size."""
    size = len(entry.data)
    if size:
        size += 1 + _varint_size(size)
    return size + 3 + _varint_size(entry.type) + _varint_size(entry.term) + _varint_size(entry.index)


def entries_size_bytes(entries: Sequence[Entry]) -> int:
    """The encoded length of all `entries`."""
    return sum(map(entry_size_bytes, entries))


def count_within(entries: Sequence[Entry], size_max_bytes: int) -> int:
    """How many of `entries` fit into `size_max_bytes` encoded: at least one, when there is one.

    Source: etcd-io/raft util.go, limitSize.
    """
    count = len(entries)
    if payload_size_bytes(entries) + count * ENTRY_OVERHEAD_BYTES_MAX <= size_max_bytes:
        return count
    size = 0
    for position, entry in enumerate(entries):
        size += entry_size_bytes(entry)
        if size > size_max_bytes and position:
            return position
    return count


def _varint_size(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)
