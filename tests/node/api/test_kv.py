"""Range, Put, DeleteRange and Compact, by the numbers of the semantics checklist (H, V, R, P, D, C, X)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from etcdops.node.api import errors, long_ranges
from etcdops.node.api.port import Limits
from etcdops.node.apply.wire import FIELD_CLUSTER_VERSION_SET, FIELD_PUT, delimited
from etcdops.node.rpc.service import RpcError
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import membershippb_pb2 as membershippb
from tests.fakes.calls import Api
from tests.fakes.single_member import SingleMember
from tests.node.api.refusals import refused

T = TypeVar("T")


def keys(response: pb.RangeResponse) -> list[bytes]:
    return [kv.key for kv in response.kvs]


def test_headers_say_who_answered_and_how_far_the_store_is(api: Api, member: SingleMember) -> None:
    """H01, H02, H04: identity, term, revision 1 on a fresh store and 2 after the first write."""
    header = api.range(b"a").header
    assert (header.cluster_id, header.member_id) == (member.cluster_id, member.member_id)
    assert (header.raft_term, header.revision) == (2, 1)
    assert api.put(b"a").header.revision == 2


def test_the_term_in_a_header_is_the_one_at_answer_time(api: Api, member: SingleMember) -> None:
    """H02."""
    assert api.range(b"a").header.raft_term == 2
    member.term = type(member.term)(7)
    assert api.range(b"a").header.raft_term == 7


def test_a_read_of_the_past_has_the_current_revision_in_its_header(api: Api) -> None:
    """H05."""
    api.put(b"a", b"1")
    api.put(b"a", b"2")
    old = api.range(b"a", revision=2)
    assert (old.kvs[0].value, old.header.revision) == (b"1", 3)


def test_versions_and_create_revisions_start_over_after_a_deletion(api: Api) -> None:
    """V01, V04."""
    api.put(b"a")
    api.put(b"a")
    api.delete(b"a")
    api.put(b"a")
    (kv,) = api.range(b"a").kvs
    assert (kv.create_revision, kv.mod_revision, kv.version) == (5, 5, 1)


@pytest.mark.parametrize(
    ("key", "end", "found"),
    [
        (b"b", b"", [b"b"]),
        (b"b", b"\0", [b"b", b"c"]),
        (b"\0", b"\0", [b"a", b"b", b"c"]),
        (b"a", b"c", [b"a", b"b"]),
        (b"c", b"a", []),
        (b"b", b"b", []),
    ],
)
def test_range_ends(api: Api, key: bytes, end: bytes, found: list[bytes]) -> None:
    """R02-R05."""
    for name in (b"a", b"b", b"c"):
        api.put(name)
    response = api.range(key, end)
    assert (keys(response), response.count) == (found, len(found))


def test_revisions_of_a_range(api: Api) -> None:
    """R06-R10: now, the past, the future, compacted, and the compacted revision itself."""
    for value in (b"1", b"2", b"3"):
        api.put(b"a", value)
    assert api.range(b"a", revision=-5).kvs[0].value == b"3"
    assert api.range(b"a", revision=1).count == 0
    with refused(errors.FUTURE_REVISION):
        api.range(b"a", revision=5)
    api.compact(3)
    assert api.range(b"a", revision=3).kvs[0].value == b"2"
    with refused(errors.COMPACTED):
        api.range(b"a", revision=2)


def test_limits_count_everything_and_say_more(api: Api) -> None:
    """R11-R13."""
    for name in (b"a", b"b", b"c"):
        api.put(name)
    cut = api.range(b"a", b"\0", limit=2)
    assert (keys(cut), cut.more, cut.count) == ([b"a", b"b"], True, 3)
    assert not api.range(b"a", b"\0", limit=3).more
    assert keys(api.range(b"a", b"\0", limit=-1)) == [b"a", b"b", b"c"]


def test_counts_and_keys_without_values(api: Api) -> None:
    """R14-R16."""
    lease = api.grant().ID
    api.put(b"a", b"z", lease=lease)
    api.put(b"b", b"y")
    counted = api.range(b"a", b"\0", count_only=True, limit=1)
    assert (len(counted.kvs), counted.count, counted.more) == (0, 2, False)
    (bare,) = api.range(b"a", keys_only=True).kvs
    assert (bare.key, bare.value, bare.lease, bare.version, bare.mod_revision) == (b"a", b"", lease, 1, 2)
    by_value = api.range(b"a", b"\0", keys_only=True, sort_target=pb.RangeRequest.VALUE)
    assert keys(by_value) == [b"b", b"a"]


def test_filters_come_before_the_limit_and_leave_the_count(api: Api) -> None:
    """R17, R18."""
    for name in (b"a", b"b", b"c", b"d"):
        api.put(name)
    api.put(b"a")
    found = api.range(b"a", b"\0", min_mod_revision=4, limit=1)
    assert (keys(found), found.count, found.more) == ([b"a"], 4, True)
    assert keys(api.range(b"a", b"\0", max_mod_revision=4)) == [b"b", b"c"]
    assert keys(api.range(b"a", b"\0", min_create_revision=3, max_create_revision=4)) == [b"b", b"c"]


def test_sorting(api: Api) -> None:
    """R18-R21: every target, both orders, ties in key order, a target without an order ascends."""
    for name, value in ((b"a", b"2"), (b"b", b"1"), (b"c", b"1")):
        api.put(name, value)
    api.put(b"b", b"3")
    target = pb.RangeRequest
    descending = pb.RangeRequest.DESCEND
    assert keys(api.range(b"a", b"\0", sort_order=descending)) == [b"c", b"b", b"a"]
    assert keys(api.range(b"a", b"\0", sort_target=target.VERSION)) == [b"a", b"c", b"b"]
    assert keys(api.range(b"a", b"\0", sort_target=target.MOD)) == [b"a", b"c", b"b"]
    assert keys(api.range(b"a", b"\0", sort_target=target.CREATE, sort_order=descending)) == [b"c", b"b", b"a"]
    assert keys(api.range(b"a", b"\0", sort_target=target.VALUE)) == [b"c", b"a", b"b"]
    assert keys(api.range(b"a", b"\0", sort_target=target.VERSION, sort_order=descending)) == [b"b", b"a", b"c"]
    assert keys(api.range(b"a", b"\0", sort_order=descending, limit=1)) == [b"c"]


def test_unknown_sort_options(api: Api) -> None:
    """R22, R23, X12: an unknown target, which stops etcd up to 3.5, is an error; an unknown order is ignored."""
    api.put(b"a")
    request = pb.RangeRequest(key=b"a")
    request.sort_target = 99  # type: ignore[assignment]  # an open enum
    with refused(errors.INVALID_SORT_OPTION):
        api.call("/etcdserverpb.KV/Range", request, pb.RangeResponse)
    unordered = pb.RangeRequest(key=b"a")
    unordered.sort_order = 99  # type: ignore[assignment]  # an open enum
    assert keys(api.call("/etcdserverpb.KV/Range", unordered, pb.RangeResponse)) == [b"a"]
    nested = pb.TxnRequest(success=[pb.RequestOp(request_range=request)])
    with refused(errors.INVALID_SORT_OPTION):
        api.txn(nested)


def test_a_linearizable_read_fails_with_what_the_driver_says(api: Api, member: SingleMember) -> None:
    """R24, R26, R27: serializable reads need nobody else."""
    api.put(b"a", b"1")
    for error in (errors.TIMEOUT, errors.LEADER_CHANGED):
        member.linearize_error = error
        with refused(error):
            api.range(b"a")
        with refused(error):
            api.range(b"a", limit=1)
    assert api.range(b"a", serializable=True).kvs[0].value == b"1"


@pytest.mark.parametrize("size", [1, 2, 100, 124, 125, 126, 127, 128, 129, 300])
def test_a_read_of_one_key_is_answered_the_same_however_it_is_asked(api: Api, size: int) -> None:
    """R01: the usual requests are read without decoding them, whatever the key looks like and however long it is."""
    # A key may end like an encoded `serializable` does.
    for key in (b"k" * size, (b"k" * size + b"\x38\x01")[-size:]):
        api.put(key, b"v")
        other = key[:-1] + b"x"
        for serializable in (False, True):
            plain, decoded = (api.range(key, serializable=serializable, limit=limit) for limit in (0, 5))
            assert plain == decoded
            assert plain.kvs[0].key == key
            assert api.range(other, serializable=serializable).count == 0


def test_reads_go_on_while_data_is_corrupt(api: Api) -> None:
    """R29, P15, D08, T31, N12."""
    api.put(b"a")
    api.alarm(pb.AlarmRequest.ACTIVATE, 5, pb.CORRUPT)
    assert api.range(b"a").count == 1
    read = pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))])
    assert api.txn(read).succeeded
    for refuse in (
        lambda: api.put(b"a"),
        lambda: api.delete(b"a"),
        lambda: api.compact(2),
        lambda: api.grant(),
        lambda: api.revoke(1),
        lambda: api.txn(pb.TxnRequest(success=[pb.RequestOp(request_txn=read)])),
    ):
        with refused(errors.CORRUPT):
            refuse()


def test_keys_and_values_are_bytes(api: Api) -> None:
    """R30."""
    key, value = b"\x00\xff" * 500, bytes(range(256)) * 100
    api.put(key, value)
    (kv,) = api.range(key).kvs
    assert (kv.key, kv.value) == (key, value)


def test_empty_keys_are_refused(api: Api) -> None:
    """R01, P01, D01, E01."""
    for refuse in (lambda: api.range(b""), lambda: api.put(b""), lambda: api.delete(b"")):
        with refused(errors.EMPTY_KEY):
            refuse()


def test_flags_of_a_put(api: Api) -> None:
    """P02-P07, P12."""
    with refused(errors.VALUE_PROVIDED):
        api.put(b"a", b"1", ignore_value=True)
    with refused(errors.LEASE_PROVIDED):
        api.put(b"a", lease=7, ignore_lease=True)
    with refused(errors.KEY_NOT_FOUND):
        api.put(b"a", ignore_value=True)
    with refused(errors.KEY_NOT_FOUND):
        api.put(b"a", ignore_lease=True)
    assert api.range(b"a").header.revision == 1
    lease = api.grant().ID
    assert not api.put(b"a", b"1", lease=lease, prev_kv=True).HasField("prev_kv")
    assert api.put(b"a", ignore_value=True, ignore_lease=True, prev_kv=True).prev_kv.value == b"1"
    (kv,) = api.range(b"a").kvs
    assert (kv.value, kv.lease, kv.version) == (b"1", lease, 2)


def test_leases_of_a_put(api: Api) -> None:
    """P08-P10: an unknown lease changes nothing; 0 detaches; another one takes over."""
    with refused(errors.LEASE_NOT_FOUND):
        api.put(b"a", lease=7)
    assert api.range(b"a").header.revision == 1
    first, second = api.grant().ID, api.grant().ID
    api.put(b"a", lease=first)
    api.put(b"b", lease=first)
    api.put(b"a")
    api.put(b"b", lease=second)
    api.revoke(first)
    assert keys(api.range(b"a", b"\0")) == [b"a", b"b"]
    api.revoke(second)
    assert keys(api.range(b"a", b"\0")) == [b"a"]


def test_an_empty_value_is_a_value(api: Api) -> None:
    """P11."""
    api.put(b"a", b"")
    response = api.range(b"a")
    assert (response.count, response.kvs[0].value) == (1, b"")


def test_unknown_fields_and_repeated_fields_of_a_put_are_taken_as_protobuf_says(api: Api) -> None:
    """The hand-written scanner leaves everything unusual to the generated class; the last of a field counts."""
    plain = pb.PutRequest(key=b"a", value=b"1").SerializeToString()
    api.call("/etcdserverpb.KV/Put", plain + b"\x12\x012" + b"\xfa\x06\x03abc", pb.PutResponse)
    assert api.range(b"a").kvs[0].value == b"2"


def test_what_is_no_message_is_refused(api: Api) -> None:
    """X21, X22: an error, never a dropped connection; etcd's where it has one (test_undecodable.py)."""
    deep = b""
    for _ in range(60):
        deep = delimited(b"\x12", delimited(b"\x22", deep))  # TxnRequest.success, RequestOp.request_txn
    for path, message in (
        ("/etcdserverpb.KV/Txn", deep),
        ("/etcdserverpb.Auth/UserAdd", b"\x0a\x01\xff"),
    ):
        with refused(errors.MALFORMED_REQUEST):
            api.call(path, message, pb.PutResponse)
    for path, message in (("/etcdserverpb.KV/Put", b"\x0a\xff"), ("/etcdserverpb.KV/Range", b"\xff\xff\xff")):
        with pytest.raises(RpcError) as error:
            api.call(path, message, pb.PutResponse)
        assert str(error.value).endswith("INTERNAL desc = grpc: error unmarshalling request: unexpected EOF")


