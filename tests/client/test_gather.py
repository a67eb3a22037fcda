"""One look at a cluster of fake members: whatever they say or do not say, everybody is in the view, with the reason."""

from __future__ import annotations

import time
from collections.abc import Sequence

import grpc
import pytest

from etcdops.client.view import Health, Silence, observe
from etcdops.ids import MemberID
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.secret import Secret
from tests.client.conftest import MakeClient, StartFakes
from tests.fakes.etcd_server import Fail, FakeEtcd, Hang
from tests.support.ports import free_ports

TIMEOUT_S = 1.0


def member_list(
    *members: FakeEtcd, extra: Sequence[pb.Member] = (), learners: Sequence[FakeEtcd] = ()
) -> list[pb.Member]:
    return [
        pb.Member(
            ID=member.member_id,
            name=f"m{member.member_id:x}",
            peerURLs=[f"http://peer-{member.member_id:x}:2380"],
            clientURLs=[member.url],
            isLearner=member in learners,
        )
        for member in members
    ] + list(extra)


def behave(
    member: FakeEtcd,
    members: Sequence[pb.Member],
    *,
    leader: int,
    term: int = 2,
    index: int = 10,
    errors: Sequence[str] = (),
    linearizable: bool = True,
) -> None:
    """Script a member that knows `members` and follows `leader`."""
    header = pb.ResponseHeader(cluster_id=member.cluster_id, member_id=member.member_id, revision=5, raft_term=term)
    status = pb.StatusResponse(
        header=header,
        version="3.5.16",
        dbSize=2048,
        dbSizeInUse=1024,
        leader=leader,
        raftIndex=index,
        raftAppliedIndex=index,
        raftTerm=term,
        errors=errors,
    )
    member.on("Maintenance/Status", status)
    member.on("Cluster/MemberList", pb.MemberListResponse(header=header, members=members))
    no_quorum = Fail(grpc.StatusCode.UNAVAILABLE, "etcdserver: request timed out")
    member.on("KV/Range", pb.RangeResponse(header=header) if linearizable else no_quorum)
    member.on("Maintenance/HashKV", pb.HashKVResponse(header=header, hash=7, compact_revision=-1, hash_revision=5))


async def test_a_healthy_cluster_is_found_whole_from_one_endpoint(fakes: StartFakes, make_client: MakeClient) -> None:
    """The member list names the others; all are asked, once each."""
    members = await fakes(3)
    for member in members:
        behave(member, member_list(*members), leader=members[0].member_id)
    view = await observe(make_client(members[1].url), timeout_s=TIMEOUT_S, hashes=True)
    assert view.health is Health.HEALTHY
    assert [m.name for m in view.members] == ["ma1", "ma2", "ma3"]
    assert view.leader == members[0].member_id
    assert (view.quorum.voters, view.quorum.present, view.tolerates) == (3, 3, 1)
    assert view.hashes_agree() is True
    assert [len(m.requests("Maintenance/Status")) for m in members] == [1, 1, 1]
    assert [e.given for e in view.endpoints] == [True, False, False]


