"""etcd's buckets: their names, and what the small ones hold. A file of the bundled node is read as the same buckets.

Source: etcd server/storage/schema bucket.go, cindex.go, membership.go, alarm.go, auth.go; server/storage/mvcc/store.go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol, cast

from google.protobuf.message import DecodeError

from etcdops.errors import SnapshotCorrupt
from etcdops.ids import LogIndex, MemberID, Term
from etcdops.proto import etcdserverpb_pb2
from etcdops.snapshot.facts import SnapshotAlarm, SnapshotFacts, SnapshotMember
from etcdops.snapshot.records import decode_revision

KEY = b"key"
META = b"meta"
LEASE = b"lease"
ALARM = b"alarm"
AUTH = b"auth"
AUTH_USERS = b"authUsers"
AUTH_ROLES = b"authRoles"
CLUSTER = b"cluster"
MEMBERS = b"members"
MEMBERS_REMOVED = b"members_removed"

CONSISTENT_INDEX = b"consistent_index"
TERM = b"term"
SCHEDULED_COMPACT = b"scheduledCompactRev"
FINISHED_COMPACT = b"finishedCompactRev"
STORAGE_VERSION = b"storageVersion"
CLUSTER_VERSION = b"clusterVersion"
AUTH_ENABLED = b"authEnabled"


class Buckets(Protocol):
    """What facts are read from: any snapshot file."""

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]: ...


def read_facts(file: Buckets) -> SnapshotFacts:
    """Everything but the keys. Raises: SnapshotCorrupt - the file is damaged or a value is not what etcd writes."""
    facts = SnapshotFacts(LogIndex(0), Term(0))
    for key, value in file.items(META):
        fill = _META_FIELDS.get(key)
        if fill is not None:
            facts = fill(facts, value)
    return replace(
        facts,
        cluster_version=_text(dict(file.items(CLUSTER)).get(CLUSTER_VERSION, b"")),
        members=tuple(_member(key, value) for key, value in file.items(MEMBERS)),
        removed_members=tuple(_hex_id(key) for key, _ in file.items(MEMBERS_REMOVED)),
        alarms=tuple(_alarm(key) for key, _ in file.items(ALARM)),
        lease_count=sum(1 for _ in file.items(LEASE)),
        auth_enabled=dict(file.items(AUTH)).get(AUTH_ENABLED) == b"\x01",
        users=tuple(_text(key) for key, _ in file.items(AUTH_USERS)),
        roles=tuple(_text(key) for key, _ in file.items(AUTH_ROLES)),
    )


_META_FIELDS: dict[bytes, Callable[[SnapshotFacts, bytes], SnapshotFacts]] = {
    CONSISTENT_INDEX: lambda facts, value: replace(facts, consistent_index=LogIndex(_number(value))),
    TERM: lambda facts, value: replace(facts, term=Term(_number(value))),
    SCHEDULED_COMPACT: lambda facts, value: replace(facts, scheduled_compact=decode_revision(value)[0]),
    FINISHED_COMPACT: lambda facts, value: replace(facts, finished_compact=decode_revision(value)[0]),
    STORAGE_VERSION: lambda facts, value: replace(facts, storage_version=_text(value)),
}


def _number(value: bytes) -> int:
    if len(value) != 8:
        raise SnapshotCorrupt(f"a number in its meta bucket has {len(value)} bytes instead of 8")
    return int.from_bytes(value, "big")


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _hex_id(key: bytes) -> MemberID:
    try:
        return MemberID(int(key, 16))
    except ValueError as error:
        raise SnapshotCorrupt(f"{key[:40]!r} is not a member ID") from error


def _member(key: bytes, value: bytes) -> SnapshotMember:
    try:
        fields = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise SnapshotCorrupt(f"member {key[:40]!r} cannot be decoded") from error
    if not isinstance(fields, dict):
        raise SnapshotCorrupt(f"member {key[:40]!r} is not an object")
    return SnapshotMember(
        id=_hex_id(key),
        name=str(fields.get("name", "")),
        peer_urls=_strings(fields.get("peerURLs")),
        client_urls=_strings(fields.get("clientURLs")),
        is_learner=bool(fields.get("isLearner", False)),
    )


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in cast("list[object]", value)) if isinstance(value, list) else ()


def _alarm(key: bytes) -> SnapshotAlarm:
    try:
        alarm = etcdserverpb_pb2.AlarmMember.FromString(key)
    except DecodeError as error:
        raise SnapshotCorrupt("an alarm cannot be decoded") from error
    names = etcdserverpb_pb2.AlarmType.values()
    known = alarm.alarm in names
    return SnapshotAlarm(
        MemberID(alarm.memberID),
        etcdserverpb_pb2.AlarmType.Name(alarm.alarm) if known else str(int(alarm.alarm)),
    )
