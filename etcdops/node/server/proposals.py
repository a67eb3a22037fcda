"""Requests on their way through the raft log: from the API's call to the answer that apply gives.

All proposals of one loop turn become one batch. A proposal made while there is no leader waits for one until its
deadline, as in etcd, where Propose blocks until the node has a leader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from etcdops.ids import Term
from etcdops.node.api.errors import LEADER_CHANGED, EtcdError
from etcdops.node.apply.outcome import Outcome
from etcdops.proto.wire import bytes_field, varint_field

Done = Callable[[Outcome], None]


_HEADER, _HEADER_ID = 100, 1
"""Fields of etcdserverpb.InternalRaftRequest and of its RequestHeader."""


class Unsent(NamedTuple):
    """A request that raft does not have yet, encoded as a log entry's data."""

    request_id: int
    data: bytes
    term: Term | None = None
    """Only the leader of that term may put it into the log; None: anybody."""


class Proposals:
    """Waiters by request ID, and the encoded requests that were not given to raft yet.

    Invariant: every `done` is called exactly once: by `resolve`, `expire` or `fail_all`.
    """

    def __init__(self, next_id: Callable[[], int], timeout_s: float) -> None:
        self._next_id = next_id
        self._timeout_s = timeout_s
        self._waiting: dict[int, tuple[Done, int]] = {}
        # Ends are in order because every proposal gets the same time: the oldest is always on the left.
        self._ends: deque[tuple[float, float, int]] = deque()
        self._unsent: list[Unsent] = []
        self.waiting_bytes = 0
        """Of all that wait: the memory that clients can make this member hold."""
        self.failed = 0
        """Proposals whose time was over."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, field: int, request: bytes, now: float, done: Done, *, term: Term | None = None) -> int:
        """Queue one request; returns the encoded size in bytes.

        Args: field is the request's number in etcdserverpb.InternalRaftRequest; now is monotonic seconds; term: the one
            in which this member must lead for it.
        """
        request_id = self._next_id()
        data = bytes_field(field, request) + bytes_field(_HEADER, varint_field(_HEADER_ID, request_id))
        self._waiting[request_id] = (done, len(data))
        self.waiting_bytes += len(data)
        self._ends.append((now + self._timeout_s, now, request_id))
        self._unsent.append(Unsent(request_id, data, term))
        return len(data)

    def take_unsent(self, leading: Term | None) -> list[Unsent]:
        """What to propose now, in order. Requests whose caller was already answered are left out.

        Args: leading - the term in which this member leads; None: it does not. What was to be proposed as the leader
            of another term is refused: LEADER_CHANGED.
        """
        unsent, self._unsent = self._unsent, []
        waiting = self._waiting
        taken = [one for one in unsent if one.request_id in waiting and (one.term is None or one.term == leading)]
        if len(taken) < len(unsent):
            for one in unsent:
                if one.term is not None and one.term != leading:
                    self.resolve(one.request_id, Outcome(error=LEADER_CHANGED))
        return taken

    def put_back(self, batch: list[Unsent]) -> None:
        """Undo `take_unsent` for a batch that raft did not take: it goes first the next time."""
        self._unsent = [*batch, *self._unsent]

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def resolve(self, request_id: int, outcome: Outcome) -> None:
        """Apply has the answer. A request of another member, or one that expired, has no waiter here."""
        waiter = self._waiting.pop(request_id, None)
        if waiter is not None:
            done, size_bytes = waiter
            self.waiting_bytes -= size_bytes
            done(outcome)

    def expire(self, now: float, error: Callable[[float], EtcdError]) -> None:
        """Answer those whose time is over. `error(started)` gives the reason for one that started then."""
        ends = self._ends
        expired = False
        while ends and ends[0][0] <= now:
            _, started, request_id = ends.popleft()
            waiter = self._waiting.pop(request_id, None)
            if waiter is not None:
                done, size_bytes = waiter
                self.waiting_bytes -= size_bytes
                expired = True
                self.failed += 1
                done(Outcome(error=error(started)))
        if expired and self._unsent:
            # Without a leader nobody else takes them out.
            self._unsent = [one for one in self._unsent if one.request_id in self._waiting]

    def fail_all(self, error: EtcdError) -> None:
        """Answer everybody: the member stops."""
        waiting, self._waiting, self.waiting_bytes = self._waiting, {}, 0
        self._ends.clear()
        self._unsent.clear()
        _fail((done for done, _ in waiting.values()), error)


def _fail(waiters: Iterable[Done], error: EtcdError) -> None:
    for done in waiters:
        done(Outcome(error=error))