def test_deletions(api: Api) -> None:
    """D02-D06."""
    assert (api.delete(b"x").deleted, api.range(b"x").header.revision) == (0, 1)
    lease = api.grant().ID
    for name in (b"a", b"b", b"c"):
        api.put(name, name, lease=lease)
    gone = api.delete(b"a", b"c", prev_kv=True)
    assert (gone.deleted, [kv.value for kv in gone.prev_kvs], gone.header.revision) == (2, [b"a", b"b"], 5)
    assert list(api.time_to_live(lease, keys=True).keys) == [b"c"]
    assert api.delete(b"\0", b"\0").deleted == 1


def test_compactions(api: Api) -> None:
    """C01-C05, V08: Compact(0) works once on a fresh store, because the mark starts below it."""
    assert api.compact(0).header.revision == 1
    with refused(errors.COMPACTED):
        api.compact(0)
    for value in (b"1", b"2", b"3"):
        api.put(b"a", value)
    with refused(errors.FUTURE_REVISION):
        api.compact(5)
    assert api.compact(4, physical=True).header.revision == 4
    assert api.range(b"a", revision=4).kvs[0].value == b"3"
    with refused(errors.COMPACTED):
        api.compact(4)


def test_a_physical_compaction_answers_when_nothing_is_left_to_remove(api: Api, member: SingleMember) -> None:
    """C05, C10: the steps have pauses, so the answer comes later than the logical one."""
    for number in range(1500):
        member.propose(
            FIELD_PUT, pb.PutRequest(key=b"a", value=b"%d" % number).SerializeToString(), lambda outcome: None
        )
    member.settle()
    call = pb.CompactionRequest(revision=1400, physical=True)
    answered: list[pb.CompactionResponse] = []
    with pytest.raises(AssertionError, match="was not answered"):
        answered.append(api.call("/etcdserverpb.KV/Compact", call, pb.CompactionResponse))
    assert member.state.mvcc.compaction_pending
    member.advance(1.0)
    assert not member.state.mvcc.compaction_pending


