"""The console's port over the real client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp

from etcdops.client import tls
from etcdops.client.client import Client
from etcdops.client.metrics import MemberMetrics, NoMetrics, parse_metrics
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, MemberView, observe
from etcdops.clock import Clock, SystemClock
from etcdops.ids import LeaseID, Revision
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2
from etcdops.tui.feed import NO_LEASE, KeyEntry, KeyPage

METRICS_SIZE_MAX = 8 * 1024 * 1024
"""etcd's page is some 100 KB; more than this is something else."""


class LiveFeed:
    """Asks a real cluster. Belongs to the event loop it is first used on."""

    def __init__(self, settings: ConnectionSettings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._client = Client(settings)
        self._http: aiohttp.ClientSession | None = None
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
        found = await asyncio.gather(*(self._member_metrics(member) for member in members))
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
        if self._http:
            await self._http.close()
        await self._client.close()

    async def _write_if(self, key: bytes, expected: Revision, operation: pb.RequestOp) -> Revision | None:
        unchanged = pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key, mod_revision=expected)
        answer = await self._client.kv.txn(compare=[unchanged], success=[operation])
        return Revision(answer.header.revision) if answer.succeeded else None

    async def _member_metrics(self, member: MemberView) -> MemberMetrics | NoMetrics:
        address = urlsplit(member.endpoint).netloc or member.endpoint
        if not member.endpoint.startswith(("http://", "https://")):
            return NoMetrics(address, "not an HTTP address")
        try:
            name = self._settings.server_name or None
            async with self._session().get(f"{member.endpoint}/metrics", server_hostname=name) as answer:
                if answer.status != 200:
                    return NoMetrics(address, f"HTTP {answer.status}")
                page = await _read_page(answer.content)
            return parse_metrics(page.decode("utf-8", "replace"), taken_at_s=self._clock.monotonic())
        except TimeoutError:
            return NoMetrics(address, "no answer in time")
        except aiohttp.ClientConnectorError as error:
            return NoMetrics(address, error.os_error.strerror or "no connection")
        except (aiohttp.ClientError, ValueError) as error:
            return NoMetrics(address, str(error) or type(error).__name__)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            context = tls.context(self._settings, verify=not self._settings.insecure_skip_tls_verify)
            context.set_alpn_protocols(
                ["http/1.1"]
            )  # the client port would choose HTTP/2, which aiohttp does not speak
            timeout = aiohttp.ClientTimeout(total=self._settings.dial_timeout_s)
            connector = aiohttp.TCPConnector(ssl=context, limit_per_host=1)
            self._http = aiohttp.ClientSession(timeout=timeout, connector=connector, auto_decompress=True)
        return self._http


async def _read_page(content: aiohttp.StreamReader) -> bytes:
    page = bytearray()
    async for chunk in content.iter_chunked(64 * 1024):
        page += chunk
        if len(page) > METRICS_SIZE_MAX:
            raise ValueError(f"the page is larger than {METRICS_SIZE_MAX} bytes")
    return bytes(page)


def _entry(kv: mvccpb_pb2.KeyValue) -> KeyEntry:
    return KeyEntry(
        key=kv.key,
        create_revision=Revision(kv.create_revision),
        mod_revision=Revision(kv.mod_revision),
        version=kv.version,
        lease=LeaseID(kv.lease),
        value=kv.value,
    )
