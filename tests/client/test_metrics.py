"""Reading etcd's /metrics page, and what happened between two readings."""

from __future__ import annotations

import pytest

from etcdops.client.metrics import (
    COMMIT,
    PROPOSALS,
    QUOTA,
    Histogram,
    MemberMetrics,
    keep_window,
    parse_metrics,
    rates_between,
)

PAGE = """
# HELP etcd_disk_backend_commit_duration_seconds The latency distributions of commit called by backend.
# TYPE etcd_disk_backend_commit_duration_seconds histogram
etcd_disk_backend_commit_duration_seconds_bucket{le="0.001"} 10
etcd_disk_backend_commit_duration_seconds_bucket{le="0.002"} 90
etcd_disk_backend_commit_duration_seconds_bucket{le="+Inf"} 100
etcd_disk_backend_commit_duration_seconds_sum 0.3
etcd_disk_backend_commit_duration_seconds_count 100
# TYPE etcd_network_peer_round_trip_time_seconds histogram
etcd_network_peer_round_trip_time_seconds_bucket{To="8e9e05c52164694d",le="0.0001"} 0
etcd_network_peer_round_trip_time_seconds_bucket{To="8e9e05c52164694d",le="+Inf"} 3
# TYPE etcd_server_proposals_committed_total gauge
etcd_server_proposals_committed_total 1.2e+03
# TYPE etcd_server_quota_backend_bytes gauge
etcd_server_quota_backend_bytes 2.147483648e+09
# TYPE go_goroutines gauge
go_goroutines 120
broken line that nobody asked for
"""


def test_only_the_families_of_interest_are_read() -> None:
    """A page has some 1,500 lines; the rest of it may be anything."""
    reading = parse_metrics(PAGE, taken_at_s=5.0)
    assert reading.numbers == {PROPOSALS: 1200.0, QUOTA: 2147483648.0}
    assert reading.histogram(COMMIT).counts == (10.0, 90.0, 100.0)
    assert list(reading.peer_rtt) == ["8e9e05c52164694d"]


def test_a_quantile_is_interpolated_inside_its_bucket() -> None:
    histogram = Histogram((1.0, 2.0, 4.0, float("inf")), (0.0, 50.0, 100.0, 100.0))
    assert histogram.quantile(0.5) == pytest.approx(2.0)
    assert histogram.quantile(0.75) == pytest.approx(3.0)
    assert Histogram((1.0, float("inf")), (0.0, 10.0)).quantile(0.99) == 1.0
    assert Histogram().quantile(0.99) is None


def test_rates_are_of_the_time_between_two_readings() -> None:
    """Counters since the start of the process say nothing about now."""
    bounds = (0.001, 0.01, float("inf"))
    old = MemberMetrics(0.0, {PROPOSALS: 100.0}, {COMMIT: Histogram(bounds, (1000.0, 1000.0, 1000.0))})
    new = MemberMetrics(10.0, {PROPOSALS: 150.0}, {COMMIT: Histogram(bounds, (1000.0, 1010.0, 1010.0))})
    rates = rates_between(old, new)
    assert rates.proposals_per_s == pytest.approx(5.0)
    assert rates.commit_p99_s is not None
    assert 0.009 < rates.commit_p99_s <= 0.01
    assert rates.fsync_p99_s is None


def test_a_restarted_member_gives_no_negative_rates() -> None:
    """Its counters began at nothing again."""
    bounds = (0.001, float("inf"))
    old = MemberMetrics(0.0, {PROPOSALS: 1000.0}, {COMMIT: Histogram(bounds, (500.0, 500.0))})
    new = MemberMetrics(10.0, {PROPOSALS: 3.0}, {COMMIT: Histogram(bounds, (2.0, 2.0))})
    rates = rates_between(old, new)
    assert rates.proposals_per_s is None
    assert rates.commit_p99_s == pytest.approx(0.00099)


def test_the_window_keeps_one_reading_before_it() -> None:
    """So that rates always cover the whole window, and memory stays bounded."""
    readings = [MemberMetrics(float(at)) for at in range(0, 200, 10)]
    kept = keep_window(readings, 190.0)
    assert [reading.taken_at_s for reading in kept] == [130.0, 140.0, 150.0, 160.0, 170.0, 180.0, 190.0]
