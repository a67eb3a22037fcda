"""The order in which endpoints are tried."""

from __future__ import annotations

from etcdops.client.balancer import Balancer
from etcdops.clock import ManualClock


def test_endpoints_take_turns_and_those_that_failed_go_last_for_a_while() -> None:
    clock = ManualClock()
    balancer = Balancer(["a", "b", "c"], clock.monotonic)
    assert [balancer.order()[0] for _ in range(4)] == ["a", "b", "c", "a"]
    balancer.failed("b")
    assert [balancer.order()[-1] for _ in range(3)] == ["b", "b", "b"]
    clock.advance(Balancer.PENALTY_S)
    assert {balancer.order()[0] for _ in range(3)} == {"a", "b", "c"}


def test_the_endpoint_that_failed_longest_ago_is_the_better_of_two_bad_ones() -> None:
    clock = ManualClock()
    balancer = Balancer(["a", "b"], clock.monotonic)
    balancer.failed("a")
    clock.advance(1.0)
    balancer.failed("b")
    assert [balancer.order() for _ in range(2)] == [["a", "b"], ["a", "b"]]
    balancer.succeeded("b")
    assert balancer.order()[0] == "b"
