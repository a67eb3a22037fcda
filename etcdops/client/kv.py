"""Keys and values: get, put, delete, txn, compact, and reading many keys by pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from etcdops.client import methods
from etcdops.client.caller import Caller
from etcdops.client.methods import Effect
from etcdops.ids import LeaseID, Revision
from etcdops.proto import etcdserverpb_pb2 as pb

Key = bytes | str
"""Keys are bytes; a str is taken as UTF-8."""

FROM_KEY = b"\0"
"""The range end that means "from this key on"."""


def to_bytes(text: Key) -> bytes:
    return text.encode() if isinstance(text, str) else text


def prefix_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that start with `prefix`; FROM_KEY for b"" and b"\\xff...".

    Source: etcd client/v3/op.go, getPrefix.
    """
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else FROM_KEY


def key_range(key: Key, range_end: Key | None, prefix: bool) -> tuple[bytes, bytes]:
    """(key, range_end) as etcd wants them. `prefix` of an empty key is the whole store."""
    start = to_bytes(key)
    if prefix:
        # A key may not be empty on the wire; b"\0" is the smallest one there can be.
        return start or b"\0", prefix_end(start)
    return start, to_bytes(range_end or b"")


class KV:
    """The KV service. All calls: `timeout` in seconds, `endpoint` to ask one member; errors as `Caller.unary`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def get(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        revision: int = 0,
        limit: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
        serializable: bool = False,
        sort_order: pb.RangeRequest.SortOrder.ValueType = pb.RangeRequest.NONE,
        sort_target: pb.RangeRequest.SortTarget.ValueType = pb.RangeRequest.KEY,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.RangeResponse:
        """Read a key, a range or a prefix.

        Args: revision - 0 = now; limit - 0 = all, `more` in the answer says that there was more; serializable - the
            asked member answers from what it has, also without quorum, maybe not the newest.
        Raises: Compacted - that revision is gone.
        """
        start, end = key_range(key, range_end, prefix)
        request = pb.RangeRequest(
            key=start,
            range_end=end,
            revision=revision,
            limit=limit,
            keys_only=keys_only,
            count_only=count_only,
            serializable=serializable,
            sort_order=sort_order,
            sort_target=sort_target,
        )
        return await self._caller.unary(methods.RANGE, request, timeout=timeout, endpoint=endpoint)

    async def pages(
        self,
        prefix: Key = b"",
        *,
        page_size: int = 1000,
        revision: int = 0,
        keys_only: bool = False,
        serializable: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> AsyncIterator[pb.RangeResponse]:
        """All keys with `prefix`, in order, at one revision, `page_size` at a time: a picture that no write disturbs.

        Args: timeout - for each page.
        Raises: Compacted - that revision was compacted while reading; start again.
        """
        start, end = key_range(prefix, None, prefix=True)
        while True:
            page = await self.get(
                start,
                range_end=end,
                revision=revision,
                limit=page_size,
                keys_only=keys_only,
                serializable=serializable,
                timeout=timeout,
                endpoint=endpoint,
            )
            yield page
            if not page.more:
                return
            revision = revision or page.header.revision
            start = page.kvs[-1].key + b"\0"

    async def put(
        self,
        key: Key,
        value: Key,
        *,
        lease: LeaseID | int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.PutResponse:
        """Write a key. Raises: ResultUnknown when no answer came; Refused, e.g. for a lease that is gone."""
        request = pb.PutRequest(
            key=to_bytes(key),
            value=to_bytes(value),
            lease=lease,
            prev_kv=prev_kv,
            ignore_value=ignore_value,
            ignore_lease=ignore_lease,
        )
        return await self._caller.unary(methods.PUT, request, timeout=timeout, endpoint=endpoint)

    async def delete(
        self,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        prev_kv: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.DeleteRangeResponse:
        """Delete a key, a range or a prefix; the answer says how many there were."""
        start, end = key_range(key, range_end, prefix)
        request = pb.DeleteRangeRequest(key=start, range_end=end, prev_kv=prev_kv)
        return await self._caller.unary(methods.DELETE_RANGE, request, timeout=timeout, endpoint=endpoint)

    async def txn(
        self,
        *,
        compare: Sequence[pb.Compare] = (),
        success: Sequence[pb.RequestOp] = (),
        failure: Sequence[pb.RequestOp] = (),
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.TxnResponse:
        """Compare, then do one of two lists as one change. A txn that only reads is retried as a read."""
        request = pb.TxnRequest(compare=compare, success=success, failure=failure)
        effect = Effect.READ if only_reads(request) else Effect.WRITE
        return await self._caller.unary(methods.TXN, request, timeout=timeout, endpoint=endpoint, effect=effect)

    async def compact(
        self,
        revision: Revision | int,
        *,
        physical: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.CompactionResponse:
        """Forget history up to `revision`; with `physical` the answer comes when the space is free inside the file."""
        request = pb.CompactionRequest(revision=revision, physical=physical)
        return await self._caller.unary(methods.COMPACT, request, timeout=timeout, endpoint=endpoint)


def only_reads(request: pb.TxnRequest) -> bool:
    """Whether neither list of a txn, nested ones included, can change anything."""
    return all(
        operation.HasField("request_range") or (operation.HasField("request_txn") and only_reads(operation.request_txn))
        for operation in (*request.success, *request.failure)
    )
