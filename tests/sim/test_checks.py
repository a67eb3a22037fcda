"""The checks of histories are tested on histories that were made wrong by hand."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.broken import Broken
from tests.model.history import Call, check_calls
from tests.model.watched import Watched, check_watched
from tests.sim.checks import Truth
from tests.sim.cluster import SimCluster
from tests.sim.plan import draw_plan
from tests.sim.run import run_plan

SEED = 1
EVENTS_MIN = 30
BROKEN_PER_KIND = 40


class World:
    """One good run."""

    def __init__(self, seed: int = SEED) -> None:
        options, faults = draw_plan(seed, short=True)
        kept: list[SimCluster] = []
        verdict = run_plan(options, faults, inspect=kept.append)
        assert not verdict.failure
        self.truth: Truth = kept[0].truth
        self.calls: list[Call] = kept[0].calls
        self.watched: list[Watched] = max(
            ([one] for one in kept[0].watched), key=lambda group: len(group[0].events), default=[]
        )


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def watching() -> World:
    """A run in which a watcher saw a lot."""
    for seed in range(SEED, 60):
        found = World(seed)
        if found.watched and len(found.watched[0].events) >= EVENTS_MIN:
            return found
    pytest.fail("no seed shows a watcher enough")


def _writes(world: World) -> list[Call]:
    """Answered writes that changed something."""
    committed = world.truth.by_revision
    return [
        call
        for call in world.calls
        if call.answered
        and call.revision in committed
        and (done := committed[call.revision].done) is not None
        and (done.field, done.request) == (call.kind, call.request)
    ]


def _reads(world: World) -> list[Call]:
    return [call for call in world.calls if call.answered and call.kind == "range" and not call.serializable]


def _stale(world: World, draw: random.Random) -> list[Call]:
    """A read that answers, rightly, for a moment before the last write that was answered before it began."""
    model = world.truth.model
    last = max(_writes(world), key=lambda call: call.revision)
    request = pb.RangeRequest(key=b"k", range_end=b"l")
    past = draw.randrange(1, last.revision)
    stale = Call(
        "c9", "range", request.SerializeToString(deterministic=True), last.returned + 0.1, "m9", 1,
        returned=last.returned + 0.2, revision=past,
    )  # fmt: skip
    stale.answer = model.range(request, past).SerializeToString(deterministic=True)
    return [*world.calls, stale]


def _other_answer(world: World, draw: random.Random) -> list[Call]:
    """A read that saw a key that nobody wrote."""
    read = draw.choice(_reads(world))
    answer = pb.RangeResponse.FromString(read.answer)
    answer.kvs.add(key=b"k0", value=b"never", mod_revision=1)
    return _with(world, read, replace(read, answer=answer.SerializeToString(deterministic=True)))


def _other_revision(world: World, draw: random.Random) -> list[Call]:
    """A write whose answer names the revision of another one."""
    write = draw.choice(_writes(world))
    return _with(world, write, replace(write, revision=write.revision + draw.choice((-1, 1))))


def _never_asked(world: World, draw: random.Random) -> list[Call]:
    """The log has a write that no client asked for."""
    write = draw.choice(_writes(world))
    return [call for call in world.calls if call.request != write.request]


def _asked_too_late(world: World, draw: random.Random) -> list[Call]:
    """A write took effect before it was asked for."""
    write = draw.choice(_writes(world))
    at = world.truth.by_revision[write.revision].at + 0.001
    others = [call for call in world.calls if call.request != write.request]
    return [*others, replace(write, called=at, returned=max(write.returned, at + 0.01))]


def _answered_too_early(world: World, draw: random.Random) -> list[Call]:
    """A write was answered before any member had applied it."""
    write = draw.choice(_writes(world))
    at = world.truth.by_revision[write.revision].at - 0.0001
    return _with(world, write, replace(write, called=min(write.called, at - 0.001), returned=at))


def _with(world: World, old: Call, new: Call) -> list[Call]:
    return [new if call is old else call for call in world.calls]


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong", [_stale, _other_answer, _other_revision, _never_asked, _asked_too_late, _answered_too_early]
)
def test_a_history_made_wrong_is_refused(world: World, wrong: Callable[[World, random.Random], list[Call]]) -> None:
    """Goal: a checker that cannot fail proves nothing."""
    check_calls(world.calls, world.truth)
    draw = random.Random(1)
    for _ in range(BROKEN_PER_KIND):
        broken = wrong(world, draw)
        try:
            check_calls(broken, world.truth)
        except Broken:
            continue
        pytest.fail(f"not noticed: {wrong.__doc__}")


def _lost(seen: Watched, draw: random.Random) -> None:
    """One event is missing."""
    del seen.events[draw.randrange(len(seen.events))]


def _twice(seen: Watched, draw: random.Random) -> None:
    """One event came twice."""
    place = draw.randrange(len(seen.events))
    seen.events.insert(place, seen.events[place])


def _exchanged(seen: Watched, draw: random.Random) -> None:
    """Two events came in the wrong order."""
    place = draw.randrange(len(seen.events) - 1)
    seen.events[place], seen.events[place + 1] = seen.events[place + 1], seen.events[place]


def _altered(seen: Watched, draw: random.Random) -> None:
    """An event has another value or revision than what happened."""
    event = copy.deepcopy(draw.choice(seen.events))
    seen.events = [event if one.kv.mod_revision == event.kv.mod_revision else one for one in seen.events]
    event.kv.version += 1
    event.kv.value += b"?"


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [_lost, _twice, _exchanged, _altered])
def test_a_watch_made_wrong_is_refused(watching: World, wrong: Callable[[Watched, random.Random], None]) -> None:
    """Source: the promises of watches in etcd's API guarantees: ordered, unique, reliable."""
    (seen,) = watching.watched
    check_watched(seen, watching.truth.model)
    draw = random.Random(1)
    for _ in range(BROKEN_PER_KIND):
        broken = replace(seen, events=list(seen.events))
        wrong(broken, draw)
        try:
            check_watched(broken, watching.truth.model)
        except Broken:
            continue
        pytest.fail(f"not noticed: {wrong.__doc__}")
