"""What was found out about one member. What nobody said is empty, and becomes a note instead of a guess in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from etcdops.errors import UsageError
from etcdops.inventory.model import EngineKind, Manager
from etcdops.services.port import ProcessConfig
from etcdops.services.written_config import Written

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]

DEFAULT_TOKEN = "etcd-cluster"  # noqa: S105  # etcd's default of --initial-cluster-token
DEFAULT_URLS = {
    "listen-client-urls": "http://localhost:2379",
    "advertise-client-urls": "http://localhost:2379",
    "listen-peer-urls": "http://localhost:2380",
    "initial-advertise-peer-urls": "http://localhost:2380",
    "listen-metrics-urls": "",
}


@dataclass(frozen=True, slots=True)
class HostFound:
    """A host that a member was found on."""

    name: str
    address: str
    entry: Mapping[str, Plain] = field(default_factory=dict)
    """What the inventory says of it beside its address, such as `ssh`."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One member."""

    config: ProcessConfig
    source: str
    """Where it was read, for notes: `h1: etcd.service`, `compose.yml: etcd1`."""
    host: HostFound | None = None
    """None: the one that its peer URL leads to."""
    manager: Manager | None = None
    service: str = ""
    image: str = ""
    user: str = ""
    group: str = ""
    folder: str = ""
    """Where it is started."""
    version: str = ""
    cluster_id: str = ""
    kind: EngineKind = EngineKind.ETCD
    client_files: Mapping[str, str] = field(default_factory=dict)
    """`cacert`, `cert`, `key` on its host that clients may show; empty: none were seen."""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.config.value("name") or "default"

    @property
    def token(self) -> str:
        return self.config.value("initial-cluster-token") or DEFAULT_TOKEN

    @property
    def initial_cluster(self) -> dict[str, tuple[str, ...]]:
        """Name -> peer URLs."""
        members: dict[str, tuple[str, ...]] = {}
        for pair in filter(None, (one.strip() for one in (self.config.value("initial-cluster") or "").split(","))):
            name, _, url = pair.partition("=")
            members[name.strip()] = (*members.get(name.strip(), ()), url.strip())
        return members

    @property
    def peer_urls(self) -> tuple[str, ...]:
        """Its own, as it was told to advertise them."""
        return self.initial_cluster.get(self.name) or tuple(self.urls("initial-advertise-peer-urls"))

    def value(self, flag: str) -> str:
        """As it is set, or etcd's default for URLs; else empty."""
        return self.config.value(flag) or DEFAULT_URLS.get(flag, "")

    def urls(self, flag: str) -> list[str]:
        return [url.strip() for url in self.value(flag).split(",") if url.strip()]


def of_written(written: Written, source: str) -> Evidence:
    """A member whose unit, environment and config file were read."""
    return Evidence(
        written.config,
        source,
        manager=Manager.SYSTEMD if written.unit else None,
        service=written.unit,
        user=written.user,
        group=written.group or written.user,
        folder=written.folder,
        kind=engine_of(written.config.program),
        notes=written.notes,
    )


def engine_of(program: str) -> EngineKind:
    """`etcdops node`, in whatever way it is called, is the bundled member."""
    words = program.split()
    ours = words[-1:] == ["node"] or program.rpartition("/")[2] == "etcdops-node"
    return EngineKind.NODE if ours else EngineKind.ETCD


def address_of(url: str) -> str:
    """The host of a URL. Raises: UsageError - it is none."""
    try:
        found = urlsplit(url).hostname
    except ValueError:
        found = None
    if not found:
        raise UsageError(f"{url!r} is no peer URL", hint="etcd's are http://HOST:2380 or https://HOST:2380")
    return found
