"""What stands between members and those who talk to them: load balancer, names, firewall."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from etcdops.errors import UsageError
from etcdops.inventory.model import CLIENT_PORT, Cluster, EngineKind, Inventory, PlacedMember, place
from etcdops.remote.session import Ownership
from etcdops.rendering import places
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.flags import Version
from etcdops.rendering.member import MemberConfig
from etcdops.rendering.render import render

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_CHAIN_MAX = 28
"""Longest name iptables gives a chain."""
_CONNECTIONS_MAX = 8_000
"""Of a balancer: each takes two open files, and each carries any number of requests."""
_PLAIN = Ownership(0o644, "root", "root")
_SCRIPT = Ownership(0o755, "root", "root")
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # recognized, not listened on
_EXCLUDE_SINCE = (3, 5)


@dataclass(frozen=True, slots=True)
class Backend:
    """A member as a load balancer sees it."""

    name: str
    address: str
    check_port: int | None
    """None: the port of `address`."""
    check_tls: bool


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may reach some ports, of one family of addresses."""

    family: str
    """"ip" or "ip6"."""
    ports: tuple[int, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Service:
    """A DNS SRV record."""

    service: str
    target: str
    port: int


def load_balancer(
    inventory: Inventory,
    cluster: Cluster,
    *,
    bind: str = f"*:{CLIENT_PORT}",
    ca_file: str = "",
    client_pem: str = "",
    path: str = "/etc/haproxy/haproxy.cfg",
) -> RenderedFile:
    """haproxy in front of all members. TLS passes through it: clients see the members' certificates.

    Args: ca_file, client_pem - on the balancer, for health checks of members that are asked over TLS; the second one
        holds certificate and key, for members that want one.
    Raises: UsageError - members must be asked over TLS and no ca_file is given.
    """
    backends = [_backend(member) for member in _placed(inventory, cluster)]
    if any(one.check_tls for one in backends) and not ca_file:
        raise UsageError(
            f"health checks of {cluster.name} need TLS, and no authority is given",
            hint="name the authority's certificate on the balancer, or give members a listen_metrics_urls with http",
        )
    # a full database is read and compacted through the balancer too: it is the same on all members
    exclude = cluster.engine.kind is EngineKind.NODE or Version.parse(cluster.engine.version).line >= _EXCLUDE_SINCE
    text = render(
        "haproxy/haproxy.cfg",
        cluster=cluster.name,
        bind=bind,
        servers=backends,
        health="/health?exclude=NOSPACE" if exclude else "/health",
        ca_file=ca_file,
        client_pem=client_pem,
        maxconn=_CONNECTIONS_MAX,
    )
    return RenderedFile(path, text.encode(), _PLAIN)


def service_records(inventory: Inventory, cluster: Cluster, *, domain: str) -> RenderedFile:
    """dnsmasq's SRV records: members find each other by `discovery-srv`, clients find the members.

    Hosts that are known by their address only get a name below `domain`.
    """
    suffix = cluster.settings.get("discovery-srv-name", "")
    services: list[Service] = []
    hosts: dict[str, str] = {}
    for member in _placed(inventory, cluster):
        for kind, urls in (("server", member.initial_advertise_peer_urls), ("client", member.advertise_client_urls)):
            for url in urls:
                parts = urlsplit(url)
                address = parts.hostname or ""
                target = f"{member.host.name}.{domain}" if _is_address(address) else address
                if target != address:
                    hosts[target] = address
                tls = "-ssl" if parts.scheme == "https" else ""
                name = f"_etcd-{kind}{tls}{f'-{suffix}' if suffix else ''}._tcp"
                services.append(Service(name, target, parts.port or 0))
    text = render("dnsmasq/etcd.conf", domain=domain, services=services, hosts=sorted(hosts.items()))
    return RenderedFile(f"/etc/dnsmasq.d/etcd-{cluster.name}.conf", text.encode(), _PLAIN)


def firewall(
    inventory: Inventory,
    cluster: Cluster,
    member: MemberConfig,
    *,
    clients: Sequence[str],
    tool: str = "nft",
    addresses: Mapping[str, str] | None = None,
) -> tuple[RenderedFile, ...]:
    """Rules for a member's host, and a unit that loads them before there is a network.

    Client ports are open to `clients` and the members, peer ports to the members alone; other ports are left alone.
    Args: clients - addresses and networks; tool - "nft" or "iptables"; addresses - host -> address, where the
        inventory has only names. Raises: UsageError - a host whose address nobody gives, a name iptables cannot have.
    """
    members = [(addresses or {}).get(one.host.name, one.host.reached_at) for one in _placed(inventory, cluster)]
    client_ports = _ports(member, "listen-client-urls", "listen-metrics-urls", "listen-client-http-urls")
    peer_ports = _ports(member, "listen-peer-urls")
    values = {
        "allowed": [*_allowed(client_ports, [*clients, *members]), *_allowed(peer_ports, members)],
        "ports": sorted({*client_ports, *peer_ports}),
    }
    name = member.service
    if tool == "nft":
        table = f"etcdops-{name}"
        path = places.rules(name)
        file = RenderedFile(path, render("firewall/etcd.nft", table=table, **values).encode(), _PLAIN)
        start, stop = ["/usr/sbin/nft", "-f", path], ["/usr/sbin/nft", "delete", "table", "inet", table]
    else:
        path = places.rules_script(name)
        text = render("firewall/iptables", chain=_chain(name), **values)
        file = RenderedFile(path, text.encode(), _SCRIPT)
        start, stop = [path, "start"], [path, "stop"]
    unit = render("firewall/firewall.service", member=member, start=start, stop=stop)
    return file, RenderedFile(places.unit(f"{name}-firewall"), unit.encode(), _PLAIN)


def _chain(name: str) -> str:
    chain = f"ETCDOPS-{name}"
    if len(chain) > _CHAIN_MAX:
        raise UsageError(
            f"{name!r} is too long for a chain of iptables",
            hint=f"give the service a name of at most {_CHAIN_MAX - len('ETCDOPS-')} characters, or use nft",
        )
    return chain


def _placed(inventory: Inventory, cluster: Cluster) -> list[PlacedMember]:
    return [place(inventory, cluster, member) for member in cluster.members]


def metrics_address(member: PlacedMember) -> tuple[str, str, int] | None:
    """(scheme, host, port) where others can ask for metrics and health beside the client port; None: nowhere."""
    for url in member.listen_metrics_urls:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host in _EVERYWHERE:
            host = urlsplit(member.advertise_client_urls[0]).hostname or ""
        if parts.port is not None and not _is_loopback(host):
            return parts.scheme, f"[{host}]" if ":" in host else host, parts.port
    return None


def _backend(member: PlacedMember) -> Backend:
    """Health is asked on a metrics URL without TLS if there is one: it wants no certificate."""
    client = urlsplit(member.advertise_client_urls[0])
    metrics = metrics_address(member)
    plain = metrics if metrics is not None and metrics[0] == "http" else None
    return Backend(
        name=member.name,
        address=client.netloc,
        check_port=plain[2] if plain is not None else None,
        check_tls=client.scheme == "https" and plain is None,
    )


def _allowed(ports: Sequence[int], sources: Iterable[str]) -> list[Allowed]:
    """One rule for each family there is. What another source holds is left out: nft refuses overlaps."""
    found = sorted({_network(source) for source in sources}, key=lambda one: (one.version, one))
    rules: dict[str, list[str]] = {"ip": [], "ip6": []}
    for one in found:
        if not any(one != other and _holds(other, one) for other in found):
            rules["ip" if one.version == 4 else "ip6"].append(str(one))
    return [Allowed(family, tuple(ports), tuple(kept)) for family, kept in rules.items() if ports and kept]


def _network(source: str) -> Network:
    try:
        return ipaddress.ip_network(source, strict=False)
    except ValueError as error:
        raise UsageError(
            f"{source!r} cannot be written in a rule of a firewall",
            cause="it is no address or network",
            hint="give the host an address in the inventory",
        ) from error


def _holds(whole: Network, part: Network) -> bool:
    if isinstance(whole, ipaddress.IPv4Network):
        return isinstance(part, ipaddress.IPv4Network) and part.subnet_of(whole)
    return isinstance(part, ipaddress.IPv6Network) and part.subnet_of(whole)


def _ports(member: MemberConfig, *flags: str) -> list[int]:
    urls = [url for flag in flags for url in member.flags.get(flag, "").split(",") if url.startswith("http")]
    return sorted({port for url in urls if (port := urlsplit(url).port) is not None})


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return text == "localhost" or (_is_address(text) and ipaddress.ip_address(text).is_loopback)
