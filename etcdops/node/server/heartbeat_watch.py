"""Notices a leader that is late with its heartbeats: its disk is slow, or its event loop was busy with something else.

Late heartbeats are how a cluster loses its leader under load, so this line is the first thing to look for then.
Source: etcd server/etcdserver/raft.go, raftNode.processMessages; pkg/contention.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from etcdops.ids import MemberID, format_id
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

LATE_INTERVALS = 2
"""A heartbeat later than this many intervals after the last one is late."""


class HeartbeatWatch:
    """When each follower was last sent a heartbeat."""

    def __init__(self, interval_s: float, metrics: NodeMetrics) -> None:
        self._interval_s = interval_s
        self._metrics = metrics
        self._sent: dict[MemberID, float] = {}

    def reset(self) -> None:
        """Leadership changed: heartbeats from before say nothing about those to come."""
        self._sent.clear()

    def sent(self, to: MemberID, now: float) -> None:
        """A heartbeat goes out. Args: now is monotonic seconds."""
        before = self._sent.get(to)
        self._sent[to] = now
        expected_s = LATE_INTERVALS * self._interval_s
        if before is None or now - before <= expected_s:
            return
        self._metrics.heartbeat_send_failures += 1
        log.warning(
            "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk",
            extra=fields(
                to=format_id(to),
                heartbeat_interval=timedelta(seconds=self._interval_s),
                expected_duration=timedelta(seconds=expected_s),
                exceeded_duration=timedelta(seconds=now - before - expected_s),
            ),
        )
