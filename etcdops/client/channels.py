"""One gRPC channel for each endpoint, and how long it may take to stand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import grpc

from etcdops import __version__
from etcdops.client import tls
from etcdops.client.endpoints import Endpoint, parse_endpoint
from etcdops.client.failures import Failure, classify
from etcdops.client.settings import ConnectionSettings
from etcdops.client.tunnel import UnverifiedTunnel

MESSAGE_BYTES_MAX = (1 << 31) - 1
"""What etcd's client allows for answers; requests are limited by the member (`--max-request-bytes`), not here."""

KEEPALIVE_TIME_MS = 10_000
"""Below 5 s members answer "too many pings" (`--grpc-keepalive-min-time`); 10 s is the least Go's gRPC allows."""
KEEPALIVE_TIMEOUT_MS = 6_000


class Connection:
    """The channel to one endpoint. It reconnects by itself; `wait_ready` says why it does not."""

    def __init__(self, endpoint: Endpoint, settings: ConnectionSettings, notify: Callable[[str], None]) -> None:
        self.endpoint = endpoint
        self._settings = settings
        self._tunnel: UnverifiedTunnel | None = None
        if endpoint.secure and settings.insecure_skip_tls_verify:
            self._tunnel = UnverifiedTunnel(endpoint, settings, notify)
        self._channel: grpc.aio.Channel | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> grpc.aio.Channel:
        """The channel; it need not be connected yet."""
        async with self._opening:
            if self._channel is None:
                self._channel = await self._make()
        return self._channel

    async def _make(self) -> grpc.aio.Channel:
        options = _options(self.endpoint, self._settings)
        if self._tunnel is not None:
            return grpc.aio.insecure_channel(await self._tunnel.start(), options=options)
        route = self._settings.routes.get(self.endpoint.url)
        kind = "unix" if route and route.startswith("/") else "ipv4"
        target = f"{kind}:{route}" if route else self.endpoint.target
        if self.endpoint.secure:
            credentials = tls.channel_credentials(tls.read_files(self._settings))
            return grpc.aio.secure_channel(target, credentials, options=options)
        return grpc.aio.insecure_channel(target, options=options)

    async def wait_ready(self, timeout_s: float) -> Failure | None:
        """Wait until requests can be sent, at most `timeout_s`.

        Returns: None when connected, and also when connecting failed: then the next request says at once why. A failure
            when the time passed, so that nothing was sent.
        """
        channel = await self.open()
        deadline = time.monotonic() + timeout_s
        state = channel.get_state(try_to_connect=True)
        while state not in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await channel.wait_for_state_change(state)
            except TimeoutError:
                return self.failure("UNAVAILABLE", f"no connection within {timeout_s:.3g} s")
            state = channel.get_state(try_to_connect=True)
        return None

    def failure(self, code: str, text: str) -> Failure:
        """A failed attempt at this endpoint; the tunnel knows more than gRPC about its end."""
        if self._tunnel is not None and self._tunnel.error and code == "UNAVAILABLE":
            return classify(self.endpoint.url, code, f"failed to connect to all addresses: {self._tunnel.error}")
        return classify(self.endpoint.url, code, text)

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close(None)
        if self._tunnel is not None:
            await self._tunnel.close()


def _options(endpoint: Endpoint, settings: ConnectionSettings) -> list[tuple[str, int | str]]:
    dial_ms = int(settings.dial_timeout_s * 1000)
    options: list[tuple[str, int | str]] = [
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # The same once more: a ping that is out for another reason has its own limit, a minute by default.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MS),
        # A quiet watch must still notice a dead member; without calls nobody waits for one.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # The name is misleading: it is how long one attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", dial_ms),
        # Retries are ours (client/retry.py), members are on this side of any proxy, and two clients share nothing.
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.primary_user_agent", f"etcdops/{__version__}"),
    ]
    routed = endpoint.url in settings.routes
    if endpoint.secure and (settings.server_name or routed):
        options.append(("grpc.ssl_target_name_override", settings.server_name or endpoint.host))
    if (settings.insecure_skip_tls_verify or routed) and endpoint.host:
        options.append(("grpc.default_authority", f"{endpoint.host}:{endpoint.port}"))
    return options


class ConnectionPool:
    """All connections of one client, made when first used. `notices` are sentences the user should see."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.settings = settings
        self.notices: list[str] = []
        self._connections: dict[str, Connection] = {}

    def get(self, endpoint: str) -> Connection:
        """The connection to an endpoint, in any spelling. Raises: UsageError."""
        parsed = parse_endpoint(endpoint, secure_default=self.settings.uses_tls)
        found = self._connections.get(parsed.url)
        if found is None:
            found = self._connections[parsed.url] = Connection(parsed, self.settings, self.notices.append)
        return found

    async def close(self) -> None:
        connections, self._connections = list(self._connections.values()), {}
        for connection in connections:
            await connection.close()
