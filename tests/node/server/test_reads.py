"""Linearizable reads: nobody is answered by a round that began before they asked (Raft thesis 6.4)."""

from __future__ import annotations

from itertools import count

from etcdops.ids import LogIndex
from etcdops.node.api.errors import LEADER_CHANGED, STOPPED, TIMEOUT, TIMEOUT_WAIT_APPLIED, EtcdError
from etcdops.node.server.reads import RETRY_S, Reads

_TIMEOUT_S = 7.0


class _Harness:
    """Reads, the contexts it asked raft with, and who was answered how."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answers: dict[str, EtcdError | None] = {}
        numbers = count(1)
        self.reads = Reads(self.asked.append, lambda: next(numbers), _TIMEOUT_S)

    def read(self, name: str, now: float) -> None:
        self.reads.add(now, lambda error: self.answers.update({name: error}))

    def confirm(self, index: int, *, applied: int) -> None:
        """Raft answers the newest context."""
        self.reads.confirmed(LogIndex(index), self.asked[-1], LogIndex(applied))


def test_all_reads_of_one_turn_share_one_round() -> None:
    """A hundred readers cost one exchange with the quorum."""
    harness = _Harness()
    for number in range(100):
        harness.read(str(number), 0.0)
    harness.reads.start_round(0.0)
    harness.confirm(5, applied=5)
    assert len(harness.asked) == 1
    assert set(harness.answers.values()) == {None}
    assert len(harness.answers) == 100


def test_a_read_that_comes_during_a_round_waits_for_the_next_one() -> None:
    """The round's index may be older than a write acknowledged before this read began."""
    harness = _Harness()
    harness.read("early", 0.0)
    harness.reads.start_round(0.0)
    harness.read("late", 0.1)
    harness.reads.start_round(0.1)
    harness.confirm(5, applied=5)
    assert harness.answers == {"early": None}
    harness.reads.start_round(0.2)
    harness.confirm(6, applied=6)
    assert harness.answers == {"early": None, "late": None}
    assert len(set(harness.asked)) == 2


def test_a_confirmed_read_waits_until_its_index_is_applied() -> None:
    """Confirmed at 9 while 7 is applied: 8 is not enough."""
    harness = _Harness()
    harness.read("read", 0.0)
    harness.reads.start_round(0.0)
    harness.confirm(9, applied=7)
    harness.reads.applied(LogIndex(8))
    assert harness.answers == {}
    harness.reads.applied(LogIndex(9))
    assert harness.answers == {"read": None}


def test_a_late_answer_to_an_earlier_context_of_the_same_round_is_good() -> None:
    """All contexts of a round were asked after its readers began, so each of their indexes is new enough."""
    harness = _Harness()
    harness.read("read", 0.0)
    harness.reads.start_round(0.0)
    harness.reads.tick(RETRY_S)
    assert len(harness.asked) == 2
    harness.reads.confirmed(LogIndex(3), harness.asked[0], LogIndex(3))
    assert harness.answers == {"read": None}


def test_an_answer_to_a_finished_round_does_not_answer_the_next_one() -> None:
    """etcd #20418: a stale confirmation, delayed by a pause, must not make a stale read."""
    harness = _Harness()
    harness.read("first", 0.0)
    harness.reads.start_round(0.0)
    harness.reads.tick(RETRY_S)
    stale = harness.asked[0]
    harness.confirm(3, applied=3)
    harness.read("second", 1.0)
    harness.reads.start_round(1.0)
    harness.reads.confirmed(LogIndex(3), stale, LogIndex(3))
    assert "second" not in harness.answers


def test_a_leader_change_ends_the_round_with_an_error() -> None:
    """The request may have died with the old leader (R26)."""
    harness = _Harness()
    harness.read("read", 0.0)
    harness.reads.start_round(0.0)
    harness.reads.leader_changed()
    assert harness.answers == {"read": LEADER_CHANGED}


def test_reads_without_a_quorum_time_out_at_every_stage() -> None:
    """Never stale data, and never an endless wait (R27): queued, asked, and confirmed but not applied."""
    harness = _Harness()
    harness.read("confirmed", 0.0)
    harness.reads.start_round(0.0)
    harness.confirm(9, applied=1)
    harness.read("asked", 0.0)
    harness.reads.start_round(0.0)
    harness.read("queued", 0.0)
    harness.reads.tick(_TIMEOUT_S - 0.01)
    assert harness.answers == {}
    harness.reads.tick(_TIMEOUT_S)
    assert harness.answers == {"queued": TIMEOUT, "asked": TIMEOUT, "confirmed": TIMEOUT_WAIT_APPLIED}


def test_an_expired_round_makes_room_for_the_next_one() -> None:
    """Nobody waits for the old context any more; a new reader starts afresh."""
    harness = _Harness()
    harness.read("old", 0.0)
    harness.reads.start_round(0.0)
    harness.reads.tick(_TIMEOUT_S)
    harness.read("new", _TIMEOUT_S)
    harness.reads.start_round(_TIMEOUT_S)
    harness.confirm(2, applied=2)
    assert harness.answers == {"old": TIMEOUT, "new": None}


def test_stopping_answers_everybody_once() -> None:
    """Whatever stage they are at."""
    harness = _Harness()
    harness.read("asked", 0.0)
    harness.reads.start_round(0.0)
    harness.read("queued", 0.0)
    harness.reads.fail_all(STOPPED)
    assert harness.answers == {"asked": STOPPED, "queued": STOPPED}