def test_a_request_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """X01: the limit is on the encoded proposal, not on the value."""
    member = SingleMember(tmp_path, limits=Limits(max_request_bytes=1000))
    api = Api(member)
    api.put(b"abc", b"v" * 900)
    with refused(errors.REQUEST_TOO_LARGE):
        api.put(b"abc", b"v" * 1000)
    member.close()


def test_a_learner_answers_only_what_needs_no_quorum(api: Api, member: SingleMember) -> None:
    """X17."""
    api.put(b"a")
    member.is_learner = True
    assert api.range(b"a", serializable=True).count == 1
    assert api.status().isLearner
    for refuse in (lambda: api.range(b"a"), lambda: api.put(b"a"), lambda: api.grant()):
        with refused(errors.NOT_SUPPORTED_FOR_LEARNER):
            refuse()


def test_a_call_that_requires_a_leader_fails_at_once_without_one(api: Api, member: SingleMember) -> None:
    """X08."""
    member.leader = type(member.leader)(0)
    request = pb.RangeRequest(key=b"a", serializable=True)
    with refused(errors.NO_LEADER):
        api.call("/etcdserverpb.KV/Range", request, pb.RangeResponse, {"hasleader": "true"})
    assert api.call("/etcdserverpb.KV/Range", request, pb.RangeResponse, {"hasleader": "false"}).count == 0


