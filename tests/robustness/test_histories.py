"""The checks are tested: good histories pass, histories made wrong by hand are found out, by the right check."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.history import Call
from tests.robustness.check import check
from tests.robustness.engines import Engine, find_engine
from tests.robustness.known import known_bug
from tests.robustness.made_history import make_history
from tests.robustness.record import History, Seen, read_history, save_history
from tests.robustness.story import around
from tests.support.real_etcd import EtcdBinaries

GOOD_SEEDS = 12
BROKEN_PER_KIND = 6


def _copy(history: History) -> History:
    return replace(
        history,
        calls=[replace(call) for call in history.calls],
        seen=list(history.seen),
        renewed=list(history.renewed),
        final=[replace(final) for final in history.final],
        compacted=list(history.compacted),
    )


@pytest.mark.slow
def test_good_histories_pass() -> None:
    """Also with answers that were lost after the request took effect, and before: no false alarm."""
    lost = 0
    for seed in range(GOOD_SEEDS):
        verdict = check(make_history(seed))
        assert not verdict.broken, (seed, verdict.broken)
        lost += verdict.unknown
    assert lost > GOOD_SEEDS * 20


def test_a_history_is_the_same_after_it_was_saved(tmp_path: Path) -> None:
    """What a failure leaves behind can be judged again."""
    history = make_history(1, calls=60)
    save_history(history, tmp_path / "history.jsonl")
    assert read_history([tmp_path / "history.jsonl"]) == history


# Made wrong by hand. Each takes a good history, changes it, and says which promise that breaks.


def _writes(history: History) -> list[Call]:
    return [call for call in history.calls if call.kind == "put" and call.answered]


def _reads(history: History) -> list[Call]:
    return [call for call in history.calls if call.kind == "range" and call.answered]


def _lost_write(history: History, draw: random.Random) -> None:
    """A put was acknowledged with a revision that is another request's."""
    call = draw.choice(_writes(history))
    put = pb.PutRequest.FromString(call.request)
    put.value += b" lost"
    call.request = put.SerializeToString(deterministic=True)


def _write_behind_the_end(history: History, draw: random.Random) -> None:
    """A put was acknowledged with a revision that the cluster does not have any more."""
    call = draw.choice(_writes(history))
    last = max(one.revision for one in history.calls)
    history.calls.append(replace(call, called=call.called + 20, returned=call.returned + 20, revision=last + 50))


def _stale_read(history: History, draw: random.Random) -> None:
    """A linearizable read began after an answered write and does not know of it."""
    read = draw.choice([call for call in _reads(history) if call.revision < max(c.revision for c in history.calls) - 5])
    read.serializable = False
    read.called, read.returned = read.called + 25, read.returned + 25


def _read_of_nothing(history: History, draw: random.Random) -> None:
    """A read found a value that nobody wrote."""
    read = draw.choice([call for call in _reads(history) if pb.RangeResponse.FromString(call.answer).kvs])
    answer = pb.RangeResponse.FromString(read.answer)
    answer.kvs[0].value += b"?"
    read.answer = answer.SerializeToString(deterministic=True)


def _dirty_serializable_read(history: History, draw: random.Random) -> None:
    """A serializable read may be old, but not wrong."""
    read = draw.choice([call for call in _reads(history) if pb.RangeResponse.FromString(call.answer).kvs])
    answer = pb.RangeResponse.FromString(read.answer)
    del answer.kvs[0]
    read.serializable, read.answer = True, answer.SerializeToString(deterministic=True)


def _twice(history: History, draw: random.Random) -> None:
    """A write has an effect that nobody asked for: its request was made only once, and is known to have happened."""
    call = draw.choice(_writes(history))
    history.calls.remove(call)


def _effect_before_the_request(history: History, draw: random.Random) -> None:
    """A write was seen before anybody asked for it."""
    call = draw.choice(_writes(history))
    call.called, call.returned = call.returned + 20, call.returned + 21


def _revision_back(history: History, draw: random.Random) -> None:
    """One life of a member answers with an older revision than before, to serializable reads too."""
    read = max(_reads(history), key=lambda call: call.revision)
    past = draw.choice([call for call in _reads(history) if call.revision < read.revision - 3])
    again = replace(past, member=read.member, life=read.life, serializable=True)
    again.called, again.returned = read.returned + 1, read.returned + 2
    history.calls.append(again)


def _events(history: History, draw: random.Random) -> tuple[int, pb.WatchResponse]:
    """A message with events, and where it is."""
    places = [
        place
        for place, one in enumerate(history.seen)
        if pb.WatchResponse.FromString(one.message).events and place + 1 < len(history.seen)
        if history.seen[place + 1].watcher == one.watcher
    ]
    place = draw.choice(places)
    return place, pb.WatchResponse.FromString(history.seen[place].message)


def _with(seen: Seen, message: pb.WatchResponse) -> Seen:
    return replace(seen, message=message.SerializeToString())


def _event_missed(history: History, draw: random.Random) -> None:
    """A watcher missed a revision."""
    place, _ = _events(history, draw)
    del history.seen[place]


def _event_twice(history: History, draw: random.Random) -> None:
    """A watcher got a revision twice."""
    place, _ = _events(history, draw)
    history.seen.insert(place, history.seen[place])


def _events_exchanged(history: History, draw: random.Random) -> None:
    """A watcher got two revisions in the wrong order."""
    place, _ = _events(history, draw)
    history.seen[place], history.seen[place + 1] = history.seen[place + 1], history.seen[place]


