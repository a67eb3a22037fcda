"""Whether the hosts of an inventory can be worked with: logging in, becoming root, the programs that are needed."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from etcdops.errors import AccessDenied, EtcdopsError
from etcdops.inventory.model import Cluster, EngineKind, Host, Inventory, Manager
from etcdops.inventory.targets import Secrets, target
from etcdops.remote.command import ROOT, command, script
from etcdops.remote.local import LocalSession
from etcdops.remote.pool import Open, Outcome, on_all
from etcdops.remote.session import Session
from etcdops.remote.shell_session import ShellSession
from etcdops.remote.ssh import Connector
from etcdops.remote.target import Target

_MANAGER_NEEDS: dict[Manager, tuple[str, ...]] = {
    # of names with a bar between them, one is enough
    Manager.SYSTEMD: ("systemctl", "journalctl"),
    Manager.DOCKER: ("docker",),
    Manager.PODMAN: ("podman",),
    Manager.SUPERVISE: ("svc|sv",),
    Manager.SUPERVISORD: ("supervisorctl",),
    Manager.PROCESS: (),
    Manager.KUBELET: (),
}
_LACKING = """
for one; do
    IFS="|"; there=
    for name in $one; do command -v "$name" >/dev/null && there=yes; done
    [ "$there" ] || printf "%s\\n" "$one"
done
"""


Ways = Mapping[str, Target | EtcdopsError]
"""By the host's name."""


Look = Callable[[Host, Session], Awaitable[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Reached:
    """A host that let us in, and what works there."""

    user: str
    """Whom we are logged in as."""
    not_root: EtcdopsError | None
    """Why root's work cannot be done there; None: it can."""
    needed: tuple[str, ...]
    """Programs that the clusters of the inventory need on this host; `svc|sv`: one of them."""
    missing: tuple[str, ...]
    """Of those."""
    problems: tuple[str, ...] = ()
    """What else is wrong there, a sentence each."""

    @property
    def usable(self) -> bool:
        return self.not_root is None and not self.missing and not self.problems


def ways_in(inventory: Inventory) -> Ways:
    """How to log in to each host, or why that is not known. Reads secrets, each once: a person may be asked."""
    secrets = Secrets()
    ways: dict[str, Target | EtcdopsError] = {}
    for name, host in inventory.hosts.items():
        try:
            ways[name] = target(inventory, host, secrets)
        except EtcdopsError as error:
            ways[name] = error
    return ways


async def reach_all(
    inventory: Inventory, ways: Ways, connector: Connector, *, look: Look | None = None
) -> list[Outcome[Host, Reached]]:
    """Try every host, several at once; outcomes in the order of the inventory, one failure hides no other.

    Changes nothing on the hosts. Args: look - finds further problems on a host where root's work can be done.
    """

    async def one(host: Host) -> Reached:
        way = ways[host.name]
        if isinstance(way, EtcdopsError):
            raise way
        session = await connect(host, way, connector)
        try:
            reached = await _look(session, host, needs(inventory, host))
            problems = await look(host, session) if look is not None and reached.not_root is None else ()
            return replace(reached, problems=problems)
        finally:
            await session.close()

    return await on_all(list(inventory.hosts.values()), one)


def needs(inventory: Inventory, host: Host) -> tuple[str, ...]:
    """The programs that must be on a host for the members it carries."""
    carried = [cluster for cluster in inventory.clusters.values() if any(m.host == host.name for m in cluster.members)]
    return tuple(dict.fromkeys(name for cluster in carried for name in _needs_of(cluster)))


def _needs_of(cluster: Cluster) -> tuple[str, ...]:
    python = ("python3",) if cluster.engine.kind is EngineKind.NODE and not cluster.service.image else ()
    return (*_MANAGER_NEEDS[cluster.service.manager], *python)


@contextlib.contextmanager
def opening(inventory: Inventory, ways: Ways, connector: Connector) -> Iterator[Open]:
    """How to open its hosts by name, one session each; at the end the connector is closed.

    Opening raises: what `ways` has for the host; as `connect`.
    """

    async def open_host(name: str) -> Session:
        way = ways[name]
        if isinstance(way, EtcdopsError):
            raise way
        return await connect(inventory.hosts[name], way, connector)

    try:
        yield open_host
    finally:
        connector.close()


async def connect(host: Host, way: Target, connector: Connector) -> ShellSession:
    """A session that the caller closes. Raises: as `Connector.connect`."""
    if not host.local:
        return await connector.connect(way)
    session = LocalSession(host.name, way.become)
    await session.prepare()
    return session


async def _look(session: ShellSession, host: Host, needed: tuple[str, ...]) -> Reached:
    user = (await session.run(command("id", "-un"))).text
    not_root = await _not_root(session, host, user)
    asked = script(_LACKING, *needed, user=ROOT if not_root is None else "")
    missing = (await session.run(asked)).text.splitlines()
    return Reached(user, not_root, needed, tuple(missing))


async def _not_root(session: ShellSession, host: Host, user: str) -> EtcdopsError | None:
    if host.ssh.become.method == "none":
        if (await session.run(command("id", "-u"))).text == "0":
            return None
        return AccessDenied(
            f"{host.name}: {user} is not root, and become.method is none",
            hint="log in as root (ssh.user), or set become.method to sudo in the inventory",
        )
    try:
        await session.run(command("id", "-u", user=ROOT))
    except EtcdopsError as error:
        return error
    return None