@pytest.mark.slow
async def test_a_follower_that_is_just_late_with_a_member_change_is_no_contradiction(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """After every membership change the lists differ for some milliseconds; they are asked for twice."""
    first, second = await fakes(2)
    removed = pb.Member(ID=9, name="gone", peerURLs=["http://p:1"])
    for member in (first, second):
        behave(member, member_list(first, second), leader=first.member_id)
    old, new = (
        pb.MemberListResponse(header=second.header, members=members)
        for members in (member_list(first, second, extra=[removed]), member_list(first, second))
    )
    second.on("Cluster/MemberList", old, new)
    view = await observe(make_client(first.url, second.url), timeout_s=TIMEOUT_S)
    assert view.problems == ()
    assert view.health is Health.HEALTHY


@pytest.mark.slow
async def test_a_silent_member_is_shown_with_the_reason_within_the_timeout(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """One hangs, one refuses connections: neither is hidden, neither holds up the look (STYLE: unknown is a value)."""
    first, hanging, gone = await fakes(3)
    everyone = member_list(first, hanging, gone)
    behave(first, everyone, leader=first.member_id)
    for method in ("Maintenance/Status", "Cluster/MemberList"):
        hanging.on(method, Hang())
    await gone.stop()
    started = time.monotonic()
    view = await observe(make_client(first.url, hanging.url), timeout_s=TIMEOUT_S)
    assert time.monotonic() - started < TIMEOUT_S + 1.0
    assert {m.name: m.silence for m in view.silent} == {"ma2": Silence.TIMED_OUT, "ma3": Silence.REFUSED}
    assert all(m.error for m in view.silent)
    # A read through the quorum worked, so the others are only hidden from us.
    assert view.has_quorum
    assert view.health is Health.DEGRADED


async def test_without_quorum_the_look_is_short_and_says_so(fakes: StartFakes, make_client: MakeClient) -> None:
    """The proof of a quorum is cut short when every answer says that there is no leader."""
    survivor, *dead = await fakes(3)
    behave(survivor, member_list(survivor, *dead), leader=0, errors=["etcdserver: no leader"], linearizable=False)
    survivor.on("KV/Range", Hang())
    for member in dead:
        await member.stop()
    started = time.monotonic()
    view = await observe(make_client(survivor.url), timeout_s=10.0)
    assert time.monotonic() - started < 5.0
    assert view.health is Health.QUORUM_LOST
    assert (view.quorum.needed, view.quorum.present, view.quorum.missing) == (2, 1, 1)
    assert view.serves_linearizable is False


async def test_a_member_that_was_added_and_never_started_is_shown_as_such(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """It has no name and no client URL yet, but it counts for the quorum."""
    (member,) = await fakes(1)
    announced = pb.Member(ID=0xBEEF, peerURLs=["http://new:2380"])
    behave(member, member_list(member, extra=[announced]), leader=member.member_id)
    view = await observe(make_client(member.url), timeout_s=TIMEOUT_S)
    unstarted = view.member(MemberID(0xBEEF))
    assert unstarted is not None
    assert (unstarted.started, unstarted.silence) == (False, Silence.UNSTARTED)
    assert view.quorum.needed == 2
    assert view.members[-1] is unstarted


async def test_learners_are_members_but_not_voters(fakes: StartFakes, make_client: MakeClient) -> None:
    voter, learner = await fakes(2)
    for member in (voter, learner):
        behave(member, member_list(voter, learner, learners=[learner]), leader=voter.member_id)
    view = await observe(make_client(voter.url), timeout_s=TIMEOUT_S)
    assert [m.name for m in view.learners] == ["ma2"]
    assert (view.quorum.voters, view.quorum.present) == (1, 1)


async def test_two_clusters_behind_the_endpoints_are_told_apart(fakes: StartFakes, make_client: MakeClient) -> None:
    """dr-traps 3 and 4: after a recovery an old member may still answer, for another cluster."""
    first, second, stranger = await fakes(3)
    for member in (first, second):
        behave(member, member_list(first, second), leader=first.member_id)
    stranger.cluster_id = 0xC2
    behave(stranger, member_list(stranger), leader=stranger.member_id)
    view = await observe(make_client(stranger.url, first.url, second.url), timeout_s=TIMEOUT_S)
    assert view.cluster_id == 0xC1, "most endpoints decide"
    assert [m.name for m in view.members] == ["ma1", "ma2"]
    assert any("two clusters" in problem.en and stranger.url in problem.en for problem in view.problems)
    assert view.health is Health.DEGRADED


async def test_a_quorum_is_not_proved_by_another_cluster(fakes: StartFakes, make_client: MakeClient) -> None:
    """Whoever reads "reads and writes work" must be able to rely on it, also when an old member answers elsewhere."""
    first, second, stranger = await fakes(3)
    for member in (first, second):
        behave(member, member_list(first, second), leader=0, linearizable=False)
    stranger.cluster_id = 0xC2
    behave(stranger, member_list(stranger), leader=stranger.member_id)
    view = await observe(make_client(stranger.url, first.url, second.url), timeout_s=TIMEOUT_S)
    assert view.cluster_id == 0xC1
    assert view.serves_linearizable is False
    assert not view.has_quorum
    for member in (first, second):
        behave(member, member_list(first, second), leader=first.member_id)
    view = await observe(make_client(stranger.url, first.url, second.url), timeout_s=TIMEOUT_S)
    assert view.serves_linearizable is True


async def test_a_members_address_that_another_cluster_answers_is_not_taken_for_the_member(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """The member list says m2 is there; who answers there says otherwise."""
    first, second = await fakes(2)
    second.cluster_id = 0xC2
    behave(first, member_list(first, second), leader=first.member_id)
    behave(second, member_list(second), leader=second.member_id)
    view = await observe(make_client(first.url), timeout_s=TIMEOUT_S)
    silent = view.member(MemberID(second.member_id))
    assert silent is not None
    assert silent.silence is Silence.WRONG_CLUSTER
    assert "another cluster" in silent.error


async def test_members_that_disagree_about_the_members_are_reported_and_the_newest_believed(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """A member that was cut off keeps an old list."""
    first, second = await fakes(2)
    behave(first, member_list(first, second), leader=first.member_id, index=50)
    behave(second, member_list(second), leader=first.member_id, index=20)
    view = await observe(make_client(second.url, first.url), timeout_s=TIMEOUT_S)
    assert len(view.members) == 2
    assert any(second.url in problem.en and "another member list" in problem.en for problem in view.problems)


async def test_two_leaders_are_a_problem_and_the_newer_term_wins(fakes: StartFakes, make_client: MakeClient) -> None:
    """An old leader that has not noticed, or two halves that both accept writes."""
    old, new, follower = members = await fakes(3)
    for member, leader, term in ((old, old, 4), (new, new, 5), (follower, new, 5)):
        behave(member, member_list(*members), leader=leader.member_id, term=term)
    view = await observe(make_client(old.url), timeout_s=TIMEOUT_S)
    assert view.leader == new.member_id
    assert [m.id for m in view.leaders] == [old.member_id, new.member_id]
    assert any("2 members call themselves leader" in problem.en for problem in view.problems)


async def test_not_being_allowed_in_is_not_being_down(fakes: StartFakes, make_client: MakeClient) -> None:
    """etcd #13692: a cluster that wants a login is not unhealthy, it is unknown."""
    (member,) = await fakes(1)
    refused = Fail(grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")
    for method in ("Maintenance/Status", "Cluster/MemberList", "KV/Range"):
        member.on(method, refused)
    view = await observe(make_client(member.url), timeout_s=TIMEOUT_S)
    assert view.health is Health.UNKNOWN
    assert view.members[0].silence is Silence.ACCESS_DENIED
    assert view.serves_linearizable is None


async def test_a_wrong_password_shows_as_access_denied_for_every_member(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    (member,) = await fakes(1)
    text = "etcdserver: authentication failed, invalid user ID or password"
    member.on("Auth/Authenticate", Fail(grpc.StatusCode.INVALID_ARGUMENT, text))
    view = await observe(make_client(member.url, username="root", password=Secret("no")), timeout_s=TIMEOUT_S)
    assert view.members[0].silence is Silence.ACCESS_DENIED


async def test_permission_denied_for_the_probe_still_proves_the_quorum(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """As in etcdctl's health check: only a member that asked its leader can refuse that way."""
    (member,) = await fakes(1)
    behave(member, member_list(member), leader=member.member_id)
    member.on("KV/Range", Fail(grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"))
    view = await observe(make_client(member.url), timeout_s=TIMEOUT_S)
    assert view.serves_linearizable is True


async def test_alarms_are_read_from_the_status_without_writing_to_the_log(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """The Alarm RPC goes through raft: a dashboard would grow the log, and without quorum it would fail."""
    first, second = await fakes(2)
    raised = f"memberID:{second.member_id} alarm:NOSPACE "
    for member in (first, second):
        behave(member, member_list(first, second), leader=first.member_id, errors=[raised])
    view = await observe(make_client(first.url), timeout_s=TIMEOUT_S)
    assert [(alarm.member, alarm.type) for alarm in view.alarms] == [(second.member_id, "NOSPACE")]
    assert all(m.status is not None and m.status.errors == () for m in view.members)
    assert first.requests("Maintenance/Alarm") == []


async def test_different_data_on_two_members_is_found_by_their_hashes(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Compared at one revision that both have, otherwise a busy cluster would look corrupt."""
    first, second = await fakes(2)
    for member in (first, second):
        behave(member, member_list(first, second), leader=first.member_id)
    second.on("Maintenance/HashKV", pb.HashKVResponse(hash=8, compact_revision=-1))
    view = await observe(make_client(first.url), timeout_s=TIMEOUT_S, hashes=True)
    assert view.hashes_agree() is False
    assert any("unequal hashes at revision 5" in problem.en for problem in view.problems)
    assert [request.revision for m in (first, second) for request in m.requests("Maintenance/HashKV")] == [5, 5]


async def test_when_nobody_answers_the_endpoints_stand_for_the_members(make_client: MakeClient) -> None:
    """Exit 3, and each address with its own reason."""
    urls = [f"http://127.0.0.1:{port}" for port in free_ports(2)]
    view = await observe(make_client(*urls), timeout_s=TIMEOUT_S)
    assert view.health is Health.UNREACHABLE
    assert view.cluster_id is None
    assert [(m.endpoint, m.silence) for m in view.members] == [(url, Silence.REFUSED) for url in sorted(urls)]
    assert not view.members_known
    assert view.quorum.voters == 0


async def test_a_member_behind_a_forwarded_port_is_recognised(fakes: StartFakes, make_client: MakeClient) -> None:
    """Its advertised address is unreachable from here, the typed one works: one member, and it answers."""
    (member,) = await fakes(1)
    hidden = pb.Member(
        ID=member.member_id, name="m", peerURLs=["http://p:1"], clientURLs=["http://hidden.invalid:2379"]
    )
    behave(member, [hidden], leader=member.member_id)
    view = await observe(make_client(member.url), timeout_s=TIMEOUT_S)
    assert [(m.name, m.answered, m.endpoint) for m in view.members] == [("m", True, member.url)]
    assert view.health is Health.HEALTHY


async def test_a_member_that_advertises_no_usable_address_is_shown(fakes: StartFakes, make_client: MakeClient) -> None:
    (member,) = await fakes(1)
    odd = pb.Member(ID=9, name="odd", peerURLs=["http://p:1"], clientURLs=["ftp://nonsense"])
    behave(member, member_list(member, extra=[odd]), leader=member.member_id)
    view = await observe(make_client(member.url), timeout_s=TIMEOUT_S)
    found = view.member(MemberID(9))
    assert found is not None
    assert found.silence is Silence.NO_URL
