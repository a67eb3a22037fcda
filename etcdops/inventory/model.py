"""Hosts, clusters and members as they are written down. Names are etcd's; whatever is left out has a good default.

A cluster of three members needs no more than their names and hosts:

    hosts:
      etcd-1: {address: 10.0.0.11}
      etcd-2: {address: 10.0.0.12}
      etcd-3: {address: 10.0.0.13}
    clusters:
      prod:
        engine: {kind: etcd, version: 3.5.16}
        members: [{host: etcd-1}, {host: etcd-2}, {host: etcd-3}]
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from etcdops.inventory.local_path import LocalPath
from etcdops.inventory.protection import Protection
from etcdops.inventory.secrets import SecretSource

CLIENT_PORT = 2379
PEER_PORT = 2380
METRICS_PORT = 2381

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?\Z")


def _name(text: str) -> str:
    if not _NAME.match(text):
        raise ValueError("a name has letters, digits, dots, dashes and underscores, and begins with a letter or digit")
    return text


def _absolute(text: str) -> str:
    if not text.startswith("/") or "\n" in text or "\0" in text or "/../" in f"{text}/":
        raise ValueError("a directory on a host is absolute, such as /var/lib/etcd")
    return text.rstrip("/") or "/"


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https", "unix", "unixs") or not parts.netloc:
        raise ValueError("a URL begins with http:// or https://")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("etcd's URLs have no path")
    if parts.scheme.startswith("http") and parts.port is None:
        raise ValueError("etcd's URLs name their port, such as :2379")
    return text


def _version(text: str) -> str:
    if not _VERSION.match(text):
        raise ValueError("a version is written 3.5.16, or 3.5 for any of them; in quotes when it has one dot")
    return text


Name = Annotated[str, AfterValidator(_name)]
Directory = Annotated[str, AfterValidator(_absolute)]
URL = Annotated[str, AfterValidator(_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)


class Become(_Model):
    """How to become root, or the user etcd runs as."""

    method: Literal["sudo", "none"] = "sudo"
    """`none`: the login user may do everything (it is root)."""
    password: SecretSource | None = None
    """sudo's; none: sudo must not ask."""


class SSH(_Model):
    """How to log in to a host. What is left out, `~/.ssh/config` says."""

    user: str = ""
    port: Port | None = None
    key: LocalPath | None = None
    password: SecretSource | None = None
    """Of the login, or the key's passphrase."""
    jump: str = ""
    """A host of the inventory, or `[user@]host[:port]`."""
    become: Become = Become()


class Host(_Model):
    """A machine."""

    name: Name = ""
    """The key it has under `hosts`."""
    address: str = ""
    """Where to log in to, and what members on it advertise; empty: the name."""
    local: bool = False
    """This machine: no SSH."""
    ssh: SSH = SSH()
    tags: Mapping[str, str] = {}

    @property
    def reached_at(self) -> str:
        return self.address or self.name


class EngineKind(enum.StrEnum):
    """Whose program the members run."""

    ETCD = "etcd"
    NODE = "node"


class Source(_Model):
    """Where the engine's program comes from. None of them: it is on the hosts already."""

    package: str = ""
    """A package of the host's own package manager, such as `etcd-server`."""
    archive: LocalPath | None = None
    """A release archive (tar.gz) on this machine, with `etcd`, `etcdctl` and perhaps `etcdutl` in it."""
    directory: LocalPath | None = None
    """A directory of this machine with those programs."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Of the archive."""

    @model_validator(mode="after")
    def _at_most_one(self) -> Source:
        if sum((bool(self.package), self.archive is not None, self.directory is not None)) > 1:
            raise ValueError("name one source: package, archive or directory")
        return self


class Engine(_Model):
    """What the members run."""

    kind: EngineKind = EngineKind.ETCD
    version: Annotated[str, AfterValidator(_version)] = "3.5"
    source: Source = Source()


class Manager(enum.StrEnum):
    """Who keeps a member running."""

    SYSTEMD = "systemd"
    DOCKER = "docker"
    PODMAN = "podman"
    SUPERVISE = "supervise"
    SUPERVISORD = "supervisord"
    PROCESS = "process"
    KUBELET = "kubelet"
    """A static pod, such as kubeadm's: seen and asked, never changed."""


class ServiceSpec(_Model):
    """The service a member runs as."""

    manager: Manager = Manager.SYSTEMD
    name: Name = "etcd"
    """Of the unit, container or supervised program."""
    image: str = ""
    """For docker and podman; of a static pod what its manifest says."""

    @model_validator(mode="after")
    def _image_where_needed(self) -> ServiceSpec:
        if self.manager is not Manager.KUBELET and (self.manager in (Manager.DOCKER, Manager.PODMAN)) != bool(
            self.image
        ):
            raise ValueError("docker and podman need an image, the other managers have none")
        return self


class TLSFiles(_Model):
    """Certificates that somebody else makes: where they are on the hosts. etcdops reads them and never writes them."""

    cert_file: Directory | None = None
    key_file: Directory | None = None
    trusted_ca_file: Directory | None = None
    peer_cert_file: Directory | None = None
    peer_key_file: Directory | None = None
    peer_trusted_ca_file: Directory | None = None

    @property
    def flags(self) -> dict[str, str]:
        """By etcd's names; those that are set."""
        return {name.replace("_", "-"): path for name, path in self if path is not None}


