"""Leases: grant, revoke, look at, keep alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc

from etcdops.client import methods
from etcdops.client.caller import HAS_LEADER, Caller, Deadline
from etcdops.client.failures import Failure, Refused, exhausted_error, refusal_error
from etcdops.client.retry import Action, decide
from etcdops.errors import EtcdopsError, Unhealthy, Unreachable
from etcdops.ids import LeaseID
from etcdops.proto import etcdserverpb_pb2 as pb


class Lease:
    """The Lease service. All calls: `timeout` in seconds; errors as `Caller.unary`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def grant(
        self, ttl_s: int, *, lease: LeaseID | int = 0, timeout: float | None = None
    ) -> pb.LeaseGrantResponse:
        """A new lease of `ttl_s` seconds; the cluster chooses the ID when `lease` is 0."""
        request = pb.LeaseGrantRequest(TTL=ttl_s, ID=lease)
        return await self._caller.unary(methods.LEASE_GRANT, request, timeout=timeout)

    async def revoke(self, lease: LeaseID | int, *, timeout: float | None = None) -> pb.LeaseRevokeResponse:
        """End a lease; its keys go with it."""
        return await self._caller.unary(methods.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=lease), timeout=timeout)

    async def time_to_live(
        self, lease: LeaseID | int, *, keys: bool = False, timeout: float | None = None
    ) -> pb.LeaseTimeToLiveResponse:
        """Seconds left (`TTL`, -1 = there is no such lease), seconds granted, and with `keys` what hangs on it."""
        request = pb.LeaseTimeToLiveRequest(ID=lease, keys=keys)
        return await self._caller.unary(methods.LEASE_TIME_TO_LIVE, request, timeout=timeout)

    async def leases(self, *, timeout: float | None = None) -> pb.LeaseLeasesResponse:
        """The IDs of all leases."""
        return await self._caller.unary(methods.LEASE_LEASES, pb.LeaseLeasesRequest(), timeout=timeout)

    async def keep_alive_once(self, lease: LeaseID | int, *, timeout: float | None = None) -> pb.LeaseKeepAliveResponse:
        """Renew a lease. Raises: Refused - there is no such lease (any more)."""
        deadline = Deadline(self._caller.settings.command_timeout_s if timeout is None else timeout)
        avoid: list[str] = []
        while True:
            answer = await self._try_keep_alive(lease, deadline, avoid)
            if not isinstance(answer, Failure):
                return _still_there(answer, lease)
            avoid.append(answer.endpoint)
            match decide(methods.LEASE_KEEP_ALIVE.effect, answer.code, answer.text):
                case Action.REFRESH if self._caller.discard_token() and len(avoid) == 1:
                    pass
                case Action.RETRY if not deadline.passed:
                    await asyncio.sleep(min(0.05, deadline.left_s))
                case Action.RETRY:
                    # Renewed or not, the lease itself says so when it is asked: nothing unknown remains.
                    raise exhausted_error([answer], methods.LEASE_KEEP_ALIVE.name, methods.Effect.READ, sent=True)
                case _:
                    raise refusal_error(answer, methods.LEASE_KEEP_ALIVE.name)

    async def _try_keep_alive(
        self, lease: LeaseID | int, deadline: Deadline, avoid: list[str]
    ) -> pb.LeaseKeepAliveResponse | Failure:
        method = methods.LEASE_KEEP_ALIVE
        connection, metadata = await self._caller.open_stream(
            method, timeout=deadline.left_s, endpoint=None, avoid=avoid
        )
        call = (await connection.open()).stream_stream(
            method.path,
            request_serializer=pb.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=method.parse,
        )(None, metadata=metadata + HAS_LEADER)
        share_s = deadline.left_s if avoid else max(deadline.left_s / 2, 0.1)
        try:
            async with asyncio.timeout(share_s):
                await call.write(pb.LeaseKeepAliveRequest(ID=lease))
                answer = await call.read()
            if isinstance(answer, pb.LeaseKeepAliveResponse):
                return answer
            return connection.failure("UNAVAILABLE", "the stream ended without an answer")
        except TimeoutError:
            return connection.failure("DEADLINE_EXCEEDED", "")
        except grpc.aio.AioRpcError as error:
            return connection.failure(error.code().name, error.details() or "")
        except asyncio.InvalidStateError:
            # grpc.aio's word for writing to a stream that has ended; the status says why.
            return connection.failure((await call.code()).name, await call.details() or "")
        finally:
            call.cancel()

    async def keep_alive(self, lease: LeaseID | int, *, ttl_s: float) -> AsyncIterator[pb.LeaseKeepAliveResponse]:
        """Renew a lease again and again, at a third of its time; yields each answer. Ends only by an error.

        Args: ttl_s - how long the lease lasts from now, as granted.
        Raises: Refused - the lease is gone; Unreachable, Unhealthy - no renewal worked until it must have expired.
        """
        expires_at = time.monotonic() + ttl_s
        while True:
            try:
                answer = await self.keep_alive_once(lease, timeout=max(1.0, ttl_s / 3))
            except (Unreachable, Unhealthy) as error:
                if time.monotonic() >= expires_at:
                    raise _expired(lease, error) from error
            else:
                ttl_s = float(answer.TTL)
                expires_at = time.monotonic() + ttl_s
                yield answer
            await asyncio.sleep(ttl_s / 3)


def _still_there(answer: pb.LeaseKeepAliveResponse, lease: LeaseID | int) -> pb.LeaseKeepAliveResponse:
    if answer.TTL > 0:
        return answer
    # etcd says "no such lease" with a time of 0 instead of an error.
    raise Refused(
        f"lease {lease & (2**64 - 1):x} is gone: expired or revoked",
        text="requested lease not found",
        status="NOT_FOUND",
        hint="grant a new lease and put its keys again",
    )


def _expired(lease: LeaseID | int, last: EtcdopsError) -> EtcdopsError:
    return type(last)(
        f"lease {lease & (2**64 - 1):x} could not be renewed in time and has expired",
        cause=last.cause or last.message,
        hint=last.hint,
    )
