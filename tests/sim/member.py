"""One simulated member: a production Server on a simulated machine, through any number of lives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw

from etcdops.errors import EtcdopsError, StartRefused
from etcdops.ids import LogIndex, MemberID
from etcdops.node.config import Config
from etcdops.node.raft.types import Entry, HardState, Snapshot
from etcdops.node.rpc.service import Methods, RpcError, Stream, Unary
from etcdops.node.server import server as server_module
from etcdops.node.server.bootstrap import Boot, boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.server import Server
from tests.model.broken import Broken
from tests.sim.calls import SimStream, SimUnary
from tests.sim.loop import MemberLoop

if TYPE_CHECKING:
    from tests.sim.cluster import SimCluster


class SimClock:
    """A member's clock: its pace is the loop's; the wall clock may be set, the monotonic one never jumps."""

    def __init__(self, member: SimMember, loop: MemberLoop) -> None:
        self._member = member
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.time()

    def wall(self) -> float:
        return 1_700_000_000.0 + self._member.wall_ahead_s + self._loop.loop.time() * self._loop.rate


class Memory:
    """What the member's disk has confirmed: it must still be there after any crash."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.terms: dict[int, int] = {}
        self._under_way: list[tuple[HardState | None, tuple[Entry, ...]]] = []
        """Writes that may have happened or not."""

    def begun(self, hard_state: HardState | None, entries: tuple[Entry, ...]) -> None:
        self._under_way.append((hard_state, entries))

    def saved(self, hard_state: HardState | None, entries: tuple[Entry, ...]) -> None:
        self._under_way.clear()
        if hard_state is not None:
            self.hard_state = hard_state
        for entry in entries:
            self.terms[entry.index] = entry.term
        if entries:
            last = entries[-1].index + 1
            while last in self.terms:
                del self.terms[last]
                last += 1

    def installed(self, snapshot: Snapshot, hard_state: HardState) -> None:
        self.hard_state = hard_state
        self.terms.clear()
        self._under_way.clear()

    def compare(self, name: str, found: Boot) -> None:
        """Raises: Broken - something confirmed is gone."""
        memory = found.memory
        hard_state, _ = memory.initial_state()
        term, vote = self.hard_state[:2]
        if hard_state.term < term or (hard_state.term == term and vote and hard_state.vote != vote):
            raise Broken("durability", f"{name} forgot its term or vote: {hard_state} after {self.hard_state}")
        first, last = memory.first_index(), memory.last_index()
        if hard_state.commit < self.hard_state.commit:
            raise Broken("durability", f"{name} forgot what is committed: {hard_state} after {self.hard_state}")
        for _, entries in self._under_way:
            start = entries[0].index if entries else last + 1
            if first <= start <= last and memory.term(LogIndex(start)) == entries[0].term:
                # It was written before the crash, and replaced what followed.
                self.saved(None, entries)
                break
        self._under_way.clear()
        for index in sorted(self.terms):
            if index > last:
                raise Broken(
                    "durability", f"{name} lost entry {index}, which its disk had confirmed; the last is {last}"
                )
            if index >= first and memory.term(LogIndex(index)) != self.terms[index]:
                raise Broken("durability", f"{name} has another entry at {index} than its disk had confirmed")


