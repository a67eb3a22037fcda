"""Fake members and clients for the client's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from tests.fakes.etcd_server import FakeEtcd

StartFakes = Callable[[int], Awaitable[list[FakeEtcd]]]
MakeClient = Callable[..., Client]


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait until `condition()` is true, letting the event loop work; fails after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the condition is what another process or thread did
            await asyncio.sleep(0.01)


@pytest.fixture
async def fakes() -> AsyncIterator[StartFakes]:
    """Starts fake members: `first, second = await fakes(2)`."""
    started: list[FakeEtcd] = []

    async def start(count: int) -> list[FakeEtcd]:
        made = [FakeEtcd(member_id=0xA1 + len(started) + n) for n in range(count)]
        for member in made:
            await member.start()
        started.extend(made)
        return made

    yield start
    for member in started:
        await member.stop()


@pytest.fixture
async def make_client() -> AsyncIterator[MakeClient]:
    """Clients with short patience: `make_client(urls..., username=..., ...)`; all are closed afterwards."""
    made: list[Client] = []

    def make(*endpoints: str, **settings: object) -> Client:
        values: dict[str, object] = {"dial_timeout_s": 0.5, "command_timeout_s": 2.0} | settings
        client = Client(ConnectionSettings(endpoints=endpoints, **values))  # type: ignore[arg-type]  # the settings'
        made.append(client)
        return client

    yield make
    for client in made:
        await client.close()
