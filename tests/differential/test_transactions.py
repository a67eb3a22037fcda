"""Transactions (T), their revisions (V02-V05) and headers (H11)."""

from __future__ import annotations

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.requests import all_of, delete, end_of, get, op, put, txn
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]

Compare = pb.Compare


def holds(server: Server, *compares: pb.Compare) -> bool:
    return server.client.txn(pb.TxnRequest(compare=compares)).succeeded


@executes("H11")
def test_inner_answers_tell_the_revision_only(server: Server, prefix: bytes) -> None:
    """Nested ones have a header with nothing in it."""
    answer = server.client.txn(txn(put(prefix), get(prefix), delete(prefix + b"1"), txn(get(prefix))))
    revision = answer.header.revision
    inner = [
        answer.responses[0].response_put.header,
        answer.responses[1].response_range.header,
        answer.responses[2].response_delete_range.header,
    ]
    only = pb.ResponseHeader(revision=revision)
    server.check("H11", [header == only for header in inner], [True, True, True])
    nested = answer.responses[3].response_txn
    server.check("H11", (nested.HasField("header"), nested.header == pb.ResponseHeader()), (True, True))


@executes("V02", "V03", "T14", "T15", "T23", "V05", "T21", "W23")
def test_changes_of_a_transaction_share_a_revision(server: Server, prefix: bytes) -> None:
    """In the order of execution, nested ones included; reads see what was done before them. A key may be put and
    then deleted by nested siblings: a watcher sees both, each with the pair from before the transaction."""
    for key in (b"k", b"y"):
        server.client.put(put(prefix + key, b"before"))
    with server.client.watch() as watch:
        create = pb.WatchCreateRequest(key=prefix, range_end=end_of(prefix), prev_kv=True)
        watch.ask(pb.WatchRequest(create_request=create))
        answer = server.client.txn(
            txn(
                put(prefix + b"z"),
                put(prefix + b"a"),
                get(prefix + b"a"),
                txn(put(prefix + b"k", b"within")),
                txn(delete(prefix + b"k")),
                delete(prefix + b"y"),
            )
        )
        events = watch.next().events
    revision = answer.header.revision
    server.check("T14", answer.responses[2].response_range.kvs[0].mod_revision, revision)
    server.check("T15", answer.responses[2].response_range.header.revision, revision)
    seen = [(event.type, event.kv.key.removeprefix(prefix), event.kv.mod_revision - revision) for event in events]
    server.check("V02", seen, [(0, b"z", 0), (0, b"a", 0), (0, b"k", 0), (1, b"k", 0), (1, b"y", 0)])
    server.check("T21", server.client.range(get(prefix + b"k")).count, 0)
    previous = [event.prev_kv.value for event in events if event.kv.key == prefix + b"k"]
    server.check("W23", previous, [b"before", b"before"])


@executes("V03")
def test_a_deletion_counts_its_keys_in_order(server: Server, prefix: bytes) -> None:
    """A watcher hears of them in the order of keys."""
    for key in (b"c", b"a", b"b"):
        server.client.put(put(prefix + key))
    with server.client.watch() as watch:
        watch.ask(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=prefix, range_end=end_of(prefix))))
        server.client.delete(delete(prefix, end_of(prefix)))
        server.check("V03", [event.kv.key[-1:] for event in watch.next().events], [b"a", b"b", b"c"])


@executes("T06", "T27")
def test_nothing_at_all_succeeds(server: Server, prefix: bytes) -> None:
    """At the present revision; comparisons alone see the last write."""
    revision = server.client.put(put(prefix)).header.revision
    answer = server.client.txn(pb.TxnRequest())
    server.check("T06", (answer.succeeded, answer.header.revision, len(answer.responses)), (True, revision, 0))
    compare = Compare(key=prefix, target=Compare.MOD, mod_revision=revision)
    server.check("T27", holds(server, compare), True)


