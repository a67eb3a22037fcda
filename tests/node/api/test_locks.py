"""Locks, elections, the health service, and the flows they are written as. Beside etcd: tests/differential."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etcdops.node.api import errors
from etcdops.node.api.flows import Flow, Step
from etcdops.node.rpc.service import RpcError, StatusCode, Unary
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import v3electionpb_pb2 as electionpb
from etcdops.proto import v3lockpb_pb2 as lockpb
from tests.fakes.calls import Api, FakeUnaryCall
from tests.node.api.refusals import refused

LOCK, CAMPAIGN = "/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"


class Waiting:
    """A unary call that may take long."""

    def __init__(self, api: Api, path: str, request: lockpb.LockRequest | electionpb.CampaignRequest) -> None:
        self._api = api
        self.call = FakeUnaryCall()
        method = api.methods.find(path)
        assert isinstance(method, Unary)
        method.handler(request.SerializeToString(), self.call)
        api.server.settle()

    @property
    def answered(self) -> bool:
        self._api.server.settle()
        return self.call.answer is not None

    def cancel(self) -> None:
        assert self.call.on_cancel is not None
        self.call.cancelled = True
        self.call.on_cancel()
        self._api.server.settle()


def lock(api: Api, lease: int = 0, name: bytes = b"door") -> Waiting:
    return Waiting(api, LOCK, lockpb.LockRequest(name=name, lease=lease))


def campaign(api: Api, lease: int = 0, value: bytes = b"me") -> Waiting:
    return Waiting(api, CAMPAIGN, electionpb.CampaignRequest(name=b"seat", lease=lease, value=value))


def key_of(waiting: Waiting) -> bytes:
    assert waiting.call.answer is not None
    return lockpb.LockResponse.FromString(waiting.call.answer).key


def test_a_free_lock_is_taken_at_once_with_a_lease_of_its_own(api: Api) -> None:
    """etcd session.go: 60 seconds when the caller has none."""
    taken = lock(api)
    held = api.range(key_of(taken)).kvs[0]
    assert held.key == b"door/%x" % held.lease
    assert api.time_to_live(held.lease).grantedTTL == 60


def test_one_lease_is_one_holder(api: Api) -> None:
    """etcd v3lock.proto: one lease is answered at once; Go prints negative ones with a sign."""
    api.grant(lease=-5)
    first, again = lock(api, -5), lock(api, -5)
    assert again.answered
    assert key_of(first) == key_of(again) == b"door/-5"


def test_locks_are_given_in_the_order_they_were_asked_for(api: Api) -> None:
    """Each waits for the key before its own: whoever leaves wakes one."""
    for lease in (1, 2, 3):
        api.grant(lease=lease)
    waiting = [lock(api, lease) for lease in (1, 2, 3)]
    assert [one.answered for one in waiting] == [True, False, False]
    api.delete(b"door/1")
    assert [one.answered for one in waiting] == [True, True, False]
    api.revoke(2)
    assert [one.answered for one in waiting] == [True, True, True]


def test_one_who_leaves_the_line_lets_the_others_wait_on(api: Api) -> None:
    """The third waits for the second's key, and then for the first's."""
    for lease in (1, 2, 3):
        api.grant(lease=lease)
    first, second, third = [lock(api, lease) for lease in (1, 2, 3)]
    second.cancel()
    assert not api.range(b"door/2").kvs, "whoever gives up gives the place in line up"
    assert not third.answered
    api.delete(key_of(first))
    assert third.answered
    assert second.call.answer is None


def test_a_holder_whose_lease_ended_while_waiting_is_told(api: Api) -> None:
    """etcd mutex.go, ErrSessionExpired: its key is gone when its turn comes."""
    for lease in (1, 2):
        api.grant(lease=lease)
    first, second = lock(api, 1), lock(api, 2)
    api.revoke(2)
    api.delete(key_of(first))
    assert not second.answered
    assert second.call.error is not None
    assert second.call.error.message == errors.SESSION_EXPIRED.text


def test_waiting_survives_a_compaction(api: Api) -> None:
    """The key waited for may be deleted and forgotten before anybody looks."""
    for lease in (1, 2):
        api.grant(lease=lease)
    first, second = lock(api, 1), lock(api, 2)
    api.server.settle()
    key = key_of(first)
    api.delete(key)
    api.compact(api.range(b"x").header.revision)
    assert second.answered


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (lockpb.LockRequest(name=b"a", lease=404), errors.LEASE_NOT_FOUND.text),
        (lockpb.UnlockRequest(), errors.EMPTY_KEY.text),
        (electionpb.CampaignRequest(name=b"a", lease=404), errors.LEASE_NOT_FOUND.text),
        (electionpb.LeaderRequest(name=b"nobody"), errors.ELECTION_NO_LEADER.text),
        (electionpb.ResignRequest(), errors.LEADER_KEY_MISSING.text),
        (electionpb.ProclaimRequest(), errors.LEADER_KEY_MISSING.text),
        (electionpb.ProclaimRequest(leader=electionpb.LeaderKey(key=b"k", rev=9, lease=1)), "election: not leader"),
    ],
)
def test_refusals_have_no_code(api: Api, request_: lockpb.LockRequest, text: str) -> None:
    """etcd's services are clients of its own API: whatever that says arrives as Unknown."""
    service = "v3lockpb.Lock" if type(request_).__module__.endswith("v3lockpb_pb2") else "v3electionpb.Election"
    path = f"/{service}/{type(request_).__name__.removesuffix('Request')}"
    with pytest.raises(RpcError) as error:
        api.call(path, request_, pb.CompactionResponse)
    assert (error.value.code, error.value.message) == (StatusCode.UNKNOWN, text)