def _event_altered(history: History, draw: random.Random) -> None:
    """A watcher got another value than was written."""
    place, message = _events(history, draw)
    message.events[0].kv.value += b"?"
    history.seen[place] = _with(history.seen[place], message)


def _revision_split(history: History, draw: random.Random) -> None:
    """A watcher got the events of one transaction in two messages."""
    places = [
        place for place, one in enumerate(history.seen) if len(pb.WatchResponse.FromString(one.message).events) > 1
    ]
    place = draw.choice(places)
    message = pb.WatchResponse.FromString(history.seen[place].message)
    rest = pb.WatchResponse(header=message.header, events=message.events[1:])
    del message.events[1:]
    history.seen[place : place + 1] = [_with(history.seen[place], message), _with(history.seen[place], rest)]


def _progress_too_far(history: History, draw: random.Random) -> None:
    """A watcher was told that it has everything, and then got more."""
    place, message = _events(history, draw)
    progress = pb.WatchResponse(header=message.header)
    history.seen.insert(place, _with(history.seen[place], progress))


def _wrong_prev_kv(history: History, draw: random.Random) -> None:
    """A watcher got another previous value than there was."""
    place, message = _events(history, draw)
    message.events[0].prev_kv.value += b"?"
    history.seen[place] = _with(history.seen[place], message)


def _compacted_by_nobody(history: History, draw: random.Random) -> None:
    """A watcher was told that something is compacted which nobody compacted."""
    place, _ = _events(history, draw)
    last = max(call.revision for call in history.calls)
    compacted = pb.WatchResponse(canceled=True, compact_revision=last - 1)
    history.seen.insert(place, _with(history.seen[place], compacted))
    seen = history.seen[place].watcher
    history.seen = [one for number, one in enumerate(history.seen) if number <= place or one.watcher != seen]


def _lease_too_early(history: History, draw: random.Random) -> None:
    """A lease ended although it had just been renewed."""
    place = draw.randrange(len(history.renewed))
    renewed = history.renewed[place]
    history.renewed[place] = replace(renewed, ttl=renewed.ttl + 60)


def _lease_for_ever(history: History, draw: random.Random) -> None:
    """A lease has not ended long after its time."""
    draw.choice(history.final).leases = [1_000_001]


def _members_differ(history: History, draw: random.Random) -> None:
    """One member has another HashKV."""
    draw.choice(history.final).hash += 1


def _member_behind(history: History, draw: random.Random) -> None:
    """One member lacks the last revision although it serves linearizable reads."""
    draw.choice(history.final).revision -= 1


def _key_gone(history: History, draw: random.Random) -> None:
    """All members lack a key that was written."""
    for final in history.final:
        answer = pb.RangeResponse.FromString(final.keys)
        del answer.kvs[0]
        answer.count -= 1
        final.keys = answer.SerializeToString(deterministic=True)


WRONG: list[tuple[Callable[[History, random.Random], None], set[str]]] = [
    (_lost_write, {"linearizability", "registers"}),
    (_write_behind_the_end, {"linearizability", "registers"}),
    (_stale_read, {"linearizability"}),
    (_read_of_nothing, {"linearizability", "registers"}),
    (_dirty_serializable_read, {"linearizability"}),
    (_twice, {"linearizability", "registers"}),
    (_effect_before_the_request, {"linearizability", "registers"}),
    (_revision_back, {"revisions"}),
    (_event_missed, {"watch"}),
    (_event_twice, {"watch"}),
    (_events_exchanged, {"watch"}),
    (_event_altered, {"watch", "linearizability"}),
    (_revision_split, {"watch"}),
    (_progress_too_far, {"watch"}),
    (_wrong_prev_kv, {"watch"}),
    (_compacted_by_nobody, {"watch"}),
    (_lease_too_early, {"leases"}),
    (_lease_for_ever, {"leases"}),
    (_members_differ, {"equality"}),
    (_member_behind, {"durability"}),
    (_key_gone, {"durability"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "promises"), WRONG, ids=[wrong.__name__.strip("_") for wrong, _ in WRONG])
def test_a_history_made_wrong_is_found_out(wrong: Callable[[History, random.Random], None], promises: set[str]) -> None:
    """Goal: a checker that cannot fail proves nothing."""
    for seed in range(BROKEN_PER_KIND):
        history = _copy(make_history(seed, calls=150))
        wrong(history, random.Random(seed))
        verdict = check(history)
        assert verdict.broken, f"seed {seed}: not noticed: {wrong.__doc__}"
        assert set(verdict.promises) & promises, verdict.broken


def test_only_versions_without_the_fix_are_excused() -> None:
    """The fault must have happened, the promise must be that one, and the node is never excused."""
    old = Engine("etcd-3.5", EtcdBinaries("3.5.16", Path("etcd"), Path("etcdctl"), None))
    new = Engine("etcd-3.5", EtcdBinaries("3.5.28", Path("etcd"), Path("etcdctl"), None))
    assert "20418" in known_bug(old, "linearizability", ["kill", "pause"])
    assert known_bug(old, "linearizability", ["kill"]) == ""
    assert known_bug(old, "durability", ["pause"]) == ""
    assert known_bug(new, "linearizability", ["pause"]) == ""
    node = find_engine("node")
    assert node is not None
    assert known_bug(node, "linearizability", ["pause"]) == ""


def test_the_story_of_a_failure_shows_the_calls_around_it() -> None:
    """A person sees who wrote what at the revisions that the failure names."""
    history = make_history(2, calls=60)
    write = _writes(history)[10]
    told = "\n".join(around(history, f"revision {write.revision} is of nobody"))
    assert pb.PutRequest.FromString(write.request).value.decode() in told
    assert "sees put" in told
