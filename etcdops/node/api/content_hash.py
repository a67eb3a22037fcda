"""The Hash RPC: one number over everything replicated, in etcd's buckets and order.

Source: etcd server/mvcc/backend/backend.go, backend.Hash; server/mvcc/kvstore.go, hashByRev's ignore list.
"""

from __future__ import annotations

from pathlib import Path

import crc32c

from etcdops.snapshot.buckets import CONSISTENT_INDEX, META, TERM
from etcdops.snapshot.node_file import NodeSnapshot

_LOCAL = frozenset({CONSISTENT_INDEX, TERM})
"""What may differ between members that hold the same."""


def content_hash(path: Path) -> int:
    """CRC-32C over each bucket's name, then its keys and values. For a background thread.

    Args: path is an image made by StateStore.write_snapshot. Raises: SnapshotCorrupt.
    """
    checksum = 0
    with NodeSnapshot(path) as image:
        for bucket in image.bucket_names:
            checksum = crc32c.crc32c(bucket, checksum)
            for key, value in image.items(bucket):
                if bucket != META or key not in _LOCAL:
                    checksum = crc32c.crc32c(key + value, checksum)
    return checksum
