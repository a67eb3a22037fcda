"""The keys a client would see: what is alive at a revision, and how to compare it without holding every value."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from etcdops.proto import mvccpb_pb2
from etcdops.snapshot.file import SnapshotFile, records
from etcdops.snapshot.hashkv import newest_records


class KeyPrint(NamedTuple):
    """Enough of a key to tell whether it is the same one elsewhere, without its value."""

    create_revision: int
    mod_revision: int
    version: int
    lease: int
    value_digest: bytes

    @staticmethod
    def of(kv: mvccpb_pb2.KeyValue) -> KeyPrint:
        digest = hashlib.sha256(kv.value).digest()
        return KeyPrint(kv.create_revision, kv.mod_revision, kv.version, kv.lease, digest)


def live_keys(file: SnapshotFile, revision: int | None = None) -> Iterator[mvccpb_pb2.KeyValue]:
    """Every key alive at a revision (the newest by default) with its value, in the order of writing.

    A mark left by a bumped revision has an empty key, which no client can read; it is left out.
    """
    newest, _ = newest_records(records(file), revision)
    for record in records(file):
        kv = record.parsed()
        if kv.key and newest.get(kv.key) == (record.main, record.sub):
            yield kv


def key_prints(file: SnapshotFile) -> dict[bytes, KeyPrint]:
    """The live keys of a snapshot for comparing them with a cluster's."""
    return {kv.key: KeyPrint.of(kv) for kv in live_keys(file)}