def test_a_cluster_version_of_the_future_is_not_served(api: Api, member: SingleMember) -> None:
    """X11, E45: etcd refuses when its table has no capabilities for the cluster version."""
    request = membershippb.ClusterVersionSetRequest(ver="3.9.0")
    member.propose(FIELD_CLUSTER_VERSION_SET, request.SerializeToString(), lambda outcome: None)
    member.settle()
    with refused(errors.NOT_CAPABLE):
        api.range(b"a")


def test_calls_are_counted_by_method_and_code(api: Api, member: SingleMember) -> None:
    """grpc_server_handled_total: every call ends in exactly one count."""
    api.put(b"a")
    with refused(errors.EMPTY_KEY):
        api.put(b"")
    with pytest.raises(RpcError):
        api.call("/etcdserverpb.KV/Put", b"\x0a\xff", pb.PutResponse)
    stats = member.metrics.rpcs["/etcdserverpb.KV/Put"]
    assert (stats.started, stats.ok, stats.failed) == (3, 1, {3: 1, 13: 1})


def test_long_ranges_are_read_off_the_loop(api: Api, member: SingleMember, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same: options, revisions and errors; short ranges stay on the loop."""
    monkeypatch.setattr(long_ranges, "KEYS_ON_THE_LOOP_MAX", 5)
    for number in range(10):
        api.put(b"k%d" % number, b"%d" % (9 - number))
    works: list[object] = []
    run = member.run_in_background

    def counted(work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        works.append(work)
        run(work, done)

    monkeypatch.setattr(member, "run_in_background", counted)
    assert (api.range(b"k0").count, api.range(b"k0", b"k4").count, works) == (1, 4, [])
    assert (api.range(b"k", b"l", limit=3).count, api.range(b"k", b"l", count_only=True).count, works) == (10, 10, [])
    assert keys(api.range(b"k", b"l")) == [b"k%d" % number for number in range(10)]
    first = api.range(b"k", b"l", sort_target=pb.RangeRequest.VALUE, sort_order=pb.RangeRequest.ASCEND, limit=2)
    assert (keys(first), first.more, first.count, first.header.revision) == ([b"k9", b"k8"], True, 10, 11)
    assert keys(api.range(b"k", b"\0", revision=3)) == [b"k0", b"k1"]
    with refused(errors.FUTURE_REVISION):
        api.range(b"k", b"l", revision=99)
    api.compact(5)
    with refused(errors.COMPACTED):
        api.range(b"k", b"l", revision=4)
    assert len(works) == 5


def test_a_client_version_that_is_no_text_is_refused(api: Api, member: SingleMember) -> None:
    """X10, E07: as from 3.6 on; etcd up to 3.5 is stopped by it. It is not counted under a name nobody can read."""
    strange = b"\xff\xfe".decode("utf-8", "surrogateescape")
    with refused(errors.INVALID_CLIENT_API_VERSION):
        api.call("/etcdserverpb.KV/Range", pb.RangeRequest(key=b"a"), pb.RangeResponse, {"client-api-version": strange})
    stream = api.stream("/etcdserverpb.Watch/Watch", pb.WatchResponse, metadata={"client-api-version": strange})
    assert stream.error is not None
    assert stream.error.message == errors.INVALID_CLIENT_API_VERSION.text
    api.call("/etcdserverpb.KV/Range", pb.RangeRequest(key=b"a"), pb.RangeResponse, {"client-api-version": "3.5é"})
    assert member.metrics.client_requests == {("unary", "3.5é"): 1}
