"""Membership, by the numbers of the semantics checklist (M, H06)."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.ids import LogIndex, MemberID, member_id
from etcdops.node.api import errors
from etcdops.node.api.port import Limits
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.calls import Api
from tests.fakes.single_member import SingleMember
from tests.node.api.refusals import refused

URL = "http://127.0.0.1:12380"


def add(api: Api, *urls: str, learner: bool = False) -> pb.MemberAddResponse:
    request = pb.MemberAddRequest(peerURLs=urls, isLearner=learner)
    return api.call("/etcdserverpb.Cluster/MemberAdd", request, pb.MemberAddResponse)


def remove(api: Api, member: int) -> pb.MemberRemoveResponse:
    return api.call("/etcdserverpb.Cluster/MemberRemove", pb.MemberRemoveRequest(ID=member), pb.MemberRemoveResponse)


def update(api: Api, member: int, *urls: str) -> pb.MemberUpdateResponse:
    request = pb.MemberUpdateRequest(ID=member, peerURLs=urls)
    return api.call("/etcdserverpb.Cluster/MemberUpdate", request, pb.MemberUpdateResponse)


def promote(api: Api, member: int) -> pb.MemberPromoteResponse:
    request = pb.MemberPromoteRequest(ID=member)
    return api.call("/etcdserverpb.Cluster/MemberPromote", request, pb.MemberPromoteResponse)


def listed(api: Api, *, linearizable: bool = True) -> pb.MemberListResponse:
    request = pb.MemberListRequest(linearizable=linearizable)
    return api.call("/etcdserverpb.Cluster/MemberList", request, pb.MemberListResponse)


@pytest.mark.parametrize(
    "urls",
    [(), ("ftp://a:1",), ("http://a",), ("http://a:1/path",), ("a:1",), ("http://a:1", "junk")],
)
def test_bad_urls_are_refused(api: Api, member: SingleMember, urls: tuple[str, ...]) -> None:
    """M01, M21: for an update too, where etcd takes anything and other members fail on it."""
    with refused(errors.MEMBER_BAD_URLS):
        add(api, *urls)
    with refused(errors.MEMBER_BAD_URLS):
        update(api, member.member_id, *urls)


def test_adding_a_member(api: Api, member: SingleMember) -> None:
    """M02, M06, I02, H06: the ID is made of the URLs and the time; the header has no revision."""
    added = add(api, "unix://x", "https://b:2", URL)
    expected = member_id(["unix://x", "https://b:2", URL], "", added_at=int(member.clock.wall()))
    assert expected == added.member.ID
    assert (added.member.name, list(added.member.peerURLs)) == ("", [URL, "https://b:2", "unix://x"])
    assert {one.ID for one in added.members} == {expected, member.member_id}
    assert (added.header.revision, added.header.member_id, added.header.raft_term) == (0, member.member_id, 2)


def test_urls_and_ids_in_use(api: Api, member: SingleMember) -> None:
    """M03, M04, M15: and an ID that left never comes back."""
    with refused(errors.PEER_URL_EXISTS):
        add(api, "http://localhost:2380")
    added = add(api, URL).member.ID
    with refused(errors.NOT_ENOUGH_STARTED_MEMBERS):
        add(api, URL)
    remove(api, added)
    with refused(errors.MEMBER_NOT_FOUND):
        add(api, URL)
    with refused(errors.MEMBER_NOT_FOUND):
        remove(api, added)


def test_one_learner_at_a_time(api: Api, tmp_path: Path) -> None:
    """M04, M05: more with the flag. Whoever adds one twice hears what is wrong with that."""
    add(api, URL, learner=True)
    with refused(errors.MEMBER_EXISTS):
        add(api, URL, learner=True)
    with refused(errors.TOO_MANY_LEARNERS):
        add(api, "http://127.0.0.1:22380", learner=True)
    (tmp_path / "two").mkdir()
    generous = SingleMember(tmp_path / "two", limits=Limits(max_learners=2))
    for url in (URL, "http://127.0.0.1:22380"):
        add(Api(generous), url, learner=True)
    assert len(generous.members.learners()) == 2
    generous.close()


def test_strict_reconfiguration_can_be_turned_off(api: Api, tmp_path: Path) -> None:
    """M07: on by default, a second unstarted voter is refused."""
    add(api, URL)
    with refused(errors.NOT_ENOUGH_STARTED_MEMBERS):
        add(api, "http://127.0.0.1:22380")
    (tmp_path / "lax").mkdir()
    lax = SingleMember(tmp_path / "lax", limits=Limits(strict_reconfig_check=False))
    for port in (12380, 22380):
        add(Api(lax), f"http://127.0.0.1:{port}")
    assert len(lax.members.voters()) == 3
    lax.close()


def test_connections_decide_whether_a_cluster_is_healthy(api: Api, member: SingleMember) -> None:
    """M08, M09, M13: five seconds of working links to a quorum of the cluster as it would be."""
    second = MemberID(add(api, URL).member.ID)
    member.members.set_attributes(second, "two", ["http://127.0.0.1:12379"])
    for learner in (True, False):
        with refused(errors.UNHEALTHY):
            add(api, "http://127.0.0.1:22380", learner=learner)
    member.active_since[second] = member.clock.monotonic()
    with refused(errors.UNHEALTHY):
        add(api, "http://127.0.0.1:22380", learner=True)
    with refused(errors.UNHEALTHY):
        remove(api, second)
    member.advance(6)
    add(api, "http://127.0.0.1:22380", learner=True)


def test_removing(api: Api, member: SingleMember) -> None:
    """M10, M11, M13, M14: not the last one; one that is down always; learners unasked."""
    with refused(errors.MEMBER_NOT_FOUND):
        remove(api, 99)
    with refused(errors.NOT_ENOUGH_STARTED_MEMBERS):
        remove(api, member.member_id)
    learner = add(api, URL, learner=True).member.ID
    assert [one.ID for one in remove(api, learner).members] == [member.member_id]
    down = add(api, "http://127.0.0.1:22380").member.ID
    remove(api, down)
    assert member.members.removed == {learner, down}


def test_updating_changes_only_urls(api: Api, member: SingleMember) -> None:
    """M18-M20: a learner stays one."""
    with refused(errors.MEMBER_NOT_FOUND):
        update(api, 99, URL)
    learner = add(api, URL, learner=True).member.ID
    with refused(errors.PEER_URL_EXISTS):
        update(api, member.member_id, URL)
    update(api, learner, "http://127.0.0.1:32380")
    updated = update(api, member.member_id, "http://127.0.0.1:42380").members
    by_id = {one.ID: one for one in updated}
    assert by_id[learner].isLearner
    assert list(by_id[learner].peerURLs) == ["http://127.0.0.1:32380"]
    assert (by_id[member.member_id].name, list(by_id[member.member_id].clientURLs)) == (
        "default",
        ["http://localhost:2379"],
    )


def test_promoting(api: Api, member: SingleMember) -> None:
    """M22, M23, M25: only a learner that has nine tenths of the leader's log."""
    with refused(errors.MEMBER_NOT_FOUND):
        promote(api, 99)
    full = (LogIndex(100), LogIndex(100))
    member.learner_matches[member.member_id] = full
    with refused(errors.MEMBER_NOT_LEARNER):
        promote(api, member.member_id)
    learner = MemberID(add(api, URL, learner=True).member.ID)
    member.learner_matches[learner] = (LogIndex(89), LogIndex(100))
    with refused(errors.LEARNER_NOT_READY):
        promote(api, learner)
    member.learner_matches[learner] = (LogIndex(90), LogIndex(100))
    assert not any(one.isLearner for one in promote(api, learner).members)
    assert member.metrics.learner_promotions == 1


