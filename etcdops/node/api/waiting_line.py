"""Whose turn it is among the keys of a prefix: what locks and elections have in common.

Everybody who wants something puts a key of their own under its prefix, held by a lease. Whoever's key is the oldest has
it; the others wait until every older key is gone. Each watches only the key just before its own, so that one who
leaves wakes one who waits.
Source: etcd client/v3/concurrency/key.go, waitDeletes; mutex.go; election.go.
"""

from __future__ import annotations

from etcdops.node.api.own_client import OwnClient
from etcdops.node.rpc.service import RpcError
from etcdops.node.storage.reading import EventType
from etcdops.proto import etcdserverpb_pb2 as pb


def prefix_of(name: bytes) -> bytes:
    """What the keys of a lock or an election begin with."""
    return name + b"/"


def end_of(prefix: bytes) -> bytes:
    """Where the keys of `prefix_of` end."""
    return prefix[:-1] + b"0"


def key_of(prefix: bytes, lease: int) -> bytes:
    """The key of whoever holds that lease, which Go prints in hex with its sign."""
    return prefix + format(lease, "x").encode()


def oldest(prefix: bytes) -> pb.RangeRequest:
    """Who has it."""
    return pb.RangeRequest(
        key=prefix,
        range_end=end_of(prefix),
        limit=1,
        sort_order=pb.RangeRequest.ASCEND,
        sort_target=pb.RangeRequest.CREATE,
    )


def created_at(key: bytes, revision: int) -> pb.Compare:
    """The key is the very one that was created then; 0: there is none."""
    return pb.Compare(key=key, target=pb.Compare.CREATE, result=pb.Compare.EQUAL, create_revision=revision)


async def session_lease(client: OwnClient, lease: int) -> int:
    """The lease a caller named, or a new one."""
    return lease or (await client.grant()).ID


async def wait_turn(client: OwnClient, prefix: bytes, revision: int) -> None:
    """Return when no key of `prefix` is left that was created before `revision`."""
    before = pb.RangeRequest(
        key=prefix,
        range_end=end_of(prefix),
        limit=1,
        sort_order=pb.RangeRequest.DESCEND,
        sort_target=pb.RangeRequest.CREATE,
        max_create_revision=revision - 1,
    )
    while (found := await client.range(before)).kvs:
        await _wait_deleted(client, found.kvs[0].key, found.header.revision)


async def _wait_deleted(client: OwnClient, key: bytes, revision: int) -> None:
    """Return when `key`, which was there at `revision`, is gone, or may be: its history is compacted away."""
    following = client.follow(key, b"", revision + 1)
    try:
        while (await following.next())[1].type is not EventType.DELETE:
            pass
    except RpcError:
        pass  # the caller looks again
    finally:
        following.close()