def test_a_full_store_takes_no_locks(api: Api) -> None:
    """The checks of the calls a client would have made."""
    api.alarm(pb.AlarmRequest.ACTIVATE, 5, pb.NOSPACE)
    waiting = lock(api)
    assert waiting.call.error is not None
    assert waiting.call.error.message == errors.NO_SPACE.text


def test_a_leader_says_other_values_and_resigns(api: Api) -> None:
    """Proclaim and Resign compare the creation of the leader's key."""
    api.grant(lease=1)
    api.grant(lease=2)
    won = campaign(api, 1)
    assert won.call.answer is not None
    leader = electionpb.CampaignResponse.FromString(won.call.answer).leader
    assert (leader.name, leader.key, leader.lease) == (b"seat", b"seat/1", 1)
    second = campaign(api, 2, b"other")
    assert not second.answered
    proclaim = electionpb.ProclaimRequest(leader=leader, value=b"news")
    api.call("/v3electionpb.Election/Proclaim", proclaim, electionpb.ProclaimResponse)
    asked = electionpb.LeaderRequest(name=b"seat")
    shown = api.call("/v3electionpb.Election/Leader", asked, electionpb.LeaderResponse)
    assert (shown.kv.key, shown.kv.value) == (b"seat/1", b"news")
    assert campaign(api, 1, b"again").answered, "whoever leads may campaign again, with another value"
    assert api.range(b"seat/1").kvs[0].value == b"again"
    api.call("/v3electionpb.Election/Resign", electionpb.ResignRequest(leader=leader), electionpb.ResignResponse)
    assert second.answered
    with refused_unknown(errors.ELECTION_NOT_LEADER.text):
        api.call("/v3electionpb.Election/Proclaim", proclaim, electionpb.ProclaimResponse)


def refused_unknown(text: str) -> pytest.RaisesExc[RpcError]:
    return pytest.RaisesExc(RpcError, check=lambda error: (error.code, error.message) == (StatusCode.UNKNOWN, text))


def test_whoever_gives_up_a_campaign_leaves_the_line(api: Api) -> None:
    """etcd election.go: Resign when the context ends."""
    api.grant(lease=1)
    api.grant(lease=2)
    campaign(api, 1)
    second = campaign(api, 2)
    second.cancel()
    assert [kv.key for kv in api.range(b"seat/", b"seat0").kvs] == [b"seat/1"]


