"""Whose logs and hosts are meant, when somebody names a cluster, hosts, a unit or a container."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.doctor.gather.logs import Logged, logged_members
from etcdops.errors import EtcdopsError, UsageError
from etcdops.inventory.model import SSH, Cluster, Host, Inventory, Manager, ServiceSpec
from etcdops.remote.command import ROOT, command
from etcdops.remote.pool import Open
from etcdops.remote.session import Session
from etcdops.remote.ssh_config import parse_jump
from etcdops.services.discover import Found, discover

HERE = "localhost"


@dataclass(frozen=True, slots=True)
class Named:
    """What was named, and the inventory that says how to get there."""

    inventory: Inventory
    cluster: Cluster | None
    """None: only hosts were named."""
    hosts: tuple[str, ...]
    """To be looked at; of a cluster all of its members' unless some were named."""
    unit: str = ""
    container: str = ""


def whole_cluster(inventory: Inventory, cluster: Cluster, hosts: Sequence[str], unit: str, container: str) -> Named:
    """A cluster of the inventory, or its members on some hosts. Raises: UsageError - no member is on one of them."""
    theirs = tuple(dict.fromkeys(member.host for member in cluster.members))
    for host in hosts:
        if host not in theirs:
            raise UsageError(
                f"cluster {cluster.name} has no member on {host}", hint=f"its hosts are {', '.join(theirs)}"
            )
    return Named(inventory, cluster, tuple(hosts) or theirs, unit, container)


def only_hosts(inventory: Inventory | None, hosts: Sequence[str], unit: str, container: str) -> Named:
    """Hosts by their names in the inventory, or as `[user@]host[:port]`; none: this machine.

    Those of an inventory that all belong to one cluster mean that cluster. Raises: UsageError - no such way to write.
    """
    known = inventory or Inventory()
    if not hosts:
        return Named(Inventory(hosts={HERE: Host(name=HERE, local=True)}), None, (HERE,), unit, container)
    meant = dict(known.hosts)
    names = []
    for text in hosts:
        host = known.hosts.get(text) or _typed(text)
        meant[host.name] = host
        names.append(host.name)
    owners = [cluster for cluster in known.clusters.values() if {*names} <= {m.host for m in cluster.members}]
    cluster = owners[0] if len(owners) == 1 else None
    return Named(Inventory(hosts=meant, clusters=known.clusters), cluster, tuple(names), unit, container)


def _typed(text: str) -> Host:
    """As for ssh, which also knows the names in `~/.ssh/config`."""
    try:
        target = parse_jump(text)
    except UsageError as error:
        raise UsageError(
            f"{text!r} is no host", hint="write it as [user@]host[:port], or as in the inventory"
        ) from error
    ssh = SSH(user=target.user, port=target.port or None)
    return Host.model_construct(name=target.name, address="", local=target.name == HERE, ssh=ssh, tags={})


async def logs_meant(connect: Open, named: Named) -> tuple[Logged, ...]:
    """Whose logs are to be read. Raises: UsageError - nothing on a host writes one; what sessions raise."""
    if named.cluster is not None and not (named.unit or named.container):
        return tuple(one for one in logged_members(named.cluster) if one.host in named.hosts)
    members = {member.host: member.label for member in named.cluster.members} if named.cluster is not None else {}
    found: list[Logged] = []
    for host in named.hosts:
        if named.unit:
            found.append(Logged(members.get(host, host), host, _spec(Manager.SYSTEMD, named.unit)))
        elif named.container:
            session = await connect(host)
            found.append(Logged(members.get(host, host), host, await _container(session, named.container)))
        else:
            found += await _discovered(await connect(host), host)
    return tuple(found)


def spec_of(found: Found) -> ServiceSpec | None:
    """The service of something found on a host; None: nobody keeps it."""
    return _spec(Manager(found.keeper), found.name) if found.keeper else None


def _spec(manager: Manager, name: str) -> ServiceSpec:
    # Not as an inventory would check it: units may be called etcd@1, and of which image a container is, is not asked.
    return ServiceSpec.model_construct(manager=manager, name=name, image="")


async def _container(session: Session, name: str) -> ServiceSpec:
    for engine in (Manager.DOCKER, Manager.PODMAN):
        asked = await session.run(command(engine.value, "container", "inspect", name, user=ROOT), check=False)
        if asked.ok:
            return _spec(engine, name)
    raise UsageError(
        f"{session.host} has no container {name}", hint=f"see `docker ps -a` and `podman ps -a` on {session.host}"
    )


async def _discovered(session: Session, host: str) -> list[Logged]:
    seen = [(one, spec) for one in await discover(session) if (spec := spec_of(one)) is not None]
    if not seen:
        raise EtcdopsError(
            f"{host}: no etcd is found that anybody keeps running",
            hint="name what writes its log with --unit or --container",
        )
    return [Logged(_label(one, host, alone=len(seen) == 1), host, spec) for one, spec in seen]


def _label(found: Found, host: str, *, alone: bool) -> str:
    name = (found.config.value("name") if found.config is not None else None) or ""
    return name if name and name != "default" else host if alone else f"{host}:{found.name}"
