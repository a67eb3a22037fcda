"""Watches (W) and their headers (H10)."""

from __future__ import annotations

import grpc
import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.client import Stream, rendered
from tests.differential.conftest import Start
from tests.differential.requests import NUL, delete, end_of, get, op, put, txn

pytestmark = [pytest.mark.real, pytest.mark.slow]

Watch = Stream[pb.WatchRequest, pb.WatchResponse]
FILTERS = pb.WatchCreateRequest.FilterType
PROGRESS = pb.WatchRequest(progress_request=pb.WatchProgressRequest())


def create(key: bytes, end: bytes = b"", **fields: object) -> pb.WatchRequest:
    request = pb.WatchCreateRequest(key=key, range_end=end, **fields)  # type: ignore[arg-type]  # any field
    return pb.WatchRequest(create_request=request)


def cancel(watch_id: int) -> pb.WatchRequest:
    return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=watch_id))


def events(watch: Watch) -> list[tuple[int, bytes, int]]:
    """(type, last byte of the key, revision) of all that comes."""
    return [
        (event.type, event.kv.key[-1:], event.kv.mod_revision) for message in watch.more() for event in message.events
    ]


def outcome(message: pb.WatchResponse) -> tuple[bool, bool, int, str]:
    return message.created, message.canceled, message.watch_id, message.cancel_reason


@executes("W01", "W02", "W03", "H10", "W32")
def test_numbers_of_watches(server: Server, prefix: bytes) -> None:
    """0, 1, 2 ... without those in use; or what the client says, even below zero. Created comes first."""
    revision = server.client.put(put(prefix)).header.revision
    with server.client.watch() as watch:
        wanted = [(0, 0), (2, 2), (0, 1), (0, 3), (-1, -1), (7, 7)]
        for asked, given in wanted:
            message = watch.ask(create(prefix, watch_id=asked))
            server.check("W02" if asked == 0 else "W03", outcome(message), (True, False, given, ""))
            server.check("W01", (message.header.revision, len(message.events)), (revision, 0))
            server.check("H10", message.header.member_id, server.client.status().header.member_id)
        first = watch.ask(create(prefix, start_revision=revision, watch_id=50))
        server.check("W32", (first.created, first.watch_id, len(first.events)), (True, 50, 0))
        server.check("W32", watch.next().watch_id, 50)


@executes("W04", "W05")
def test_watches_that_cannot_be_created(server: Server, prefix: bytes) -> None:
    """Created and cancelled at once with a reason; the stream can be used on."""
    twice = "mvcc: duplicate watch ID provided on the WatchStream"
    empty = "mvcc: watcher range is empty"
    with server.client.watch() as watch:
        watch.ask(create(prefix, watch_id=5))
        server.check("W04", outcome(watch.ask(create(prefix, watch_id=5))), (True, True, -1, twice))
        for end in (prefix, prefix[:-1]):
            server.check("W05", outcome(watch.ask(create(prefix, end))), (True, True, -1, empty))
        server.check("W04", outcome(watch.ask(create(prefix, watch_id=6))), (True, False, 6, ""))


