"""The applier: total, deterministic, and once per entry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etcdops.ids import LeaseID, LogIndex, MemberID, Revision, Term
from etcdops.node.api import errors
from etcdops.node.apply import wire
from etcdops.node.apply.outcome import Applied, Outcome
from etcdops.node.member.member import Member, promotion_json
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType, Entry, EntryType
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto.wire import bytes_field, varint_field
from etcdops.snapshot.sqlite_schema import MAIN_MAX
from tests.fakes.single_member import SingleMember
from tests.node.api.random_requests import RandomRequests

_FIELDS = {
    "Put": wire.FIELD_PUT,
    "DeleteRange": wire.FIELD_DELETE_RANGE,
    "Txn": wire.FIELD_TXN,
    "Compact": wire.FIELD_COMPACTION,
    "LeaseGrant": wire.FIELD_LEASE_GRANT,
    "LeaseRevoke": wire.FIELD_LEASE_REVOKE,
    "Alarm": wire.FIELD_ALARM,
    "Range": wire.FIELD_RANGE,
}


@pytest.fixture
def member(tmp_path: Path) -> Iterator[SingleMember]:
    started = SingleMember(tmp_path)
    yield started
    started.close()


def entry(index: int, data: bytes, term: int = 2) -> Entry:
    return Entry(Term(term), LogIndex(index), EntryType.NORMAL, data)


def encoded(field: int, request: bytes, request_id: int = 1) -> bytes:
    return bytes_field(field, request) + bytes_field(100, varint_field(1, request_id))


def put(key: bytes, value: bytes = b"", request_id: int = 1) -> bytes:
    return encoded(wire.FIELD_PUT, pb.PutRequest(key=key, value=value).SerializeToString(), request_id)


def test_an_entry_is_applied_once(member: SingleMember) -> None:
    """K02, K03: what the consistent index covers is skipped, also after a restart."""
    applier = member.applier
    assert applier.apply(entry(1, put(b"a", request_id=9))) == Applied(9, Outcome(revision=2))
    assert applier.apply(entry(1, put(b"a"))) == Applied(0, Outcome())
    applier.apply(entry(2, b""))
    assert (member.state.consistent_index, member.state.mvcc.revision) == (2, 2)
    member.restart()
    member.applier.apply(entry(2, put(b"a")))
    member.applier.apply(entry(3, put(b"a")))
    assert (member.state.consistent_index, member.state.mvcc.revision) == (3, 3)


def test_what_was_not_committed_comes_again_from_the_log(member: SingleMember) -> None:
    """K02: data and index are lost together."""
    member.applier.apply(entry(1, put(b"a")))
    member.state.commit()
    member.applier.apply(entry(2, put(b"b")))
    member.state.abandon()
    member.state = type(member.state).open(member.state.path, create=False)
    assert (member.state.consistent_index, member.state.mvcc.revision) == (1, 2)


_KNOWN_AND_UNKNOWN_FIELDS = [*range(1, 16), 1000, 1300, 1301, 1302, 9900]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.builds(encoded, st.sampled_from(_KNOWN_AND_UNKNOWN_FIELDS), st.binary(max_size=60)))
def test_any_bytes_give_a_result(member: SingleMember, data: bytes) -> None:
    """A31, N13: one entry that stops a member stops all of them, again at every restart."""
    index = member.state.consistent_index + 1
    applied = member.applier.apply(entry(index, data))
    assert isinstance(applied, Applied)
    assert member.state.consistent_index == index


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        (wire.FIELD_TXN, pb.TxnRequest(success=[pb.RequestOp()])),
        (wire.FIELD_TXN, pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(ignore_value=True))])),
        (wire.FIELD_PUT, pb.PutRequest()),
        (wire.FIELD_DELETE_RANGE, pb.DeleteRangeRequest()),
        (wire.FIELD_LEASE_GRANT, pb.LeaseGrantRequest()),
        (wire.FIELD_LEASE_GRANT, pb.LeaseGrantRequest(ID=5, TTL=-7)),
        (wire.FIELD_COMPACTION, pb.CompactionRequest(revision=-9)),
        (wire.FIELD_RANGE, pb.RangeRequest(key=b"a", revision=99)),
        (wire.FIELD_LEASE_CHECKPOINT, pb.LeaseCheckpointRequest(checkpoints=[pb.LeaseCheckpoint(ID=8)])),
    ],
)
def test_requests_the_api_would_refuse_are_survived(member: SingleMember, field: int, request_: pb.TxnRequest) -> None:
    """Another member, or another version, may have let them into the log."""
    member.applier.apply(entry(1, encoded(field, request_.SerializeToString())))
    member.applier.apply(entry(2, put(b"after")))
    assert member.state.mvcc.get(b"after") is not None


def test_a_store_without_revisions_left_refuses_changes(member: SingleMember) -> None:
    """A snapshot may have been restored with a huge --bump-revision: every member would end, again at each start."""
    member.applier.apply(
        entry(1, encoded(wire.FIELD_LEASE_GRANT, pb.LeaseGrantRequest(ID=7, TTL=60).SerializeToString()))
    )
    member.applier.apply(entry(2, put(b"before")))
    member.state.mvcc._revision = Revision(MAIN_MAX)
    requests = {
        wire.FIELD_DELETE_RANGE: pb.DeleteRangeRequest(key=b"before"),
        wire.FIELD_TXN: pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"a"))]),
        wire.FIELD_LEASE_REVOKE: pb.LeaseRevokeRequest(ID=7),
        wire.FIELD_PUT: pb.PutRequest(key=b"a"),
    }
    for index, (number, request) in enumerate(requests.items(), 3):
        applied = member.applier.apply(entry(index, encoded(number, request.SerializeToString())))
        assert applied.outcome.error is errors.OUT_OF_REVISIONS
    assert (member.state.mvcc.revision, member.state.consistent_index) == (MAIN_MAX, 6)
    assert member.state.mvcc.get(b"before") is not None
    assert LeaseID(7) in member.lessor


def test_requests_of_another_version_say_so(member: SingleMember) -> None:
    """E.g. user management: nothing changes, and whoever waits is told."""
    applied = member.applier.apply(entry(1, encoded(1100, pb.AuthUserAddRequest(name="a").SerializeToString(), 5)))
    assert (applied.request_id, applied.outcome.error) == (5, errors.UNKNOWN_ENTRY)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_log_gives_the_same_state(tmp_path: Path, seed: int) -> None:
    """T29, L08: whatever the pace of commits, compaction steps, restarts and who leads."""
    requests = RandomRequests(seed)
    one, two = (SingleMember(_made(tmp_path / name)) for name in ("one", "two"))
    two.leader = MemberID(7)
    two.lessor.demote()
    for index in range(1, 400):
        path, request, _ = requests.next()
        field = _FIELDS.get(path.rpartition("/")[2])
        if field is None:
            continue
        data = encoded(field, request.SerializeToString())
        answers = [member.applier.apply(entry(member.state.consistent_index + 1, data)) for member in (one, two)]
        assert answers[0] == answers[1]
        requests.revision = one.state.mvcc.revision
        one.settle()
        if index % 50 == 0:
            one.restart()
        if index % 7 == 0:
            two.state.commit()
    for member in (one, two):
        member.advance(10)
    assert one.state.mvcc.hash_kv() == two.state.mvcc.hash_kv()
    counted = one.state.mvcc.range(b"\0", b"\0", count_only=True).count
    assert one.applier.keys_count == two.applier.keys_count == counted
    assert one.state.leases.all() == two.state.leases.all()
    assert [lease.keys for lease in sorted(one.lessor.leases(), key=lambda lease: lease.id)] == [
        lease.keys for lease in sorted(two.lessor.leases(), key=lambda lease: lease.id)
    ]
    one.close()
    two.close()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_members_publish_their_names_in_both_forms(member: SingleMember) -> None:
    """M34: InternalRaftRequest's, and the one etcd 3.5 writes (a v2 request)."""
    modern = pb.InternalRaftRequest()
    modern.cluster_member_attr_set.member_ID = member.member_id
    modern.cluster_member_attr_set.member_attributes.name = "modern"
    modern.cluster_member_attr_set.member_attributes.client_urls.append("http://c:1")
    member.applier.apply(entry(1, modern.SerializeToString()))
    known = member.members.get(member.member_id)
    assert known is not None
    assert (known.name, known.client_urls) == ("modern", ("http://c:1",))
    path = f"/0/members/{member.member_id:x}/attributes".encode()
    attributes = json.dumps({"name": "legacy", "clientURLs": ["http://d:1"]}).encode()
    old = varint_field(1, 77) + bytes_field(2, b"PUT") + bytes_field(3, path) + bytes_field(4, attributes)
    assert member.applier.apply(entry(2, old)).request_id == 77
    known = member.members.get(member.member_id)
    assert known is not None
    assert (known.name, known.client_urls) == ("legacy", ("http://d:1",))