@executes("T07", "T08", "T09", "T10", "T13")
def test_comparisons(server: Server, prefix: bytes) -> None:
    """All must hold; missing keys count as 0 and have no value; ranges compare every key."""
    lease = server.client.grant().ID
    for key in (b"a", b"b"):
        server.client.put(put(prefix + key, b"v", lease=lease))
    missing, present, end = prefix + b"-", prefix + b"a", end_of(prefix)
    equal, greater, less, other = Compare.EQUAL, Compare.GREATER, Compare.LESS, Compare.NOT_EQUAL
    version, value = Compare.VERSION, Compare.VALUE
    yes = Compare(key=present, target=version, result=equal, version=1)
    no = Compare(key=present, target=version, result=greater, version=1)
    server.check("T07", (holds(server), holds(server, yes), holds(server, yes, no)), (True, True, False))
    for target in (version, Compare.CREATE, Compare.MOD, Compare.LEASE):
        for result, expected in ((equal, True), (other, False), (greater, False), (less, False)):
            found = holds(server, Compare(key=missing, target=target, result=result))
            server.check("T08", (target, result, found), (target, result, expected))
    for result in (equal, other, greater, less):
        server.check("T09", holds(server, Compare(key=missing, target=value, result=result, value=b"v")), False)
    ranges = [
        (Compare(key=prefix, range_end=end, target=version, version=1), True),
        (Compare(key=prefix, range_end=end, target=value, value=b"v"), True),
        (Compare(key=prefix, range_end=end, target=Compare.LEASE, lease=lease), True),
        (Compare(key=prefix, range_end=end, target=version, result=greater, version=1), False),
        (Compare(key=missing, range_end=present, target=version, version=0), True),
        (Compare(key=missing, range_end=present, target=value, result=other, value=b"v"), False),
    ]
    for compare, expected in ranges:
        server.check("T10", (compare, holds(server, compare)), (compare, expected))
    wrong = Compare(key=present, target=Compare.MOD, version=1)
    server.check("T13", holds(server, wrong), False)
    server.check("T13", holds(server, Compare(key=missing, target=Compare.MOD, version=1)), True)


@executes("T11", "T12")
def test_comparisons_nobody_knows(server: Server, prefix: bytes) -> None:
    """An unknown result is true, an unknown target compares as equal."""
    server.client.put(put(prefix))
    unknown: list[tuple[str, int, int, bool]] = [
        ("T11", 9, Compare.VERSION, True),
        ("T12", Compare.EQUAL, 9, True),
        ("T12", Compare.NOT_EQUAL, 9, False),
    ]
    for statement, result, target, expected in unknown:
        compare = Compare(key=prefix, result=result, target=target)  # type: ignore[arg-type]  # unknown on purpose
        server.check(statement, holds(server, compare), expected)


@executes("T17", "E19", "T16")
def test_reads_of_revisions_in_a_transaction(server: Server, prefix: bytes) -> None:
    """Of the past: as it was. Of what is compacted: the whole transaction fails and writes nothing."""
    first = server.client.put(put(prefix, b"1")).header.revision
    second = server.client.put(put(prefix, b"2")).header.revision
    answer = server.client.txn(txn(put(prefix, b"3"), get(prefix, revision=first)))
    server.check("T16", answer.responses[1].response_range.kvs[0].value, b"1")
    server.client.compact(second)
    failing = txn(put(prefix, b"4"), get(prefix, revision=first))
    server.check("T17", server.client.refusal("KV/Txn", failing), REFUSALS["E19"])
    server.check("T17", server.client.range(get(prefix)).kvs[0].value, b"3")


@executes("T20", "T22", "T28", "T02")
def test_what_is_allowed(server: Server, prefix: bytes) -> None:
    """A key in both branches; deletions that overlap; an unknown lease in the branch that is not taken; nested
    transactions that each have what their parent leaves."""
    both = pb.TxnRequest(success=[op(put(prefix))], failure=[op(put(prefix))])
    allowed = {
        "T20": txn(both),
        "T22": txn(delete(prefix), delete(prefix, end_of(prefix)), txn(delete(prefix))),
        "T28": pb.TxnRequest(success=[op(put(prefix))], failure=[op(put(prefix, lease=404))]),
        "T02": txn(*[txn(*[get(prefix)] * 126)] * 2),
    }
    for statement, request in allowed.items():
        server.check(statement, server.client.refusal("KV/Txn", request), "OK")


@executes("T24", "T26")
def test_a_transaction_of_reads_leaves_the_log(server: Server, prefix: bytes) -> None:
    """The index of the log stays; nested, it is proposed."""
    server.client.put(put(prefix))
    for request, logged in ((txn(get(prefix)), False), (txn(txn(get(prefix))), True)):
        raised = []
        for _ in range(3):  # something else may be logged at the same time
            before = server.client.status().raftIndex
            server.client.txn(request)
            raised.append(server.client.status().raftIndex - before)
        server.check("T24", min(raised) > 0, logged)
    server.check("T26", server.client.range(all_of(prefix)).count, 1)
