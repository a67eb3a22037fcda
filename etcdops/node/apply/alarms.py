"""Alarms: which members are out of space or disagree with the others. Replicated, and stored with the data."""

from __future__ import annotations

import enum
from typing import NamedTuple

from etcdops.ids import MemberID
from etcdops.node.storage.tables import AlarmTable, StoredAlarm


class AlarmType(enum.IntEnum):
    """etcdserverpb.AlarmType."""

    NONE = 0
    NOSPACE = 1
    CORRUPT = 2


class Alarm(NamedTuple):
    """One raised alarm."""

    member: MemberID
    type: AlarmType


class Alarms:
    """The raised alarms of the whole cluster.

    Source: etcd server/etcdserver/api/v3alarm/alarms.go.
    """

    def __init__(self, table: AlarmTable) -> None:
        self._table = table
        self._raised: set[Alarm] = set()
        self.no_space = False
        """Some member is over its quota: nobody may add data."""
        self.corrupt = False
        """Some member's data differs: nobody may change data."""

    def recover(self, table: AlarmTable) -> None:
        """Take what is stored, instead of everything known so far."""
        self._table = table
        self._raised = {Alarm(stored.member, AlarmType(stored.type)) for stored in table.all()}
        self._update()

    def raised(self, alarm_type: AlarmType = AlarmType.NONE) -> list[Alarm]:
        """Those of one type, or all; by type and member."""
        return sorted(
            (alarm for alarm in self._raised if alarm_type in (AlarmType.NONE, alarm.type)),
            key=lambda alarm: (alarm.type, alarm.member),
        )

    def activate(self, alarm: Alarm) -> bool:
        """Raise an alarm; a raised one stays. Returns: whether it is new."""
        if alarm in self._raised:
            return False
        self._raised.add(alarm)
        self._table.put(StoredAlarm(alarm.member, alarm.type))
        self._update()
        return True

    def deactivate(self, alarm: Alarm) -> bool:
        """Take an alarm back. Returns: whether it was raised."""
        if alarm not in self._raised:
            return False
        self._raised.remove(alarm)
        self._table.delete(StoredAlarm(alarm.member, alarm.type))
        self._update()
        return True

    def _update(self) -> None:
        self.no_space = any(alarm.type is AlarmType.NOSPACE for alarm in self._raised)
        self.corrupt = any(alarm.type is AlarmType.CORRUPT for alarm in self._raised)
