"""Hosts and clusters that are only told of, for the pure parts of a rollout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from etcdops.facts.host import DataDir, Disk, HostFacts
from etcdops.inventory.model import Cluster, Host, Inventory
from etcdops.playbooks.rollout.desired import DesiredMember, desired
from etcdops.playbooks.rollout.engine_pack import PythonOf
from etcdops.playbooks.rollout.judging import Setting
from etcdops.services.discover import Found
from etcdops.services.port import Origin, ProcessConfig, State
from etcdops.services.port import Setting as FlagSetting

DATA = "/var/lib/etcd"
HERE = PythonOf((3, 11), "x86_64", "glibc")


def inventory(cluster: Mapping[str, object] | None = None, *, count: int = 3) -> tuple[Inventory, Cluster]:
    """`prod` with a member on each of h1, h2, ..., but for what `cluster` says."""
    hosts = {f"h{n}": Host(name=f"h{n}", address=f"10.0.0.{n}") for n in range(1, count + 1)}
    source = {"source": {"package": "etcd-server"}}
    described = {"name": "prod", "members": [{"host": name} for name in hosts], "engine": source, **(cluster or {})}
    made = Cluster.model_validate(described)
    return Inventory(hosts=hosts, clusters={"prod": made}), made


def members(cluster: Mapping[str, object] | None = None, *, count: int = 3) -> tuple[DesiredMember, ...]:
    """What each of them should be, for the first time."""
    whole, made = inventory(cluster, count=count)
    return tuple(desired(whole, made, member, state="new") for member in made.members)


def bare(host: str) -> HostFacts:
    """A host with nothing wrong."""
    return HostFacts(
        host=host,
        os="Debian GNU/Linux 12 (bookworm)",
        machine="x86_64",
        python=(3, 11, 2),
        machine_id=f"{host:0>32}",
        swap_bytes=0,
        clock_offset_s=0.01,
        clock_error_s=0.005,
        addresses=("127.0.0.1", f"10.0.0.{host[1:]}"),
        data_dirs=(DataDir(DATA, -1),),
        disks=(Disk(DATA, "ext4", 50 << 30, 0.001, 0.004, 200),),
    )


def setting(
    cluster: Mapping[str, object] | None = None,
    *,
    count: int = 3,
    h1: Mapping[str, object] | None = None,
    h2: Mapping[str, object] | None = None,
) -> Setting:
    """What is judged: bare hosts, with something changed on the first ones."""
    whole, made = inventory(cluster, count=count)
    facts = {name: bare(name) for name in whole.hosts}
    for name, changed in (("h1", h1), ("h2", h2)):
        if changed:
            facts[name] = replace(facts[name], **changed)  # type: ignore[arg-type]  # fields by name
    return Setting(made, members(cluster, count=count), facts, HERE)


def service(name: str = "h1", data_dir: str = DATA, *, keeper: str = "systemd", pid: int | None = 77) -> Found:
    """A member as it is found on a host."""
    flags = {"name": FlagSetting(name, Origin.FLAG), "data-dir": FlagSetting(data_dir, Origin.FLAG)}
    state = State.RUNNING if pid else State.STOPPED
    return Found(keeper, "etcd.service" if keeper else str(pid), state, pid, ProcessConfig("/usr/bin/etcd", flags))
