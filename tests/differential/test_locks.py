"""The lock and election services (G20, G21)."""

from __future__ import annotations

import threading

import grpc
import pytest

from etcdops.proto import v3electionpb_pb2 as electionpb
from etcdops.proto import v3lockpb_pb2 as lockpb
from tests.differential.checklist import Server, executes
from tests.differential.client import rendered
from tests.differential.requests import all_of, get
from tests.support.real_etcd import poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow]

_S = 20.0


class Locks:
    """Calls of both services, on one server."""

    def __init__(self, server: Server) -> None:
        self._channel = server.client.channel

    def lock(self, name: bytes, lease: int = 0, timeout_s: float = _S) -> lockpb.LockResponse:
        call = self._channel.unary_unary(
            "/v3lockpb.Lock/Lock",
            request_serializer=lockpb.LockRequest.SerializeToString,
            response_deserializer=lockpb.LockResponse.FromString,
        )
        answer: lockpb.LockResponse = call(lockpb.LockRequest(name=name, lease=lease), timeout=timeout_s)
        return answer

    def unlock(self, key: bytes) -> lockpb.UnlockResponse:
        call = self._channel.unary_unary(
            "/v3lockpb.Lock/Unlock",
            request_serializer=lockpb.UnlockRequest.SerializeToString,
            response_deserializer=lockpb.UnlockResponse.FromString,
        )
        answer: lockpb.UnlockResponse = call(lockpb.UnlockRequest(key=key), timeout=_S)
        return answer

    def campaign(self, name: bytes, value: bytes, lease: int) -> electionpb.CampaignResponse:
        call = self._channel.unary_unary(
            "/v3electionpb.Election/Campaign",
            request_serializer=electionpb.CampaignRequest.SerializeToString,
            response_deserializer=electionpb.CampaignResponse.FromString,
        )
        request = electionpb.CampaignRequest(name=name, value=value, lease=lease)
        answer: electionpb.CampaignResponse = call(request, timeout=_S)
        return answer

    def resign(self, leader: electionpb.LeaderKey | None) -> None:
        call = self._channel.unary_unary(
            "/v3electionpb.Election/Resign",
            request_serializer=electionpb.ResignRequest.SerializeToString,
            response_deserializer=electionpb.ResignResponse.FromString,
        )
        call(electionpb.ResignRequest(leader=leader), timeout=_S)

    def proclaim(self, leader: electionpb.LeaderKey | None, value: bytes) -> None:
        call = self._channel.unary_unary(
            "/v3electionpb.Election/Proclaim",
            request_serializer=electionpb.ProclaimRequest.SerializeToString,
            response_deserializer=electionpb.ProclaimResponse.FromString,
        )
        call(electionpb.ProclaimRequest(leader=leader, value=value), timeout=_S)

    def leader(self, name: bytes) -> electionpb.LeaderResponse:
        call = self._channel.unary_unary(
            "/v3electionpb.Election/Leader",
            request_serializer=electionpb.LeaderRequest.SerializeToString,
            response_deserializer=electionpb.LeaderResponse.FromString,
        )
        answer: electionpb.LeaderResponse = call(electionpb.LeaderRequest(name=name), timeout=_S)
        return answer


@executes("G21")
def test_a_lock_is_a_key_held_by_a_lease(server: Server, prefix: bytes) -> None:
    """Named by the lease; without one it gets a lease of a minute; deleting the key lets the next one in."""
    locks = Locks(server)
    held = locks.lock(prefix)
    (found,) = server.client.range(all_of(prefix + b"/")).kvs
    server.check("G21", held.key, prefix + b"/%x" % found.lease)
    server.check("G21", server.client.time_to_live(found.lease).grantedTTL, 60)
    server.check("G21", held.header.revision, found.create_revision)
    second = server.client.grant(600).ID
    taken: list[bytes] = []
    waiting = threading.Thread(target=lambda: taken.append(locks.lock(prefix, second).key))
    waiting.start()
    poll_until(lambda: server.client.range(all_of(prefix + b"/")).count == 2, 10, "the second does not queue")
    server.check("G21", taken, [])
    revision = locks.unlock(held.key).header.revision
    waiting.join()
    server.check("G21", taken, [prefix + b"/%x" % second])
    server.check("G21", locks.lock(prefix, second).key, taken[0])
    server.check("G21", server.client.revision(), revision)
    server.client.revoke(second)


@executes("G21")
def test_whoever_gives_up_leaves_the_line(server: Server, prefix: bytes) -> None:
    """The place in line is given up with the call."""
    locks = Locks(server)
    held = locks.lock(prefix)
    second = server.client.grant(600).ID
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        locks.lock(prefix, second, timeout_s=1.0)
    poll_until(lambda: server.client.range(all_of(prefix + b"/")).count == 1, 10, "its key stays")
    locks.unlock(held.key)
    server.client.revoke(second)


@executes("G20")
def test_leadership_goes_round(server: Server, prefix: bytes) -> None:
    """Campaign, Leader, Proclaim, Resign; and all of them without what they need."""
    locks = Locks(server)
    first, second = (server.client.grant(600).ID for _ in range(2))
    won = locks.campaign(prefix, b"one", first)
    server.check("G21", (won.leader.name, won.leader.key, won.leader.lease), (prefix, prefix + b"/%x" % first, first))
    server.check("G21", won.leader.rev, won.header.revision)
    locks.proclaim(won.leader, b"news")
    said = locks.leader(prefix)
    server.check("G21", (said.kv.value, said.kv.create_revision), (b"news", won.leader.rev))
    winners: list[electionpb.CampaignResponse] = []
    waiting = threading.Thread(target=lambda: winners.append(locks.campaign(prefix, b"two", second)))
    waiting.start()
    poll_until(lambda: server.client.range(all_of(prefix + b"/")).count == 2, 10, "the second does not queue")
    locks.resign(won.leader)
    waiting.join()
    server.check("G21", locks.leader(prefix).kv.value, b"two")
    with pytest.raises(grpc.RpcError) as refused:
        locks.proclaim(None, b"x")
    server.check("G20", rendered(refused.value), 'UNKNOWN: "leader" field must be provided')
    with pytest.raises(grpc.RpcError) as refused:
        locks.resign(None)
    server.check("G20", rendered(refused.value), 'UNKNOWN: "leader" field must be provided')
    with pytest.raises(grpc.RpcError) as refused:
        locks.proclaim(won.leader, b"x")
    server.check("G21", rendered(refused.value), "UNKNOWN: election: not leader")
    server.client.revoke(second)
    with pytest.raises(grpc.RpcError) as refused:
        locks.leader(prefix)
    server.check("G21", rendered(refused.value), "UNKNOWN: election: no leader")
    assert server.client.range(get(prefix)).count == 0
    server.client.revoke(first)