@executes("W06", "W07", "W08", "W18", "W20", "W21")
def test_what_watches_see(server: Server, prefix: bytes) -> None:
    """Keys of their range from now on; a revision in one message; puts in full, deletions with key and revision."""
    server.client.put(put(prefix + b"a"))
    with server.client.watch() as watch:
        for number, (key, end) in enumerate([(b"", NUL), (prefix + b"b", NUL), (prefix, end_of(prefix)), (b"", b"")]):
            watch.ask(create(key, end, watch_id=number))
        revision = server.client.txn(txn(put(prefix + b"a", b"1"), put(prefix + b"b", b"2"))).header.revision
        seen = {message.watch_id: message for message in watch.more()}
        server.client.delete(delete(prefix + b"b"))
        deleted = {message.watch_id: message.events for message in watch.more()}
    keys = {number: b"".join(event.kv.key[-1:] for event in message.events) for number, message in seen.items()}
    server.check("W06", keys.get(0), b"ab")
    server.check("W06", 3 in keys, False)
    server.check("W07", keys.get(1), b"b")
    server.check("W08", keys.get(2), b"ab")
    server.check("W18", [len(seen[n].events) for n in sorted(seen)], [2, 1, 2])
    changed, made = (event.kv for event in seen[2].events)
    server.check("W20", (changed.value, changed.version, changed.create_revision < revision), (b"1", 2, True))
    server.check(
        "W20", (made.value, made.version, made.create_revision, made.mod_revision), (b"2", 1, revision, revision)
    )
    gone = deleted[2][0]
    empty = (gone.kv.value, gone.kv.version, gone.kv.create_revision, gone.kv.lease)
    server.check("W21", (gone.type, gone.kv.key, gone.kv.mod_revision), (1, prefix + b"b", revision + 1))
    server.check("W21", empty, (b"", 0, 0, 0))


@executes("W09", "W11", "W13", "W19")
def test_watches_from_the_past_and_the_future(server: Server, prefix: bytes) -> None:
    """All events from there, each once and in order, then what happens; from the future nothing before it. The
    compacted revision can be watched from."""
    revisions = [server.client.put(put(prefix + b"%d" % n)).header.revision for n in range(4)]
    server.client.compact(revisions[1])
    with server.client.watch() as past, server.client.watch() as future:
        future.ask(create(prefix, end_of(prefix), start_revision=revisions[-1] + 2))
        past.ask(create(prefix, end_of(prefix), start_revision=revisions[1]))
        for number in (4, 5, 6):
            revisions.append(server.client.put(put(prefix + b"%d" % number)).header.revision)
        found = events(past)
        server.check("W11", found[0], (0, b"1", revisions[1]))
        server.check("W19", [revision for _, _, revision in found], revisions[1:])
        server.check("W09", [key for _, key, _ in found], [b"%d" % n for n in range(1, 7)])
        server.check("W13", [revision for _, _, revision in events(future)], revisions[5:])


@executes("W10", "W12", "H10")
@pytest.mark.parametrize("start", ["before", "negative"])
def test_watches_from_before_the_compaction_are_cancelled(server: Server, prefix: bytes, start: str) -> None:
    """Created, then cancelled with the compacted revision and a header of revision 0."""
    first = server.client.put(put(prefix)).header.revision
    compacted = server.client.put(put(prefix)).header.revision
    server.client.compact(compacted)
    with server.client.watch() as watch:
        created = watch.ask(create(prefix, start_revision=first if start == "before" else -1))
        server.check("W10", outcome(created), (True, False, 0, ""))
        gone = watch.next()
        statement = "W10" if start == "before" else "W12"
        server.check(statement, outcome(gone), (False, True, 0, ""))
        server.check(statement, (gone.compact_revision, len(gone.events)), (compacted, 0))
        server.check("H10", gone.header.revision, 0)


@executes("W15", "W16", "W17")
def test_cancelling(server: Server, prefix: bytes) -> None:
    """It is confirmed and nothing follows; cancelling nothing and asking nothing are not answered."""
    with server.client.watch() as watch:
        watch.ask(create(prefix))
        watch.ask(create(prefix, watch_id=1))
        watch.send(cancel(404))
        watch.send(pb.WatchRequest())
        server.check("W16", len(watch.more()), 0)
        server.check("W15", outcome(watch.ask(cancel(0))), (False, True, 0, ""))
        server.client.put(put(prefix))
        server.check("W17", [message.watch_id for message in watch.more()], [1])


