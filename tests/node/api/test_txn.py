"""Transactions, by the numbers of the semantics checklist (T, and V02, V03, V05, H11)."""

from __future__ import annotations

import pytest

from etcdops.node.api import errors
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.calls import Api, WatchClient
from tests.fakes.single_member import SingleMember
from tests.node.api.refusals import refused


def put(key: bytes, value: bytes = b"", **options: object) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **options))  # type: ignore[arg-type]  # its own


def get(key: bytes, range_end: bytes = b"", **options: object) -> pb.RequestOp:
    request = pb.RangeRequest(key=key, range_end=range_end, **options)  # type: ignore[arg-type]  # its own fields
    return pb.RequestOp(request_range=request)


def delete(key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv))


def nested(*success: pb.RequestOp, failure: tuple[pb.RequestOp, ...] = ()) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=success, failure=failure))


def txn(*success: pb.RequestOp) -> pb.TxnRequest:
    return pb.TxnRequest(success=success)


def succeeds(api: Api, *compares: pb.Compare) -> bool:
    return api.txn(pb.TxnRequest(compare=compares)).succeeded


def test_nothing_compared_and_nothing_done_succeeds(api: Api) -> None:
    """T06, T07."""
    response = api.txn(pb.TxnRequest())
    assert (response.succeeded, response.header.revision, len(response.responses)) == (True, 1, 0)


def test_a_budget_of_operations_shrinks_with_every_level(api: Api) -> None:
    """T01, T02, X04: the largest list counts; siblings do not share."""
    api.txn(txn(*[get(b"a")] * 128))
    with refused(errors.TOO_MANY_OPS):
        api.txn(txn(*[get(b"a")] * 129))
    with refused(errors.TOO_MANY_OPS):
        api.txn(pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 129))
    api.txn(txn(nested(*[get(b"a")] * 127)))
    with refused(errors.TOO_MANY_OPS):
        api.txn(txn(nested(*[get(b"a")] * 128)))
    api.txn(txn(nested(*[get(b"a")] * 126), nested(*[get(b"a")] * 126)))


def test_every_part_is_checked_by_itself(api: Api) -> None:
    """T03-T05."""
    with refused(errors.EMPTY_KEY):
        api.txn(pb.TxnRequest(compare=[pb.Compare()]))
    with refused(errors.KEY_NOT_FOUND):
        api.txn(txn(pb.RequestOp()))
    for op in (get(b""), put(b""), delete(b""), nested(put(b""))):
        with refused(errors.EMPTY_KEY):
            api.txn(pb.TxnRequest(failure=[op]))
    with refused(errors.VALUE_PROVIDED):
        api.txn(txn(put(b"a", b"1", ignore_value=True)))
    with refused(errors.LEASE_PROVIDED):
        api.txn(txn(put(b"a", lease=1, ignore_lease=True)))


def test_compares_of_an_existing_key(api: Api) -> None:
    """T07, T13."""
    lease = api.grant().ID
    api.put(b"a", b"m", lease=lease)
    api.put(b"a", b"m", lease=lease)
    compare = pb.Compare
    equal = [
        compare(key=b"a", target=compare.VERSION, version=2),
        compare(key=b"a", target=compare.CREATE, create_revision=2),
        compare(key=b"a", target=compare.MOD, mod_revision=3),
        compare(key=b"a", target=compare.VALUE, value=b"m"),
        compare(key=b"a", target=compare.LEASE, lease=lease),
    ]
    assert succeeds(api, *equal)
    for one in equal:
        one.result = compare.NOT_EQUAL
        assert not succeeds(api, one)
    assert succeeds(api, compare(key=b"a", target=compare.VALUE, result=compare.GREATER, value=b"l"))
    assert succeeds(api, compare(key=b"a", target=compare.VALUE, result=compare.LESS, value=b"n"))
    assert not succeeds(api, compare(key=b"a", target=compare.MOD, result=compare.LESS, version=9))
    assert not succeeds(api, equal[0], compare(key=b"b", target=compare.VERSION, version=1))


def test_a_missing_key_has_numbers_of_0_and_no_value(api: Api) -> None:
    """T08, T09."""
    compare = pb.Compare
    for target in (compare.VERSION, compare.CREATE, compare.MOD, compare.LEASE):
        assert succeeds(api, compare(key=b"a", target=target))
    for result in compare.CompareResult.values():
        assert not succeeds(api, compare(key=b"a", target=compare.VALUE, result=result, value=b""))


def test_a_compare_of_a_range_holds_for_all_its_keys(api: Api) -> None:
    """T10."""
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"c", b"2")):
        api.put(key, value)
    compare = pb.Compare
    assert succeeds(api, compare(key=b"a", range_end=b"c", target=compare.VALUE, value=b"1"))
    assert not succeeds(api, compare(key=b"a", range_end=b"\0", target=compare.VALUE, value=b"1"))
    assert succeeds(api, compare(key=b"x", range_end=b"z", target=compare.MOD, mod_revision=0))


def test_unknown_compares(api: Api) -> None:
    """T11, T12: an unknown result is true, an unknown target is equal."""
    api.put(b"a", b"1")
    unknown_result = pb.Compare(key=b"a", target=pb.Compare.VERSION, version=99)
    unknown_result.result = 9  # type: ignore[assignment]  # an open enum
    unknown_target = pb.Compare(key=b"a")
    unknown_target.target = 9  # type: ignore[assignment]
    assert succeeds(api, unknown_result, unknown_target)


