"""The quota at the door: requests that do not fit raise the NOSPACE alarm for this member and are refused.

Source: etcd server/etcdserver/api/v3rpc/quota.go, quotaAlarmer.check.
"""

from __future__ import annotations

import logging

from etcdops.ids import format_id
from etcdops.node.api.answer import Answer
from etcdops.node.api.errors import NO_SPACE
from etcdops.node.api.port import ServerPort
from etcdops.node.apply import wire
from etcdops.node.apply.alarms import Alarm, AlarmType
from etcdops.node.apply.outcome import Outcome
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb

log = logging.getLogger(__name__)


class QuotaGuard:
    """Asks the quota before a request is proposed, and raises the alarm when it, or the applier, says no."""

    def __init__(self, server: ServerPort) -> None:
        self._server = server
        self._quota = server.applier.quota
        self._raising = False
        server.applier.over_quota = self._raise_alarm

    def allows(self, cost_bytes: int, answer: Answer) -> bool:
        """Whether a request of this cost may go on. If not it has been answered with NO_SPACE."""
        if self._quota.available(cost_bytes):
            return True
        self._raise_alarm()
        answer.fail(NO_SPACE)
        return False

    def _raise_alarm(self) -> None:
        alarm = Alarm(self._server.member_id, AlarmType.NOSPACE)
        if self._raising or alarm in self._server.applier.alarms.raised(AlarmType.NOSPACE):
            return
        self._raising = True
        log.warning(
            "message exceeded backend quota; raising alarm",
            extra=fields(quota_size_bytes=self._quota.limit_bytes, local_member_id=format_id(alarm.member)),
        )
        request = pb.AlarmRequest(
            action=pb.AlarmRequest.ACTIVATE, memberID=alarm.member, alarm=pb.AlarmType.ValueType(alarm.type)
        )
        self._server.propose(wire.FIELD_ALARM, request.SerializeToString(), self._raised)

    def _raised(self, outcome: Outcome) -> None:
        self._raising = False