@executes("W22")
def test_previous_pairs(server: Server, prefix: bytes) -> None:
    """For every event that creates nothing; gone if its revision was compacted."""
    first = server.client.put(put(prefix, b"1")).header.revision
    server.client.put(put(prefix, b"2"))
    last = server.client.delete(delete(prefix)).header.revision
    with server.client.watch() as watch:
        watch.ask(create(prefix, start_revision=first, prev_kv=True))
        found = [event.prev_kv.value for message in watch.more() for event in message.events]
        server.check("W22", found, [b"", b"1", b"2"])
        server.client.compact(last)
        watch.ask(create(prefix, start_revision=last, prev_kv=True, watch_id=9))
        after = [event.HasField("prev_kv") for message in watch.more() for event in message.events]
        server.check("W22.compacted", after, [False])


@executes("W24", "W25")
def test_filters(server: Server, prefix: bytes) -> None:
    """What is filtered makes no message, an unknown filter does nothing."""
    kinds: list[list[int]] = [[FILTERS.NOPUT], [FILTERS.NODELETE], [FILTERS.NOPUT, FILTERS.NODELETE], [9]]
    with server.client.watch() as watch:
        for number, filters in enumerate(kinds):
            watch.ask(create(prefix, watch_id=number, filters=filters))
        server.client.put(put(prefix))
        server.client.delete(delete(prefix))
        messages = watch.more()
    seen = [
        [event.type for message in messages if message.watch_id == number for event in message.events]
        for number in range(len(kinds))
    ]
    server.check("W24", seen, [[1], [0], [], [0, 1]])
    server.check("W25", min(len(message.events) for message in messages) > 0, True)


@executes("W27", "W28", "W29")
def test_progress_asked_for(server: Server, prefix: bytes) -> None:
    """To the stream, with a revision nothing of before will follow; to nobody where nobody watches."""
    with server.client.watch() as watch, server.client.watch() as idle:
        idle.send(PROGRESS)
        watch.ask(create(prefix, watch_id=1))
        revision = server.client.put(put(prefix)).header.revision
        server.check("W27", watch.next().events[0].kv.mod_revision, revision)
        message = watch.ask(PROGRESS)
        server.check("W27", outcome(message), (False, False, -1, ""))
        server.check("W28", (message.header.revision >= revision, len(message.events)), (True, 0))
        server.check("W28", len(watch.more()), 0)
        server.check("W29", len(idle.more()), 0)


@executes("W26")
def test_progress_by_itself(fresh: Start) -> None:
    """In the interval the server was told, to those who asked for it and are not behind."""
    server = fresh(flags=["--experimental-watch-progress-notify-interval=200ms"])
    with server.client.watch() as watch:
        watch.ask(create(b"k", watch_id=1, progress_notify=True))
        watch.ask(create(b"k", watch_id=2))
        messages = [watch.next() for _ in range(2)]
        server.check("W26", {outcome(message) for message in messages}, {(False, False, 1, "")})
        server.check("W26", [(m.header.revision, len(m.events)) for m in messages], [(1, 0)] * 2)


@executes("W30", "W31", "W18")
def test_fragments(server: Server, prefix: bytes) -> None:
    """Asked for, a message over 2 MiB comes in parts that make the whole; else as one."""
    requests = [txn(put(prefix + b"%d" % n, b"v" * (1 << 20))) for n in range(4)]
    start, *_ = [server.client.txn(request).header.revision for request in requests]
    for fragment in (True, False):
        with server.client.watch() as watch:
            watch.ask(create(prefix, end_of(prefix), start_revision=start, fragment=fragment))
            messages = watch.more(1.0)
        keys = [event.kv.key[-1:] for message in messages for event in message.events]
        server.check("W30", keys, [b"0", b"1", b"2", b"3"])
        flags = [message.fragment for message in messages]
        # History may come in more than one message, and each of them in parts.
        if fragment:
            server.check("W30", (True in flags, flags[-1]), (True, False))
        else:
            server.check("W31", set(flags), {False})
    server.client.delete(delete(prefix, end_of(prefix)))


