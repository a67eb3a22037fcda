"""The small tables of a state: leases, alarms, members, users, single values. Rows are few, reads are whole tables.

Writes join the open transaction of the batch; callers keep what they need in memory.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import apsw

from etcdops.ids import LeaseID, MemberID
from etcdops.node.storage.batch import Batch
from etcdops.snapshot.sqlite_schema import to_signed, to_unsigned

MetaValue = int | str | bytes


class StoredLease(NamedTuple):
    """A lease as it is kept: seconds granted, and seconds left at its last checkpoint (0 = none taken)."""

    id: LeaseID
    ttl: int
    remaining_ttl: int


class StoredAlarm(NamedTuple):
    """An alarm that is raised: `type` is etcdserverpb.AlarmType's number."""

    member: MemberID
    type: int


class LeaseTable:
    """Granted leases by ID (signed 64-bit)."""

    def __init__(self, connection: apsw.Connection, batch: Batch) -> None:
        self._connection, self._batch = connection, batch

    def put(self, lease: StoredLease) -> None:
        """Add or replace."""
        self._batch.write("INSERT OR REPLACE INTO lease (id, ttl, remaining_ttl) VALUES (?, ?, ?)", lease)

    def delete(self, lease_id: LeaseID) -> None:
        """Remove; nothing happens when it is not there."""
        self._batch.write("DELETE FROM lease WHERE id = ?", (lease_id,))

    def all(self) -> list[StoredLease]:
        """Every lease, by ID."""
        rows = list(self._connection.execute("SELECT id, ttl, remaining_ttl FROM lease ORDER BY id"))
        return [StoredLease(*row) for row in rows]


class AlarmTable:
    """Raised alarms."""

    def __init__(self, connection: apsw.Connection, batch: Batch) -> None:
        self._connection, self._batch = connection, batch

    def put(self, alarm: StoredAlarm) -> None:
        """Raise; again is the same."""
        self._batch.write("INSERT OR IGNORE INTO alarm (member, type) VALUES (?, ?)", _signed(alarm))

    def delete(self, alarm: StoredAlarm) -> None:
        """Disarm; nothing happens when it is not raised."""
        self._batch.write("DELETE FROM alarm WHERE member = ? AND type = ?", _signed(alarm))

    def all(self) -> list[StoredAlarm]:
        """Every raised alarm, by type, then member."""
        rows = list(self._connection.execute("SELECT member, type FROM alarm"))
        alarms = [StoredAlarm(MemberID(to_unsigned(member)), kind) for member, kind in rows]
        return sorted(alarms, key=lambda alarm: (alarm.type, alarm.member))


class MemberTable:
    """The members of the cluster, as JSON text that the registry writes and reads, and the IDs that left it."""

    def __init__(self, connection: apsw.Connection, batch: Batch) -> None:
        self._connection, self._batch = connection, batch

    def put(self, member_id: MemberID, attributes: str) -> None:
        """Add or replace."""
        sql = "INSERT OR REPLACE INTO member (id, attributes) VALUES (?, ?)"
        self._batch.write(sql, (to_signed(member_id), attributes))

    def remove(self, member_id: MemberID) -> None:
        """Take a member out for good: its ID is remembered and never used again."""
        self._batch.write("DELETE FROM member WHERE id = ?", (to_signed(member_id),))
        self._batch.write("INSERT OR IGNORE INTO member_removed (id) VALUES (?)", (to_signed(member_id),))

    def all(self) -> dict[MemberID, str]:
        """Members by ID, in the order of IDs."""
        rows = list(self._connection.execute("SELECT id, attributes FROM member"))
        return dict(sorted((MemberID(to_unsigned(number)), attributes) for number, attributes in rows))

    def removed(self) -> set[MemberID]:
        """IDs of members that left."""
        return {
            MemberID(to_unsigned(number))
            for (number,) in list(self._connection.execute("SELECT id FROM member_removed"))
        }

    def is_removed(self, member_id: MemberID) -> bool:
        """Whether this member left."""
        return member_id in self.removed()

    def clear(self) -> None:
        """Forget all members and who left: a restored state starts a cluster of its own."""
        self._batch.write("DELETE FROM member", ())
        self._batch.write("DELETE FROM member_removed", ())


class AuthTable:
    """Users and roles by name, as encoded authpb messages."""

    def __init__(self, connection: apsw.Connection, batch: Batch) -> None:
        self._connection, self._batch = connection, batch

    def put_user(self, name: bytes, encoded: bytes) -> None:
        """Add or replace."""
        self._batch.write("INSERT OR REPLACE INTO auth_user (name, value) VALUES (?, ?)", (name, encoded))

    def delete_user(self, name: bytes) -> None:
        """Remove; nothing happens when it is not there."""
        self._batch.write("DELETE FROM auth_user WHERE name = ?", (name,))

    def users(self) -> dict[bytes, bytes]:
        """Every user, by name."""
        return dict(list(self._connection.execute("SELECT name, value FROM auth_user ORDER BY name")))

    def put_role(self, name: bytes, encoded: bytes) -> None:
        """Add or replace."""
        self._batch.write("INSERT OR REPLACE INTO auth_role (name, value) VALUES (?, ?)", (name, encoded))

    def delete_role(self, name: bytes) -> None:
        """Remove; nothing happens when it is not there."""
        self._batch.write("DELETE FROM auth_role WHERE name = ?", (name,))

    def roles(self) -> dict[bytes, bytes]:
        """Every role, by name."""
        return dict(list(self._connection.execute("SELECT name, value FROM auth_role ORDER BY name")))


class ValueTable:
    """Single named values, of `meta` or of `auth`."""

    def __init__(self, connection: apsw.Connection, batch: Batch, table: Literal["meta", "auth"]) -> None:
        self._connection, self._batch = connection, batch
        self._set = f"INSERT OR REPLACE INTO {table} (name, value) VALUES (?, ?)"  # noqa: S608 - table is one of two
        self._get = f"SELECT value FROM {table} WHERE name = ?"  # noqa: S608 - table is one of two
        self._delete = f"DELETE FROM {table} WHERE name = ?"  # noqa: S608 - table is one of two

    def put(self, name: str, value: MetaValue) -> None:
        """Set; numbers are signed 64-bit."""
        self._batch.write(self._set, (name, value))

    def get(self, name: str) -> MetaValue | None:
        """The value, None when it was never set."""
        rows: list[tuple[MetaValue]] = list(self._connection.execute(self._get, (name,)))
        return rows[0][0] if rows else None

    def number(self, name: str) -> int:
        """The value as a number, 0 when it was never set."""
        value = self.get(name)
        return value if isinstance(value, int) else 0

    def delete(self, name: str) -> None:
        """Forget it."""
        self._batch.write(self._delete, (name,))


def _signed(alarm: StoredAlarm) -> tuple[int, int]:
    return to_signed(alarm.member), alarm.type
