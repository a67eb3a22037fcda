"""Members on this machine: started, stopped, killed and waited for, the same way for both engines."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from etcdops.errors import EtcdopsError
from etcdops.playbooks.cluster_file import ClusterSpec, Engine, MemberSpec
from etcdops.playbooks.member_command import MemberStart, member_program
from etcdops.playbooks.ports import free_ports, is_listening
from etcdops.playbooks.process import ProcessID, spawn

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
STOP_ALL_TIMEOUT_S = 3.0
_PROBE_TIMEOUT_S = 1.0
_POLL_S = 0.05
_LOG_TAIL_BYTES = 16_384


class LocalMember:
    """One member process. It may have been started by us or by an earlier etcdops: the pid file tells."""

    def __init__(self, cluster: ClusterSpec, spec: MemberSpec) -> None:
        self.cluster = cluster
        self.spec = spec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def log_path(self) -> Path:
        return self.cluster.log_path(self.spec)

    @property
    def process(self) -> ProcessID | None:
        """The running process, None when there is none."""
        known = ProcessID.load(self.cluster.pid_path(self.spec))
        return known if known is not None and known.alive else None

    @property
    def running(self) -> bool:
        return self.process is not None

    def command(self) -> list[str]:
        """The command line. Raises: UsageError - the cluster does not say which etcd."""
        spec, cluster = self.spec, self.cluster
        start = MemberStart(
            spec.name, spec.data_dir, (spec.client_url,), (spec.peer_url,), cluster.initial_cluster, cluster.token
        )
        return start.command(member_program(cluster.engine))

    def start(self, *, tethered: bool) -> None:
        """Start the process; it is not ready yet. Nothing happens when it runs already.

        Args: tethered - it must not outlive this etcdops process; then call it on the main thread.
        Raises: EtcdopsError - another process listens on one of its ports, or the program cannot be started.
        """
        if self.running:
            return
        for url in (self.spec.client_url, self.spec.peer_url):
            if is_listening(url):
                raise EtcdopsError(
                    f"{self.name} cannot start: another process listens on {url}",
                    hint="stop that process, or give the member another port",
                )
        spawn(
            self.command(),
            log=self.log_path,
            pid_file=self.cluster.pid_path(self.spec),
            environment=member_environment(),
            tethered=tethered,
        )

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM, and SIGKILL when it did not end within `timeout_s`: an etcd without quorum may ignore SIGTERM."""
        if (process := self.process) is not None:
            process.signal(signal.SIGTERM)
            self._collect(process, timeout_s)
        self._forget()

    def kill(self) -> None:
        """SIGKILL: no goodbye, as when the machine is gone."""
        if (process := self.process) is not None:
            self._collect(process, 0.0)
        self._forget()

    def _collect(self, process: ProcessID, timeout_s: float) -> None:
        if not process.wait_ended(timeout_s):
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGKILL)
            if not process.wait_ended(STOP_TIMEOUT_S):
                raise EtcdopsError(f"{self.name} (process {process.pid}) does not end on SIGKILL")

    def _forget(self) -> None:
        """The file that names a process which ended is of no use, and may one day name another one."""
        path = self.cluster.pid_path(self.spec)
        if (ended := ProcessID.load(path)) is not None:
            ended.wait_ended(0.0)
        path.unlink(missing_ok=True)

    def probe(self) -> str:
        """Ask /health: "" when the member is healthy (it has a leader), else why not. Takes a second at most."""
        parts = urlsplit(self.spec.client_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse().read(65536)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        try:
            health = json.loads(answer)
        except ValueError:
            return "its /health is not JSON"
        if isinstance(health, dict) and str(health.get("health")).lower() == "true":
            return ""
        return str(health.get("reason") or "not healthy") if isinstance(health, dict) else "not healthy"

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of its log, for an error."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


class LocalCluster:
    """All members of a described cluster."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.spec = spec
        self.members = tuple(LocalMember(spec, member) for member in spec.members)

    def member(self, name: str) -> LocalMember:
        """Raises: KeyError - there is no such member."""
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)

    def start(self, *, tethered: bool) -> None:
        """Start all members; see `LocalMember.start`."""
        for member in self.members:
            member.start(tethered=tethered)

    def stop(self) -> None:
        """Stop all members, all at once. The leader finds nobody to hand over to, and is not waited for long."""
        for member in self.members:
            if (process := member.process) is not None:
                process.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_ALL_TIMEOUT_S
        for member in self.members:
            member.stop(max(0.1, deadline - time.monotonic()))

    def kill(self) -> None:
        """End all members at once."""
        for member in self.members:
            member.kill()

    async def wait_healthy(self, names: Sequence[str] | None = None, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until the named members (all by default) answer and have a leader.

        Raises: EtcdopsError - one ended, or the time passed; with the last lines of its log.
        """
        waiting = [member for member in self.members if names is None or member.name in names]
        deadline = time.monotonic() + timeout_s
        while waiting:
            reasons = await asyncio.gather(*(asyncio.to_thread(member.probe) for member in waiting))
            still = [(member, why) for member, why in zip(waiting, reasons, strict=True) if why]
            for member, why in still:
                if not member.running:
                    raise _not_healthy(member, "its process ended")
                if time.monotonic() > deadline:
                    raise _not_healthy(member, f"not within {timeout_s:.0f} s: {why}")
            waiting = [member for member, _ in still]
            if waiting:
                await asyncio.sleep(_POLL_S)


def new_cluster(
    name: str, directory: Path, engine: Engine, *, size: int = 3, host: str = "127.0.0.1", ports: Sequence[int] = ()
) -> ClusterSpec:
    """Describe a new cluster of members m1, m2, ... with a random token, and save the description.

    Args: ports - two for each member, for clients and for peers; free ones by default.
    """
    ports = ports or free_ports(2 * size, host=host)
    members = tuple(
        MemberSpec(
            name=f"m{number + 1}",
            data_dir=directory / f"m{number + 1}.etcd",
            client_url=f"http://{host}:{ports[2 * number]}",
            peer_url=f"http://{host}:{ports[2 * number + 1]}",
        )
        for number in range(size)
    )
    spec = ClusterSpec(name, directory, engine, f"{name}-{secrets.token_hex(8)}", members)
    spec.save()
    return spec


def member_environment() -> Mapping[str, str]:
    """Our environment without ETCD_* and ETCDCTL_*: etcd would take flags from it that belong to another member."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ETCD_", "ETCDCTL_"))}
    if "ETCD_UNSUPPORTED_ARCH" in os.environ:
        kept["ETCD_UNSUPPORTED_ARCH"] = os.environ["ETCD_UNSUPPORTED_ARCH"]
    return kept


def _not_healthy(member: LocalMember, why: str) -> EtcdopsError:
    return EtcdopsError(
        f"{member.name} did not become healthy: {why}",
        cause=member.log_tail(3),
        hint=f"its whole log is {member.log_path}",
    )
