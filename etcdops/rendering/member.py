"""One member's whole configuration, fitted to its version, before it takes any format."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from etcdops.errors import UsageError
from etcdops.inventory.model import Cluster, EngineKind, Inventory, Member, PlacedMember, place
from etcdops.rendering.flags import FLAGS, Version, fit

NODE_TAKES = Version(3, 5)
"""The bundled node takes the flags of etcd 3.5."""
PROGRAM = "/usr/local/bin/etcd"
NODE_PROGRAM = "/usr/local/bin/etcdops-node"

InitialClusterState = Literal["new", "existing"]

CERTIFICATES = ("cert-file", "key-file", "trusted-ca-file", "peer-cert-file", "peer-key-file", "peer-trusted-ca-file")
_OF_THE_MEMBER = "it comes from the member in the inventory"
_OF_TLS = "it comes from `tls` in the inventory"
RESERVED: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "name",
            "data-dir",
            "wal-dir",
            "listen-client-urls",
            "advertise-client-urls",
            "listen-peer-urls",
            "initial-advertise-peer-urls",
            "listen-metrics-urls",
            "initial-cluster",
            "initial-cluster-token",
            "initial-cluster-state",
        ),
        _OF_THE_MEMBER,
    ),
    **dict.fromkeys(
        (
            *CERTIFICATES,
            "client-cert-auth",
            "peer-client-cert-auth",
        ),
        _OF_TLS,
    ),
    "force-new-cluster": "at every restart it would throw the other members out again",
    "config-file": "etcd ignores every other setting beside it",
    "discovery-password": "it is a secret, and everybody on the host can read what is rendered",
}
"""Flags that no `settings` may hold, and why."""
DISCOVERIES = ("discovery", "discovery-srv", "discovery-endpoints")
"""Each is a way for members to find each other at their first start, instead of `--initial-cluster`."""
AT_FIRST = frozenset(
    (
        "initial-cluster",
        "initial-cluster-state",
        "initial-cluster-token",
        *(name for name in FLAGS if name == "discovery" or name.startswith("discovery-")),
    )
)
"""Flags that etcd reads only where there is no data yet: no reason to restart."""
_NO_DISCOVERY = "its members are named to it by --initial-cluster, which is written without it"
NODE_REFUSES: Mapping[str, str] = {
    **dict.fromkeys((*DISCOVERIES, "discovery-srv-name", "discovery-token"), _NO_DISCOVERY),
    "proxy": "it is a member, no proxy",
}
"""Of the flags of `NODE_TAKES`: what the bundled node does not start with, and why."""


@dataclass(frozen=True, slots=True)
class Pki:
    """Paths of a member's certificates on its host."""

    folder: str
    client: bool
    peer: bool

    @property
    def ca(self) -> str:
        """Who signs servers and clients."""
        return f"{self.folder}/ca.crt"

    @property
    def peer_ca(self) -> str:
        """Who signs members: another authority, or every client could dial the peer port as a member does."""
        return f"{self.folder}/peer-ca.crt"

    @property
    def server(self) -> tuple[str, str]:
        """(certificate, key) of the client port."""
        return f"{self.folder}/server.crt", f"{self.folder}/server.key"

    @property
    def peer_pair(self) -> tuple[str, str]:
        return f"{self.folder}/peer.crt", f"{self.folder}/peer.key"

    @property
    def client_pair(self) -> tuple[str, str]:
        """(certificate, key) of tools on the host, such as backups."""
        return f"{self.folder}/client.crt", f"{self.folder}/client.key"


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """Everything a template or a service needs to know about a member. There is no secret in it."""

    cluster: str
    name: str
    service: str
    """Name of its unit, container or supervised program."""
    engine: EngineKind
    version: Version
    program: str
    flags: Mapping[str, str]
    """By etcd's names without dashes, in the order they are written in; none that `version` would refuse."""
    notes: tuple[str, ...]
    """What was renamed or left out for the version."""
    user: str
    group: str
    data_dir: str
    wal_dir: str
    """Empty: inside the data directory."""
    pki: Pki | None
    """None: no TLS, or certificates that somebody else makes, which are among `flags`."""
    image: str
    """For containers."""
    open_files: int = 65536
    stop_timeout_s: int = 90
    """How long it may take to hand over and to sync before it is killed."""

    @property
    def certificate_folders(self) -> tuple[str, ...]:
        """Where its certificates are, whoever makes them."""
        given = (posixpath.dirname(self.flags[name]) for name in CERTIFICATES if name in self.flags)
        return (self.pki.folder,) if self.pki is not None else tuple(dict.fromkeys(given))

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command line without the program: one argument a flag."""
        return tuple(f"--{name}={value}" for name, value in self.flags.items())


def member_config(
    inventory: Inventory,
    cluster: Cluster,
    member: Member,
    *,
    initial_cluster_state: InitialClusterState = "new",
    joined: Sequence[str] | None = None,
) -> MemberConfig:
    """What a member of the inventory runs with.

    Args: joined - names of the members in `--initial-cluster`; all of the cluster's by default. A member that joins a
        running cluster must name exactly those that are there, and itself.
    Raises: UsageError - a setting that no version knows, or one that only the inventory itself may set.
    """
    version = NODE_TAKES if cluster.engine.kind is EngineKind.NODE else Version.parse(cluster.engine.version)
    placed = place(inventory, cluster, member)
    tls = cluster.tls
    pki = Pki(tls.directory, tls.client, tls.peer) if tls is not None and tls.files is None else None
    _refuse_reserved(placed.settings)
    _refuse_unfound(placed.settings, cluster.engine.kind, version)
    own = {
        **_identity(placed),
        **_bootstrap(inventory, cluster, placed.settings, initial_cluster_state, joined),
        **_certificates(cluster, member, pki),
        # zap is the default from 3.5 on; the logger before it knows no JSON
        **({"logger": "zap"} if version.line == (3, 4) else {}),
    }
    fitted = fit({**own, **placed.settings}, version)
    return MemberConfig(
        cluster=cluster.name,
        name=placed.name,
        service=cluster.service.name,
        engine=cluster.engine.kind,
        version=version,
        program=NODE_PROGRAM if cluster.engine.kind is EngineKind.NODE else PROGRAM,
        flags=fitted.flags,
        notes=tuple(fitted.notes),
        user=cluster.user,
        group=cluster.group,
        data_dir=placed.data_dir,
        wal_dir=placed.wal_dir,
        pki=pki,
        image=cluster.service.image,
    )


def _identity(placed: PlacedMember) -> dict[str, str]:
    found = {
        "name": placed.name,
        "data-dir": placed.data_dir,
        "wal-dir": placed.wal_dir,
        "listen-client-urls": ",".join(placed.listen_client_urls),
        "advertise-client-urls": ",".join(placed.advertise_client_urls),
        "listen-peer-urls": ",".join(placed.listen_peer_urls),
        "initial-advertise-peer-urls": ",".join(placed.initial_advertise_peer_urls),
        "listen-metrics-urls": ",".join(placed.listen_metrics_urls),
    }
    return {name: value for name, value in found.items() if value}


def _bootstrap(
    inventory: Inventory,
    cluster: Cluster,
    settings: Mapping[str, str],
    state: InitialClusterState,
    joined: Sequence[str] | None,
) -> dict[str, str]:
    found = {
        "initial-cluster-token": cluster.initial_cluster_token,
        "initial-cluster-state": state,
        # refuses what would lose the quorum; the default, and too important to depend on one
        "strict-reconfig-check": "true",
    }
    if any(name in settings for name in DISCOVERIES):  # etcd refuses `--initial-cluster` beside them
        if "discovery-srv" not in settings:
            del found["initial-cluster-token"]  # the service's own takes its place
        if "discovery" in settings:
            # the default before 3.6: whom the service turns away is no member, but answers like one
            found["discovery-fallback"] = "exit"
        return found
    members = [place(inventory, cluster, one) for one in cluster.members if joined is None or one.label in joined]
    urls = [f"{one.name}={url}" for one in members for url in one.initial_advertise_peer_urls]
    return {"initial-cluster": ",".join(urls), **found}


def _certificates(cluster: Cluster, member: Member, pki: Pki | None) -> dict[str, str]:
    tls = cluster.tls
    if tls is None:
        return {}
    given = {**(tls.files.flags if tls.files else {}), **(member.tls_files.flags if member.tls_files else {})}
    found = _own_certificates(pki) if pki is not None else given
    peers = tls.client_cert_auth if tls.peer_client_cert_auth is None else tls.peer_client_cert_auth
    found |= {"client-cert-auth": "true"} if tls.client and tls.client_cert_auth else {}
    return found | ({"peer-client-cert-auth": "true"} if tls.peer and peers else {})


def _own_certificates(pki: Pki) -> dict[str, str]:
    found: dict[str, str] = {}
    if pki.client:
        cert, key = pki.server
        found |= {"cert-file": cert, "key-file": key, "trusted-ca-file": pki.ca}
    if pki.peer:
        cert, key = pki.peer_pair
        found |= {"peer-cert-file": cert, "peer-key-file": key, "peer-trusted-ca-file": pki.peer_ca}
    return found


def discovery_problem(
    settings: Mapping[str, object], kind: EngineKind, version: Version
) -> tuple[str, str, str] | None:
    """(setting, what is wrong, what to do) where members would not find each other; each would be a cluster alone."""
    chosen = [name for name in DISCOVERIES if name in settings]
    for name in (*chosen, *(one for one in ("discovery-token",) if one in settings)):
        if kind is EngineKind.NODE:
            return name, f"the bundled node does not take it: {NODE_REFUSES[name]}", "remove it"
        if not version.has(name):
            takes = "discovery, a URL" if version.has("discovery") else "discovery-endpoints and discovery-token"
            return name, f"etcd {version} does not take it", f"{version} takes {takes}; and discovery-srv"
    if len(chosen) > 1:
        return chosen[1], f"members find each other in one way only, and {chosen[0]} is given too", "keep one of them"
    if "discovery" in settings and not _is_token_url(str(settings["discovery"])):
        return "discovery", "it is no URL of a token", "write it as http://HOST:2379/v2/keys/FOLDER/TOKEN"
    if "discovery-endpoints" in settings and "discovery-proxy" in settings and version.has("discovery-proxy"):
        return (
            "discovery-proxy",
            "it is for `discovery`; etcd refuses it beside discovery-endpoints",
            "remove it",
        )
    if ("discovery-endpoints" in settings) != ("discovery-token" in settings):
        there, other = sorted(("discovery-endpoints", "discovery-token"), key=lambda name: name not in settings)
        return there, f"it means nothing without {other}", f"give {other} too"
    return None


def _is_token_url(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bool(parts.path.strip("/"))


def _refuse_unfound(settings: Mapping[str, str], kind: EngineKind, version: Version) -> None:
    if problem := discovery_problem(settings, kind, version):
        name, why, remedy = problem
        raise UsageError(f"the setting {name} cannot be: {why}", hint=remedy)


def _refuse_reserved(settings: Mapping[str, str]) -> None:
    for name in settings:
        if name in RESERVED:
            raise UsageError(f"the setting {name} is not one to write down: {RESERVED[name]}", hint="remove it")
