"""What a member should be on its host, as values: files, directories, certificates, engine, service."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from etcdops.certs.facts import Use
from etcdops.inventory.model import Cluster, Engine, Inventory, Manager, Member, PlacedMember, ServiceSpec, place
from etcdops.remote.session import Ownership
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.member import InitialClusterState, MemberConfig, member_config
from etcdops.rendering.network_files import firewall
from etcdops.rendering.outputs import Directory, member_directories, member_files

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
"""What tools on the host itself dial, and whoever comes through a tunnel."""
_CONTAINERS = (Manager.DOCKER, Manager.PODMAN)


class Signer(enum.StrEnum):
    """Which of a cluster's two authorities: a client's certificate must not open the peer port."""

    CLIENT = "client"
    """Signs servers and clients."""
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class DesiredLeaf:
    """A certificate with its key. Its key is made when it is issued, so its content is nobody's to know before."""

    use: Use
    signer: Signer
    name: str
    """Common name."""
    hosts: tuple[str, ...]
    """Names and addresses it must be valid for."""
    certificate: str
    key: str
    """Paths on the host."""
    owner: str
    group: str

    @property
    def ownership(self) -> Ownership:
        """Of both files."""
        return Ownership(0o600, self.owner, self.group)


@dataclass(frozen=True, slots=True)
class DesiredBundle:
    """Whom to trust: the certificates of an authority, two of them during a rotation."""

    signer: Signer
    path: str
    ownership: Ownership


@dataclass(frozen=True, slots=True)
class DesiredMember:
    """Everything about one member's host."""

    member: PlacedMember
    config: MemberConfig
    service: ServiceSpec
    engine: Engine
    files: tuple[RenderedFile, ...]
    """For `Service.install`. A member that runs takes them in at its next start."""
    directories: tuple[Directory, ...]
    """That must be there before it starts, its certificates' included."""
    leaves: tuple[DesiredLeaf, ...] = ()
    """etcd reads these at every handshake."""
    bundles: tuple[DesiredBundle, ...] = ()
    """etcd reads these when it starts."""
    firewall: tuple[RenderedFile, ...] = ()
    """Rules and the unit that loads them; none unless the inventory asks for them."""

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def host(self) -> str:
        return self.member.host.name


def desired(
    inventory: Inventory,
    cluster: Cluster,
    member: Member,
    *,
    state: InitialClusterState = "existing",
    joined: Sequence[str] | None = None,
) -> DesiredMember:
    """What the inventory says of a member, with nothing left open.

    Args: state - `new` only while a cluster is made for the first time: afterwards a member whose data is lost must
        not make an empty cluster of the same name; joined - as in `member_config`.
    Raises: UsageError - a setting that cannot be, or a value that a format cannot express.
    """
    config = member_config(inventory, cluster, member, initial_cluster_state=state, joined=joined)
    manager = cluster.service.manager
    placed = place(inventory, cluster, member)
    owner = ("root", "root") if manager in _CONTAINERS else (config.user, config.group)
    return DesiredMember(
        member=placed,
        config=config,
        service=cluster.service,
        engine=cluster.engine,
        files=member_files(config, manager),
        directories=(*member_directories(config, manager), *_pki_directory(config, owner)),
        leaves=tuple(_leaves(placed, config, cluster, owner)),
        bundles=tuple(_bundles(config)),
        firewall=_firewall(inventory, cluster, config),
    )


def _pki_directory(config: MemberConfig, owner: tuple[str, str]) -> tuple[Directory, ...]:
    return () if config.pki is None else (Directory(config.pki.folder, Ownership(0o700, *owner)),)


def _leaves(
    placed: PlacedMember, config: MemberConfig, cluster: Cluster, owner: tuple[str, str]
) -> Iterable[DesiredLeaf]:
    pki = config.pki
    if pki is None:
        return
    extra = cluster.tls.extra_names if cluster.tls is not None else ()
    if pki.client:
        urls = (*placed.advertise_client_urls, *placed.listen_client_urls, *placed.listen_metrics_urls)
        hosts = _names(placed, urls, (*LOCAL_NAMES, *extra))
        yield DesiredLeaf(Use.SERVER, Signer.CLIENT, placed.name, hosts, *pki.server, *owner)
        yield DesiredLeaf(Use.CLIENT, Signer.CLIENT, f"{placed.name}-tools", (), *pki.client_pair, *owner)
    if pki.peer:
        hosts = _names(placed, (*placed.initial_advertise_peer_urls, *placed.listen_peer_urls), ())
        yield DesiredLeaf(Use.PEER, Signer.PEER, placed.name, hosts, *pki.peer_pair, *owner)


def _bundles(config: MemberConfig) -> Iterable[DesiredBundle]:
    pki = config.pki
    if pki is not None and pki.client:
        yield DesiredBundle(Signer.CLIENT, pki.ca, Ownership(0o644, "root", "root"))
    if pki is not None and pki.peer:
        yield DesiredBundle(Signer.PEER, pki.peer_ca, Ownership(0o644, "root", "root"))


def _names(placed: PlacedMember, urls: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Everything it is dialled by, once each; addresses that mean "all" are no name of anybody."""
    found = [placed.host.reached_at, placed.host.name]
    found += [urlsplit(url).hostname or "" for url in urls if url.startswith("http")]
    return tuple(dict.fromkeys(name for name in (*found, *more) if name and not _is_everywhere(name)))


def _is_everywhere(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _firewall(inventory: Inventory, cluster: Cluster, config: MemberConfig) -> tuple[RenderedFile, ...]:
    wanted = cluster.firewall
    if wanted is None:
        return ()
    return firewall(inventory, cluster, config, clients=wanted.clients, tool=wanted.tool)
