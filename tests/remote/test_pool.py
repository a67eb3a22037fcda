"""Many hosts: one session each, a bound on work, outcomes in order."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from etcdops.errors import EtcdopsError, Unreachable
from etcdops.remote.pool import Sessions, on_all
from etcdops.remote.session import Session


class Opened:
    """As much of a session as a pool touches."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.alive = True

    async def close(self) -> None:
        self.alive = False


class Way:
    """Connects, when told to."""

    def __init__(self) -> None:
        self.opened: list[Opened] = []
        self.gate = asyncio.Event()
        self.failure: EtcdopsError | None = None

    async def connect(self, host: str) -> Session:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.opened.append(Opened(host))
        return cast("Session", self.opened[-1])


async def test_a_host_has_one_session_however_many_ask_at_once() -> None:
    """And the same one later."""
    way = Way()
    sessions = Sessions(way.connect)
    asking = [asyncio.create_task(sessions.open("h1")) for _ in range(5)]
    await asyncio.sleep(0)
    way.gate.set()
    assert len(set(map(id, await asyncio.gather(*asking)))) == 1
    await sessions.open("h1")
    assert [opened.host for opened in way.opened] == ["h1"]
    await sessions.close()
    assert not way.opened[0].alive


async def test_a_broken_session_is_opened_again_and_a_failure_not_remembered() -> None:
    """The next one who asks tries again."""
    way = Way()
    way.gate.set()
    sessions = Sessions(way.connect)
    way.failure = Unreachable("h1 is off")
    with pytest.raises(Unreachable):
        await sessions.open("h1")
    way.failure = None
    first = await sessions.open("h1")
    way.opened[0].alive = False
    assert await sessions.open("h1") is not first


async def test_who_gives_up_waiting_does_not_take_the_session_from_others() -> None:
    """A cancelled caller leaves the connecting task alone."""
    way = Way()
    sessions = Sessions(way.connect)
    impatient, patient = asyncio.create_task(sessions.open("h1")), asyncio.create_task(sessions.open("h1"))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    way.gate.set()
    assert (await patient).host == "h1"


async def test_outcomes_come_in_the_order_of_asking_and_failures_stay_with_their_host() -> None:
    """Whoever is ready first; never more than the bound at work."""
    gates = [asyncio.Event() for _ in range(4)]
    at_work, most = 0, 0

    async def work(number: int) -> str:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await gates[number].wait()
        at_work -= 1
        if number == 1:
            raise EtcdopsError("h1 failed")
        return f"h{number}"

    running = asyncio.create_task(on_all(range(4), work, at_once=2))
    for number in (1, 0, 3, 2):
        gates[number].set()
        await asyncio.sleep(0)
    outcomes = await running
    assert [(one.subject, one.value, one.error and one.error.message) for one in outcomes] == [
        (0, "h0", None),
        (1, None, "h1 failed"),
        (2, "h2", None),
        (3, "h3", None),
    ]
    assert most == 2
