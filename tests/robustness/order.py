"""What happened, found out from outside: watchers of everything tell what each revision changed, and every revision is
given to the request that asked for it.

An answered write names its revision. A revision that nobody was told about must be explained by a request without an
answer, or by the end of a lease; each of them explains one revision at most. Source: the idea of etcd
tests/robustness/validate, patching of operations with what was persisted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from tests.model.api_model import Done, Happened, Model
from tests.model.broken import Broken
from tests.model.history import Call
from tests.model.watched import Watched
from tests.robustness.record import History

_INFINITY = float("inf")
_NOBODY_WAS_TOLD = b"\0"
"""No answer is encoded so; an empty one is what a deletion of nothing gets."""

EVERYTHING = (b"\0", b"\0")


@dataclass(frozen=True, slots=True)
class Committed:
    """One revision. `at` is when it was first seen by anybody."""

    at: float
    done: Done | None


@dataclass(slots=True)
class KnownOrder:
    """Implements history.Order."""

    model: Model = field(default_factory=Model)
    log: list[Committed] = field(default_factory=list)
    by_revision: dict[int, Committed] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    """Lease -> the revision that can only be its end."""


def sightings(history: History) -> list[tuple[float, int]]:
    """When watchers were told of which revision."""
    found = []
    for one in history.seen:
        message = pb.WatchResponse.FromString(one.message)
        if message.events:
            found.append((one.at, message.events[-1].kv.mod_revision))
    return found


def find_order(history: History, watched: Sequence[Watched]) -> KnownOrder:
    """Raises: Broken - watchers contradict each other, or something happened that nobody asked for."""
    return _Search(history, _happened(watched)).run()


def _happened(watched: Iterable[Watched]) -> list[list[mvccpb.Event]]:
    """What changed, by revision from 2 on."""
    found: dict[int, list[mvccpb.Event]] = {}
    for watcher in watched:
        if (watcher.key, watcher.range_end) != EVERYTHING:
            continue
        own: dict[int, list[mvccpb.Event]] = defaultdict(list)
        for event in watcher.events:
            own[event.kv.mod_revision].append(event)
        for revision, events in own.items():
            plain = [mvccpb.Event(type=event.type, kv=event.kv) for event in events]
            if found.setdefault(revision, plain) != plain:
                raise Broken("watch", f"{watcher.name} saw another revision {revision} than somebody else")
    last = max(found, default=1)
    for revision in range(2, last + 1):
        if revision not in found:
            raise Broken("watch", f"no watcher of all keys saw revision {revision}; the last one seen is {last}")
    return [found[revision] for revision in range(2, last + 1)]


def first_seen(history: History, last: int) -> list[float]:
    """By revision up to `last` + 1: when somebody first knew of it or of a later one."""
    times = [_INFINITY] * (last + 2)
    for time, revision in (*sightings(history), *((call.returned, call.revision) for call in history.calls)):
        if 0 < revision <= last:
            times[revision] = min(times[revision], time)
    for revision in range(last, 0, -1):
        times[revision] = min(times[revision], times[revision + 1])
    return times


class _Search:
    def __init__(self, history: History, happened: list[list[mvccpb.Event]]) -> None:
        self._happened = happened
        self._seen_at = first_seen(history, len(happened) + 1)
        self._order = KnownOrder()
        self._claims = _claims(history.calls)
        self._by_value: dict[bytes, Call] = {}
        self._deleting: list[Call] = []
        for call in history.calls:
            if not call.answered:
                self._sort_in(call)
            if call.kind == "lease_grant":
                grant = pb.LeaseGrantRequest.FromString(call.request)
                # When exactly is not known and does not matter: its holder waits for the answer before using it.
                self._order.model.leases[grant.ID] = grant.TTL
        self._open: dict[int, list[Call | int]] = {}
        """Revisions that nobody was told about, and what explains them: calls, and numbers of leases."""
        self._done: dict[int, Done] = {}

    def run(self) -> KnownOrder:
        for revision, events in enumerate(self._happened, start=2):
            self._explain(revision, events)
        for revision, source in _assign(self._open).items():
            if isinstance(source, Call):
                self._done[revision] = Done(source.kind, source.request, revision, True, _NOBODY_WAS_TOLD)
            else:
                self._done[revision] = Done("lease_revoke", b"", revision, True, _NOBODY_WAS_TOLD)
                if len(self._open[revision]) == 1:
                    self._order.ended[source] = revision
        for revision, done in sorted(self._done.items()):
            committed = Committed(self._seen_at[revision], done)
            self._order.log.append(committed)
            self._order.by_revision[revision] = committed
        return self._order

    def _sort_in(self, call: Call) -> None:
        """A request without an answer."""
        values, deletes = _effects(call)
        for value in values:
            self._by_value[value] = call
        if deletes:
            self._deleting.append(call)

    def _explain(self, revision: int, events: list[mvccpb.Event]) -> None:
        model = self._order.model
        claim = self._claims.get(revision)
        if claim is not None:
            done = model.apply(_internal(claim))
            if done is None or not done.changed or not _same(model.events, revision, events):
                raise Broken("linearizability", f"{claim} did not do what watchers saw: {_shown(events)}")
            self._done[revision] = done
            return
        by = {
            id(call): call
            for event in events
            if event.type == mvccpb.Event.PUT and (call := self._by_value.get(event.kv.value)) is not None
        }
        calls = list(by.values()) or (self._deleting if _only_deletes(events) else [])
        sources: list[Call | int] = [
            call for call in calls if call.called <= self._seen_at[revision] and self._explains(call, revision, events)
        ]
        lease = self._lease_that_ended(events)
        if lease:
            sources.append(lease)
        if not sources:
            raise Broken("linearizability", f"revision {revision} is of nobody: {_shown(events)}")
        first = sources[0]
        made = model.apply(_internal(first) if isinstance(first, Call) else _revoke(first))
        assert made is not None
        self._open[revision] = sources
        self._done[revision] = made

    def _explains(self, call: Call, revision: int, events: list[mvccpb.Event]) -> bool:
        """Whether this request, now, would do exactly that."""
        model = self._order.model
        before = len(model.events), model.revision
        model.apply(_internal(call))
        same = _same(model.events, revision, events)
        for event in reversed(model.events[before[0] :]):
            model.history[event.key].pop()
        del model.events[before[0] :]
        model.revision = before[1]
        return same

    def _lease_that_ended(self, events: list[mvccpb.Event]) -> int:
        """The lease that had exactly these keys; 0 = none."""
        if not _only_deletes(events):
            return 0
        model = self._order.model
        before = model.at(events[0].kv.key, model.revision)
        lease = before.lease if before is not None else 0
        if not lease or lease not in model.leases:
            return 0
        return lease if model.keys_of(lease) == sorted(event.kv.key for event in events) else 0


def _claims(calls: Iterable[Call]) -> dict[int, Call]:
    """Revision -> the call whose answer says that it made it."""
    claims: dict[int, Call] = {}
    for call in calls:
        if call.answered and _changed(call) and claims.setdefault(call.revision, call) is not call:
            raise Broken("linearizability", f"{call} and {claims[call.revision]} have the same revision")
    return claims


def _changed(call: Call) -> bool:
    if call.kind == "put":
        return True
    if call.kind == "delete_range":
        return pb.DeleteRangeResponse.FromString(call.answer).deleted > 0
    if call.kind == "txn":
        responses = pb.TxnResponse.FromString(call.answer).responses
        return any(
            one.HasField("response_put")
            or (one.HasField("response_delete_range") and one.response_delete_range.deleted)
            for one in responses
        )
    return False


def _effects(call: Call) -> tuple[list[bytes], bool]:
    """Values that this request can write, and whether it can do nothing but delete."""
    if call.kind == "put":
        return [pb.PutRequest.FromString(call.request).value], False
    if call.kind == "delete_range":
        return [], True
    if call.kind != "txn":
        return [], False
    txn = pb.TxnRequest.FromString(call.request)
    branches = (txn.success, txn.failure)
    values = [one.request_put.value for branch in branches for one in branch if one.HasField("request_put")]
    deletes = any(
        any(one.HasField("request_delete_range") for one in branch)
        and not any(one.HasField("request_put") for one in branch)
        for branch in branches
    )
    return values, deletes


def _internal(call: Call) -> pb.InternalRaftRequest:
    match call.kind:
        case "put":
            return pb.InternalRaftRequest(put=pb.PutRequest.FromString(call.request))
        case "delete_range":
            return pb.InternalRaftRequest(delete_range=pb.DeleteRangeRequest.FromString(call.request))
        case _:
            return pb.InternalRaftRequest(txn=pb.TxnRequest.FromString(call.request))


def _revoke(lease: int) -> pb.InternalRaftRequest:
    return pb.InternalRaftRequest(lease_revoke=pb.LeaseRevokeRequest(ID=lease))


def _same(made: Sequence[Happened], revision: int, events: Sequence[mvccpb.Event]) -> bool:
    """Whether the last changes made are exactly these events."""
    last = []
    for happened in reversed(made):
        if happened.revision < revision:
            break
        last.append(happened)
    if len(last) != len(events):
        return False
    for happened, event in zip(reversed(last), events, strict=True):
        if happened.kv is None:
            if event.type != mvccpb.Event.DELETE or event.kv.key != happened.key:
                return False
        elif event.type != mvccpb.Event.PUT or event.kv != happened.kv:
            return False
    return True


def _only_deletes(events: Iterable[mvccpb.Event]) -> bool:
    return all(event.type == mvccpb.Event.DELETE for event in events)


def _shown(events: Iterable[mvccpb.Event]) -> str:
    return ", ".join(
        f"{'delete' if event.type == mvccpb.Event.DELETE else 'put'} {event.kv.key!r} {event.kv.value[:40]!r}"
        for event in events
    )


def _assign(open_: Mapping[int, Sequence[Call | int]]) -> dict[int, Call | int]:
    """One source for each revision, each source for one revision at most: augmenting paths (Kuhn).

    Raises: Broken - there are not enough sources.
    """
    taken: dict[int, int] = {}
    """id of a source -> revision"""
    key = {revision: [_key(source) for source in sources] for revision, sources in open_.items()}

    def place(revision: int, tried: set[int]) -> bool:
        for source in key[revision]:
            if source in tried:
                continue
            tried.add(source)
            if source not in taken or place(taken[source], tried):
                taken[source] = revision
                return True
        return False

    for revision in open_:
        if not place(revision, set()):
            raise Broken(
                "linearizability", f"revision {revision} is of nobody: whoever asked for that has had it already"
            )
    by_key = {_key(source): source for sources in open_.values() for source in sources}
    return {revision: by_key[source] for source, revision in taken.items()}


def _key(source: Call | int) -> int:
    # Leases count from a million up and objects lie where they lie: negative numbers keep the two apart.
    return -source if isinstance(source, int) else id(source)