@executes("W33")
def test_a_half_closed_stream_goes_on(server: Server, prefix: bytes) -> None:
    """The client has said all it wants; events still come."""
    with server.client.watch() as watch:
        watch.ask(create(prefix))
        watch.half_close()
        server.client.put(put(prefix, b"1"))
        server.check("W33", watch.next().events[0].kv.value, b"1")


@executes("W14")
def test_a_watch_between_writes_and_compactions(server: Server, prefix: bytes) -> None:
    """Whoever has caught up is not cancelled; whoever starts before it is told the revision."""
    with server.client.watch() as watch:
        watch.ask(create(prefix))
        revision = 0
        for _ in range(3):
            revision = server.client.put(put(prefix)).header.revision
            server.check("W14", watch.next().canceled, False)
            server.client.compact(revision)
        server.check("W14", len(watch.more()), 0)
        watch.ask(create(prefix, start_revision=revision - 1, watch_id=9))
        server.check("W14", watch.next().compact_revision, revision)


@executes("W40")
def test_a_revoked_lease_deletes_in_one_revision(server: Server, prefix: bytes) -> None:
    """Ordinary events, in the order of keys."""
    lease = server.client.grant().ID
    for key in (b"c", b"a", b"b"):
        server.client.put(put(prefix + key, lease=lease))
    with server.client.watch() as watch:
        watch.ask(create(prefix, end_of(prefix)))
        revision = server.client.revoke(lease).header.revision
        server.check("W40", events(watch), [(1, key, revision) for key in (b"a", b"b", b"c")])


@executes("W42", "W19")
def test_many_watchers_of_one_stream_miss_nothing(server: Server, prefix: bytes) -> None:
    """More than the stream's queue holds, read only afterwards."""
    with server.client.watch() as watch:
        for number in range(200):
            watch.send(create(prefix, end_of(prefix), watch_id=number + 1))
        for _ in range(200):
            server.check("W42", watch.next().created, True)
        operations = [op(put(prefix + b"%02d" % n)) for n in range(20)]
        revisions = [server.client.txn(pb.TxnRequest(success=operations)).header.revision for _ in range(3)]
        seen: dict[int, list[int]] = {}
        while sum(map(len, seen.values())) < 200 * 60:
            message = watch.next()
            seen.setdefault(message.watch_id, []).extend(event.kv.mod_revision for event in message.events)
    server.check("W42", set(map(tuple, seen.values())), {tuple(r for r in revisions for _ in range(20))})


@executes("W34")
def test_a_cancelled_stream_leaves_the_server_well(server: Server, prefix: bytes) -> None:
    """Its end is told to nobody else; the same channel serves on."""
    with server.client.watch() as watch:
        watch.ask(create(prefix))
        watch._call.cancel()  # type: ignore[no-untyped-call]  # grpcio has no types of its own
        with pytest.raises(grpc.RpcError) as error:
            watch.next()
    server.check("W34", rendered(error.value).partition(":")[0], "CANCELLED")
    server.check("W34", server.client.range(get(prefix)).count, 0)


@executes("W04", "W10", "W15")
def test_a_watch_that_a_compaction_cancelled_keeps_its_id(server: Server, prefix: bytes) -> None:
    """Until the client cancels it as well, which is answered once; found by random lives."""
    for _ in range(5):
        revision = server.client.put(put(prefix)).header.revision
    server.client.compact(revision - 1)
    create = pb.WatchCreateRequest(key=prefix, start_revision=revision - 3, watch_id=7)
    with server.client.watch() as watch:
        watch.ask(pb.WatchRequest(create_request=create))
        server.check("W10", watch.next().compact_revision, revision - 1)
        create.start_revision = 0
        again = watch.ask(pb.WatchRequest(create_request=create))
        server.check("W04", again.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream")
        cancel = pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=7))
        server.check("W15", [watch.ask(cancel).watch_id, len(watch.more())], [7, 0])
        watch.send(cancel)
        server.check("W16", watch.more(), [])
        server.check("W04", watch.ask(pb.WatchRequest(create_request=create)).created, True)
