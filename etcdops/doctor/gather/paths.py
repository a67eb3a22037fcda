"""From every host to every member: whether its port answers, and as what it should.

Each way is tried on the host it begins at, as its member would: by the names that host resolves, past its firewall, and
to peers with its own certificate. A refused connection is a process that is not there, silence is a firewall or a host
that is off, a broken handshake is a matter of certificates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from etcdops.client.view import ClusterView
from etcdops.doctor.gather.hosts import folder_prefix
from etcdops.doctor.gather.path_script import DIAL, PROGRAM
from etcdops.doctor.observation import HostObservation, MemberOnHost, Outcome, PeerPath
from etcdops.errors import EtcdopsError
from etcdops.ids import ClusterID, format_id
from etcdops.inventory.model import PlacedMember
from etcdops.remote.command import ROOT, script
from etcdops.remote.pool import Open, on_all
from etcdops.remote.session import Session

DIAL_TIMEOUT_S = 3
"""For each step of one way."""
PEER, CLIENT = "peer", "client"
_NOT_TRIED = ("none", "unknown")
_PURPOSE_FLAGS = ("peer-trusted-ca-file", "peer-cert-file", "peer-key-file")


@dataclass(frozen=True, slots=True)
class Way:
    """A URL of a member, to be tried from everywhere."""

    member: str
    url: str
    purpose: str
    """`peer` or `client`."""


def ways_to(view: ClusterView | None, placed: Sequence[PlacedMember]) -> tuple[Way, ...]:
    """As the cluster's own member list says; without one, as the inventory does. Sockets of a machine are left out."""
    if view is not None and view.members_known:
        urls = [(member.label, PEER, url) for member in view.members for url in member.peer_urls]
        urls += [(member.label, CLIENT, url) for member in view.members for url in member.client_urls]
    else:
        urls = [(member.name, PEER, url) for member in placed for url in member.initial_advertise_peer_urls]
        urls += [(member.name, CLIENT, url) for member in placed for url in member.advertise_client_urls]
    return tuple(Way(name, url, purpose) for name, purpose, url in urls if url.startswith(("http:", "https:")))


async def try_paths(
    connect: Open,
    hosts: Mapping[str, HostObservation],
    ways: Sequence[Way],
    *,
    cluster_id: ClusterID | None = None,
) -> tuple[PeerPath, ...]:
    """Every way from every host that could be looked at; what could not be tried is left out.

    Args: hosts - as they were observed, for the certificates of their members; cluster_id - what peers are to be of.
    """
    reachable = [name for name, host in hosts.items() if not host.error]

    async def one(name: str) -> tuple[PeerPath, ...]:
        return await paths_from(await connect(name), hosts[name], ways, cluster_id=cluster_id)

    outcomes = await on_all(reachable if ways else [], one)
    return tuple(path for outcome in outcomes for path in outcome.value or ())


async def paths_from(
    session: Session, host: HostObservation, ways: Sequence[Way], *, cluster_id: ClusterID | None = None
) -> tuple[PeerPath, ...]:
    """All ways from one host, at once. Raises: what the session raises."""
    member = next(iter(host.members), None)
    tried = [(way, parts) for way in ways if (parts := urlsplit(way.url)).hostname and parts.port]
    asked = {
        "limit_s": DIAL_TIMEOUT_S,
        "ways": [
            {
                "host": parts.hostname,
                "port": parts.port,
                "tls": parts.scheme == "https",
                "purpose": way.purpose,
                "cluster": format_id(cluster_id) if cluster_id else "",
                **_identity(member, way.purpose),
            }
            for way, parts in tried
        ],
    }
    places = [word for _, parts in tried for word in (parts.hostname or "", str(parts.port))]
    dialled = script(DIAL, PROGRAM, str(DIAL_TIMEOUT_S), *places, user=ROOT, stdin=json.dumps(asked).encode())
    result = await session.run(dialled, timeout_s=5 * DIAL_TIMEOUT_S + 10 + len(tried))
    return tuple(
        PeerPath(session.host, way.member, way.url, way.purpose, Outcome(outcome), reason, took_s)
        for (way, _), (outcome, reason, took_s) in zip(tried, _answers(session.host, result.text), strict=True)
        if outcome not in _NOT_TRIED
    )


def _identity(member: MemberOnHost | None, purpose: str) -> dict[str, object]:
    """What a member shows to its peers and whom it trusts; a client shows nothing, and whom it trusts is its business.

    A member of `--peer-auto-tls` trusts everybody. Source: etcd client/pkg/transport/listener.go, ClientConfig.
    """
    if member is None or purpose == CLIENT:
        return {"files": {}, "verify": False}
    prefix = folder_prefix(member)
    paths = [member.flag(flag) or "" for flag in _PURPOSE_FLAGS]
    authority, certificate, key = (prefix + path if path.startswith("/") else "" for path in paths)
    if not (certificate and key):
        return {"files": {}, "verify": False}
    files = {"ca": authority, "cert": certificate, "key": key}
    return {
        "files": {name: path for name, path in files.items() if path},
        "verify": member.flag("peer-auto-tls") != "true",
    }


def _answers(host: str, text: str) -> list[tuple[str, str, float | None]]:
    """Of python3 as JSON, of the others as one word a line."""
    if not text.startswith("["):
        return [(word, "", None) for word in text.split()]
    try:
        return [(str(outcome), str(reason), took) for outcome, reason, took in json.loads(text)]
    except (ValueError, TypeError) as error:
        raise EtcdopsError(f"{host}: the ways to members cannot be tried", cause=text[:200]) from error
