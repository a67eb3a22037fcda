"""A cluster of real processes whose links, disks, clocks and lives are in the hands of the run."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import grpc

from tests.model.broken import Broken
from tests.robustness.engines import FLAGS, Engine
from tests.robustness.holder import Holder
from tests.robustness.links import Links
from tests.robustness.lives import Lives
from tests.robustness.namespaces import Namespaces
from tests.robustness.node_process import OFFSET
from tests.robustness.owner import owner_of_connection
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealCluster, RealMember, new_cluster

DISK_SIZE = "400m"
"""etcd keeps two log files of 64 MB ready."""

_FILE_SIZE_MAX_BYTES = 4096
"""When a disk takes no more: new bytes behind this position of any file are refused."""


class Wires(Protocol):
    """What is between members. Pairs are directions, by name: from the first to the second. Use it in a `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def place(self, member: RealMember) -> None:
        """Tell a member where it is and how others reach it, before any is started."""

    def hold(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Nothing arrives, nobody is told."""

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Nothing arrives; connections are reset, where that can be done."""

    def slow(self, pairs: Iterable[tuple[str, str]], delay_s: float) -> None:
        """Everything takes longer, where that can be done."""

    def heal(self, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """These, or all, are as they were at first."""


class World:
    """Members m1, m2, ... and everything between and below them. Use it in a `with`; `start` starts it.

    What is done to a member that is in another state already (killed, paused) has no effect: faults may overlap.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        size: int,
        flags: Sequence[str] = (),
        own_disks: bool = False,
        namespaces: bool = False,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.engine = engine
        self.note = note
        self.clock = folder / "clock"
        self.clock.write_bytes(OFFSET.pack(0.0))
        binaries = engine.binaries(self.clock)
        self.cluster: RealCluster = new_cluster(binaries, folder, size=size, flags=[*FLAGS, *flags])
        self.members = self.cluster.members
        self.lives = Lives.create(folder / "lives", size)
        self.links: Wires = Namespaces() if namespaces else Links(self._owner_of)
        self._disks: dict[str, Holder] = {}
        self._paused: set[str] = set()
        self._excused: set[str] = set()
        """Members that may end by themselves: their disks were full."""
        if own_disks:
            for member in self.members:
                self._give_disk(member)

    def __enter__(self) -> Self:
        self.links.__enter__()
        for member in self.members:
            self.links.place(member)
        initial_cluster = ",".join(
            f"{member.name}={member.advertised_peer_url or member.peer_url}" for member in self.members
        )
        for member in self.members:
            member.initial_cluster = initial_cluster
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cluster.kill()
        for holder in self._disks.values():
            holder.close()
        self.links.__exit__(kind, error, trace)
        self.lives.close()

    def start(self) -> None:
        for member in self.members:
            self.up(member)
        for member in self.members:
            member.wait_ready(60.0)

    # Processes.

    def up(self, member: RealMember) -> None:
        """Start its process, if there is none."""
        self._look(member)
        if member.process is None:
            self.lives.turn(self.members.index(member), running=True)
            member.start_nowait()

    def down(self, member: RealMember, how: signal.Signals = signal.SIGKILL) -> None:
        """End its process and wait until it has ended."""
        self.lives.turn(self.members.index(member), running=False)
        self._paused.discard(member.name)
        if how is signal.SIGKILL:
            member.kill()
        else:
            member.stop()

    def pause(self, member: RealMember) -> None:
        if self._runs(member) and member.name not in self._paused:
            member.pause()
            self._paused.add(member.name)

    def resume(self, member: RealMember) -> None:
        if member.name in self._paused:
            self._paused.discard(member.name)
            if self._runs(member):
                member.resume()

    def _runs(self, member: RealMember) -> bool:
        return member.process is not None and member.process.poll() is None

    def _look(self, member: RealMember) -> None:
        """Notice that a process has ended by itself.

        Raises: Broken - nothing was done to it that excuses it.
        """
        if member.process is None or member.process.poll() is None:
            return
        status = member.process.returncode
        self.down(member)
        if member.name not in self._excused:
            raise Broken("processes", f"{member.name} ended by itself with status {status}:\n{member.log_tail()}")
        self.note(f"{member.name} has ended with status {status}")

    def look(self) -> None:
        """Raises: Broken - a member ended by itself, without a reason."""
        for member in self.members:
            if member.name not in self._excused:
                self._look(member)

    def leader(self) -> RealMember | None:
        """Who leads, as far as anybody answers."""
        for member in self.members:
            if not self._runs(member) or member.name in self._paused:
                continue
            try:
                with RawClient(member.url) as client:
                    status = client.status(1.0)
            except grpc.RpcError:
                continue
            if status.leader and status.leader == status.header.member_id:
                return member
        return None

    # Links.

    def pairs(self, sources: Iterable[RealMember], targets: Iterable[RealMember]) -> list[tuple[str, str]]:
        """Directions from these to those."""
        others = list(targets)
        return [(one.name, other.name) for one in sources for other in others if one is not other]

    def _owner_of(self, local_port: int, remote_port: int) -> str | None:
        pids = {member.name: member.process.pid for member in self.members if member.process is not None}
        return owner_of_connection(local_port, remote_port, pids)

    # Disks.

    def _give_disk(self, member: RealMember) -> None:
        place = member.folder / f"{member.name}.disk"
        place.mkdir(parents=True)
        holder = self._disks[member.name] = Holder("mount")
        holder.run("mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=0700", "tmpfs", os.fspath(place))
        member.launcher = (*member.launcher, *holder.launcher)
        member.flags = (*member.flags, f"--data-dir={place}/data")

    def fill_disk(self, member: RealMember) -> None:
        """No byte fits any more; without a disk of its own, none behind the first few kilobytes of any file."""
        self._excused.add(member.name)
        if member.name not in self._disks:
            self._limit_files(member, _FILE_SIZE_MAX_BYTES)
            return
        ballast = self._ballast(member)
        with ballast.open("ab", buffering=0) as file:
            free = os.statvfs(ballast.parent)
            try:
                os.posix_fallocate(file.fileno(), 0, file.tell() + free.f_bavail * free.f_frsize)
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass  # it is full

    def free_disk(self, member: RealMember) -> None:
        """There is room again."""
        if member.name in self._disks:
            self._ballast(member).unlink(missing_ok=True)
        else:
            self._limit_files(member, resource.RLIM_INFINITY)

    def _ballast(self, member: RealMember) -> Path:
        return self._disks[member.name].outside(member.folder / f"{member.name}.disk") / "ballast"

    def _limit_files(self, member: RealMember, size_bytes: int) -> None:
        if member.process is not None:
            try:
                _, hard = resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(member.process.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))
            except ProcessLookupError:
                pass  # it has ended, and with it the limit

    # Clocks.

    def set_clock(self, offset_s: float) -> None:
        """Wall clocks of all members are that far ahead, where they can be set."""
        # In place: members have mapped this file. Eight bytes at once are never seen half written.
        with self.clock.open("r+b", buffering=0) as file:
            file.write(OFFSET.pack(offset_s))

    # After the faults.

    def heal(self) -> None:
        """Everything works again: links, disks, clocks, processes."""
        self.links.heal()
        self.set_clock(0)
        for member in self.members:
            self.free_disk(member)
            self.resume(member)
        for member in self.members:
            self.up(member)

    def wait_healthy(self, timeout_s: float) -> None:
        """Until every member takes a write and serves a linearizable read.

        Raises: Broken - one does not, or a member ended by itself.
        """
        deadline = time.monotonic() + timeout_s
        for member in self.members:
            while not self._serves(member):
                # A member that ended because of its full disk just before that was freed is started again.
                self.up(member)
                if time.monotonic() > deadline:
                    raise Broken(
                        "liveness",
                        f"{member.name} serves no reads {timeout_s:.0f} s after the healing:\n{member.log_tail()}",
                    )
                time.sleep(0.1)
        self._excused.clear()

    def _serves(self, member: RealMember) -> bool:
        try:
            with RawClient(member.url) as client:
                client.get("any", timeout_s=2.0)
        except grpc.RpcError:
            return False
        return True

    def keep_logs(self, folder: Path) -> None:
        """Copy what members have logged."""
        for member in self.members:
            if member.log.exists():
                shutil.copy(member.log, folder)
