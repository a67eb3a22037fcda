"""What docker and podman say of a container: `container inspect`, which both answer in nearly the same words."""

from __future__ import annotations

import datetime
import json
import posixpath
from dataclasses import dataclass
from typing import Any

from etcdops.services.port import State

MADE_WITH = "etcdops.arguments"
"""Label of a container: the SHA-256 of the arguments it was made with."""
_STATES = {
    "running": State.RUNNING,
    "paused": State.RUNNING,
    "stopping": State.RUNNING,
    "removing": State.RUNNING,
    "restarting": State.FAILED,
    "created": State.STOPPED,
    "configured": State.STOPPED,
    "initialized": State.STARTING,
    "exited": State.STOPPED,
    "stopped": State.STOPPED,
    "dead": State.FAILED,
}
_KILLED = 137
_ENDED_BY_TERM = 143


@dataclass(frozen=True, slots=True)
class Container:
    """One container, running or not."""

    raw: dict[str, Any]

    @classmethod
    def parse(cls, output: bytes) -> Container:
        """The first of what `container inspect` prints."""
        return cls(json.loads(output)[0])

    @property
    def config(self) -> ImageConfig:
        return ImageConfig(self.raw["Config"])

    @property
    def pid(self) -> int | None:
        """Of its first process, as the host counts."""
        return int(self.raw["State"].get("Pid") or 0) or None

    @property
    def word(self) -> str:
        """The engine's own for its state."""
        return str(self.raw["State"].get("Status", "")).lower()

    @property
    def state(self) -> State:
        """One that ended by itself with an error has failed, one that was asked to end has not."""
        found = _STATES.get(self.word, State.UNKNOWN)
        if self.word in ("exited", "stopped") and self.exit_code not in (0, _ENDED_BY_TERM):
            return State.FAILED
        return found

    @property
    def exit_code(self) -> int:
        return int(self.raw["State"].get("ExitCode") or 0)

    @property
    def reason(self) -> str:
        """Why it is in its state; empty where nothing is wrong."""
        state = self.raw["State"]
        if self.word == "paused":
            return "it is paused"
        if self.state not in (State.FAILED, State.UNKNOWN):
            return ""
        if state.get("OOMKilled"):
            return "the kernel killed it: out of memory"
        how = "killed by signal KILL" if self.exit_code == _KILLED else f"exit status {self.exit_code}"
        again = "; the engine starts it again and again" if self.word == "restarting" else ""
        return "; ".join(filter(None, (how, str(state.get("Error") or "")))) + again

    @property
    def since(self) -> float | None:
        """Unix time at which it was started, or ended."""
        stamp = str(self.raw["State"].get("StartedAt" if self.pid else "FinishedAt") or "")
        try:
            at = datetime.datetime.fromisoformat(stamp)
        except ValueError:
            return None
        return at.timestamp() if at.year > 1 and at.tzinfo else None

    @property
    def was_started(self) -> bool:
        """Whether it ever ran."""
        return str(self.raw["State"].get("StartedAt") or "0001")[:4] != "0001"

    @property
    def restarts(self) -> int:
        return int(self.raw.get("RestartCount") or 0)

    @property
    def restart_policy(self) -> str:
        return str((self.raw.get("HostConfig", {}).get("RestartPolicy") or {}).get("Name") or "no")

    @property
    def log_driver(self) -> str:
        return str((self.raw.get("HostConfig", {}).get("LogConfig") or {}).get("Type") or "")

    @property
    def label(self) -> str:
        """Which arguments it was made with; empty: not by us."""
        return str((self.raw["Config"].get("Labels") or {}).get(MADE_WITH, ""))

    @property
    def image(self) -> str:
        return str(self.raw.get("ImageName") or self.raw["Config"].get("Image") or "")

    def outside(self, path: str) -> str | None:
        """Where a path of the container lies on the host; None: in the container itself."""
        best: tuple[int, str] | None = None
        for mount in self.raw.get("Mounts") or ():
            target, source = str(mount.get("Destination") or ""), str(mount.get("Source") or "")
            inside = posixpath.normpath(path)
            if source and (inside == target or inside.startswith(f"{target.rstrip('/')}/")):
                found = posixpath.normpath(f"{source}/{inside[len(target) :]}")
                best = max(best or (0, ""), (len(target), found))
        return best[1] if best is not None else None


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container or an image starts."""

    raw: dict[str, Any]

    @classmethod
    def of_image(cls, output: bytes) -> ImageConfig:
        """The first of what `image inspect` prints."""
        return cls(json.loads(output)[0].get("Config") or {})

    @property
    def entrypoint(self) -> list[str]:
        return _words(self.raw.get("Entrypoint"))

    @property
    def command(self) -> list[str]:
        return _words(self.raw.get("Cmd"))

    @property
    def env(self) -> dict[str, str]:
        return dict(pair.partition("=")[::2] for pair in self.raw.get("Env") or ())

    @property
    def user(self) -> str:
        return str(self.raw.get("User") or "root")

    @property
    def folder(self) -> str:
        return str(self.raw.get("WorkingDir") or "/")


def _words(value: object) -> list[str]:
    """podman before 5 gives an entry point as one string."""
    if isinstance(value, str):
        return value.split()
    return [str(word) for word in value] if isinstance(value, list) else []
