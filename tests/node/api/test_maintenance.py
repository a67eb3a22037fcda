"""Status, alarms, quota, hashes and snapshots, by the numbers of the semantics checklist (S, N, C12-C22, H07-H09)."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import apsw
import pytest

from etcdops.ids import NO_MEMBER, MemberID
from etcdops.node.api import errors
from etcdops.node.api.port import Limits
from etcdops.node.apply.wire import FIELD_CLUSTER_VERSION_SET
from etcdops.node.storage.state import StateStore
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import membershippb_pb2 as membershippb
from tests.fakes.calls import Api
from tests.fakes.single_member import SingleMember
from tests.node.api.refusals import refused

GET, ACTIVATE, DEACTIVATE = pb.AlarmRequest.GET, pb.AlarmRequest.ACTIVATE, pb.AlarmRequest.DEACTIVATE


def defragment(api: Api) -> pb.DefragmentResponse:
    return api.call("/etcdserverpb.Maintenance/Defragment", pb.DefragmentRequest(), pb.DefragmentResponse)


def move_leader(api: Api, target: int) -> pb.MoveLeaderResponse:
    request = pb.MoveLeaderRequest(targetID=target)
    return api.call("/etcdserverpb.Maintenance/MoveLeader", request, pb.MoveLeaderResponse)


def content_hash(api: Api) -> int:
    return api.call("/etcdserverpb.Maintenance/Hash", pb.HashRequest(), pb.HashResponse).hash


def downgrade(api: Api, action: int, version: str = "") -> pb.DowngradeResponse:
    request = pb.DowngradeRequest(version=version)
    request.action = action  # type: ignore[assignment]  # an open enum
    return api.call("/etcdserverpb.Maintenance/Downgrade", request, pb.DowngradeResponse)


def test_status(api: Api, member: SingleMember) -> None:
    """S01, S03."""
    api.put(b"a", b"v" * 10_000)
    status = api.status()
    assert (status.version, status.leader, status.raftTerm) == (member.version, member.member_id, 2)
    assert (status.raftIndex, status.raftAppliedIndex) == (1, 1)
    assert status.dbSize >= status.dbSizeInUse > 10_000
    assert (status.isLearner, list(status.errors), status.dbSizeQuota) == (False, [], 2 * 1024**3)


def test_status_tells_what_is_wrong(api: Api, member: SingleMember) -> None:
    """S04, N11: in etcd's words, blank at the end included."""
    api.alarm(ACTIVATE, 5, pb.NOSPACE)
    member.leader = NO_MEMBER
    assert list(api.status().errors) == ["etcdserver: no leader", "memberID:5 alarm:NOSPACE "]


def test_alarms(api: Api) -> None:
    """N05-N09, H09."""
    assert not api.alarm(ACTIVATE, 5, pb.NONE).alarms
    assert api.alarm(DEACTIVATE, 5, pb.NOSPACE).header.revision == 1
    for _ in range(2):
        (raised,) = api.alarm(ACTIVATE, 5, pb.NOSPACE).alarms
        assert (raised.memberID, raised.alarm) == (5, pb.NOSPACE)
    api.alarm(ACTIVATE, 7, pb.CORRUPT)
    assert len(api.alarm(GET).alarms) == 2
    assert [one.memberID for one in api.alarm(GET, alarm=pb.CORRUPT).alarms] == [7]
    assert len(api.alarm(DEACTIVATE, 7, pb.CORRUPT).alarms) == 1
    with refused(errors.NO_SPACE):
        api.put(b"a")
    api.alarm(DEACTIVATE, 5, pb.NOSPACE)
    api.put(b"a")


def test_unknown_alarm_actions_and_types_are_errors(api: Api) -> None:
    """N13: etcd dereferences a response that is not there."""
    with refused(errors.UNKNOWN_ALARM_ACTION):
        api.alarm(9)
    with refused(errors.UNKNOWN_ALARM_TYPE):
        api.alarm(ACTIVATE, 5, 9)


def test_a_full_member_takes_only_what_adds_nothing(api: Api) -> None:
    """N04, P14, D07, T30, L06: Range, Delete, Compact, Revoke and costless transactions go on."""
    lease = api.grant().ID
    api.put(b"a", lease=lease)
    api.alarm(ACTIVATE, 99, pb.NOSPACE)
    put = pb.RequestOp(request_put=pb.PutRequest(key=b"b"))
    nested = pb.RequestOp(request_txn=pb.TxnRequest(failure=[put]))
    for refuse in (
        lambda: api.put(b"b"),
        lambda: api.grant(),
        lambda: api.txn(pb.TxnRequest(success=[put])),
        lambda: api.txn(pb.TxnRequest(success=[nested])),
    ):
        with refused(errors.NO_SPACE):
            refuse()
    delete = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"a"))
    assert api.txn(pb.TxnRequest(success=[delete])).succeeded
    assert api.delete(b"x").deleted == 0
    api.compact(2)
    api.revoke(lease)
    assert api.range(b"a").count == 0


