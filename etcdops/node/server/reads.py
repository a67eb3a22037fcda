"""Linearizable reads: one ReadIndex round answers everybody who asked before it began.

Raft thesis 6.4. A request that arrives while a round is under way waits for the next one, since the round's index may
be older than a write acknowledged in between. Source: etcd server/etcdserver/v3_server.go, linearizableReadLoop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from etcdops.ids import LogIndex
from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError

Done = Callable[[EtcdError | None], None]

RETRY_S = 0.5
"""How long a round waits before it asks again, with a fresh context. etcd's readIndexRetryTime."""


class _Waiter(NamedTuple):
    started: float
    done: Done


@dataclass(slots=True)
class _Round:
    waiters: list[_Waiter]
    asked_at: float
    contexts: set[bytes] = field(default_factory=set)
    """Every context this round asked with. Any of their answers is good: all were asked after the waiters began."""


class Reads:
    """At most one round is asked for at a time; finished rounds wait until the state machine has caught up.

    Args: ask(context) sends a ReadIndex request through raft; next_id gives numbers never used before by any member;
        timeout_s bounds each waiter.
    """

    def __init__(self, ask: Callable[[bytes], None], next_id: Callable[[], int], timeout_s: float) -> None:
        self._ask = ask
        self._next_id = next_id
        self._timeout_s = timeout_s
        self._queue: list[_Waiter] = []
        self._round: _Round | None = None
        self._confirmed: deque[tuple[LogIndex, list[_Waiter]]] = deque()
        self.slow = self.failed = 0
        """Rounds that were not answered in time, and that a change of the leader ended. etcd's slowReadIndex and
        readIndexFailed."""

    def add(self, now: float, done: Done) -> None:
        """`done(None)` once a local read is linearizable, or `done(error)`."""
        self._queue.append(_Waiter(now, done))

    def start_round(self, now: float) -> None:
        """Ask for the waiting ones, if no round is under way. Called once a loop turn, so a turn's reads share a
        round.
        """
        if self._round is None and self._queue:
            self._round = _Round(self._queue, now)
            self._queue = []
            self._ask_again(now)

    def confirmed(self, index: LogIndex, context: bytes, applied: LogIndex) -> None:
        """Raft answered. An answer to an older round, or to nobody here, is ignored."""
        if self._round is None or context not in self._round.contexts:
            return
        waiters, self._round = self._round.waiters, None
        if index <= applied:
            _answer(waiters, None)
        else:
            self._confirmed.append((index, waiters))

    def applied(self, applied: LogIndex) -> None:
        """The state machine moved on."""
        confirmed = self._confirmed
        while confirmed and confirmed[0][0] <= applied:
            _answer(confirmed.popleft()[1], None)

    def leader_changed(self) -> None:
        """The round's request may have died with the old leader.

        Source: etcd server/etcdserver/v3_server.go, requestCurrentIndex: a leader change ends the round with an error,
        and the client decides whether to ask again.
        """
        if self._round is not None:
            waiters, self._round = self._round.waiters, None
            self.failed += 1
            _answer(waiters, errors.LEADER_CHANGED)

    def tick(self, now: float) -> None:
        """Ask again when an answer is late, and give up on waiters whose time is over."""
        self._queue = _expire(self._queue, now - self._timeout_s)
        if (round_ := self._round) is not None:
            round_.waiters = _expire(round_.waiters, now - self._timeout_s)
            if not round_.waiters:
                self._round = None
                self.slow += 1
            elif now - round_.asked_at >= RETRY_S:
                self._ask_again(now)
        self._confirmed = deque(
            (index, kept)
            for index, waiters in self._confirmed
            if (kept := _expire(waiters, now - self._timeout_s, errors.TIMEOUT_WAIT_APPLIED))
        )

    def fail_all(self, error: EtcdError) -> None:
        """Answer everybody: the member stops."""
        waiters = [*self._queue, *(self._round.waiters if self._round else [])]
        for _, confirmed in self._confirmed:
            waiters += confirmed
        self._queue, self._round = [], None
        self._confirmed.clear()
        _answer(waiters, error)

    def _ask_again(self, now: float) -> None:
        assert self._round is not None
        context = self._next_id().to_bytes(8, "big")
        self._round.contexts.add(context)
        self._round.asked_at = now
        self._ask(context)


def _answer(waiters: list[_Waiter], error: EtcdError | None) -> None:
    for waiter in waiters:
        waiter.done(error)


def _expire(waiters: list[_Waiter], started_before: float, error: EtcdError = errors.TIMEOUT) -> list[_Waiter]:
    """The waiters that go on. Those who started at or before the given time are answered with `error`."""
    if not waiters or waiters[0].started > started_before:
        return waiters
    late = [waiter for waiter in waiters if waiter.started <= started_before]
    _answer(late, error)
    return [waiter for waiter in waiters if waiter.started > started_before]
