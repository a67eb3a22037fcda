"""The client of a cluster of the inventory, through SSH where its client ports are not reachable from here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.inventory.connection import connection
from etcdops.inventory.model import PlacedMember, place
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.remote.session import Tunnel

_DIAL_TIMEOUT_S = 2.0
_THROUGH_HOST = "127.0.0.1"
"""In every certificate that we issue for a client port: the tunnel's end on this machine."""
_CLOSING_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class MemberAccess:
    """An open client, and the address that each member is asked at."""

    client: Client
    endpoints: Mapping[str, str]
    """By the member's name."""


@asynccontextmanager
async def reach_members(run: RunHosts) -> AsyncIterator[MemberAccess]:
    """A client of the run's cluster, as its operator.

    A port that refuses is reachable; one that does not answer at all is tried from its own host.
    Raises: UsageError - a certificate cannot be read; what the sessions raise.
    """
    members = [place(run.inventory, run.cluster, member) for member in run.cluster.members]
    async with contextlib.AsyncExitStack() as stack:
        found = await asyncio.gather(*(_endpoint(run, member, stack) for member in members))
        endpoints = {member.name: url for member, url in zip(members, found, strict=True)}
        _make_operator(run)
        settings = await asyncio.to_thread(member_settings, run, tuple(endpoints.values()))
        client = await stack.enter_async_context(Client(settings))
        yield MemberAccess(client, endpoints)


def member_settings(run: RunHosts, urls: tuple[str, ...]) -> ConnectionSettings:
    """How to reach members at `urls`: as the inventory and our own authority say, with what was typed in their place.

    Raises: UsageError, AccessDenied - a secret cannot be had; a person may be asked for it.
    """
    typed = run.access.settings(urls, run.cluster.name)
    first = run.source.paths[0]
    folder = first if first.is_dir() else first.parent
    own = connection(run.inventory, run.cluster, folder, run.secrets, with_password=not typed.username).settings
    found = typed if typed.cert else replace(typed, cert=own.cert, key=own.key)
    found = found if found.cacert else replace(found, cacert=own.cacert)
    found = found if found.server_name else replace(found, server_name=own.server_name)
    found = found if found.username else replace(found, username=own.username, password=own.password)
    return replace(found, routes=run.routes)


def _make_operator(run: RunHosts) -> None:
    """Our own certificate, where our authority is asked for one and it is not there yet."""
    tls = run.cluster.tls
    if tls is not None and tls.client and tls.files is None and run.cluster.access.cert is None:
        ClusterAuthorities(run.pki, run.cluster.name, run.clock).operator_files()


async def _endpoint(run: RunHosts, member: PlacedMember, stack: contextlib.AsyncExitStack) -> str:
    url = member.advertise_client_urls[0]
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    if member.host.local or await _answers(host, port):
        return url
    session = await run.session(member.host.name)
    tunnel = await session.tunnel(_as_seen_there(member, host), port)
    stack.push_async_callback(_close, tunnel)
    return f"{parts.scheme}://{_THROUGH_HOST}:{tunnel.address[1]}"


def _as_seen_there(member: PlacedMember, host: str) -> str:
    """Loopback when the member listens there: a firewall does not stand in between."""
    listening = [urlsplit(url).hostname for url in member.listen_client_urls]
    return _THROUGH_HOST if any(one in ("0.0.0.0", "::", "127.0.0.1", "localhost") for one in listening) else host  # noqa: S104


async def _answers(host: str, port: int) -> bool:
    """Whether packets get there and back: a refusal is an answer."""
    try:
        async with asyncio.timeout(_DIAL_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CLOSING_TIMEOUT_S):
            await writer.wait_closed()
    return True


async def _close(tunnel: Tunnel) -> None:
    await tunnel.close()