def test_observers_hear_every_word_of_every_leader(api: Api) -> None:
    """From before there is one, through its end, to the next."""
    api.grant(lease=1)
    api.grant(lease=2)
    call = api.stream("/v3electionpb.Election/Observe", electionpb.LeaderResponse, room=1)
    assert call.on_message is not None
    call.on_message(electionpb.LeaderRequest(name=b"seat").SerializeToString())
    api.server.settle()
    assert call.take() == []
    campaign(api, 1, b"one")
    api.put(b"seat/1", b"two", lease=1)
    api.put(b"seat/1", b"three", lease=1)
    api.server.settle()
    assert [answer.kv.value for answer in call.take()] == [b"one"], "the client reads no further for now"
    call.give_room()
    api.server.settle()
    heard = call.take()
    assert [answer.kv.value for answer in heard] == [b"two", b"three"]
    assert all(answer.header.revision >= answer.kv.mod_revision for answer in heard)
    campaign(api, 2, b"four")
    api.delete(b"seat/1")
    api.server.settle()
    assert [answer.kv.value for answer in call.take()] == [b"four"]
    call.cancel()
    api.put(b"seat/2", b"five", lease=2)
    api.server.settle()
    assert call.take() == []
    assert api.server.hub.watchers_count == 0


@pytest.mark.parametrize(("service", "status"), [(b"", 1), (b"\x0a\x00", 1)])
def test_the_server_as_a_whole_is_serving(api: Api, service: bytes, status: int) -> None:
    """grpc health-checking.md."""
    method = api.methods.find("/grpc.health.v1.Health/Check")
    assert isinstance(method, Unary)
    call = FakeUnaryCall()
    method.handler(service, call)
    assert call.answer == bytes([8, status])


def test_other_services_have_no_health(api: Api) -> None:
    """Check says NotFound, Watch goes on with SERVICE_UNKNOWN: it might come. grpc-go health/server.go."""
    with refused(errors.UNKNOWN_HEALTH_SERVICE):
        api.call("/grpc.health.v1.Health/Check", b"\x0a\x01a", pb.CompactionResponse)
    with refused(errors.MALFORMED_REQUEST):
        api.call("/grpc.health.v1.Health/Check", b"\x0a", pb.CompactionResponse)
    call = api.stream("/grpc.health.v1.Health/Watch", pb.CompactionResponse)
    assert call.on_message is not None
    call.on_message(b"\x0a\x01a")
    assert call.sent == [b"\x08\x03"]
    assert not call.ended


class Tape:
    """Steps that end when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[int], None], Callable[[RpcError], None]]] = []
        self.given_up = 0
        self.heard: list[object] = []

    def step(self) -> Step[int]:
        def start(done: Callable[[int], None], failed: Callable[[RpcError], None]) -> Callable[[], None]:
            self.waiting.append((done, failed))
            return self.give_up

        return Step(start)

    def give_up(self) -> None:
        self.given_up += 1

    async def two(self) -> None:
        try:
            self.heard.append(await self.step())
            self.heard.append(await self.step())
        finally:
            self.heard.append("end")


def test_a_flow_goes_from_step_to_step() -> None:
    """Results are what awaiting gives."""
    tape = Tape()
    Flow(tape.two(), tape.heard.append)
    tape.waiting[0][0](1)
    tape.waiting[1][0](2)
    assert tape.heard == [1, 2, "end"]


def test_a_flow_hands_its_error_on() -> None:
    """Whatever no line of it catches."""
    tape = Tape()
    error = RpcError(StatusCode.UNKNOWN, "no")
    Flow(tape.two(), tape.heard.append)
    tape.waiting[0][1](error)
    assert tape.heard == ["end", error]


def test_a_cancelled_flow_gives_its_step_up_and_hears_nothing_more() -> None:
    """Nor does an answer that comes late wake it."""
    tape = Tape()
    flow = Flow(tape.two(), tape.heard.append)
    flow.cancel()
    assert (tape.given_up, tape.heard) == (1, ["end"])
    tape.waiting[0][0](1)
    flow.cancel()
    assert tape.heard == ["end"]


def test_a_step_may_end_before_it_has_begun() -> None:
    """Refusals come at once; then there is nothing to give up."""
    heard: list[int] = []

    def at_once(done: Callable[[int], None], failed: Callable[[RpcError], None]) -> Callable[[], None]:
        done(7)
        return lambda: heard.append(-1)

    async def three() -> None:
        for _ in range(3):
            heard.append(await Step(at_once))

    Flow(three(), lambda _: None).cancel()
    assert heard == [7, 7, 7]