class TLS(_Model):
    """Certificates. By default an authority of the console's own signs them."""

    client: bool = True
    """The client port takes TLS only."""
    peer: bool = True
    client_cert_auth: bool = True
    """Clients and members must show a certificate."""
    peer_client_cert_auth: bool | None = None
    """Members must; none: as `client_cert_auth`."""
    directory: Directory = "/etc/etcd/pki"
    """On the hosts."""
    authority: LocalPath | None = None
    """Directory of the authority on this machine; none: `pki/<cluster>` beside the inventory."""
    extra_names: tuple[str, ...] = ()
    """Further names and addresses that clients dial members by, such as a load balancer's."""
    files: TLSFiles | None = None
    """Somebody else's certificates; none: an authority of our own signs them, in `directory`."""


class Access(_Model):
    """How this machine's clients reach a cluster, and as whom."""

    endpoints: tuple[URL, ...] = ()
    """None: what the members advertise."""
    via: Literal["direct", "ssh"] | None = None
    """`ssh`: through the members' hosts. None: so where a host is behind a jump host, or its member listens on loopback
    alone; else directly."""
    cacert: LocalPath | None = None
    """Trust only these authorities; none: the cluster's own authority on this machine, if it is here."""
    cert: LocalPath | None = None
    key: LocalPath | None = None
    server_name: str = ""
    """The name members' certificates carry instead of the endpoint's host."""
    user: str = ""
    """etcd's user."""
    password: SecretSource | None = None

    @model_validator(mode="after")
    def _whole(self) -> Access:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key go together")
        if self.password is not None and not self.user:
            raise ValueError("a password needs a user")
        if self.endpoints and self.via == "ssh":
            raise ValueError("through SSH the members themselves are reached: leave out endpoints, or via")
        return self


class Firewall(_Model):
    """Rules on the members' hosts. None unless it is written down: hosts often have their own."""

    tool: Literal["nft", "iptables"] = "nft"
    clients: tuple[str, ...] = ()
    """Addresses and networks that may reach the client ports, beside the members."""


class Member(_Model):
    """A member. Its cluster and host fill in what is left out: `Cluster.place`."""

    name: str = ""
    """etcd's `--name`; empty: its host's name."""
    host: str
    data_dir: Directory | None = None
    wal_dir: Directory | None = None
    listen_client_urls: tuple[URL, ...] = ()
    advertise_client_urls: tuple[URL, ...] = ()
    listen_peer_urls: tuple[URL, ...] = ()
    initial_advertise_peer_urls: tuple[URL, ...] = ()
    listen_metrics_urls: tuple[URL, ...] = ()
    settings: Mapping[str, str | int | bool] = {}
    """Flags of this member alone, by etcd's names without dashes before them."""
    tls_files: TLSFiles | None = None
    """What of `tls.files` is elsewhere on this member's host."""
    tags: Mapping[str, str] = {}

    @property
    def label(self) -> str:
        return self.name or self.host


def _some(members: tuple[Member, ...]) -> tuple[Member, ...]:
    if not members:
        raise ValueError("a cluster has at least one member")
    return members


class Cluster(_Model):
    """Members that belong together."""

    name: Name = ""
    """The key it has under `clusters`."""
    token: str = ""
    """etcd's `--initial-cluster-token`; empty: the cluster's name."""
    engine: Engine = Engine()
    service: ServiceSpec = ServiceSpec()
    tls: TLS | None = None
    firewall: Firewall | None = None
    members: Annotated[tuple[Member, ...], AfterValidator(_some)]
    settings: Mapping[str, str | int | bool] = {}
    """Flags of every member, by etcd's names without dashes before them, such as `quota-backend-bytes`."""
    data_dir: Directory = "/var/lib/etcd"
    user: Name = "etcd"
    """Whom members run as, and who owns their data."""
    group: Name = "etcd"
    access: Access = Access()
    protection: Protection = Protection.NORMAL
    tags: Mapping[str, str] = {}

    @property
    def initial_cluster_token(self) -> str:
        return self.token or self.name


class Inventory(_Model):
    """Everything that is written down."""

    hosts: Mapping[str, Host] = {}
    clusters: Mapping[str, Cluster] = {}


class PlacedMember(_Model):
    """A member with nothing left out."""

    name: str
    host: Host
    data_dir: str
    wal_dir: str
    listen_client_urls: tuple[str, ...]
    advertise_client_urls: tuple[str, ...]
    listen_peer_urls: tuple[str, ...]
    initial_advertise_peer_urls: tuple[str, ...]
    listen_metrics_urls: tuple[str, ...]
    settings: Mapping[str, str]


def place(inventory: Inventory, cluster: Cluster, member: Member) -> PlacedMember:
    """Fill in what a member leaves out: etcd's ports on every address, advertised at its host's address."""
    host = inventory.hosts[member.host]
    client = "https" if cluster.tls and cluster.tls.client else "http"
    peer = "https" if cluster.tls and cluster.tls.peer else "http"
    address = _in_url(host.reached_at)
    anywhere = "[::]" if address.startswith("[") else "0.0.0.0"  # noqa: S104  # what etcd's own examples listen on
    return PlacedMember(
        name=member.label,
        host=host,
        data_dir=member.data_dir or cluster.data_dir,
        wal_dir=member.wal_dir or "",
        listen_client_urls=member.listen_client_urls or (f"{client}://{anywhere}:{CLIENT_PORT}",),
        advertise_client_urls=member.advertise_client_urls or (f"{client}://{address}:{CLIENT_PORT}",),
        listen_peer_urls=member.listen_peer_urls or (f"{peer}://{anywhere}:{PEER_PORT}",),
        initial_advertise_peer_urls=member.initial_advertise_peer_urls or (f"{peer}://{address}:{PEER_PORT}",),
        listen_metrics_urls=member.listen_metrics_urls,
        settings={name: flag_value(value) for name, value in {**cluster.settings, **member.settings}.items()},
    )


def _in_url(address: str) -> str:
    try:
        return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
    except ValueError:
        return address


def flag_value(value: str | int | bool) -> str:
    """As it is written on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)
