"""Watches, by the numbers of the semantics checklist (W, H10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.ids import NO_MEMBER
from etcdops.node.api import errors
from etcdops.node.api.port import Limits
from etcdops.node.api.watch import GRPC_OVERHEAD_BYTES
from etcdops.node.apply.wire import FIELD_COMPACTION, FIELD_PUT
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from etcdops.proto.wire import bytes_field
from tests.fakes.calls import Api, WatchClient
from tests.fakes.single_member import SingleMember


def events(responses: list[pb.WatchResponse]) -> list[tuple[int, bytes, int]]:
    """(type, key, revision) of all events."""
    return [(event.type, event.kv.key, event.kv.mod_revision) for one in responses for event in one.events]


@pytest.fixture
def watch(api: Api) -> WatchClient:
    return WatchClient(api)


def test_the_first_answer_says_created(api: Api, watch: WatchClient) -> None:
    """W01, W02, W08: ids are given out in order; history before the creation is not shown."""
    api.put(b"a")
    watch.create(b"a")
    watch.create(b"a")
    first, second = watch.take()
    assert (first.created, first.watch_id, first.header.revision) == (True, 0, 2)
    assert (second.created, second.watch_id) == (True, 1)
    api.put(b"a")
    assert events(watch.take()) == [(0, b"a", 3)] * 2


def test_ids_chosen_by_the_client(watch: WatchClient) -> None:
    """W02-W04: used as they are, also negative ones; one in use is refused and the stream goes on."""
    watch.create(b"a", watch_id=1)
    watch.create(b"a", watch_id=-9)
    for _ in range(2):
        watch.create(b"a")
    assert [one.watch_id for one in watch.take()] == [1, -9, 0, 2]
    watch.create(b"a", watch_id=1)
    (refused,) = watch.take()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: duplicate watch ID provided on the WatchStream"
    assert not watch.call.ended


@pytest.mark.parametrize(("key", "end"), [(b"b", b"a"), (b"b", b"b")])
def test_an_empty_range_is_refused(watch: WatchClient, key: bytes, end: bytes) -> None:
    """W05."""
    watch.create(key, end)
    (refused,) = watch.take()
    assert (refused.created, refused.canceled, refused.watch_id) == (True, True, -1)
    assert refused.cancel_reason == "mvcc: watcher range is empty"


def test_what_a_watch_covers(api: Api, watch: WatchClient) -> None:
    """W06, W07: an empty key is the smallest one; a range end of NUL is no end."""
    watch.create(b"", watch_id=1)
    watch.create(b"", b"\0", watch_id=2)
    watch.create(b"b", b"\0", watch_id=3)
    watch.create(b"a", b"b", watch_id=4)
    watch.take()
    api.put(b"\0")
    api.put(b"a")
    api.put(b"b")
    seen: dict[int, list[bytes]] = {}
    for one in watch.take():
        seen.setdefault(one.watch_id, []).extend(event.kv.key for event in one.events)
    assert seen == {1: [b"\0"], 2: [b"\0", b"a", b"b"], 3: [b"b"], 4: [b"a"]}


def test_history_then_what_happens_next(api: Api, watch: WatchClient) -> None:
    """W09, W20, W21, W32."""
    api.put(b"a", b"1")
    api.put(b"a", b"2")
    api.delete(b"a")
    watch.create(b"a", start_revision=3)
    api.put(b"a", b"3")
    created, *rest = watch.take()
    assert created.created
    assert events(rest) == [(0, b"a", 3), (1, b"a", 4), (0, b"a", 5)]
    deletion = [event for one in rest for event in one.events][1]
    assert deletion.kv == mvccpb.KeyValue(key=b"a", mod_revision=4)
    last = rest[-1].events[-1]
    assert last.kv.create_revision == last.kv.mod_revision == 5


def test_a_start_that_was_compacted(api: Api, watch: WatchClient) -> None:
    """W10, W11, W12, H10: created, then cancelled with the oldest revision there is and no revision in the header."""
    for _ in range(4):
        api.put(b"a")
    api.compact(4)
    watch.create(b"a", start_revision=3)
    created, canceled = watch.take()
    assert (created.created, created.canceled) == (True, False)
    assert (canceled.canceled, canceled.compact_revision, canceled.header.revision) == (True, 4, 0)
    assert (canceled.cancel_reason, len(canceled.events)) == ("", 0)
    watch.create(b"a", start_revision=4)
    assert events(watch.take()) == [(0, b"a", 4), (0, b"a", 5)]
    watch.create(b"a", start_revision=-2)
    assert watch.take()[1].compact_revision == 4


def test_a_deletion_at_the_compacted_revision_is_still_seen(api: Api, watch: WatchClient) -> None:
    """W41, C08."""
    api.put(b"a")
    api.delete(b"a")
    api.put(b"b")
    api.compact(3, physical=True)
    watch.create(b"a", start_revision=3)
    assert events(watch.take()) == [(1, b"a", 3)]


def test_a_start_in_the_future_is_silent_until_then(api: Api, watch: WatchClient) -> None:
    """W13: no progress below it either."""
    watch.create(b"a", start_revision=4)
    watch.take()
    watch.progress()
    api.put(b"a")
    api.put(b"a")
    assert watch.take() == []
    watch.progress()
    assert [one.watch_id for one in watch.take()] == [-1]
    api.put(b"a")
    assert events(watch.take()) == [(0, b"a", 4)]


def test_cancelling(api: Api, watch: WatchClient) -> None:
    """W15-W17: nothing for it afterwards, no answer for an unknown one, other requests are ignored."""
    watch.create(b"a")
    watch.take()
    watch.cancel(0)
    (canceled,) = watch.take()
    assert (canceled.canceled, canceled.watch_id, canceled.header.revision) == (True, 0, 1)
    watch.cancel(0)
    watch.cancel(77)
    watch.say(pb.WatchRequest())
    api.put(b"a")
    assert watch.take() == []
    assert not watch.call.ended


def test_filters(api: Api, watch: WatchClient) -> None:
    """W24, W25: an unknown one is ignored; what is filtered out makes no message."""
    watch.create(b"a", filters=[pb.WatchCreateRequest.NOPUT], watch_id=1)
    watch.create(b"a", filters=[pb.WatchCreateRequest.NODELETE], watch_id=2)
    watch.create(b"a", filters=[pb.WatchCreateRequest.NOPUT, pb.WatchCreateRequest.NODELETE], watch_id=3)
    watch.take()
    api.put(b"a")
    api.delete(b"a")
    assert [(one.watch_id, one.events[0].type) for one in watch.take()] == [(2, 0), (1, 1)]
    unknown = pb.WatchCreateRequest(key=b"a", watch_id=4)
    unknown.filters.append(9)  # type: ignore[arg-type]  # an open enum
    watch.say(pb.WatchRequest(create_request=unknown))
    watch.take()
    api.put(b"a")
    assert {one.watch_id for one in watch.take()} == {2, 4}


def test_previous_values(api: Api, watch: WatchClient) -> None:
    """W22: for all but creations, absent once compacted."""
    watch.create(b"a", prev_kv=True)
    watch.take()
    api.put(b"a", b"1")
    api.put(b"a", b"2")
    api.delete(b"a")
    shown = [event for one in watch.take() for event in one.events]
    assert [event.prev_kv.value for event in shown] == [b"", b"1", b"2"]
    assert not shown[0].HasField("prev_kv")
    api.compact(4)
    watch.create(b"a", prev_kv=True, start_revision=4, watch_id=9)
    (deletion,) = [event for one in watch.take() for event in one.events]
    assert not deletion.HasField("prev_kv")


def test_previous_values_of_changes_that_a_compaction_follows_at_once(
    api: Api, watch: WatchClient, member: SingleMember
) -> None:
    """W22: both are applied in one turn, before the change is told."""
    api.put(b"a", b"1")
    watch.create(b"a", prev_kv=True)
    watch.take()
    put = pb.PutRequest(key=b"a", value=b"2").SerializeToString()
    compaction = pb.CompactionRequest(revision=3).SerializeToString()
    assert member.apply_data(bytes_field(FIELD_PUT, put)).error is None
    assert member.apply_data(bytes_field(FIELD_COMPACTION, compaction)).error is None
    member.settle()
    (change,) = [event for one in watch.take() for event in one.events]
    assert change.prev_kv.value == b"1"


def test_asking_for_progress(api: Api, watch: WatchClient) -> None:
    """W27, W29: one message for the stream, none without watchers."""
    watch.progress()
    assert watch.take() == []
    watch.create(b"a")
    watch.create(b"b")
    watch.take()
    api.put(b"z")
    watch.progress()
    (answer,) = watch.take()
    assert (answer.watch_id, answer.header.revision, len(answer.events)) == (-1, 2, 0)


def test_progress_is_not_promised_while_somebody_is_behind(api: Api) -> None:
    """W27, W28."""
    for _ in range(3):
        api.put(b"a")
    watch = WatchClient(api, room=2)
    watch.create(b"z")
    watch.create(b"a", start_revision=2)
    watch.progress()
    assert all(one.watch_id >= 0 for one in watch.take())


def test_regular_progress(api: Api, member: SingleMember, watch: WatchClient) -> None:
    """W26: once an interval, to those who heard nothing in it."""
    watch.create(b"a", progress_notify=True, watch_id=5)
    watch.create(b"b", watch_id=6)
    watch.take()
    member.advance(700)
    (notified,) = watch.take()
    assert (notified.watch_id, notified.header.revision, len(notified.events)) == (5, 1, 0)
    api.put(b"a")
    watch.take()
    member.advance(600)
    assert watch.take() == []
    member.advance(700)
    assert [one.watch_id for one in watch.take()] == [5]
    watch.cancel(5)
    watch.take()
    member.advance(3000)
    assert watch.take() == []


def test_fragments(tmp_path: Path) -> None:
    """W18, W30, W31: a large revision is split only for those who asked; together the parts are the whole."""
    member = SingleMember(tmp_path, limits=Limits(max_request_bytes=2 * GRPC_OVERHEAD_BYTES))
    api = Api(member)
    watch = WatchClient(api)
    watch.create(b"\0", b"\0", fragment=True, watch_id=1)
    watch.create(b"\0", b"\0", watch_id=2)
    watch.take()
    value = b"v" * (GRPC_OVERHEAD_BYTES // 2)
    lease = api.grant().ID
    for number in range(8):
        api.put(b"k%d" % number, value, lease=lease)
    watch.take()
    watch.cancel(1)
    watch.cancel(2)
    watch.create(b"\0", b"\0", fragment=True, watch_id=3, start_revision=2)
    watch.create(b"\0", b"\0", watch_id=4, start_revision=2)
    parts: dict[int, list[pb.WatchResponse]] = {}
    for one in watch.take():
        if one.events:
            parts.setdefault(one.watch_id, []).append(one)
    assert [one.fragment for one in parts[3]] == [True, False]
    assert all(one.ByteSize() < 3 * GRPC_OVERHEAD_BYTES for one in parts[3])
    (whole,) = parts[4]
    assert not whole.fragment
    assert [event for one in parts[3] for event in one.events] == list(whole.events)
    member.close()


def test_half_closing_does_not_end_the_stream(api: Api, watch: WatchClient) -> None:
    """W33."""
    watch.create(b"a")
    if watch.call.on_half_close is not None:
        watch.call.on_half_close()
    api.put(b"a")
    assert events(watch.take()) == [(0, b"a", 2)]
    assert not watch.call.ended


def test_a_watch_cancelled_by_a_compaction_keeps_its_id_until_the_client_cancels_it(
    api: Api, watch: WatchClient
) -> None:
    """W10, W04, W15 as etcd has them: until then the ID is in use, and cancelling it is answered, once."""
    for _ in range(5):
        api.put(b"a")
    api.compact(4, physical=True)
    watch.create(b"a", start_revision=2, watch_id=7)
    watch.create(b"a", start_revision=2)
    assert [(one.watch_id, one.compact_revision) for one in watch.take() if one.canceled] == [(7, 4), (0, 4)]
    watch.create(b"a", watch_id=7)
    assert [one.cancel_reason for one in watch.take()] == [errors.WATCH_DUPLICATE_ID]
    for number in (7, 7, 0):
        watch.cancel(number)
    assert [(one.watch_id, one.canceled) for one in watch.take()] == [(7, True), (0, True)]
    watch.create(b"a", watch_id=7)
    assert [(one.watch_id, one.created, one.canceled) for one in watch.take()] == [(7, True, False)]


def test_a_cancelled_stream_leaves_no_watcher_behind(api: Api, member: SingleMember, watch: WatchClient) -> None:
    """W34."""
    watch.create(b"a", progress_notify=True)
    watch.create(b"a", b"z", start_revision=1)
    watch.take()
    watch.call.cancel()
    assert (member.hub.watchers_count, member.metrics.watch_streams) == (0, 0)
    api.put(b"a")
    member.advance(2000)
    assert watch.take() == []


def test_a_stream_that_requires_a_leader_ends_without_one(api: Api, member: SingleMember) -> None:
    """W35, X09."""
    watch = WatchClient(api, metadata={"hasleader": "true"})
    watch.create(b"a")
    member.leader = NO_MEMBER
    member.advance(4)
    assert watch.call.error is not None
    assert (watch.call.error.code, watch.call.error.message) == (errors.NO_LEADER.code, errors.NO_LEADER.text)
    assert member.hub.watchers_count == 0


def test_a_slow_client_gets_everything_in_order(api: Api, member: SingleMember) -> None:
    """W18, W19, W42: what does not fit waits in the store, not in memory, and other streams do not wait for it."""
    slow, quick = WatchClient(api, room=3), WatchClient(api)
    for client in (slow, quick):
        client.create(b"a", b"b")
        client.take()
    for _ in range(20):
        api.put(b"a")
    assert len(events(quick.take())) == 20
    assert member.hub.slow_watchers_count == 1
    assert slow.call.paused
    seen = events(slow.take())
    while len(seen) < 20:
        before = len(seen)
        slow.call.give_room(1)
        seen += events(slow.take())
        assert len(seen) > before
    assert seen == [(0, b"a", revision) for revision in range(2, 22)]
    assert member.hub.slow_watchers_count == 0
    slow.call.give_room()
    assert not slow.call.paused
    api.put(b"a")
    assert events(slow.take()) == [(0, b"a", 22)]


def test_a_compaction_that_passes_a_slow_watcher_cancels_it(api: Api) -> None:
    """W14."""
    slow = WatchClient(api, room=2)
    slow.create(b"a")
    for _ in range(5):
        api.put(b"a")
    api.compact(6)
    slow.take()
    slow.call.give_room()
    (canceled,) = slow.take()
    assert (canceled.canceled, canceled.compact_revision) == (True, 6)


def test_many_watchers_of_many_streams_each_see_their_own(api: Api) -> None:
    """W19, W42."""
    clients = [WatchClient(api, room=5) for _ in range(10)]
    for number, client in enumerate(clients):
        for key in range(10):
            client.create(b"k%d" % key, watch_id=key + 1, start_revision=1 + number % 3)
    for _ in range(5):
        for key in range(10):
            api.put(b"k%d" % key)
    for number, client in enumerate(clients):
        seen: dict[int, list[int]] = {}
        for _ in range(200):
            for one in client.take():
                seen.setdefault(one.watch_id, []).extend(event.kv.mod_revision for event in one.events)
            client.call.give_room(5)
        start = 1 + number % 3
        assert seen == {
            key + 1: [revision for revision in range(2 + key, 52, 10) if revision >= start] for key in range(10)
        }


def test_what_is_no_request_ends_the_stream(watch: WatchClient) -> None:
    """X22."""
    assert watch.call.on_message is not None
    watch.call.on_message(b"\xff")
    assert watch.call.error is not None
    assert watch.call.error.message == "grpc: failed to unmarshal the received message: unexpected EOF"


def test_watchers_read_on_after_a_snapshot_replaced_the_state(api: Api, member: SingleMember, tmp_path: Path) -> None:
    """W38: from what they last saw, nothing twice."""
    watch = WatchClient(api)
    watch.create(b"a")
    api.put(b"a", b"1")
    image = tmp_path / "image.db"
    watch.take()
    member.state.commit()
    (tmp_path / "leader").mkdir()
    other = SingleMember(tmp_path / "leader")
    leader = Api(other)
    for value in (b"1", b"2", b"3"):
        leader.put(b"a", value)
    other.state.commit()
    other.state.write_snapshot(image)
    member.state.close()
    member.state.install(image, member.state.path)
    member.state = type(member.state).open(member.state.path, create=False)
    member.applier.recover(member.state)
    shown = [event.kv.value for one in watch.take() for event in one.events]
    assert shown == [b"2", b"3"]
    other.close()