def test_operations_see_the_ones_before_them_at_one_revision(api: Api) -> None:
    """T14, T15, T23, V02, H11: inner headers have only the revision, a nested transaction's is empty."""
    api.put(b"a", b"0")
    response = api.txn(
        txn(get(b"a"), put(b"a", b"1", prev_kv=True), get(b"a"), nested(put(b"b"), get(b"b")), delete(b"c"))
    )
    before, changed, after, inner, none = response.responses
    assert response.header.revision == 3
    assert (before.response_range.kvs[0].value, before.response_range.header.revision) == (b"0", 2)
    assert changed.response_put.prev_kv.value == b"0"
    assert changed.response_put.header == pb.ResponseHeader(revision=3)
    assert (after.response_range.kvs[0].mod_revision, after.response_range.header.revision) == (3, 3)
    assert inner.response_txn.HasField("header")
    assert inner.response_txn.header == pb.ResponseHeader()
    assert inner.response_txn.responses[1].response_range.count == 1
    assert (none.response_delete_range.deleted, none.response_delete_range.header.revision) == (0, 3)


def test_a_transaction_that_changes_nothing_keeps_the_revision(api: Api) -> None:
    """T23, D02."""
    response = api.txn(txn(delete(b"a"), get(b"a")))
    assert response.header.revision == 1
    assert response.responses[0].response_delete_range.header.revision == 1


def test_compares_of_nested_transactions_look_at_the_store_before_any_write(api: Api) -> None:
    """All branches are chosen before anything runs."""
    inner = pb.TxnRequest(compare=[pb.Compare(key=b"a", target=pb.Compare.VERSION, version=0)], success=[put(b"seen")])
    api.txn(txn(put(b"a"), pb.RequestOp(request_txn=inner)))
    assert api.range(b"seen").count == 1


@pytest.mark.parametrize("revision", [3, 4])
def test_a_range_at_a_bad_revision_fails_the_whole_transaction(api: Api, revision: int) -> None:
    """T16, T17: the future as of before the transaction."""
    api.put(b"a")
    with refused(errors.FUTURE_REVISION):
        api.txn(txn(put(b"a"), get(b"a", revision=revision)))
    api.put(b"a")
    api.compact(3)
    with refused(errors.COMPACTED):
        api.txn(txn(put(b"a"), nested(get(b"a", revision=2))))
    assert api.range(b"a").header.revision == 3


def test_a_put_that_cannot_be_done_fails_the_whole_transaction(api: Api) -> None:
    """T18, T28: of the chosen branch only."""
    for op, error in (
        (put(b"b", lease=7), errors.LEASE_NOT_FOUND),
        (put(b"b", ignore_value=True), errors.KEY_NOT_FOUND),
    ):
        with refused(error):
            api.txn(txn(put(b"a"), op))
        with refused(error):
            api.txn(txn(put(b"a"), nested(op)))
        api.txn(pb.TxnRequest(failure=[op]))
    assert api.range(b"a").header.revision == 1


@pytest.mark.parametrize(
    ("ops", "allowed"),
    [
        ([put(b"a"), put(b"a")], False),
        ([put(b"a"), delete(b"a")], False),
        ([delete(b"a", b"c"), put(b"b")], False),
        ([delete(b"a", b"c"), put(b"c")], True),
        ([nested(put(b"a")), put(b"a")], False),
        ([nested(put(b"a")), nested(put(b"a"))], False),
        ([nested(put(b"a"), failure=(put(b"a"),))], True),
        ([nested(delete(b"a")), nested(put(b"a"))], False),
        ([nested(put(b"a")), nested(delete(b"a"))], True),
        ([nested(nested(delete(b"a"))), put(b"a")], False),
        ([delete(b"a", b"c"), delete(b"b", b"d")], True),
    ],
)
def test_keys_written_more_than_once(api: Api, ops: list[pb.RequestOp], allowed: bool) -> None:
    """T19-T22, V05: put then delete by siblings is the one way to touch a key twice."""
    if allowed:
        api.txn(txn(*ops))
    else:
        with refused(errors.DUPLICATE_KEY):
            api.txn(txn(*ops))


def test_put_and_delete_of_siblings_are_two_events_at_one_revision(api: Api) -> None:
    """V03, V05, T21, W23: prev_kv of both is the state before the transaction."""
    api.put(b"a", b"before")
    watch = WatchClient(api)
    watch.create(b"a", prev_kv=True)
    watch.take()
    api.txn(txn(nested(put(b"a", b"new")), nested(delete(b"a"))))
    (response,) = watch.take()
    assert [event.type for event in response.events] == [0, 1]
    assert {event.kv.mod_revision for event in response.events} == {3}
    assert {event.prev_kv.value for event in response.events} == {b"before"}


def test_what_reads_only_needs_no_log_entry(api: Api, member: SingleMember) -> None:
    """T24-T27: a nested transaction counts as a write; no operation at all is a linearizable read."""
    applied = member.applied_index
    api.txn(txn(get(b"a")))
    assert member.applied_index == applied
    api.txn(txn(nested(get(b"a"))))
    assert member.applied_index == applied + 1
    member.linearize_error = errors.TIMEOUT
    assert api.txn(txn(get(b"a", serializable=True))).succeeded
    for request in (txn(get(b"a")), txn(get(b"a", serializable=True), get(b"b")), pb.TxnRequest()):
        with refused(errors.TIMEOUT):
            api.txn(request)


def test_a_deletion_that_meets_a_put_which_keeps_its_value_changes_nothing(api: Api) -> None:
    """etcd overlooks the overlap because the range end is a NUL byte, and then stops the process (apply.go, Txn)."""
    api.put(b"a", b"1")
    with refused(errors.KEY_NOT_FOUND):
        api.txn(txn(delete(b"a", b"\0"), put(b"a", ignore_value=True)))
    response = api.range(b"a")
    assert (response.kvs[0].value, response.header.revision) == (b"1", 2)