def test_a_follower_forwards_a_promotion(api: Api, member: SingleMember) -> None:
    """M24."""
    member.leader = MemberID(7)
    with refused(errors.TIMEOUT):
        promote(api, 99)


async def test_the_leader_promotes_for_followers(api: Api, member: SingleMember) -> None:
    """M24: the peer port's /members/promote/<id>, with the statuses by which etcd tells the errors apart."""
    learner = MemberID(add(api, URL, learner=True).member.ID)
    member.call_soon = lambda callback: callback()  # type: ignore[method-assign]  # no turns in a coroutine
    ask = api.services.peer_routes.promote
    assert ask is not None
    assert await ask(MemberID(99), "") == (404, b"membership: ID not found")
    member.learner_matches[learner] = (LogIndex(1), LogIndex(100))
    assert (await ask(learner, "")).status == 412
    member.learner_matches[learner] = (LogIndex(100), LogIndex(100))
    promoted = await ask(learner, "")
    assert promoted.status == 200
    assert b"isLearner" not in promoted.body
    assert await ask(learner, "") == (412, b"membership: can only promote a learner member")


def test_lists(api: Api, member: SingleMember) -> None:
    """M26, M27, H06: linearizable or local, by ID."""
    add(api, URL, learner=True)
    found = listed(api)
    assert [one.ID for one in found.members] == sorted(one.ID for one in found.members)
    assert [one.isLearner for one in found.members if member.member_id != one.ID] == [True]
    assert found.header.revision == 0
    member.linearize_error = errors.TIMEOUT
    with refused(errors.TIMEOUT):
        listed(api)
    assert len(listed(api, linearizable=False).members) == 2


def test_members_survive_a_restart(api: Api, member: SingleMember) -> None:
    """M31."""
    gone = add(api, URL, learner=True).member.ID
    remove(api, gone)
    kept = add(api, "http://127.0.0.1:22380", learner=True).member.ID
    before = list(listed(api).members)
    member.restart()
    assert list(listed(Api(member)).members) == before
    assert member.members.is_removed(MemberID(gone))
    assert member.members.get(MemberID(kept)) is not None
