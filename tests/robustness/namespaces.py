"""Links between members that the kernel cuts: each member in a network namespace of its own, all on one bridge.

The run itself has to be in a namespace of its own (`python -m tests.robustness run --namespaces` sees to that): there
the bridge is. Nothing has a name on the machine, everything goes when the run ends, however it ends.

A direction is cut by telling the sender a wrong hardware address of the receiver for good: packets leave, and nobody
takes them, as behind a broken switch. It takes no packet filter, and what is held here is sent again by TCP later.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from tests.robustness.holder import Holder
from tests.support.real_etcd import RealMember

_ADDRESS = "10.77.0.%d"
_HUB = 254
_NOWHERE = "02:00:00:00:de:ad"
_COMMAND_TIMEOUT_S = 10.0


NETWORK = "/proc/self/ns/net"
OUTSIDE = "ETCDOPS_NETWORK_OUTSIDE"
"""In the environment of a run in a network of its own: the network that it came from."""


def in_own_network() -> bool:
    """Whether this process was put into a network namespace of its own, where it may do as it likes."""
    return os.environ.get(OUTSIDE, os.readlink(NETWORK)) != os.readlink(NETWORK)


class Namespaces:
    """Implements world.Wires. Use it in a `with`, inside a network namespace that is the run's own."""

    def __init__(self) -> None:
        self._holders: dict[str, Holder] = {}
        self._held: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        if not in_own_network():
            raise RuntimeError("this is the machine's own network: start the run with --namespaces")
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "br0", "type", "bridge")
        _ip("addr", "add", f"{_ADDRESS % _HUB}/24", "dev", "br0")
        _ip("link", "set", "br0", "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for holder in self._holders.values():
            holder.close()
        _ip("link", "del", "br0")

    def place(self, member: RealMember) -> None:
        """Give it a namespace and an address, before it is started."""
        number = len(self._holders) + 1
        holder = self._holders[member.name] = Holder("net")
        ours = f"veth{number}"
        _ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _ip("link", "set", ours, "master", "br0", "up")
        holder.run("ip", "link", "set", "lo", "up")
        holder.run("ip", "addr", "add", f"{_ADDRESS % number}/24", "dev", "eth0")
        holder.run("ip", "link", "set", "eth0", "up")
        member.host = _ADDRESS % number
        member.launcher = (*holder.launcher, *member.launcher)

    def hold(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Packets from the first to the second of each pair get lost until `heal`."""
        for source, target in pairs:
            self._neighbour(source, "replace", target, "lladdr", _NOWHERE, "nud", "permanent")
            self._held.add((source, target))

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """As `hold`: the kernel tells nobody."""
        self.hold(pairs)

    def slow(self, pairs: Iterable[tuple[str, str]], delay_s: float) -> None:
        raise NotImplementedError("delays take netem, which few kernels of containers have: leave slow-links out")

    def heal(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """Packets of these directions, or of all, arrive again."""
        for source, target in self._held & set(self._held if pairs is None else pairs):
            self._neighbour(source, "del", target)
            self._held.discard((source, target))

    def _neighbour(self, source: str, action: str, target: str, *options: str) -> None:
        number = list(self._holders).index(target) + 1
        self._holders[source].run("ip", "neigh", action, _ADDRESS % number, *options, "dev", "eth0")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=_COMMAND_TIMEOUT_S)
