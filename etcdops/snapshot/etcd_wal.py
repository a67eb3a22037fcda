"""Reads etcd's write-ahead log, as far as it takes to say how far a dead member had come.

    frame    length u64: the low 56 bits are the record's size; with the top bit set, the low 3 bits of the top byte
             are the padding after it. Length 0 = the end (files are preallocated with zeros)
    record   walpb.Record{type, crc, data}; `crc` is the CRC-32C over the data of all records so far

Source: etcd server/storage/wal decoder.go, wal.go (ReadAll), walpb/record.go.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import crc32c
from google.protobuf.message import DecodeError

from etcdops.errors import SnapshotCorrupt
from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.proto import etcdserverpb_pb2, raftpb_pb2, walpb_pb2

_METADATA, _ENTRY, _STATE, _CRC = 1, 2, 3, 4
_SIZE_MASK = (1 << 56) - 1
_RECORD_SIZE_MAX = 512 << 20
_CHANGES_KEYS = frozenset({"put", "delete_range", "txn", "lease_revoke"})


@dataclass(frozen=True, slots=True)
class WalFacts:
    """How far a log goes. A record cut short at its end is how a crash looks, and simply ends it."""

    member_id: MemberID
    cluster_id: ClusterID
    last_index: LogIndex
    term: Term
    commit: LogIndex
    """The highest index this member knew to be committed."""
    changes_after: int
    """Entries after the asked index that may have changed keys: the revision can have grown by no more than this."""


def read_wal(folder: Path, *, after: LogIndex) -> WalFacts:
    """Read all log files of a stopped member, oldest first.

    Args: after - entries up to this index are applied already; later ones are counted.
    Raises: SnapshotCorrupt - there is no log, or it is damaged before its end.
    """
    paths = sorted(folder.glob("*.wal"))
    if not paths:
        raise SnapshotCorrupt(f"{folder} holds no write-ahead log")
    try:
        return _gather(_records(paths), after)
    except DecodeError as error:
        raise SnapshotCorrupt(f"{folder} is damaged: a record holds something else than its type says") from error


def identity_at(head: bytes) -> tuple[MemberID, ClusterID] | None:
    """Whose log a file is, from its first kilobyte; None when that is no log of etcd's.

    Source: etcd server/storage/wal/wal.go, cut and Create: every file begins with its checksum and the metadata.
    """
    try:
        for record in _file_records(io.BytesIO(head), is_last=True, name="the log"):
            if record.type == _METADATA:
                identity = walpb_pb2.Snapshot.FromString(record.data)
                return MemberID(identity.index), ClusterID(identity.term)
    except (DecodeError, SnapshotCorrupt):
        pass
    return None


def _gather(records: Iterator[tuple[int, bytes]], after: LogIndex) -> WalFacts:
    member = cluster = last = term = commit = 0
    changes: dict[int, bool] = {}
    for kind, data in records:
        if kind == _METADATA:
            # etcdserverpb.Metadata{1 NodeID, 2 ClusterID} has the fields of a walpb.Snapshot{1 index, 2 term}.
            identity = walpb_pb2.Snapshot.FromString(data)
            member, cluster = identity.index, identity.term
        elif kind == _STATE:
            state = raftpb_pb2.HardState.FromString(data)
            term, commit = max(term, state.term), max(commit, state.commit)
        elif kind == _ENTRY:
            entry = raftpb_pb2.Entry.FromString(data)
            last, term = entry.Index, max(term, entry.Term)
            if entry.Index > after:
                changes[entry.Index] = _may_change_keys(entry)
    return WalFacts(
        MemberID(member),
        ClusterID(cluster),
        LogIndex(last),
        Term(term),
        LogIndex(commit),
        # An entry written again replaces the later ones.
        sum(changed for index, changed in changes.items() if index <= last),
    )


def _may_change_keys(entry: raftpb_pb2.Entry) -> bool:
    if entry.Type != raftpb_pb2.EntryNormal or not entry.Data:
        return False
    try:
        request = etcdserverpb_pb2.InternalRaftRequest.FromString(entry.Data)
    except DecodeError:
        return True
    return any(field.name in _CHANGES_KEYS for field, _ in request.ListFields())


def _records(paths: list[Path]) -> Iterator[tuple[int, bytes]]:
    checksum = 0
    for path in paths:
        with path.open("rb") as file:
            for record in _file_records(file, is_last=path is paths[-1], name=str(path)):
                if record.type == _CRC:
                    if checksum and record.crc != checksum:
                        raise SnapshotCorrupt(f"{path} does not follow the file before it")
                    checksum = record.crc
                    continue
                checksum = crc32c.crc32c(record.data, checksum)
                if record.crc != checksum:
                    if path is paths[-1]:
                        return
                    raise SnapshotCorrupt(f"{path} is damaged: a record has a wrong checksum")
                yield record.type, record.data


def _file_records(file: BinaryIO, *, is_last: bool, name: str) -> Iterator[walpb_pb2.Record]:
    while len(header := file.read(8)) == 8:
        length = int.from_bytes(header, "little")
        if length == 0:
            return
        size = length & _SIZE_MASK
        padding = length >> 56 & 7 if length >> 63 else 0
        if size > _RECORD_SIZE_MAX:
            raise SnapshotCorrupt(f"{name} is damaged: a record of {size} bytes")
        data = file.read(size)
        file.read(padding)
        try:
            record = walpb_pb2.Record.FromString(data)
        except DecodeError as error:
            if is_last:
                return
            raise SnapshotCorrupt(f"{name} is damaged: a record cannot be decoded") from error
        if len(data) < size:
            return
        yield record
