"""Proposals: every caller is answered exactly once, in whatever way its request ends."""

from __future__ import annotations

from itertools import count

import pytest

from etcdops.ids import Term
from etcdops.node.api.errors import LEADER_CHANGED, STOPPED, TIMEOUT, EtcdError
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_LEASE_REVOKE, FIELD_PUT, decode_internal
from etcdops.node.server.proposals import Proposals
from etcdops.proto import etcdserverpb_pb2 as pb

_PUT = pb.PutRequest(key=b"k", value=b"v").SerializeToString()


@pytest.fixture
def answers() -> list[Outcome]:
    return []


@pytest.fixture
def proposals() -> Proposals:
    numbers = count(100)
    return Proposals(lambda: next(numbers), timeout_s=7.0)


def test_a_proposal_is_encoded_as_an_internal_raft_request_with_its_id(
    proposals: Proposals, answers: list[Outcome]
) -> None:
    """What goes into the log can be read back by the applier, and by protobuf."""
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    (unsent,) = proposals.take_unsent(None)
    request = decode_internal(unsent.data)
    assert (request.field, request.request, request.request_id) == (FIELD_PUT, _PUT, 100)
    decoded = pb.InternalRaftRequest.FromString(unsent.data)
    assert decoded.put.key == b"k"
    assert decoded.header.ID == 100


def test_an_answer_reaches_only_its_own_caller_and_only_once(proposals: Proposals) -> None:
    """Two requests, answered in the other order, each twice."""
    first: list[Outcome] = []
    second: list[Outcome] = []
    proposals.add(FIELD_PUT, _PUT, 0.0, first.append)
    proposals.add(FIELD_PUT, _PUT, 0.0, second.append)
    for _ in range(2):
        proposals.resolve(101, Outcome(b"two", 2))
        proposals.resolve(100, Outcome(b"one", 1))
    assert [first, second] == [[Outcome(b"one", 1)], [Outcome(b"two", 2)]]
    assert len(proposals) == 0


def test_what_only_a_leader_may_propose_is_not_handed_to_the_next_one(proposals: Proposals) -> None:
    """A revocation that waited for the end of a transfer would end a lease which the new leader has renewed.
    Found by tests/sim, seed 7008907 of commit 4712b72.
    """
    for leading in (Term(4), None):
        anybodys: list[Outcome] = []
        leaders: list[Outcome] = []
        proposals.add(FIELD_PUT, _PUT, 0.0, anybodys.append)
        proposals.add(FIELD_LEASE_REVOKE, b"", 0.0, leaders.append, term=Term(3))
        proposals.put_back(proposals.take_unsent(Term(3)))
        (taken,) = proposals.take_unsent(leading)
        assert taken.term is None
        assert (anybodys, leaders) == ([], [Outcome(error=LEADER_CHANGED)])


def test_a_request_of_another_member_has_no_caller_here(proposals: Proposals, answers: list[Outcome]) -> None:
    """Every member applies every entry; only the proposer answers."""
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    proposals.resolve(7, Outcome())
    assert answers == []


def test_an_expired_proposal_that_raft_does_not_have_yet_is_never_proposed(
    proposals: Proposals, answers: list[Outcome]
) -> None:
    """Its caller was told that it timed out: proposing it later would be a surprise."""
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    proposals.add(FIELD_PUT, _PUT, 5.0, answers.append)
    proposals.expire(7.0, lambda started: TIMEOUT)
    assert [outcome.error for outcome in answers] == [TIMEOUT]
    assert [unsent.request_id for unsent in proposals.take_unsent(None)] == [101]


def test_expiry_asks_for_the_reason_with_the_time_the_request_began(proposals: Proposals) -> None:
    """The reason depends on whether the leader was lost since then."""
    begun: list[float] = []
    for started in (1.0, 2.0, 3.0):
        proposals.add(FIELD_PUT, _PUT, started, lambda outcome: None)

    def reason(started: float) -> EtcdError:
        begun.append(started)
        return TIMEOUT

    proposals.expire(9.0, reason)
    assert begun == [1.0, 2.0]


def test_a_batch_that_raft_dropped_goes_first_the_next_time(proposals: Proposals, answers: list[Outcome]) -> None:
    """Order among requests of one member is kept across a leader transfer."""
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    batch = proposals.take_unsent(None)
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    proposals.put_back(batch)
    assert [unsent.request_id for unsent in proposals.take_unsent(None)] == [100, 101]


def test_stopping_answers_everybody(proposals: Proposals, answers: list[Outcome]) -> None:
    """Also those whose request is in the log: it may be applied all the same, and the text says so."""
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    proposals.take_unsent(None)
    proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    proposals.fail_all(STOPPED)
    proposals.resolve(100, Outcome())
    assert [outcome.error for outcome in answers] == [STOPPED, STOPPED]
    assert not proposals.take_unsent(None)


def test_requests_that_expired_without_a_leader_are_not_kept(proposals: Proposals, answers: list[Outcome]) -> None:
    """Nobody takes them while there is none, however long that lasts: memory would grow with every new one."""
    for second in range(100):
        proposals.add(FIELD_PUT, _PUT, float(second), answers.append)
        proposals.expire(float(second), lambda started: TIMEOUT)
    assert len(proposals) == len(proposals._unsent) == 7
    assert len(answers) == 93


def test_what_waits_is_counted_in_bytes(proposals: Proposals, answers: list[Outcome]) -> None:
    """However it ends."""
    for _ in range(4):
        size = proposals.add(FIELD_PUT, _PUT, 0.0, answers.append)
    assert proposals.waiting_bytes == 4 * size
    proposals.resolve(100, Outcome())
    assert proposals.waiting_bytes == 3 * size
    proposals.expire(8.0, lambda _: TIMEOUT)
    assert (proposals.waiting_bytes, proposals.failed) == (0, 3)
    proposals.add(FIELD_PUT, _PUT, 9.0, answers.append)
    proposals.fail_all(STOPPED)
    assert proposals.waiting_bytes == 0
