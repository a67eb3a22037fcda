"""How a request reaches the cluster: endpoint, token, deadline, retry. Every service goes through here."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

import grpc
from google.protobuf.message import Message

from etcdops.client import retry
from etcdops.client.balancer import Balancer
from etcdops.client.channels import Connection, ConnectionPool
from etcdops.client.failures import Failure, exhausted_error, refusal_error, unknown_error
from etcdops.client.methods import AUTHENTICATE, STATUS, Effect, Method, Request, Response
from etcdops.client.probe import explain
from etcdops.client.settings import ConnectionSettings
from etcdops.client.tokens import TokenKeeper
from etcdops.client.view import Silence
from etcdops.errors import EtcdopsError, Unhealthy, Unreachable
from etcdops.proto import etcdserverpb_pb2 as pb

Metadata = tuple[tuple[str, str], ...]

HAS_LEADER: Metadata = (("hasleader", "true"),)
"""Ask a member to refuse at once while it has no leader, instead of letting a stream hang."""


class Deadline:
    """When the caller's patience ends. Monotonic."""

    __slots__ = ("_at", "total_s")

    def __init__(self, total_s: float) -> None:
        self.total_s = total_s
        self._at = time.monotonic() + total_s

    @property
    def left_s(self) -> float:
        return max(0.0, self._at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left_s <= 0.0


@dataclass(slots=True)
class _Course(Generic[Request, Response]):
    """One request on its way through the endpoints."""

    method: Method[Request, Response]
    request: Request
    effect: Effect
    deadline: Deadline
    connect_deadline: Deadline
    failures: dict[str, Failure] = field(default_factory=dict)
    sent: bool = False
    refreshed: bool = False


class Caller:
    """Sends requests for one client."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.pool = ConnectionPool(settings)
        self.endpoints = tuple(endpoint.url for endpoint in settings.parsed_endpoints())
        self._balancer = Balancer(self.endpoints, time.monotonic)
        self._tokens = TokenKeeper(settings, self._authenticate)
        self._jitter = random.Random()

    async def close(self) -> None:
        await self.pool.close()

    async def unary(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
        endpoint: str | None = None,
        effect: Effect | None = None,
    ) -> Response:
        """Send one request and return its answer.

        Args: timeout - seconds for everything, retries included (the settings' command timeout by default); endpoint -
            ask this member only; effect - overrides the method's, e.g. for a txn that only reads.
        Raises: Unreachable, Unhealthy, AccessDenied, Refused, Compacted; ResultUnknown - a change was sent and nobody
            knows whether it took effect.
        """
        total_s = self.settings.command_timeout_s if timeout is None else timeout
        # A member that was named must answer for itself: when it refuses connections, waiting will not help the view.
        connect_s = 0.0 if endpoint is not None else min(self.settings.dial_timeout_s, total_s)
        course = _Course(method, request, effect or method.effect, Deadline(total_s), Deadline(connect_s))
        rounds = 0
        while True:
            order = [endpoint] if endpoint is not None else self._balancer.order()
            for position, target in enumerate(order):
                answer = await self._try_one(course, target, len(order) - position)
                if answer is not None:
                    return answer
                if course.deadline.passed:
                    raise await self._give_up(course)
            only_unconnected = all(not retry.was_sent(failure.text) for failure in course.failures.values())
            if only_unconnected and course.connect_deadline.passed:
                raise await self._give_up(course)
            rounds += 1
            pause_s = retry.backoff_s(rounds) * self._jitter.uniform(0.9, 1.1)
            await asyncio.sleep(min(pause_s, course.deadline.left_s))

    async def _try_one(self, course: _Course[Request, Response], target: str, endpoints_left: int) -> Response | None:
        """One attempt at one endpoint: the answer, or None when another is right. Raises what ends the request."""
        connection = self.pool.get(target)
        result = await self._attempt(course, connection, endpoints_left)
        if not isinstance(result, Failure):
            self._balancer.succeeded(connection.endpoint.url)
            return result
        if not (result.code == "DEADLINE_EXCEEDED" and connection.endpoint.url in course.failures):
            # Running out of time tells less than whatever the endpoint said before.
            course.failures[connection.endpoint.url] = result
        course.sent = course.sent or retry.was_sent(result.text)
        match retry.decide(course.effect, result.code, result.text):
            case retry.Action.REFUSED:
                raise refusal_error(result, course.method.name)
            case retry.Action.UNKNOWN:
                raise unknown_error(result, course.method.name)
            case retry.Action.REFRESH:
                # Once: a fresh token that is refused as well is not a matter of age.
                if course.refreshed or not self._tokens.usable:
                    raise refusal_error(result, course.method.name)
                course.refreshed = True
                self._tokens.discard()
                return await self._try_one(course, target, endpoints_left)
            case retry.Action.RETRY:
                self._balancer.failed(connection.endpoint.url)
        return None

    async def _attempt(
        self, course: _Course[Request, Response], connection: Connection, endpoints_left: int
    ) -> Response | Failure:
        metadata = await self._metadata(course)
        failure = await connection.wait_ready(min(self.settings.dial_timeout_s, course.deadline.left_s))
        if failure is not None:
            return failure
        call = (await connection.open()).unary_unary(
            course.method.path,
            request_serializer=_serialize,
            response_deserializer=course.method.parse,
        )
        try:
            answer: Response = await call(
                course.request, timeout=self._share_s(course, endpoints_left), metadata=metadata
            )
        except grpc.aio.AioRpcError as error:
            return connection.failure(error.code().name, error.details() or "")
        return answer

    async def _metadata(self, course: _Course[Request, Response]) -> Metadata:
        if course.method.path == AUTHENTICATE.path:
            return ()
        try:
            share = 0.5 if course.method.tolerates_no_token else 1.0
            token = await self._tokens.token(course.deadline.left_s * share)
        except (Unreachable, Unhealthy):
            # A cluster without quorum gives no tokens, yet its members may still tell their status.
            if not course.method.tolerates_no_token:
                raise
            token = ""
        return (("token", token),) if token else ()

    def _share_s(self, course: _Course[Request, Response], endpoints_left: int) -> float:
        """How long this attempt may take: a read leaves time to ask the others, a write gets all there is."""
        left_s = course.deadline.left_s
        if course.effect is Effect.WRITE or endpoints_left <= 1:
            return left_s
        return min(left_s, max(self.settings.dial_timeout_s, left_s / endpoints_left))

    async def _give_up(self, course: _Course[Request, Response]) -> EtcdopsError:
        failures = await asyncio.gather(*(self._explained(failure) for failure in course.failures.values()))
        return exhausted_error(failures, course.method.name, course.effect, sent=course.sent)

    async def _explained(self, failure: Failure) -> Failure:
        """The failure with a better reason, where gRPC gave a poor one and asking the socket helps."""
        if failure.silence not in (Silence.TLS, Silence.UNREACHABLE, Silence.NAME):
            return failure
        connection = self.pool.get(failure.endpoint)
        found = await explain(connection.endpoint, self.settings, timeout_s=self.settings.dial_timeout_s)
        if found is None:
            return failure
        return Failure(failure.endpoint, failure.code, failure.text, *found)

    async def _authenticate(self, username: str, password: str, timeout_s: float) -> str:
        request = pb.AuthenticateRequest(name=username, password=password)
        # One token more in the cluster is no effect anybody needs to look for.
        return (await self.unary(AUTHENTICATE, request, timeout=timeout_s, effect=Effect.READ)).token

    async def open_stream(
        self, method: Method[Request, Response], *, timeout: float, endpoint: str | None, avoid: Sequence[str] = ()
    ) -> tuple[Connection, Metadata]:
        """A connected endpoint for a stream, and the token to open it with.

        Args: avoid - endpoints to try last, because a stream just broke there.
        Raises: Unreachable naming every endpoint when none connects within `timeout`; what authenticating raises.
        """
        deadline = Deadline(timeout)
        token = await self._tokens.token(deadline.left_s)
        metadata: Metadata = (("token", token),) if token else ()
        failures: dict[str, Failure] = {}
        rounds = 0
        while True:
            order = [endpoint] if endpoint is not None else sorted(self._balancer.order(), key=lambda url: url in avoid)
            for target in order:
                connection = self.pool.get(target)
                failure = await self._wait_connected(connection, deadline)
                if failure is None:
                    return connection, metadata
                failures[connection.endpoint.url] = failure
                self._balancer.failed(connection.endpoint.url)
            if deadline.passed:
                explained = await asyncio.gather(*(self._explained(failure) for failure in failures.values()))
                raise exhausted_error(explained, method.name, Effect.READ, sent=False)
            rounds += 1
            await asyncio.sleep(min(retry.backoff_s(rounds), deadline.left_s))

    async def _wait_connected(self, connection: Connection, deadline: Deadline) -> Failure | None:
        """None once a connection stands; otherwise why not, found out by the cheapest question there is."""
        failure = await connection.wait_ready(min(self.settings.dial_timeout_s, deadline.left_s))
        channel = await connection.open()
        if failure is not None or channel.get_state() is grpc.ChannelConnectivity.READY:
            return failure
        probe = channel.unary_unary(STATUS.path, request_serializer=_serialize, response_deserializer=STATUS.parse)
        try:
            await probe(pb.StatusRequest(), timeout=max(0.05, deadline.left_s))
        except grpc.aio.AioRpcError as error:
            found = connection.failure(error.code().name, error.details() or "")
            # Any answer of etcd, even a refusal, proves the connection.
            return None if found.silence in (Silence.FAILED, Silence.ACCESS_DENIED) else found
        return None

    def discard_token(self) -> bool:
        """Forget the token, so that the next request gets a new one; False when no credentials were given."""
        self._tokens.discard()
        return self._tokens.usable


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
