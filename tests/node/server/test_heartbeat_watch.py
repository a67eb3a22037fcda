"""Late heartbeats are told in etcd's words, once for each follower and occasion."""

from __future__ import annotations

import logging

import pytest

from etcdops.ids import MemberID
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.server.heartbeat_watch import HeartbeatWatch

BOB, CAROL = MemberID(0xB), MemberID(0xC)


@pytest.fixture
def metrics() -> NodeMetrics:
    return NodeMetrics()


@pytest.fixture
def watch(metrics: NodeMetrics) -> HeartbeatWatch:
    return HeartbeatWatch(0.1, metrics)


def test_heartbeats_on_time_say_nothing(watch: HeartbeatWatch, metrics: NodeMetrics) -> None:
    """Up to two intervals are on time (etcd pkg/contention); the first one cannot be late."""
    for now in (50.0, 50.1, 50.3, 50.4):
        watch.sent(BOB, now)
        watch.sent(CAROL, now)
    assert metrics.heartbeat_send_failures == 0


def test_a_late_heartbeat_is_counted_and_told(
    watch: HeartbeatWatch, metrics: NodeMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    """With how late it was, for each follower."""
    for now in (0.0, 0.55, 0.65):
        for member in (BOB, CAROL):
            watch.sent(member, now)
    assert metrics.heartbeat_send_failures == 2
    lines = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 2
    assert lines[0].getMessage().startswith("leader failed to send out heartbeat on time")
    found: dict[str, object] = lines[0].__dict__["zap_fields"]
    assert found["to"] == "b"
    assert str(found["exceeded-duration"]) == "0:00:00.350000"


def test_the_time_between_two_leaderships_is_not_late(watch: HeartbeatWatch, metrics: NodeMetrics) -> None:
    """A member that leads again after a while was not late: it did not lead."""
    watch.sent(BOB, 0.0)
    watch.reset()
    watch.sent(BOB, 60.0)
    assert metrics.heartbeat_send_failures == 0
