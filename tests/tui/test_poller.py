"""The poller: one look at a time, and no error ends it."""

from __future__ import annotations

import asyncio

import pytest
from textual.message import Message

from etcdops.clock import ManualClock
from etcdops.errors import UsageError
from etcdops.tui.poller import Looked, LookFailed, Poller
from tests.fakes.cluster_feed import START, FakeFeed, healthy


async def posted(feed: FakeFeed, count: int, *, interval_s: float = 3600.0) -> list[Message]:
    """The first `count` messages of a poller that is woken after each."""
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    poller = Poller(feed, inbox.put_nowait, interval_s=interval_s, clock=ManualClock(START))
    task = asyncio.create_task(poller.run())
    found = []
    for _ in range(count):
        found.append(await asyncio.wait_for(inbox.get(), 10))
        poller.wake()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return found


async def test_errors_are_posted_and_the_next_look_follows() -> None:
    """Expected ones with their words, unexpected ones with their kind too."""
    feed = FakeFeed(views=[UsageError("no endpoint given"), RuntimeError("boom"), healthy()])
    first, second, third = await posted(feed, 3)
    assert isinstance(first, LookFailed)
    assert first.reason == "no endpoint given"
    assert isinstance(second, LookFailed)
    assert second.reason == "RuntimeError: boom"
    assert isinstance(third, Looked)
    assert third.look.at_s == START


async def test_without_being_woken_it_looks_again_after_the_interval() -> None:
    feed = FakeFeed()
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    poller = Poller(feed, inbox.put_nowait, interval_s=0.01, clock=ManualClock(START))
    task = asyncio.create_task(poller.run())
    for _ in range(3):
        await asyncio.wait_for(inbox.get(), 10)
    task.cancel()
    assert feed.looks >= 3