def test_the_quota_raises_the_alarm(tmp_path: Path) -> None:
    """N01-N03, P17: before anything else is checked, for this member, and defragmenting does not take it back (S10)."""
    member = SingleMember(tmp_path, limits=Limits(quota_bytes=200_000))
    api = Api(member)
    with refused(errors.NO_SPACE):
        for number in range(1000):
            api.put(b"k%d" % number, b"v" * 1000)
    assert [(one.memberID, one.alarm) for one in api.alarm(GET).alarms] == [(member.member_id, pb.NOSPACE)]
    with refused(errors.NO_SPACE):
        api.put(b"")
    defragment(api)
    with refused(errors.NO_SPACE):
        api.put(b"a")
    api.delete(b"\0", b"\0")
    api.compact(api.range(b"a").header.revision, physical=False)
    member.advance(5)
    defragment(api)
    api.alarm(DEACTIVATE, member.member_id, pb.NOSPACE)
    api.put(b"a")
    member.close()


def test_an_applied_request_that_is_over_the_quota_stands_and_is_reported(tmp_path: Path) -> None:
    """The proposer is told and the alarm is raised, but every member keeps the change (apply.go, quotaApplierV3)."""
    member = SingleMember(tmp_path, limits=Limits(quota_bytes=1))
    api = Api(member)
    told: list[object] = []
    member.propose(4, pb.PutRequest(key=b"a").SerializeToString(), lambda outcome: told.append(outcome.error))
    member.settle()
    assert told == [errors.NO_SPACE]
    assert api.range(b"a").count == 1
    assert len(api.alarm(GET, alarm=pb.NOSPACE).alarms) == 1
    member.close()


def test_alarms_survive_a_restart(api: Api, member: SingleMember) -> None:
    """N10."""
    api.alarm(ACTIVATE, 5, pb.NOSPACE)
    member.restart()
    with refused(errors.NO_SPACE):
        Api(member).put(b"a")


def test_defragmenting_keeps_the_content(api: Api, member: SingleMember) -> None:
    """S09, H07."""
    for number in range(100):
        api.put(b"k%d" % number, b"v" * 5000)
    api.delete(b"\0", b"\0")
    api.put(b"kept", b"v")
    api.compact(102, physical=False)
    member.advance(5)
    hashes = content_hash(api), api.hash_kv().hash
    size = api.status().dbSize
    assert not defragment(api).HasField("header")
    assert (content_hash(api), api.hash_kv().hash) == hashes
    assert api.status().dbSize < size
    assert member.metrics.defragment_s.buckets()[-1] == (math.inf, 1)


def test_moving_the_leader(api: Api, member: SingleMember) -> None:
    """S11-S13, H07, M29."""
    with refused(errors.BAD_LEADER_TRANSFEREE):
        move_leader(api, 99)
    assert not move_leader(api, member.member_id).HasField("header")
    request = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"], isLearner=True)
    learner = api.call("/etcdserverpb.Cluster/MemberAdd", request, pb.MemberAddResponse).member.ID
    with refused(errors.BAD_LEADER_TRANSFEREE):
        move_leader(api, learner)
    member.leader = MemberID(7)
    with refused(errors.NOT_LEADER):
        move_leader(api, 99)


def test_a_transfer_that_takes_too_long(api: Api, member: SingleMember) -> None:
    """S14."""
    request = pb.MemberAddRequest(peerURLs=["http://127.0.0.1:1"])
    voter = api.call("/etcdserverpb.Cluster/MemberAdd", request, pb.MemberAddResponse).member.ID
    with refused(errors.TIMEOUT_LEADER_TRANSFER):
        move_leader(api, voter)


def test_hashes(api: Api, member: SingleMember) -> None:
    """C12, C14-C17: at a revision, compacted, in the future; the stored hash of a compaction answers below it."""
    empty = api.hash_kv()
    assert (empty.compact_revision, empty.hash_revision, empty.header.revision) == (-1, 1, 1)
    for value in (b"1", b"2", b"3"):
        api.put(b"a", value)
    at_3 = api.hash_kv(3)
    assert (at_3.hash_revision, at_3.header.revision) == (3, 4)
    assert at_3.hash != api.hash_kv().hash
    with refused(errors.FUTURE_REVISION):
        api.hash_kv(5)
    api.compact(4)
    member.advance(1)
    with refused(errors.COMPACTED):
        api.hash_kv(2)
    assert api.hash_kv(4).compact_revision in (-1, 4)


def test_the_content_hash_ignores_how_far_a_member_is(api: Api, member: SingleMember) -> None:
    """C22: the consistent index is left out."""
    api.put(b"a")
    before = content_hash(api)
    api.alarm(GET)
    assert content_hash(api) == before
    api.put(b"a")
    assert content_hash(api) != before


