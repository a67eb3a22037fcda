"""What a fault is: how it is made, and which cause must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.diagnosis.faults.cluster import FaultCluster

ALL = ("etcd-3.5", "etcd-3.4", "node")
ETCD = ("etcd-3.5", "etcd-3.4")


@dataclass(frozen=True)
class Fault:
    """One way to break a cluster."""

    slug: str
    """The cause that must be the first finding."""
    make: Callable[[FaultCluster], object]
    """Breaks a healthy cluster; returns when it is broken, which need not show yet."""
    name: str = ""
    """Where one cause has several faults: what this one is."""
    tls: bool = False
    """Whether members speak https to each other."""
    engines: tuple[str, ...] = ALL
    acceptable: tuple[str, ...] = ()
    """Causes that are as right, where nobody can tell from logs alone."""
    above: tuple[str, ...] = ()
    """Causes that may be found first where the journals tell later what it came of: `slug` must stand under them."""
    explains: str = ""
    """A symptom that must stand under the cause."""
    logs: tuple[str, ...] = ("h1", "h2", "h3")
    """Whose journals are read."""
    unit: str = "etcd"
    """The unit whose journal is read; a client's where only clients are told."""
    quick: tuple[str, ...] = ()
    """Engines on which it runs in `make test`; the others in `make exhaustive`."""
    spares_data: bool = True
    """Whether the cluster is whole again when settings, network and disk are; else it is made anew."""
    live: str = ""
    """The live finding (`E611 h3`) that proves the cause, or comes of it, when `etcdops diagnose --cluster` is asked.

    It fetches the logs itself and looks at members and hosts. Asked on the first of `engines`; "" = nowhere.
    """

    @property
    def first(self) -> tuple[str, ...]:
        """The causes of which one must be the first finding."""
        return (self.slug, *self.acceptable, *self.above)

    @property
    def title(self) -> str:
        return f"{self.slug}-{self.name}" if self.name else self.slug

    @property
    def told(self) -> str:
        """What is done, in words: the first paragraph of what `make` says of itself."""
        return " ".join((self.make.__doc__ or "").split("\n\n")[0].split())
