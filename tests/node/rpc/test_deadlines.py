"""The wheel of deadlines."""

from __future__ import annotations

import random

from etcdops.node.rpc.deadlines import RESOLUTION_S, Deadlines


class Waiting:
    """Something with a deadline."""

    def __init__(self, name: str, expired: list[str]) -> None:
        self._name = name
        self._expired = expired

    def expire(self) -> None:
        self._expired.append(self._name)


def test_what_is_due_expires_and_nothing_else() -> None:
    """Never early, at most one resolution late, in order."""
    expired: list[str] = []
    alarms: list[float] = []
    deadlines = Deadlines(alarms.append)
    deadlines.add(100.0, Waiting("later", expired))
    deadlines.add(50.0, Waiting("sooner", expired))
    deadlines.expire(49.999)
    assert expired == []
    deadlines.expire(50.0 + RESOLUTION_S)
    assert expired == ["sooner"]
    deadlines.expire(200.0)
    assert expired == ["sooner", "later"]
    assert len(deadlines) == 0


def test_the_owner_is_woken_for_the_next_one() -> None:
    """An earlier deadline wakes earlier; dropped ones wake nobody."""
    alarms: list[float] = []
    deadlines = Deadlines(alarms.append)
    first = Waiting("first", [])
    bucket = deadlines.add(10.0, first)
    deadlines.add(20.0, Waiting("second", []))
    deadlines.add(5.0, Waiting("third", []))
    assert [round(alarm) for alarm in alarms] == [10, 5]
    deadlines.drop(bucket, first)
    deadlines.expire(6.0)
    assert round(alarms[-1]) == 20
    deadlines.drop(bucket, first)


def test_random_deadlines_all_expire_once() -> None:
    """Against a plain list."""
    rng = random.Random(7)
    expired: list[str] = []
    deadlines = Deadlines(lambda when: None)
    expected = set()
    for number in range(2_000):
        call = Waiting(str(number), expired)
        bucket = deadlines.add(rng.uniform(0, 10), call)
        if rng.random() < 0.5:
            deadlines.drop(bucket, call)
        else:
            expected.add(str(number))
    now = 0.0
    while now < 11:
        deadlines.expire(now)
        now += rng.uniform(0, 0.1)
    assert len(expired) == len(expected)
    assert set(expired) == expected
