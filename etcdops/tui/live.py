"""The console's port over the real client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from etcdops.client.client import Client
from etcdops.client.metrics import MemberMetrics, NoMetrics
from etcdops.client.pages import Pages
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, observe
from etcdops.clock import Clock, SystemClock
from etcdops.ids import LeaseID, Revision
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2
from etcdops.tui.feed import NO_LEASE, KeyEntry, KeyPage


class LiveFeed:
    """Asks a real cluster. Belongs to the event loop it is first used on."""

    def __init__(self, settings: ConnectionSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client = Client(settings)
        self._pages = Pages(settings)
        self._has_quorum = True
        """As of the last look. Without one, reads through the quorum would only wait for their deadline."""

    def notices(self) -> Sequence[str]:
        return self._client.notices

    async def observe(self) -> ClusterView:
        view = await observe(self._client, timeout_s=self._settings.dial_timeout_s)
        self._has_quorum = view.has_quorum or not view.answering
        return view

    async def metrics(self, view: ClusterView) -> Mapping[str, MemberMetrics | NoMetrics]:
        members = [member for member in view.answering if member.endpoint]
        found = await asyncio.gather(
            *(self._pages.metrics(m.endpoint, taken_at_s=self._clock.monotonic()) for m in members)
        )
        return {member.label: entry for member, entry in zip(members, found, strict=True)}

    async def page(self, start: bytes, end: bytes, *, limit: int, revision: Revision) -> KeyPage:
        answer = await self._client.kv.get(
            start,
            range_end=end,
            limit=limit,
            revision=revision,
            keys_only=True,
            serializable=not self._has_quorum,
        )
        entries = tuple(_entry(kv) for kv in answer.kvs)
        at = revision or Revision(answer.header.revision)
        return KeyPage(entries, answer.count, answer.more, at, serializable=not self._has_quorum)

    async def get(self, key: bytes, *, revision: Revision) -> KeyEntry | None:
        answer = await self._client.kv.get(key, revision=revision, serializable=not self._has_quorum)
        return _entry(answer.kvs[0]) if answer.kvs else None

    async def put(self, key: bytes, value: bytes, *, expected: Revision, lease: LeaseID = NO_LEASE) -> Revision | None:
        operation = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, lease=lease))
        return await self._write_if(key, expected, operation)

    async def delete(self, key: bytes, *, expected: Revision) -> Revision | None:
        operation = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key))
        return await self._write_if(key, expected, operation)

    async def close(self) -> None:
        await self._client.close()

    async def _write_if(self, key: bytes, expected: Revision, operation: pb.RequestOp) -> Revision | None:
        unchanged = pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key, mod_revision=expected)
        answer = await self._client.kv.txn(compare=[unchanged], success=[operation])
        return Revision(answer.header.revision) if answer.succeeded else None


def _entry(kv: mvccpb_pb2.KeyValue) -> KeyEntry:
    return KeyEntry(
        key=kv.key,
        create_revision=Revision(kv.create_revision),
        mod_revision=Revision(kv.mod_revision),
        version=kv.version,
        lease=LeaseID(kv.lease),
        value=kv.value,
    )
