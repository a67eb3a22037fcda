"""Leases, by the numbers of the semantics checklist (L, H13, H14, W40)."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.ids import NO_MEMBER, LeaseID, MemberID
from etcdops.node.api import errors
from etcdops.node.api.port import Limits
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import leasepb_pb2 as leasepb
from tests.fakes.calls import Api, FakeStreamCall, WatchClient
from tests.fakes.single_member import SingleMember
from tests.node.api.refusals import refused

KeepAlives = FakeStreamCall[pb.LeaseKeepAliveResponse]


def keep_alive(api: Api, **options: object) -> KeepAlives:
    path = "/etcdserverpb.Lease/LeaseKeepAlive"
    return api.stream(path, pb.LeaseKeepAliveResponse, **options)  # type: ignore[arg-type]  # stream's own options


def renew(api: Api, stream: KeepAlives, lease: int) -> list[pb.LeaseKeepAliveResponse]:
    assert stream.on_message is not None
    stream.on_message(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
    api.server.settle()
    return stream.take()


def expire(api: Api, seconds: float) -> None:
    """Let time pass with the half-second ticks of a running member."""
    for _ in range(int(seconds * 2)):
        api.server.advance(0.5)
        api.services.lease_expiry.tick()
        api.server.settle()


def test_a_grant_chooses_a_positive_id(api: Api) -> None:
    """L01, I07, H13: granting does not change the revision."""
    granted = api.grant(ttl=60)
    assert 0 < granted.ID < 1 << 63
    assert (granted.TTL, granted.header.revision) == (60, 1)
    assert api.grant().ID != granted.ID


def test_a_grant_takes_the_id_it_is_given(api: Api) -> None:
    """L02, L03: also a negative one, but each only once."""
    assert api.grant(lease=-7).ID == -7
    with refused(errors.LEASE_EXISTS):
        api.grant(lease=-7)


@pytest.mark.parametrize("ttl", [1, 0, -5])
def test_a_short_ttl_is_raised_to_one_and_a_half_election_timeouts(api: Api, ttl: int) -> None:
    """L05."""
    assert api.grant(ttl=ttl).TTL == 2


def test_a_ttl_has_a_limit(api: Api) -> None:
    """L04."""
    assert api.grant(ttl=9_000_000_000).TTL == 9_000_000_000
    with refused(errors.LEASE_TTL_TOO_LARGE):
        api.grant(ttl=9_000_000_001)


def test_a_revocation_deletes_its_keys_in_order_at_one_revision(api: Api) -> None:
    """L07, L08, H13, W40."""
    for unknown in (0, 12345):
        with refused(errors.LEASE_NOT_FOUND):
            api.revoke(unknown)
    lease = api.grant().ID
    for key in (b"c", b"a", b"b"):
        api.put(key, lease=lease)
    watch = WatchClient(api)
    watch.create(b"\0", b"\0")
    watch.take()
    assert api.revoke(lease).header.revision == 5
    (response,) = watch.take()
    assert [event.kv.key for event in response.events] == [b"a", b"b", b"c"]
    assert api.revoke(api.grant().ID).header.revision == 5


def test_time_to_live(api: Api, member: SingleMember) -> None:
    """L09-L11: whole seconds left, cut; -1 for an unknown lease."""
    unknown = api.time_to_live(99)
    assert (unknown.ID, unknown.TTL, unknown.grantedTTL) == (99, -1, 0)
    lease = api.grant(ttl=60).ID
    for key in (b"b", b"a"):
        api.put(key, lease=lease)
    member.advance(1.5)
    known = api.time_to_live(lease, keys=True)
    assert (known.TTL, known.grantedTTL, list(known.keys)) == (58, 60, [b"a", b"b"])
    assert not api.time_to_live(lease).keys


def test_leases_are_listed_soonest_to_end_first(api: Api) -> None:
    """L13."""
    for lease, ttl in ((1, 100), (2, 50), (3, 75)):
        api.grant(ttl, lease)
    path = "/etcdserverpb.Lease/LeaseLeases"
    listed = api.call(path, pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse)
    assert [status.ID for status in listed.leases] == [2, 3, 1]


def test_renewing(api: Api, member: SingleMember) -> None:
    """L14, L15, H14: an unknown lease gets TTL 0 and the stream stays."""
    lease = api.grant(ttl=60).ID
    stream = keep_alive(api)
    member.advance(30)
    (unknown,) = renew(api, stream, 99)
    assert (unknown.ID, unknown.TTL) == (99, 0)
    (renewed,) = renew(api, stream, lease)
    assert (renewed.ID, renewed.TTL, renewed.header.revision) == (lease, 60, 1)
    assert api.time_to_live(lease).TTL == 60
    assert not stream.ended
    assert stream.on_half_close is not None
    stream.on_half_close()
    assert stream.ended
    assert stream.error is None


def test_a_lease_ends_when_nobody_renews_it(api: Api) -> None:
    """L21, L23, L24: never before its TTL has passed, soon after it has."""
    lease = api.grant(ttl=10).ID
    api.put(b"a", lease=lease)
    stream = keep_alive(api)
    expire(api, 9)
    assert renew(api, stream, lease)[0].TTL == 10
    expire(api, 9.5)
    assert api.range(b"a").count == 1
    expire(api, 1)
    assert api.range(b"a").count == 0
    assert renew(api, stream, lease)[0].TTL == 0


def test_renewing_an_ended_lease_waits_for_its_revocation(api: Api, member: SingleMember) -> None:
    """L17: the answer is TTL 0, and other leases of the stream are not held up."""
    short, long = api.grant(ttl=5).ID, api.grant(ttl=60).ID
    member.advance(6)
    stream = keep_alive(api)
    assert renew(api, stream, short) == []
    assert renew(api, stream, long)[0].TTL == 60
    api.services.lease_expiry.tick()
    member.settle()
    (answer,) = stream.take()
    assert (short, 0) == (answer.ID, answer.TTL)


def test_a_leader_that_cannot_confirm_it_renews_nothing(api: Api, member: SingleMember) -> None:
    """L16b: the stream ends, so that the client tries another member."""
    lease = api.grant(ttl=60).ID
    member.advance(30)
    member.linearize_error = errors.TIMEOUT
    stream = keep_alive(api)
    renew(api, stream, lease)
    assert stream.error is not None
    assert (stream.error.code, stream.error.message) == (errors.NOT_PRIMARY.code, errors.NOT_PRIMARY.text)
    member.linearize_error = None
    assert api.time_to_live(lease).TTL == 30


def test_a_deposed_leader_revokes_nothing(api: Api, member: SingleMember) -> None:
    """L22."""
    lease = api.grant(ttl=5).ID
    member.linearize_error = errors.TIMEOUT
    expire(api, 10)
    assert lease in member.lessor
    member.linearize_error = None
    expire(api, 4)
    assert lease not in member.lessor


def test_a_follower_forwards_renewals(api: Api, member: SingleMember) -> None:
    """L16: no success in time is E55."""
    lease = api.grant().ID
    member.leader = MemberID(77)
    stream = keep_alive(api)
    renew(api, stream, lease)
    assert member.forwarded_renewals == [lease]
    assert stream.error is not None
    assert stream.error.message == errors.TIMEOUT.text
    with refused(errors.TIMEOUT):
        api.time_to_live(lease)


def test_a_stream_that_requires_a_leader_ends_without_one(api: Api, member: SingleMember) -> None:
    """L18, X09: after three checks, one per election timeout."""
    stream = keep_alive(api, metadata={"hasleader": "true"})
    indifferent = keep_alive(api)
    member.advance(5)
    member.leader = NO_MEMBER
    member.advance(2)
    assert not stream.ended
    member.advance(2)
    assert stream.error is not None
    assert (stream.error.code, stream.error.message) == (errors.NO_LEADER.code, errors.NO_LEADER.text)
    assert not indifferent.ended


def test_grants_need_room(tmp_path: Path) -> None:
    """L06, N01, N02."""
    member = SingleMember(tmp_path, limits=Limits(quota_bytes=1))
    with refused(errors.NO_SPACE):
        Api(member).grant()
    member.close()


def test_leases_survive_a_restart(api: Api, member: SingleMember) -> None:
    """L25: with what hangs on them; a new leader starts from the full TTL plus an election timeout (L19)."""
    lease = api.grant(ttl=60).ID
    api.put(b"a", lease=lease)
    member.advance(30)
    member.restart()
    again = Api(member)
    assert again.time_to_live(lease, keys=True).keys == [b"a"]
    assert again.time_to_live(lease).TTL == 61
    again.revoke(lease)
    assert again.range(b"a").count == 0


def test_a_checkpoint_is_what_a_new_leader_starts_from(api: Api, member: SingleMember) -> None:
    """L20: and a renewal voids it in the log before it counts."""
    lease = api.grant(ttl=1000).ID
    expire(api, 301)
    held = member.lessor.get(LeaseID(lease))
    assert held is not None
    assert held.remaining_ttl_s == 700
    member.restart()
    again = Api(member)
    assert again.time_to_live(lease).TTL == 701
    assert renew(again, keep_alive(again), lease)[0].TTL == 1000
    assert again.time_to_live(lease).TTL == 1000
    voided = member.lessor.get(LeaseID(lease))
    assert voided is not None
    assert voided.remaining_ttl_s == 0


def test_a_renewal_outlives_a_checkpoint_that_is_under_way(api: Api, member: SingleMember) -> None:
    """L20: what is left was read off before the renewal, and is applied after it. Raft does not reorder what one
    leader proposes, so the renewal comes after both."""
    lease = LeaseID(api.grant(ttl=1000).ID)
    stream = keep_alive(api)
    held = member.lessor.get(lease)
    assert held is not None
    expire(api, 299)
    member.advance(2)
    api.services.lease_expiry.tick()
    assert renew(api, stream, lease)[0].TTL == 1000
    assert (held.checkpoints_begun, held.remaining_ttl_s) == (1, 0)
    # And the other way round: it begins while the previous one is being made void.
    member.advance(301)
    api.services.lease_expiry.tick()
    member.settle()
    assert held.remaining_ttl_s == 699
    member.advance(301)
    assert stream.on_message is not None
    stream.on_message(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
    api.services.lease_expiry.tick()
    member.settle()
    assert [answer.TTL for answer in stream.take()] == [1000]
    assert (held.checkpoints_begun, held.remaining_ttl_s) == (3, 0)


async def test_the_leader_answers_for_followers(api: Api, member: SingleMember) -> None:
    """L12, L16: the peer port's /leases and /leases/internal."""
    lease = api.grant(ttl=60).ID
    api.put(b"a", lease=lease)
    member.call_soon = lambda callback: callback()  # type: ignore[method-assign]  # no turns in a coroutine
    routes = api.services.peer_routes
    assert routes.leases is not None
    assert routes.leases_internal is not None
    renewed = await routes.leases(pb.LeaseKeepAliveRequest(ID=lease).SerializeToString())
    assert (renewed.status, pb.LeaseKeepAliveResponse.FromString(renewed.body).TTL) == (200, 60)
    assert await routes.leases(pb.LeaseKeepAliveRequest(ID=99).SerializeToString()) == (404, b"lease not found")
    question = leasepb.LeaseInternalRequest(
        LeaseTimeToLiveRequest=pb.LeaseTimeToLiveRequest(ID=lease, keys=True)
    ).SerializeToString()
    answer = await routes.leases_internal(question)
    found = leasepb.LeaseInternalResponse.FromString(answer.body).LeaseTimeToLiveResponse
    assert (found.ID, found.TTL, found.grantedTTL, list(found.keys)) == (lease, 60, 60, [b"a"])
    assert (await routes.leases_internal(b"\xff")).status == 400
