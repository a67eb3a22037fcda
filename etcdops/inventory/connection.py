"""From a cluster of the inventory to what a client needs: endpoints, TLS files, user, and the ways that lead there.

Nothing is connected here. Reading its secrets may ask a person.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from etcdops.client.endpoints import parse_endpoint
from etcdops.client.settings import ConnectionSettings
from etcdops.inventory.model import Become, Cluster, Inventory, PlacedMember, place
from etcdops.inventory.targets import Secrets

OWN_PKI = "pki"
"""Beside the inventory: a folder for each cluster, with its authorities `client` and `peer`."""
TRUSTED = Path("client/trusted.crt")
OPERATOR = (Path("operator.crt"), Path("operator.key"))
"""In that folder: whom to trust, and our own certificate."""


@dataclass(frozen=True, slots=True)
class Through:
    """An endpoint that is reached through SSH."""

    endpoint: str
    host: str
    """Name of the host in the inventory."""
    address: tuple[str, int]
    """Where the member listens, as that host sees it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a cluster."""

    settings: ConnectionSettings
    through: tuple[Through, ...]


def connection(
    inventory: Inventory,
    cluster: Cluster,
    folder: Path,
    secrets: Secrets,
    *,
    source: str = "",
    with_password: bool = True,
) -> Connection:
    """How clients on this machine reach `cluster`.

    Args: folder - of the inventory's file, where our own authorities are. with_password - read the password's source.
    Raises: UsageError, AccessDenied - a secret cannot be had.
    """
    access = cluster.access
    placed = (place(inventory, cluster, member) for member in cluster.members)
    endpoints = access.endpoints or tuple(url for one in placed for url in one.advertise_client_urls)
    cacert, cert, key = client_files(cluster, own_pki(cluster, folder))
    settings = ConnectionSettings(
        endpoints=tuple(dict.fromkeys(endpoints)),
        cacert=cacert,
        cert=cert,
        key=key,
        server_name=access.server_name,
        username=access.user,
        password=secrets.read(access.password) if with_password else None,
        source=source or f"cluster {cluster.name}",
    )
    return Connection(settings, passages(inventory, cluster))


def logins(inventory: Inventory) -> Inventory:
    """The same hosts for those who only pass through: nobody becomes root there, so no such password is asked for."""
    plain = {
        name: host.model_copy(update={"ssh": host.ssh.model_copy(update={"become": Become(method="none")})})
        for name, host in inventory.hosts.items()
    }
    return inventory.model_copy(update={"hosts": plain})


def own_pki(cluster: Cluster, folder: Path) -> Path:
    """The folder of a cluster's own authorities on this machine, whether it is there or not."""
    named = cluster.tls.authority if cluster.tls is not None else None
    return folder / (named.expanduser() if named is not None else Path(OWN_PKI) / cluster.name)


def client_files(cluster: Cluster, pki: Path) -> tuple[str, str, str]:
    """(cacert, cert, key): as written; else those of our own authority that are there, where clients need TLS.

    Args: pki - the folder of the cluster's own authorities (`own_pki`).
    """
    access = cluster.access
    given = [str(path.expanduser()) if path is not None else "" for path in (access.cacert, access.cert, access.key)]
    if cluster.tls is not None and cluster.tls.client and cluster.tls.files is None:
        if not given[0] and (pki / TRUSTED).is_file():
            given[0] = str(pki / TRUSTED)
        if not given[1] and all((pki / name).is_file() for name in OPERATOR):
            given[1:] = [str(pki / name) for name in OPERATOR]
    cacert, cert, key = given
    return cacert, cert, key


def passages(inventory: Inventory, cluster: Cluster) -> tuple[Through, ...]:
    """Which of its endpoints are reached through SSH."""
    return () if cluster.access.endpoints else tuple(_through(inventory, cluster))


def _through(inventory: Inventory, cluster: Cluster) -> Iterator[Through]:
    seen: set[str] = set()
    for member in (place(inventory, cluster, one) for one in cluster.members):
        listening = [parse_endpoint(url) for url in member.listen_client_urls if url.startswith("http")]
        alone = bool(listening) and all(_is_loopback(one.host) for one in listening)
        wanted = cluster.access.via == "ssh" if cluster.access.via else bool(member.host.ssh.jump) or alone
        if not wanted or member.host.local:
            continue
        for url in member.advertise_client_urls:
            endpoint = parse_endpoint(url).url
            if url.startswith("http") and endpoint not in seen:
                seen.add(endpoint)
                yield Through(endpoint, member.host.name, _as_seen_there(member, urlsplit(endpoint).port or 0))


def _as_seen_there(member: PlacedMember, port: int) -> tuple[str, int]:
    """An address the member listens on, loopback first. What only a proxy listens on is dialled by its own name."""
    found = [parse_endpoint(url) for url in member.listen_client_urls if url.startswith("http")]
    same = [one for one in found if one.port == port] or found
    for one in sorted(same, key=lambda one: not _is_loopback(one.host)):
        if one.host in ("0.0.0.0", "", "::"):  # noqa: S104  # the member listens so, not we
            return ("::1" if one.host == "::" else "127.0.0.1"), one.port
        return one.host, one.port
    return member.host.reached_at, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
