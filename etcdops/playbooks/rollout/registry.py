"""What a discovery service says of a cluster's token, asked as the hosts of its members see the service.

Both kinds are asked: that of etcd 2's API (`--discovery`, up to 3.6) and that of etcd 3's (`--discovery-endpoints`,
from 3.6 on). Nothing is registered by asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from etcdops.client.client import Client
from etcdops.client.endpoints import parse_endpoints
from etcdops.client.pages import Pages
from etcdops.client.settings import ConnectionSettings
from etcdops.errors import EtcdopsError, Unreachable, UsageError
from etcdops.playbooks.on_hosts import RunHosts, values_of
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.remote.pool import on_all
from etcdops.remote.session import Session

_TIMEOUT_S = 5.0
_REGISTRY = "/_etcd/registry"
"""Below it are the tokens of etcd 3's service. Source: etcd server/etcdserver/api/v3discovery/discovery.go."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Registry:
    """What the service says of one token."""

    size: str = ""
    """How many members the cluster shall have, as it stands there; empty: the service knows no such token."""
    members: tuple[str, ...] = ()
    """Who has registered: `name=URL`, as they stand there."""
    problem: str = ""
    """Why the service cannot be asked; empty: it answered."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """The service that a member's flags name."""

    url: str = ""
    """Of etcd 2's API: the token's own address."""
    proxy: str = ""
    """HTTP proxy in front of it."""
    endpoints: tuple[str, ...] = ()
    """Of etcd 3's API."""
    token: str = ""
    verifies: bool = True
    """Its certificate is looked at."""
    secured_by: str = ""
    """A flag with a file of the host, or a user: with it we cannot ask in the members' place."""

    @classmethod
    def of(cls, flags: Mapping[str, str]) -> Discovery | None:
        """None: the members are named to each other, or found by SRV records."""
        if "discovery" in flags:
            return cls(url=flags["discovery"], proxy=flags.get("discovery-proxy", ""))
        if "discovery-endpoints" not in flags:
            return None
        secret = ("discovery-user", "discovery-cert", "discovery-cacert")
        plain = flags.get("discovery-insecure-transport", "true") == "true"
        given = [one.strip() for one in flags["discovery-endpoints"].split(",") if one.strip()]
        return cls(
            endpoints=tuple(one if "://" in one or plain else f"https://{one}" for one in given),
            token=flags.get("discovery-token", ""),
            verifies=flags.get("discovery-insecure-skip-tls-verify", "false") != "true",
            secured_by=next((f"--{name}" for name in secret if flags.get(name)), ""),
        )

    @property
    def why_unasked(self) -> str:
        """Empty: it can be asked from here."""
        if self.secured_by:
            return f"{self.secured_by} is for the members alone"
        if self.proxy and urlsplit(self.url).scheme == "https":
            return f"the way there leads through the proxy {self.proxy}"
        return ""

    def __str__(self) -> str:
        return self.url or f"{','.join(self.endpoints)}, token {self.token}"


async def registries_of(run: RunHosts, members: Sequence[DesiredMember]) -> dict[str, Registry]:
    """What each member's host is told, all asked at once; empty where no service is used, or none can be asked.

    Raises: what the sessions raise.
    """
    services: dict[str, Discovery] = {}
    for member in members:
        discovery = Discovery.of(member.config.flags)
        if discovery is not None and not discovery.why_unasked:
            services[member.host] = discovery

    async def one(host: str) -> Registry:
        return await ask_registry(await run.session(host), services[host])

    return dict(zip(services, values_of(await on_all(list(services), one)), strict=True))


async def ask_registry(session: Session, discovery: Discovery) -> Registry:
    """Ask it through SSH, so that the host's own network, names and firewalls count. Raises: as `Session.tunnel`."""
    try:
        async with asyncio.timeout(4 * _TIMEOUT_S):
            return await (_ask_v2(session, discovery) if discovery.url else _ask_v3(session, discovery))
    except UsageError as error:
        return Registry(problem=error.message)
    except (_NotEtcd, Unreachable) as error:
        return Registry(problem=error.message)
    except TimeoutError:
        return Registry(problem="no answer in time")


class _NotEtcd(EtcdopsError):
    """Somebody answered, and not with what a discovery service says."""


async def _ask_v2(session: Session, discovery: Discovery) -> Registry:
    parts = urlsplit(discovery.url)
    token = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    # a proxy is asked for the whole URL
    dialled, prefix = (_with_scheme(discovery.proxy), origin) if discovery.proxy else (origin, "")
    async with _routes(session, [dialled]) as routes:
        pages = Pages(ConnectionSettings(dial_timeout_s=_TIMEOUT_S, routes=routes))
        size = _node(await pages.read(dialled, f"{prefix}{token}/_config/size"))
        if size is None:
            return Registry()
        registered = _node(await pages.read(dialled, f"{prefix}{token}")) or {}
    nodes = registered.get("nodes", [])
    listed = [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    by_age = sorted(listed, key=lambda node: int(node.get("createdIndex", 0)))
    return Registry(str(size.get("value", "")), tuple(str(node.get("value", "")) for node in by_age))


def _node(answer: tuple[int, str]) -> dict[str, object] | None:
    """The key that etcd 2's API shows; None: there is none. Raises: _NotEtcd."""
    status, text = answer
    with contextlib.suppress(ValueError):
        said = json.loads(text)
        if isinstance(said, dict):
            node = said.get("node")
            if status == 200 and isinstance(node, dict):
                return node
            if said.get("errorCode") == _KEY_NOT_FOUND:
                return None
    words = " ".join(text.split())[:80]
    raise _NotEtcd(f"it answers HTTP {status}{f', {words!r}' if words else ''}, which is not etcd's v2 API")


_KEY_NOT_FOUND = 100
"""Source: etcd client/v2/keys.go, ErrorCodeKeyNotFound."""


async def _ask_v3(session: Session, discovery: Discovery) -> Registry:
    urls = [endpoint.url for endpoint in parse_endpoints(discovery.endpoints)]
    async with _routes(session, urls) as routes:
        settings = ConnectionSettings(
            tuple(urls), insecure_skip_tls_verify=not discovery.verifies, dial_timeout_s=_TIMEOUT_S, routes=routes
        )
        async with Client(settings) as client:
            place = f"{_REGISTRY}/{discovery.token}"
            size = await client.kv.get(f"{place}/_config/size", timeout=_TIMEOUT_S)
            if not size.kvs:
                return Registry()
            registered = await client.kv.get(f"{place}/members", prefix=True, timeout=_TIMEOUT_S)
    by_age = sorted(registered.kvs, key=lambda one: one.create_revision)
    return Registry(_text(size.kvs[0].value), tuple(_text(one.value).strip() for one in by_age))


@asynccontextmanager
async def _routes(session: Session, urls: Sequence[str]) -> AsyncIterator[dict[str, str]]:
    """Tunnels that lead to `urls` as the host sees them."""
    async with contextlib.AsyncExitStack() as stack:
        routes: dict[str, str] = {}
        for url in urls:
            parts = urlsplit(url)
            tunnel = await session.tunnel(parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
            stack.push_async_callback(tunnel.close)
            routes[url] = "{}:{}".format(*tunnel.address)
        yield routes


def _with_scheme(proxy: str) -> str:
    """Source: etcd server/etcdserver/api/v2discovery/discovery.go, newProxyFunc."""
    return proxy if proxy.startswith(("http://", "https://")) else f"http://{proxy}"


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
