"""A local cluster described in a file, so that any terminal can find its members: `cluster.json` in its directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from etcdops.client.settings import ConnectionSettings
from etcdops.errors import UsageError
from etcdops.files import make_folder, sync_folder
from etcdops.playbooks.plan import Json

FILE_NAME = "cluster.json"
SCHEMA = "etcdops.cluster/1"


class EngineKind(StrEnum):
    """Whose program the members run."""

    NODE = "node"
    ETCD = "etcd"


@dataclass(frozen=True, slots=True)
class Engine:
    """How to start a member."""

    kind: EngineKind
    binary: Path | None = None
    """etcd's program; None for the bundled node."""

    @property
    def label(self) -> str:
        return str(self.kind) if self.binary is None else f"{self.kind} ({self.binary})"


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """Where one member lives."""

    name: str
    data_dir: Path
    client_url: str
    peer_url: str


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """A cluster on this machine. `directory` holds this description, logs, process IDs and journals."""

    name: str
    directory: Path
    engine: Engine
    token: str
    members: tuple[MemberSpec, ...]

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.client_url for member in self.members)

    @property
    def initial_cluster(self) -> str:
        """etcd's `--initial-cluster`: always rendered from here, so that it cannot disagree with names and URLs."""
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    @property
    def runs(self) -> Path:
        """Where journals of runs on this cluster are."""
        return self.directory / "runs"

    def member(self, name: str) -> MemberSpec:
        """Raises: KeyError - there is no such member."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)

    def log_path(self, member: MemberSpec) -> Path:
        return self.directory / f"{member.name}.log"

    def pid_path(self, member: MemberSpec) -> Path:
        return self.directory / f"{member.name}.pid"

    def with_token(self, token: str) -> ClusterSpec:
        return replace(self, token=token)

    def connection(self) -> ConnectionSettings:
        """How to reach it."""
        return ConnectionSettings(endpoints=self.endpoints, source=f"local cluster {self.directory}")

    def save(self) -> None:
        """Write the description, replacing the old one as a whole."""
        make_folder(self.directory)
        path = self.directory / FILE_NAME
        part = path.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(self.to_json(), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(self.directory)

    def to_json(self) -> dict[str, Json]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "engine": str(self.engine.kind),
            "binary": str(self.engine.binary) if self.engine.binary else None,
            "token": self.token,
            "members": [
                {
                    "name": member.name,
                    "data_dir": str(member.data_dir),
                    "client_url": member.client_url,
                    "peer_url": member.peer_url,
                    "log": str(self.log_path(member)),
                    "pid_file": str(self.pid_path(member)),
                }
                for member in self.members
            ],
        }


def load_cluster(directory: Path) -> ClusterSpec:
    """Read the description of a local cluster. Raises: UsageError - there is none, or it is not one."""
    path = directory / FILE_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{directory} is not the directory of a local cluster: no readable {FILE_NAME}",
            cause=error.strerror or "",
            hint="`etcdops demo --dir DIR --keep` makes one, `etcdops recover --member ...` describes one",
        ) from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON", cause=str(error)) from error
    try:
        return parse_cluster(data, directory)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} does not describe a cluster", cause=f"{type(error).__name__}: {error}") from error


def parse_cluster(data: Mapping[str, Json], directory: Path) -> ClusterSpec:
    """The inverse of `ClusterSpec.to_json`. Raises: KeyError, TypeError, ValueError."""
    if data["schema"] != SCHEMA:
        raise ValueError(f"its schema is {data['schema']}, not {SCHEMA}")
    binary, listed = data.get("binary"), data["members"]
    if not isinstance(listed, list) or not listed:
        raise TypeError("it lists no members")
    members = tuple(
        MemberSpec(str(one["name"]), Path(str(one["data_dir"])), str(one["client_url"]), str(one["peer_url"]))
        for one in listed
    )
    engine = Engine(EngineKind(str(data["engine"])), Path(str(binary)) if binary else None)
    return ClusterSpec(str(data["name"]), directory, engine, str(data["token"]), members)
