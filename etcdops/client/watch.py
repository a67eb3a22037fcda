"""Watches that go on over broken connections, without a gap and without a repeated event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc

from etcdops.client import methods
from etcdops.client.caller import HAS_LEADER, Caller
from etcdops.client.channels import Connection
from etcdops.client.failures import Compacted, Failure, classify, exhausted_error, refusal_error
from etcdops.client.kv import Key, key_range
from etcdops.client.retry import Action, backoff_s, decide
from etcdops.ids import Revision
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb

RECONNECT_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """Events in order, those of one revision together. No events = progress: nothing happened up to `revision`."""

    events: tuple[mvccpb.Event, ...]
    revision: Revision
    """The member's revision when it sent this."""
    resumed: bool = False
    """The first batch after a broken connection was replaced; nothing was missed."""


class Watcher:
    """One watch: `async with client.watch(...) as watcher: async for batch in watcher`.

    Waits for events as long as it takes; that is what it is for. But a connection that stays broken for
    `reconnect_timeout_s`, or a member that answers no keep-alive ping, does not count as waiting: the first raises, the
    second makes it go on at another member.

    Raises (on entering and from the iteration): Compacted - history it has not seen yet is gone, `compact_revision`
        says from where on there is some; AccessDenied; Refused; Unreachable.
    """

    def __init__(
        self, caller: Caller, create: pb.WatchCreateRequest, endpoint: str | None, reconnect_timeout_s: float
    ) -> None:
        self._caller = caller
        self._create = create
        self._endpoint = endpoint
        self._reconnect_timeout_s = reconnect_timeout_s
        self._next_revision = create.start_revision
        self._connection: Connection | None = None
        self._call: grpc.aio.StreamStreamCall[pb.WatchRequest, pb.WatchResponse] | None = None
        self._pending: list[mvccpb.Event] = []
        self._down_since: float | None = None
        self._failures_in_a_row = 0
        self._resumed = False
        self._refreshed = False
        self._closed = False
        self._stands = False

    @property
    def endpoint(self) -> str:
        """The member this watch is served by now, "" between connections."""
        return self._connection.endpoint.url if self._connection is not None and self._stands else ""

    async def __aenter__(self) -> Self:
        """The watch stands when the block begins: what happens from here on is seen."""
        try:
            await self._connect()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the watch; whoever iterates over it comes to the end."""
        self._closed = True
        self._hang_up()

    def _hang_up(self) -> None:
        self._stands = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchBatch:
        try:
            while not self._closed:
                if self._call is None:
                    await self._connect()
                response = await self._receive()
                batch = await self._take(response) if response is not None else None
                if batch is not None:
                    return batch
        except asyncio.CancelledError:
            # Closing cancels the call under us; that is not our task being cancelled.
            if not self._closed or _being_cancelled():
                raise
        raise StopAsyncIteration

    async def _receive(self) -> pb.WatchResponse | None:
        """The next message; None when the stream broke and is to be opened anew."""
        try:
            return await self._read(None)
        except _Broken as broken:
            failure = broken.failure
        await self._broken(failure)
        return None

    async def request_progress(self) -> None:
        """Ask for a batch without events that tells the current revision; it comes through the iteration."""
        request = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
        while True:
            if self._call is None:
                await self._connect()
            try:
                return await self._write(request)
            except _Broken as broken:
                failure = broken.failure
            await self._broken(failure)

    async def _connect(self) -> None:
        """Open the stream and create the watch where the last one ended. Returns when the member has confirmed it."""
        while True:
            self._pending.clear()
            timeout_s = self._caller.settings.command_timeout_s if self._down_since is None else self._time_left_s()
            avoid = (self._connection.endpoint.url,) if self._connection is not None else ()
            self._connection, metadata = await self._caller.open_stream(
                methods.WATCH, timeout=timeout_s, endpoint=self._endpoint, avoid=avoid
            )
            self._call = (await self._connection.open()).stream_stream(
                methods.WATCH.path,
                request_serializer=pb.WatchRequest.SerializeToString,
                response_deserializer=methods.WATCH.parse,
            )(None, metadata=metadata + HAS_LEADER)
            self._create.start_revision = self._next_revision
            try:
                await self._write(pb.WatchRequest(create_request=self._create))
                created = await self._read(self._caller.settings.command_timeout_s)
            except _Broken as broken:
                await self._broken(broken.failure)
                continue
            if await self._take_created(created):
                return

    async def _take_created(self, response: pb.WatchResponse) -> bool:
        if response.canceled:
            await self._canceled(response)
            return False
        # A watch "from now on" begins after the revision at which it was confirmed, also when it is resumed later.
        self._next_revision = self._next_revision or response.header.revision + 1
        self._stands = True
        self._resumed = self._down_since is not None
        self._down_since = None
        self._failures_in_a_row = 0
        self._refreshed = False
        return True

    async def _take(self, response: pb.WatchResponse) -> WatchBatch | None:
        if response.canceled:
            await self._canceled(response)
            return None
        if response.created:
            return None
        self._pending.extend(response.events)
        if response.fragment:
            return None
        events, self._pending = tuple(self._pending), []
        if events:
            self._next_revision = events[-1].kv.mod_revision + 1
        elif response.watch_id >= 0:
            # Only the member's own notifications: answers to `request_progress` (watch ID -1) could be ahead of the
            # events before 3.4.25 and 3.5.8 (etcd issue 15220).
            self._next_revision = max(self._next_revision, response.header.revision + 1)
        resumed, self._resumed = self._resumed, False
        return WatchBatch(events, Revision(response.header.revision), resumed)

    async def _canceled(self, response: pb.WatchResponse) -> None:
        """The member ended the watch: raises, or prepares the next attempt where that helps."""
        assert self._connection is not None
        url = self._connection.endpoint.url
        if response.compact_revision:
            error = Compacted(
                f"{url} has compacted revision {self._next_revision}, which this watch needs next",
                text="mvcc: required revision has been compacted",
                status="OUT_OF_RANGE",
                cause=f"the oldest revision left is {response.compact_revision}",
                hint="read the keys anew and watch from there",
            )
            error.compact_revision = response.compact_revision
            raise error
        reason = response.cancel_reason or "etcdserver: watch canceled"
        await self._broken(classify(url, "UNKNOWN" if "etcdserver: " in reason else "UNAVAILABLE", reason))

    async def _broken(self, failure: Failure) -> None:
        """The stream ended: raises when that is final, otherwise waits a little before the next attempt."""
        self._hang_up()
        action = decide(methods.WATCH.effect, failure.code, failure.text)
        if action is Action.REFRESH and not self._refreshed and self._caller.discard_token():
            self._refreshed = True
        elif action is not Action.RETRY and "no leader" not in failure.text:
            raise refusal_error(failure, methods.WATCH.name)
        now = time.monotonic()
        self._down_since = now if self._down_since is None else self._down_since
        if self._time_left_s() <= 0.0:
            raise exhausted_error([failure], methods.WATCH.name, methods.WATCH.effect, sent=True)
        self._failures_in_a_row += 1
        if self._failures_in_a_row > 1:
            await asyncio.sleep(min(backoff_s(self._failures_in_a_row), self._time_left_s()))

    def _time_left_s(self) -> float:
        down_since = time.monotonic() if self._down_since is None else self._down_since
        return max(0.0, down_since + self._reconnect_timeout_s - time.monotonic())

    async def _write(self, request: pb.WatchRequest) -> None:
        assert self._call is not None
        try:
            await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise await self._broken_call() from error

    async def _read(self, timeout_s: float | None) -> pb.WatchResponse:
        assert self._call is not None
        assert self._connection is not None
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._call.read()
        except TimeoutError as error:
            raise _Broken(self._connection.failure("DEADLINE_EXCEEDED", "")) from error
        except grpc.aio.AioRpcError as error:
            raise _Broken(self._connection.failure(error.code().name, error.details() or "")) from error
        if not isinstance(response, pb.WatchResponse):
            raise await self._broken_call()
        return response

    async def _broken_call(self) -> _Broken:
        """Why the stream has ended, as its status says."""
        assert self._call is not None
        assert self._connection is not None
        code = await self._call.code()
        if code is grpc.StatusCode.OK:
            return _Broken(self._connection.failure("UNAVAILABLE", "the member ended the stream"))
        return _Broken(self._connection.failure(code.name, await self._call.details() or ""))


def _being_cancelled() -> bool:
    """Whether the current task is asked to end, as opposed to a call of its own that was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _Broken(Exception):
    """The stream is of no more use."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class Watch:
    """The Watch service: `client.watch(...)` makes a `Watcher`, each with a stream of its own."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __call__(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        start_revision: Revision | int = 0,
        prev_kv: bool = False,
        progress_notify: bool = False,
        filters: Sequence[pb.WatchCreateRequest.FilterType.ValueType] = (),
        endpoint: str | None = None,
        reconnect_timeout: float = RECONNECT_TIMEOUT_S,
    ) -> Watcher:
        """Watch a key, a range or a prefix from `start_revision` (0 = from now) on.

        Args: progress_notify - the member tells its revision also when nothing happens (every 10 minutes by default).
        """
        start, end = key_range(key, range_end, prefix)
        create = pb.WatchCreateRequest(
            key=start,
            range_end=end,
            start_revision=start_revision,
            prev_kv=prev_kv,
            progress_notify=progress_notify,
            filters=filters,
            # Large revisions may come in pieces instead of breaking the limit of a message; they are joined here.
            fragment=True,
        )
        return Watcher(self._caller, create, endpoint, reconnect_timeout)
