"""Watches over broken connections: no gap, no repetition, and an end when there must be one. Against fake members."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from etcdops.client.failures import Compacted
from etcdops.client.watch import Watcher
from etcdops.errors import AccessDenied, Unreachable
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from etcdops.secret import Secret
from tests.client.conftest import MakeClient, StartFakes, eventually
from tests.fakes.etcd_server import Stream, StreamScript


def event(revision: int, key: bytes = b"k") -> mvccpb.Event:
    return mvccpb.Event(type=mvccpb.Event.PUT, kv=mvccpb.KeyValue(key=key, mod_revision=revision))


def header(revision: int) -> pb.ResponseHeader:
    return pb.ResponseHeader(cluster_id=1, member_id=2, revision=revision)


def serving(starts: list[int], *responses: pb.WatchResponse, created_at: int = 1, then: str = "break") -> StreamScript:
    """A stream that confirms the watch, sends `responses`, then breaks or hangs; notes the start revision."""

    async def script(stream: Stream) -> None:
        request = await stream.receive()
        starts.append(request.create_request.start_revision)
        await stream.send(pb.WatchResponse(header=header(created_at), created=True))
        for response in responses:
            await stream.send(response)
        if then == "break":
            await stream.fail(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        await stream.hang()

    return script


async def take(watcher: Watcher, count: int) -> list[int]:
    """Revisions of the next `count` events."""
    revisions: list[int] = []
    async for batch in watcher:
        revisions += [event.kv.mod_revision for event in batch.events]
        if len(revisions) >= count:
            break
    return revisions


async def test_a_broken_watch_goes_on_right_after_the_last_event(fakes: StartFakes, make_client: MakeClient) -> None:
    """Resume at last + 1, at another member: etcd's Resumable guarantee."""
    first, second = await fakes(2)
    starts: list[int] = []
    for member, responses, then in (
        (first, [pb.WatchResponse(header=header(7), events=[event(6), event(7)])], "break"),
        (second, [pb.WatchResponse(header=header(9), events=[event(8), event(9)])], "hang"),
    ):
        member.on_stream("Watch/Watch", serving(starts, *responses, then=then))
    async with make_client(first.url, second.url).watch("k", start_revision=6) as watcher:
        assert await take(watcher, 4) == [6, 7, 8, 9]
    assert starts == [6, 8]


