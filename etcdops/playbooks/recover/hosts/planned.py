"""The plan of a recovery on hosts as typed values, for its steps. Everything comes from the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from etcdops.client.settings import ConnectionSettings
from etcdops.errors import EtcdopsError
from etcdops.inventory.model import Cluster, EngineKind, PlacedMember, place
from etcdops.playbooks.member_access import member_settings
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.plan import Json, Plan
from etcdops.playbooks.recover.hosts.trees import Tree
from etcdops.playbooks.recover.recovered import Recovered, RecoveredMember

PROCEDURE = "recover-on-hosts"


@dataclass(frozen=True, slots=True)
class PlannedMember:
    """One member, as it was found when the plan was made."""

    name: str
    host: str
    was_running: bool
    data: Tree
    wal: Tree | None
    """None: inside the data directory."""
    tool: tuple[str, ...]
    """What restores there: a program, or a container engine and its arguments before it. Empty for the node."""
    need_bytes: int
    """Room for what is made beside its data."""

    @property
    def trees(self) -> tuple[Tree, ...]:
        return (self.data,) if self.wal is None else (self.data, self.wal)

    @property
    def snapshot(self) -> str:
        """Where the snapshot goes on its host."""
        return f"{self.data.work}/snapshot.db"

    @property
    def config_before(self) -> str:
        """Where the files of its service are kept while they are replaced."""
        return f"{self.data.work}/config-before.json"

    def to_json(self) -> dict[str, Json]:
        return {
            "host": self.host,
            "was_running": self.was_running,
            "data": self.data.to_json(),
            "wal": self.wal.to_json() if self.wal is not None else None,
            "tool": list(self.tool),
            "need_bytes": self.need_bytes,
        }

    @staticmethod
    def from_json(name: str, data: Mapping[str, Json], stamp: str) -> PlannedMember:
        wal = data["wal"]
        return PlannedMember(
            name,
            str(data["host"]),
            data["was_running"] is True,
            Tree.from_json(cast("Mapping[str, Json]", data["data"]), stamp),
            Tree.from_json(wal, stamp) if isinstance(wal, Mapping) else None,
            tuple(map(str, cast("Sequence[Json]", data["tool"]))),
            int(str(data["need_bytes"])),
        )


@dataclass(frozen=True, slots=True)
class HostRecovery:
    """What the steps work with."""

    hosts: RunHosts
    cluster: Cluster
    """With the new token."""
    members: Mapping[str, PlannedMember]
    recovered: Recovered
    sha256: str
    has_checksum: bool
    raised: Path | None
    """Where the snapshot with its revision raised goes on this machine; None: the tools on the hosts raise it."""

    @property
    def is_node(self) -> bool:
        return self.cluster.engine.kind is EngineKind.NODE

    @property
    def initial_cluster(self) -> str:
        """etcd's flag of that name."""
        return ",".join(f"{member.name}={url}" for member in self.recovered.members for url in member.peer_urls)

    @property
    def owner(self) -> str:
        """`user:group` of the data. In a container it is root's."""
        return "root:root" if self.cluster.service.image else f"{self.cluster.user}:{self.cluster.group}"

    def placed(self, name: str) -> PlacedMember:
        return place(self.hosts.inventory, self.cluster, self.hosts.member(name))


def recovered_members(run: RunHosts) -> tuple[RecoveredMember, ...]:
    """Everybody the inventory names, as clients and members reach them."""
    placed = [place(run.inventory, run.cluster, member) for member in run.cluster.members]
    return tuple(
        RecoveredMember(one.name, one.advertise_client_urls[0], one.initial_advertise_peer_urls) for one in placed
    )


def recovered_settings(run: RunHosts) -> ConnectionSettings:
    """How to reach its members. Raises: as `member_settings`."""
    return member_settings(run, tuple(member.client_url for member in recovered_members(run)))


def read_plan(plan: Plan, hosts: RunHosts) -> HostRecovery:
    """Raises: EtcdopsError - another version made the plan. UsageError - how to log in to the members is not known."""
    try:
        return _read(plan.inputs, hosts)
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdopsError(
            "the plan of this run cannot be carried out by this version of etcdops",
            cause=f"{type(error).__name__}: {error}",
            hint="finish it with the version that began it",
        ) from error


def _read(inputs: Mapping[str, Json], hosts: RunHosts) -> HostRecovery:
    members = recovered_members(hosts)
    token, stamp = str(inputs["token"]), str(inputs["stamp"])
    raised = inputs["raised"]
    planned = cast("Mapping[str, Mapping[str, Json]]", inputs["members"])
    return HostRecovery(
        hosts=hosts,
        cluster=hosts.cluster.model_copy(update={"token": token}),
        members={name: PlannedMember.from_json(name, data, stamp) for name, data in planned.items()},
        recovered=Recovered(
            members=members,
            token=token,
            settings=recovered_settings(hosts),
            snapshot=Path(str(inputs["snapshot"])),
            snapshot_revision=int(str(inputs["snapshot_revision"])),
            revision=int(str(inputs["revision"])),
            marked=hosts.cluster.engine.kind is EngineKind.ETCD,
        ),
        sha256=str(inputs["sha256"]),
        has_checksum=bool(inputs["has_checksum"]),
        raised=Path(str(raised)) if raised else None,
    )