def test_the_cluster_version_in_both_forms(member: SingleMember, caplog: pytest.LogCaptureFixture) -> None:
    """K15."""
    modern = pb.InternalRaftRequest()
    modern.cluster_version_set.ver = "3.4.0"
    caplog.set_level("INFO")
    member.applier.apply(entry(1, modern.SerializeToString()))
    assert member.applier.cluster_version == "3.4.0"
    old = varint_field(1, 7) + bytes_field(2, b"PUT") + bytes_field(3, b"/0/version") + bytes_field(4, b"3.5.0")
    member.applier.apply(entry(2, old))
    member.restart()
    assert member.applier.cluster_version == "3.5.0"
    said = [record.message for record in caplog.records if "cluster version" in record.message]
    assert said == ["set initial cluster version", "updated cluster version"]


def test_configuration_changes_are_applied_once_and_refused_alike(member: SingleMember) -> None:
    """M22, M28, M31: an error tells the driver that raft must ignore the change too."""
    learner = Member(MemberID(5), ("http://l:1",), is_learner=True)
    add = ConfChange((ConfChangeSingle(ConfChangeType.ADD_LEARNER_NODE, learner.id),), context=learner.to_json())
    change = Entry(Term(2), LogIndex(1), EntryType.CONF_CHANGE, b"")
    assert member.applier.apply_conf_change(change, add) is None
    assert member.applier.apply_conf_change(change, add) is None
    assert member.applier.apply_conf_change(change._replace(index=LogIndex(2)), add) == errors.MEMBER_EXISTS
    promote = ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, learner.id),), context=promotion_json(learner.id))
    assert member.applier.apply_conf_change(change._replace(index=LogIndex(3)), promote) is None
    assert [one.id for one in member.members.voters()] == [5, member.member_id]
    leave_joint = ConfChange()
    assert member.applier.apply_conf_change(change._replace(index=LogIndex(4)), leave_joint) is None
    assert member.state.consistent_index == 4