async def test_a_watch_from_now_misses_nothing_when_it_breaks_before_its_first_event(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """ "Now" is the revision at which the watch was confirmed, not the one at which it reconnects."""
    (member,) = await fakes(1)
    starts: list[int] = []
    late = pb.WatchResponse(header=header(12), events=[event(11)])
    member.on_stream("Watch/Watch", serving(starts, created_at=10), serving(starts, late, created_at=12, then="hang"))
    async with make_client(member.url).watch("k") as watcher:
        async for batch in watcher:
            assert batch.resumed
            assert [e.kv.mod_revision for e in batch.events] == [11]
            break
    assert starts == [0, 11]


async def test_fragments_of_a_revision_are_joined_and_a_torn_one_is_asked_for_again(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """All events of a revision come in one batch (Atomic), also when the connection breaks between two fragments."""
    (member,) = await fakes(1)
    starts: list[int] = []
    torn = pb.WatchResponse(header=header(5), events=[event(5, b"a")], fragment=True)
    whole = [torn, pb.WatchResponse(header=header(5), events=[event(5, b"b")])]
    member.on_stream("Watch/Watch", serving(starts, torn), serving(starts, *whole, then="hang"))
    async with make_client(member.url).watch("", prefix=True, start_revision=5) as watcher:
        batch = await anext(watcher)
    assert [e.kv.key for e in batch.events] == [b"a", b"b"]
    assert starts == [5, 5]


async def test_the_members_own_progress_moves_the_resume_point_and_the_answer_to_a_request_does_not(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Requested progress could be ahead of the events before 3.4.25 and 3.5.8 (etcd issue 15220)."""
    (member,) = await fakes(1)
    starts: list[int] = []
    own = pb.WatchResponse(header=header(20), watch_id=0)
    requested = pb.WatchResponse(header=header(30), watch_id=-1)
    member.on_stream("Watch/Watch", serving(starts, own, requested), serving(starts, own, created_at=40, then="hang"))
    async with make_client(member.url).watch("k", start_revision=5) as watcher:
        revisions = [(await anext(watcher)).revision for _ in range(3)]
    assert revisions == [20, 30, 20]
    assert starts == [5, 21]


async def test_compacted_history_ends_the_watch_and_says_from_where_on_there_is_some(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Going on silently would lose events; only the caller can read anew."""
    (member,) = await fakes(1)
    gone = pb.WatchResponse(header=header(100), canceled=True, compact_revision=90)
    member.on_stream("Watch/Watch", serving([], gone, then="hang"))
    async with make_client(member.url).watch("k", start_revision=5) as watcher:
        with pytest.raises(Compacted) as raised:
            await anext(watcher)
    assert raised.value.compact_revision == 90


async def test_a_watch_without_permission_ends_as_access_denied(fakes: StartFakes, make_client: MakeClient) -> None:
    (member,) = await fakes(1)

    async def refuse(stream: Stream) -> None:
        await stream.receive()
        reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        await stream.send(pb.WatchResponse(header=header(1), created=True, canceled=True, cancel_reason=reason))
        await stream.hang()

    member.on_stream("Watch/Watch", refuse)
    with pytest.raises(AccessDenied):
        async with make_client(member.url).watch("k"):
            pass


async def test_an_expired_token_is_renewed_when_the_watch_reconnects(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """etcd issue 11954: a reconnecting watch with an old token must not hang."""
    (member,) = await fakes(1)
    member.on("Auth/Authenticate", pb.AuthenticateResponse(token="old"), pb.AuthenticateResponse(token="new"))

    async def refuse(stream: Stream) -> None:
        await stream.fail(grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")

    batch = pb.WatchResponse(header=header(3), events=[event(3)])
    member.on_stream("Watch/Watch", refuse, serving([], batch, then="hang"))
    client = make_client(member.url, username="root", password=Secret("pw"))
    async with client.watch("k") as watcher:
        assert await take(watcher, 1) == [3]
    assert [r.metadata["token"] for r in member.received if r.method == "Watch/Watch"] == ["old", "new"]


async def test_a_member_without_leader_is_left_for_another(fakes: StartFakes, make_client: MakeClient) -> None:
    """A partitioned member would serve a watch in silence; `hasleader` makes it say so."""
    lonely, fine = await fakes(2)

    async def no_leader(stream: Stream) -> None:
        await stream.fail(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")

    lonely.on_stream("Watch/Watch", no_leader)
    fine.on_stream("Watch/Watch", serving([], pb.WatchResponse(header=header(2), events=[event(2)]), then="hang"))
    async with make_client(lonely.url, fine.url).watch("k") as watcher:
        assert await take(watcher, 1) == [2]
    assert lonely.received[0].metadata["hasleader"] == "true"


@pytest.mark.slow
async def test_a_watch_that_cannot_reconnect_gives_up_in_bounded_time(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Waiting for events may take for ever, waiting for a connection may not."""
    (member,) = await fakes(1)
    member.on_stream("Watch/Watch", serving([], then="hang"))
    watcher = make_client(member.url, dial_timeout_s=0.2).watch("k", reconnect_timeout=0.4)
    await watcher.request_progress()
    await member.stop()
    with pytest.raises(Unreachable):
        await anext(watcher)
    watcher.close()


@pytest.mark.slow
async def test_a_member_that_breaks_every_stream_at_once_is_not_hammered(
    fakes: StartFakes, make_client: MakeClient
) -> None:
    """Reconnecting backs off, so a sick member gets tens of attempts, not thousands."""
    (member,) = await fakes(1)

    async def breaks(stream: Stream) -> None:
        await stream.fail(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    member.on_stream("Watch/Watch", *([breaks] * 500))
    with pytest.raises(Unreachable):
        async with make_client(member.url).watch("k", reconnect_timeout=0.6):
            pass
    assert 2 <= len(member.received) < 30


async def test_closing_a_watch_ends_the_iteration_of_another_task(fakes: StartFakes, make_client: MakeClient) -> None:
    """A screen that is left closes its watch; the task that reads it must come to an end, not to an error."""
    (member,) = await fakes(1)
    member.on_stream("Watch/Watch", serving([], then="hang"))
    watcher = make_client(member.url).watch("k")
    reading = asyncio.create_task(take(watcher, 1))
    await eventually(lambda: watcher.endpoint != "")
    watcher.close()
    assert await reading == []