async def test_other_members_ask_for_hashes(api: Api, member: SingleMember) -> None:
    """C19-C21: the peer port's /members/hashkv."""
    api.put(b"a")
    expected = api.hash_kv(2).hash
    member.call_soon = lambda callback: callback()  # type: ignore[method-assign]  # no turns in a coroutine
    ask = api.services.peer_routes.hash_kv
    assert ask is not None
    answer = await ask(b'{"revision":2}')
    assert (answer.status, b'"hash":%d,' % expected in answer.body) == (200, True)
    assert await ask(b'{"revision":9}') == (400, b"mvcc: required revision is a future revision")
    assert (await ask(b"nonsense")).status == 400


def test_a_snapshot_is_small_blobs_and_a_digest(api: Api, member: SingleMember, tmp_path: Path) -> None:
    """S05, S07, S08, H08: of one commit, on a learner too, and nothing is left behind."""
    for number in range(50):
        api.put(b"k%d" % number, b"v" * 2000)
    expected = api.hash_kv().hash
    member.is_learner = True
    stream = api.stream("/etcdserverpb.Maintenance/Snapshot", pb.SnapshotResponse, room=2)
    assert stream.on_message is not None
    stream.on_message(b"")
    member.settle()
    parts = stream.take()
    while not stream.ended:
        stream.give_room(2)
        parts += stream.take()
    *blobs, digest = parts
    assert all(len(part.blob) == 32 * 1024 for part in blobs[:-1])
    assert not any(part.HasField("header") for part in parts)
    data = b"".join(part.blob for part in blobs)
    assert [part.remaining_bytes for part in blobs] == [max(0, len(data) - 32768 * n) for n in range(1, len(blobs) + 1)]
    assert (digest.blob, digest.remaining_bytes) == (hashlib.sha256(data).digest(), 0)
    assert (len(data) + len(digest.blob)) % 512 == 32
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "state.db").write_bytes(data)
    restored = StateStore.open(copy / "state.db", create=False)
    assert restored.mvcc.hash_kv().hash == expected
    restored.close()
    assert not list(tmp_path.glob("call-*"))


def test_a_client_that_leaves_during_a_snapshot_leaves_nothing(api: Api, member: SingleMember, tmp_path: Path) -> None:
    """The image goes with the call, whether it was made already or not."""
    for turns in (True, False):
        stream = api.stream("/etcdserverpb.Maintenance/Snapshot", pb.SnapshotResponse, room=1)
        assert stream.on_message is not None
        stream.on_message(b"")
        if turns:
            member.settle()
        stream.cancel()
        member.settle()
        assert not list(tmp_path.glob("call-*"))
    assert member.metrics.rpcs["/etcdserverpb.Maintenance/Snapshot"].failed == {1: 2}


def test_leftovers_of_a_crash_are_removed_at_the_start(member: SingleMember, tmp_path: Path) -> None:
    """Images are as large as the state."""
    leftover = tmp_path / "call-snapshot-3.db.part"
    leftover.write_bytes(b"x")
    Api(member)
    assert not leftover.exists()


def test_a_store_that_cannot_be_read_is_an_error_and_not_the_end(
    api: Api, member: SingleMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E.g. no room for the image."""

    def full(*_: object) -> None:
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr(StateStore, "write_snapshot", full)
    with refused(errors.STORE_REFUSED):
        content_hash(api)
    stream = api.stream("/etcdserverpb.Maintenance/Snapshot", pb.SnapshotResponse)
    assert stream.on_message is not None
    stream.on_message(b"")
    member.settle()
    assert stream.error is not None
    assert stream.error.message == errors.STORE_REFUSED.text


def test_downgrades(api: Api, member: SingleMember) -> None:
    """S16, S17, E17, E18, E47-E49."""
    validate, enable, cancel = 0, 1, 2
    with refused(errors.CLUSTER_VERSION_UNAVAILABLE):
        downgrade(api, validate, "3.4")
    request = membershippb.ClusterVersionSetRequest(ver="3.5.0")
    member.propose(FIELD_CLUSTER_VERSION_SET, request.SerializeToString(), lambda outcome: None)
    member.settle()
    for malformed in ("", "3", "three", "3.4.0.0"):
        with refused(errors.WRONG_DOWNGRADE_VERSION_FORMAT):
            downgrade(api, validate, malformed)
    for wrong in ("3.5", "3.3.0", "2.4"):
        with refused(errors.INVALID_DOWNGRADE_TARGET_VERSION):
            downgrade(api, validate, wrong)
    with refused(errors.NO_INFLIGHT_DOWNGRADE):
        downgrade(api, cancel)
    assert downgrade(api, validate, "3.4").version == "3.5.0"
    downgrade(api, enable, "3.4.0")
    member.restart()
    again = Api(member)
    with refused(errors.DOWNGRADE_IN_PROCESS):
        downgrade(again, enable, "3.4")
    downgrade(again, cancel)
    assert member.applier.downgrade_target == ""
    with refused(errors.UNKNOWN_METHOD):
        downgrade(again, 7)