class SimMember:
    """See the module. `start`, then `crash`, `stop`, `pause`, `resume`; `call` and `stream` are its client port."""

    def __init__(self, cluster: SimCluster, number: int, root: Path, *, rate: float) -> None:
        self.cluster = cluster
        self.number = number
        self.name = f"m{number}"
        self.url = f"http://127.0.0.1:{20000 + number}"
        self.root = root
        self.id = MemberID(0)
        self.rate = rate
        self.disk = cluster.disks.add(root)
        self.disk.died = self._power_failed
        self.draw = random.Random(f"{cluster.seed}/member/{number}")
        self.wall_ahead_s = 0.0
        self.disk_slow = 1.0
        self.loop: MemberLoop | None = None
        self.server: Server
        self.state = "new"
        """new, up, stopping, down, removed (it left the cluster), refused (its data is damaged)."""
        self.corrupted = False
        self.flags_of: SimMember | None = None
        """Whose name and addresses it is started with; None for its own."""
        self.force_new_cluster = False
        self.lives = 0
        self.booted = False
        """Whether it ever had data to start from."""
        self.confirmed = Memory()
        self.lose = "nothing"
        self._methods: Methods
        self._calls: dict[SimUnary | SimStream, None] = {}

    # Life.

    @property
    def serves(self) -> bool:
        return self.state == "up"

    def start(self) -> None:
        """Start from what the disk has, as `etcdops node` does."""
        assert self.state in ("new", "down", "removed"), self.state
        cluster = self.cluster
        self.lives += 1
        epoch = 1000.0 * self.lives + self.draw.random()
        self.loop = life = MemberLoop(cluster.loop, epoch=epoch, rate=self.rate, background_s=self._background_s)
        cluster.trace(self.name, f"starts, life {self.lives}")
        cluster.seams.born = self
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(life)  # type: ignore[arg-type]  # the part of a loop that a member uses
        try:
            self._start(life)
        except (StartRefused, apsw.Error, OSError) as error:
            self._start_failed(error)
        finally:
            asyncio._set_running_loop(running)
            cluster.seams.born = None

    def _start(self, life: MemberLoop) -> None:
        directory = DataDir.open(self.root)
        self._directory = directory
        config = self.cluster.config_of(self)
        found = _run_now(boot(config, directory))
        self.booted = True
        self.id = found.member_id
        self.confirmed.compare(self.name, found)
        server = Server(config, directory, found, SimClock(self, life))
        self.server = server
        self._watch_over(server)
        _run_now(server.start())
        self._methods = server.services.methods()
        self.state = "up"
        server._ended.add_done_callback(lambda _: life.run(self._ended))

    def _start_failed(self, error: EtcdopsError | apsw.Error | OSError) -> None:
        if self.disk.dead:
            return  # the power failed in the middle: _power_failed clears up
        self.cluster.trace(self.name, f"refuses to start: {self.cluster.without_folder(str(error))}")
        self._close()
        if not self.booted and self.number >= self.cluster.options.members:
            # It joins with a list of members that some do not have yet: an operator tries again.
            self.state = "down"
            return
        if self.disk.full and isinstance(error, StartRefused) and "the disk is full" in error.message:
            self.state = "down"  # until there is room again
            return
        if not self.corrupted:
            if self.server_removed:
                self.state = "removed"
                return
            cause = getattr(error, "cause", "")
            raise Broken("availability", f"{self.name} refuses to start on an undamaged disk: {error} {cause}")
        self.state = "refused"

    @property
    def server_removed(self) -> bool:
        return self.id in self.cluster.truth.removed

    def crash(self, lose: str) -> None:
        """The process is killed (lose "nothing") or the machine loses its power."""
        if self.state not in ("up", "stopping"):
            return
        self.disk.dead = True
        self._dead(lose)

    def _power_failed(self) -> None:
        # In the middle of some code of the member: it cannot be cleared up under its feet.
        if self.loop is not None:
            self.loop.dead = True
        self.state = "down"
        self.cluster.loop.call_soon(self._dead, self.lose)

    def _dead(self, lose: str) -> None:
        self._close()
        lost = self.disk.cut_power(self.draw, lose=lose)
        self.cluster.counts["unsynced writes lost"] += lost
        self.cluster.trace(self.name, f"is dead, lost {lost} writes ({lose})")
        self.state = "down"

    def _close(self) -> None:
        """Let go of everything this life held, without a last word to the disk."""
        was_dead, self.disk.dead = self.disk.dead, True
        if self.loop is not None:
            self.loop.kill()
        if hasattr(self, "server"):
            self.cluster.network.leave(self.server._peers.transport)  # type: ignore[arg-type]  # a SimTransport
        calls, self._calls = self._calls, {}
        for call in calls:
            call.disconnected()
        prefix = str(self.root)
        for connection in sorted(apsw.connections(), key=lambda one: one.filename):
            if connection.filename.startswith(prefix):
                _close(connection)
        if hasattr(self, "_directory"):
            self._directory.close()
        self.disk.dead = was_dead

    async def stop(self) -> None:
        """SIGTERM: the leadership is handed over, everything is written and closed."""
        if self.state != "up":
            return
        self.state = "stopping"
        life = self.loop
        assert life is not None
        stopping = life.create_task(self.server.stop())
        await asyncio.wait((stopping,))
        if life.dead:
            return  # its power failed meanwhile
        error = stopping.exception()
        if error is not None and not (self.disk.full and isinstance(error, apsw.Error | EtcdopsError | OSError)):
            raise error
        self.state = "down"
        self._close()
        self.cluster.trace(self.name, "stopped")

    def pause(self) -> None:
        if self.state == "up" and self.loop is not None:
            self.loop.paused = True
            self.cluster.trace(self.name, "is paused")

    def resume(self, draw: random.Random | None = None) -> None:
        """Args: draw mixes what waits on different sockets, which the machine hands over in any order."""
        if self.loop is not None and self.loop.paused:
            self.cluster.trace(self.name, "goes on")
            self.loop.resume(draw)

    def _ended(self) -> None:
        """The member stopped by itself."""
        ending = self.server.ending
        assert ending is not None
        self.cluster.trace(self.name, f"ended: {ending.reason}")
        if self.state not in ("up", "stopping") or self.disk.dead:
            return
        removed = ending.error is None
        self.cluster.member_ended(self, ending)
        self._close()
        self.disk.settle()
        self.state = "removed" if removed else "down"

    # What is checked while it runs.

    def _watch_over(self, server: Server) -> None:
        truth = self.cluster.truth
        driver = server._driver
        applier = server.applier
        writer = driver._writer
        apply, apply_conf_change = applier.apply, applier.apply_conf_change
        append, install = writer.append, writer.install
        changed = server.leadership_changed

        def see_apply(entry: Entry) -> Any:
            again = entry.index <= server.state.consistent_index
            truth.sees(self, entry)
            applied = apply(entry)
            if not again:
                truth.applied(self, entry)
            return applied

        def see_apply_change(entry: Entry, change: Any) -> Any:
            again = entry.index <= server.state.consistent_index
            truth.sees(self, entry)
            refused = apply_conf_change(entry, change)
            if not again:
                truth.applied(self, entry)
                truth.changed(change, refused)
            return refused

        def see_append(hard_state: HardState | None, entries: tuple[Entry, ...], done: Callable[[], None]) -> None:
            truth.appended(self, entries)
            self.confirmed.begun(hard_state, entries)

            def saved() -> None:
                self.confirmed.saved(hard_state, entries)
                done()

            append(hard_state, entries, saved)

        def see_install(snapshot: Snapshot, hard_state: HardState, done: Callable[[], None]) -> None:
            self.cluster.trace(self.name, f"installs the snapshot at {snapshot.metadata.index}")
            self.cluster.counts["snapshots installed"] += 1
            self.cluster.installs_image(self)

            def saved() -> None:
                self.confirmed.installed(snapshot, hard_state)
                done()

            install(snapshot, hard_state, saved)

        def see_leadership(before: Any, now: Any) -> None:
            self.cluster.trace(self.name, f"term {server.term}: {now.role.value}, leader {now.leader:x}")
            truth.leadership(self, now)
            changed(before, now)

        applier.apply = see_apply  # type: ignore[method-assign]
        applier.apply_conf_change = see_apply_change  # type: ignore[method-assign]
        writer.append = see_append  # type: ignore[method-assign]
        writer.install = see_install  # type: ignore[method-assign]
        server.leadership_changed = see_leadership  # type: ignore[method-assign]
        truth.started(self)

    # Its client port.

    def call(self, path: str, request: bytes, call: SimUnary) -> None:
        """A unary request arrives."""
        assert self.loop is not None
        if not self.serves:
            call.disconnected()
            return
        self._calls[call] = None
        call.closed = lambda: self._calls.pop(call, None) and None
        self.loop.run(self._handle, path, request, call)

    def _handle(self, path: str, request: bytes, call: SimUnary) -> None:
        method = self._methods.find(path)
        assert isinstance(method, Unary)
        try:
            method.handler(request, call)
        except RpcError as error:
            call.fail(error)

    def stream(self, path: str, call: SimStream) -> None:
        """A stream is opened."""
        assert self.loop is not None
        if not self.serves:
            call.disconnected()
            return
        method = self._methods.find(path)
        assert isinstance(method, Stream)
        self._calls[call] = None
        call.closed = lambda: self._calls.pop(call, None) and None
        call.member_loop = self.loop
        self.loop.run(call.open, method.handler)

    # The machine.

    def disk_latency_s(self) -> float:
        return self.draw.uniform(0.0002, 0.004) * self.disk_slow

    def _background_s(self) -> float:
        return self.draw.uniform(0.001, 0.05) * self.disk_slow


def _run_now(work: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine that does not wait for anything here."""
    try:
        work.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it waits")


def _close(connection: apsw.Connection) -> None:
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close(True)
    except apsw.Error:
        pass  # the disk is dead: nothing can be written any more


__all__ = ["Config", "SimMember", "server_module"]
