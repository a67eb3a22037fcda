"""What clients saw, and whether one order of all requests explains it.

Every write that took effect has a revision, so the order is known: an answer must be what the request of that revision
gives, and the order must agree with real time. A request whose outcome is unknown is allowed at most the effects its
tries can have had. Source: the linearizability plan of etcd tests/robustness, with revisions in place of a search.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.api_model import Done, Model
from tests.model.broken import Broken

RESPONSES: dict[str, type[Message]] = {
    "range": pb.RangeResponse,
    "put": pb.PutResponse,
    "delete_range": pb.DeleteRangeResponse,
    "txn": pb.TxnResponse,
    "lease_grant": pb.LeaseGrantResponse,
    "lease_revoke": pb.LeaseRevokeResponse,
}


class Effect(Protocol):
    """One committed request: what it came to, and a time by which it had."""

    @property
    def at(self) -> float: ...

    @property
    def done(self) -> Done | None: ...


class Order(Protocol):
    """All committed requests: a simulation knows them from the log, real processes from what watchers saw."""

    @property
    def model(self) -> Model:
        """After all of them."""

    @property
    def log(self) -> Sequence[Effect]: ...

    @property
    def by_revision(self) -> Mapping[int, Effect]:
        """Those that changed something."""


@dataclass(slots=True)
class Call:
    """One try of one request. Times are seconds of one clock for all clients."""

    client: str
    kind: str
    request: bytes
    called: float
    member: str
    life: int
    """Of the member; -1 when it is not known which of its lives answered."""
    serializable: bool = False
    returned: float = float("inf")
    revision: int = 0
    """Of the answer's header; 0 = no answer."""
    answer: bytes = b""
    """Without headers."""
    error: str = ""

    @property
    def answered(self) -> bool:
        return self.revision > 0

    def take(self, answer: bytes, now: float) -> None:
        """The member answered."""
        message = RESPONSES[self.kind].FromString(answer)
        self.returned = now
        self.revision = message.header.revision  # type: ignore[attr-defined]  # every response has one
        self.answer = without_headers(message)

    def __str__(self) -> str:
        return (
            f"{self.client} {self.kind} at {self.member} [{self.called:.4f}, {self.returned:.4f}] rev {self.revision}"
        )


def without_headers(message: Message) -> bytes:
    """Encoded, as `model.Done.answer` is."""
    message.ClearField("header")
    if isinstance(message, pb.TxnResponse):
        for operation in message.responses:
            inner = operation.WhichOneof("response")
            if inner is not None:
                getattr(operation, inner).ClearField("header")
    return message.SerializeToString(deterministic=True)


def check_calls(calls: list[Call], truth: Order, seen: Sequence[tuple[float, int]] = ()) -> None:
    """Args: seen has what others than `calls` were told: at that time they knew of that revision.

    Raises: Broken - no order explains what was seen.
    """
    claimed: dict[int, Call] = {}
    for call in calls:
        if call.answered:
            _check_content(call, truth, claimed)
    _check_effects(calls, truth)
    _check_order(calls, truth, seen)
    _check_members(calls)


def _check_content(call: Call, truth: Order, claimed: dict[int, Call]) -> None:
    """The answer is what the committed log gives at its revision."""
    model = truth.model
    if call.revision > model.revision:
        raise Broken("linearizability", f"{call}: nobody knows that revision")
    if call.kind in ("lease_grant", "lease_revoke"):
        return
    committed = truth.by_revision.get(call.revision)
    done = committed.done if committed is not None else None
    if done is not None and done.field == call.kind and done.request == call.request and done.answer == call.answer:
        if claimed.setdefault(call.revision, call) is not call:
            raise Broken("linearizability", f"{call} and {claimed[call.revision]} have the same revision")
        assert committed is not None
        if committed.at > call.returned:
            raise Broken("linearizability", f"{call} was answered before it was applied")
        return
    if call.kind == "put" or model.evaluate(call.kind, call.request, call.revision) != call.answer:
        raise Broken("linearizability", f"{call}: another answer than the committed log gives at that revision")


def _check_effects(calls: list[Call], truth: Order) -> None:
    """Nothing is in the log that nobody asked for, or more often, or earlier."""
    asked: dict[tuple[str, bytes], list[float]] = {}
    for call in calls:
        asked.setdefault((call.kind, call.request), []).append(call.called)
    found: Counter[tuple[str, bytes]] = Counter()
    for committed in truth.log:
        done = committed.done
        if done is None or done.field not in ("put", "delete_range", "txn"):
            continue
        times = asked.get((done.field, done.request), [])
        found[done.field, done.request] += 1
        if sum(time <= committed.at for time in times) < found[done.field, done.request]:
            raise Broken(
                "linearizability",
                f"at revision {done.revision} there is a {done.field} that was asked for {len(times)} times, "
                f"and took effect {found[done.field, done.request]} times by {committed.at:.4f}",
            )


def _check_order(calls: list[Call], truth: Order, seen: Sequence[tuple[float, int]]) -> None:
    """Revisions agree with real time: what anybody was told, every later call that is not serializable knows."""
    told = sorted([*seen, *((call.returned, call.revision) for call in calls if call.answered)])
    times = [time for time, _ in told]
    highest = list(accumulate((revision for _, revision in told), max))
    for call in calls:
        if not call.answered or call.serializable:
            continue
        before = bisect_left(times, call.called)
        if before and highest[before - 1] > call.revision:
            raise Broken("linearizability", f"{call} misses revision {highest[before - 1]}, which was answered before")
        committed = truth.by_revision.get(call.revision)
        if committed is not None and committed.at > call.returned:
            raise Broken("linearizability", f"{call} has a revision from the future")


def _check_members(calls: list[Call]) -> None:
    """In one life of a member, revisions never go back."""
    by_life: dict[tuple[str, int], list[Call]] = {}
    for call in calls:
        if call.answered and call.life >= 0:
            by_life.setdefault((call.member, call.life), []).append(call)
    for group in by_life.values():
        by_return = sorted(group, key=lambda call: call.returned)
        returns = [call.returned for call in by_return]
        highest = list(accumulate((call.revision for call in by_return), max))
        for call in group:
            before = bisect_left(returns, call.called)
            if before and highest[before - 1] > call.revision:
                raise Broken("revisions", f"{call}: this member has answered with {highest[before - 1]} before")
