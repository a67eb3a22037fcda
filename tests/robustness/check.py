"""The verdict on a history."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.broken import Broken
from tests.model.history import check_calls
from tests.model.watched import Watched, check_watched
from tests.robustness.leases import check_leases
from tests.robustness.order import KnownOrder, find_order, sightings
from tests.robustness.record import History, keys_of
from tests.robustness.registers import check_registers
from tests.robustness.watching import watchers

T = TypeVar("T")


@dataclass
class Verdict:
    """What was found. `broken` has one line for each kind of promise that was not kept; empty is good."""

    broken: list[str] = field(default_factory=list)
    promises: list[str] = field(default_factory=list)
    """Their names, in the same order."""
    calls: int = 0
    unknown: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """What clients were told instead of an answer."""
    revisions: int = 0
    events: int = 0
    registers: int = 0
    leases_ended: int = 0
    renewals: int = 0
    compactions: int = 0
    seconds: float = 0.0
    """How long the clients worked."""
    took_s: float = 0.0
    """The check itself."""

    @property
    def rate(self) -> float:
        """Answered calls a second."""
        return (self.calls - self.unknown) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.rate:.0f} ops/s, {self.calls} calls, {self.unknown} without an answer, {self.revisions} revisions, "
            f"{self.events} events, {self.renewals} renewals, {self.leases_ended} leases ended, "
            f"{self.compactions} compactions, {self.registers} register calls, checked in {self.took_s:.1f} s"
        )


def check(history: History) -> Verdict:
    """Look at everything that was promised, even when something is broken already."""
    begin = time.perf_counter()
    verdict = Verdict()
    calls = history.calls
    verdict.calls = len(calls)
    verdict.unknown = sum(not call.answered for call in calls)
    verdict.errors.update(call.error for call in calls if call.error)
    verdict.renewals = len(history.renewed)
    verdict.compactions = sum(not one.error for one in history.compacted)
    if calls:
        ends = [call.returned for call in calls if call.answered] or [calls[0].called]
        verdict.seconds = max(ends) - min(call.called for call in calls)
    for failed in history.failed:
        verdict.promises.append(failed.promise)
        verdict.broken.append(failed.text)
    verdict.registers = _try(verdict, lambda: check_registers(calls)) or 0
    watched = _try(verdict, lambda: watchers(history.opened, history.seen))
    if watched is not None:
        verdict.events = sum(len(one.events) for one in watched)
        order = _try(verdict, lambda: find_order(history, watched))
        if order is not None:
            verdict.revisions = order.model.revision
            _check_order(verdict, history, watched, order)
    verdict.took_s = time.perf_counter() - begin
    return verdict


def _check_order(verdict: Verdict, history: History, watched: list[Watched], order: KnownOrder) -> None:
    _try(verdict, lambda: check_calls(history.calls, order, sightings(history)))
    _try(verdict, lambda: _check_watchers(history, watched, order))
    _try(verdict, lambda: _check_compactions(history, watched))
    verdict.leases_ended = _try(verdict, lambda: check_leases(history, order)) or 0
    _try(verdict, lambda: _check_final(history, order))


def _try(verdict: Verdict, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except Broken as broken:
        verdict.promises.append(broken.promise)
        verdict.broken.append(str(broken))
        return None


def _check_watchers(history: History, watched: list[Watched], order: KnownOrder) -> None:
    asked = _compaction_asked_for(history)
    for one in watched:
        check_watched(one, order.model, compacted=asked)


def _compaction_asked_for(history: History) -> int:
    """Up to which revision at most; also by calls that got no answer."""
    return max((one.revision for one in history.compacted), default=-1)


def _check_compactions(history: History, watched: list[Watched]) -> None:
    """Nothing is compacted that nobody asked for."""
    asked = _compaction_asked_for(history)
    for one in watched:
        for low, high in one.skipped:
            if high - 1 > asked:
                raise Broken(
                    "watch", f"{one.name} was told [{low}, {high}) is compacted, asked for was {asked} at most"
                )
    for final in history.final:
        if final.compact_revision > asked:
            raise Broken(
                "compaction", f"{final.member} is compacted to {final.compact_revision}, asked for was {asked} at most"
            )


def _check_final(history: History, order: KnownOrder) -> None:
    """All members hold the same, and it is what happened."""
    model = order.model
    expected = keys_of(model.range(pb.RangeRequest(key=b"\0", range_end=b"\0"), model.revision))
    hashes = {(final.hash, final.compact_revision) for final in history.final}
    for final in history.final:
        if final.revision != model.revision:
            raise Broken("durability", f"{final.member} is at revision {final.revision}, watchers saw {model.revision}")
        if final.keys != expected:
            raise Broken("durability", f"{final.member} holds other keys than what was written")
    if len(hashes) > 1:
        text = ", ".join(f"{one.member} {one.hash} (compacted {one.compact_revision})" for one in history.final)
        raise Broken("equality", f"HashKV differs: {text}")
