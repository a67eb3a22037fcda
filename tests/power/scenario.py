"""Runs of real members that are recorded: each comes by its own part of what a member does to its files."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from etcdops import ids
from tests.power.boot import FORCE
from tests.power.client import Call, Client, answered
from tests.power.disk import Disk, content_of
from tests.power.history import Story
from tests.power.recording import Recording, command, find_strace
from tests.support.node_members import NODE
from tests.support.real_etcd import RealCluster, RealMember, new_cluster, poll_until

FLAGS = ("--snapshot-count=20", "--experimental-snapshot-catchup-entries=5")
DATA_DIR = "m"
"""Below the root of the recorded disk."""

_CAUGHT_UP_S = 30.0


@dataclass
class Recorded:
    """One recording with what clients were told, ready to be replayed."""

    name: str
    recording: Recording
    calls: list[Call]
    flags: tuple[str, ...]
    """To start the member again."""

    port: int
    """Its client port, whence answers came."""

    story: Story
    before: dict[str, bytes | None] = field(default_factory=dict)
    """What was on the disk, durable, when the recording began."""

    told_before: int = 0
    """Answers given before the recording began."""

    serves: bool = True
    """A cluster of its own; otherwise the member needs others."""

    peer_port: int = 0
    """Where it tells a leader what it has."""

    def disk(self) -> Disk:
        """The disk as it was when the recording began."""
        disk = Disk(self.recording.root)
        disk.preload(self.before)
        return disk


@dataclass
class _Stage:
    """Where scenarios play: a cluster, of which one member is recorded."""

    cluster: RealCluster
    member: RealMember
    recording: Recording
    bug: str
    calls: list[Call] = field(default_factory=list)
    _traces: int = 0

    @property
    def data(self) -> random.Random:
        return self._data

    def __post_init__(self) -> None:
        self._data = random.Random(7)

    @contextmanager
    def recorded(self, *more_flags: str, kill: bool = False) -> Iterator[None]:
        """The member's next life, recorded."""
        self._traces += 1
        trace = self.member.folder / f"{self.member.name}-{self._traces}.trace"
        usual, flags = self.member.binaries, self.member.flags
        strace = find_strace()
        assert strace is not None, "no strace"
        program = (sys.executable, "-m", "tests.power.member", self.bug)
        self.member.binaries = replace(usual, program=tuple(command(strace, trace, program)))
        self.member.flags = (*flags, *more_flags)
        try:
            self.member.start()
            yield
        finally:
            _end(self.member, kill=kill)
            self.member.binaries, self.member.flags = usual, flags
        self.recording.add(trace)
        trace.unlink()

    @contextmanager
    def client(self, member: RealMember | None = None) -> Iterator[Client]:
        with Client((member or self.member).client_port, self.calls) as client:
            yield client

    def value(self, size: int = 200) -> bytes:
        return self._data.randbytes(size)


def _end(member: RealMember, *, kill: bool) -> None:
    """End what strace runs, not strace itself: that would let the member go on."""
    process = member.process
    assert process is not None
    child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in child:
        os.kill(int(pid), signal.SIGKILL if kill else signal.SIGTERM)
    process.wait(30)
    member.process = None


Scenario = Callable[[_Stage], None]


def first_start(stage: _Stage) -> None:
    """A member is born, and takes its first writes."""
    with stage.recorded(), stage.client() as client:
        for number in range(3):
            client.put(b"key/%d" % number, stage.value())


def writes(stage: _Stage) -> None:
    """Everything that changes the store, until the raft log was cut and its own log started over."""
    with stage.recorded(), stage.client() as client:
        lease = client.grant(3600)
        for number in range(60):
            key = b"key/%d" % stage.data.randrange(20)
            match number % 10:
                case 3:
                    client.txn({key: stage.value(), b"other/%d" % number: stage.value()}, deletes=[b"key/1"])
                case 5:
                    client.put(key, stage.value(), lease)
                case 7:
                    client.delete(key, key + b"~")
                case 9:
                    client.put(key, stage.value(9_000))
                case _:
                    client.put(key, stage.value())
        client.revoke(lease)
        client.grant(3600)
        client.put(b"last", b"one")


def maintenance(stage: _Stage) -> None:
    """Compaction, defragmentation, checkpoints by the clock, and a stop in order; then another life."""
    with stage.recorded(), stage.client() as client:
        for number in range(20):
            client.put(b"key/%d" % (number % 5), stage.value(600))
        client.compact(12)
        client.put(b"between", stage.value())
        client.defragment()
        for number in range(6):
            client.put(b"after/%d" % number, stage.value())
        _wait(0.6)  # a checkpoint by the clock
        client.put(b"after/checkpoint", stage.value())
        client.compact(20)
    with stage.recorded(kill=True), stage.client() as client:
        client.put(b"second/life", stage.value())
        client.defragment()
        client.put(b"before/the/kill", stage.value())
    with stage.recorded(), stage.client() as client:
        client.put(b"third/life", stage.value())


def membership(stage: _Stage) -> None:
    """A learner is added and removed."""
    with stage.recorded(), stage.client() as client:
        client.put(b"one", stage.value())
        learner = client.add_learner("http://127.0.0.1:1")
        client.put(b"two", stage.value())
        client.remove_member(learner)
        client.put(b"three", stage.value())


def forced(stage: _Stage) -> None:
    """The survivor of three is started with --force-new-cluster. What it holds when that begins is durable.

    It ends in order: killed, it may not have written down yet that its last entries are committed, and forcing drops
    what is not.
    """
    stage.cluster.start()
    with stage.client() as client:
        for number in range(8):
            client.put(b"key/%d" % number, stage.value())
    _equal(stage.cluster)
    stage.member.stop()
    stage.cluster.kill()


def forced_start(stage: _Stage) -> None:
    with stage.recorded(FORCE), stage.client() as client:
        client.put(b"alone", stage.value())


def lagging(stage: _Stage) -> None:
    """A follower is away until the others have cut their logs: it gets a database image, then entries again."""
    others = [member for member in stage.cluster.members if member is not stage.member]
    for member in others:
        member.start_nowait()
    with stage.recorded(kill=True), stage.client(others[0]) as client:
        for number in range(4):
            client.put(b"early/%d" % number, stage.value())
        _equal(stage.cluster)
    _takes_writes(stage, others[0])  # the one that was killed may have led
    with stage.client(others[0]) as client:
        for number in range(60):
            client.put(b"away/%d" % (number % 7), stage.value())
    with stage.recorded(), stage.client(others[0]) as client:
        _equal(stage.cluster)
        assert b"applying snapshot" in stage.member.log.read_bytes(), "it got no image"
        for number in range(4):
            client.put(b"back/%d" % number, stage.value())
        _equal(stage.cluster)
    for member in others:
        member.kill()


def _takes_writes(stage: _Stage, member: RealMember) -> None:
    def written() -> bool:
        try:
            with stage.client(member) as client:
                client.put(b"away/0", stage.value())
        except AssertionError:
            return False
        return True

    poll_until(written, 60.0, "nobody leads after the kill")


def _wait(seconds: float) -> None:
    time.sleep(seconds)  # something that happens by the clock of a real process, and shows nowhere


def _equal(cluster: RealCluster) -> None:
    """Until all members have applied the same."""

    def equal() -> bool:
        found = set()
        for member in cluster.members:
            with Client(member.client_port) as client:
                found.add(client.status().header.revision)
        return len(found) == 1

    poll_until(equal, _CAUGHT_UP_S, "the members do not become equal")


@dataclass(frozen=True, slots=True)
class _Play:
    scenario: Scenario
    members: int = 1
    flags: Sequence[str] = FLAGS
    prepare: Scenario | None = None
    forced: bool = False
    follower: bool = False


PLAYS = {
    "first-start": _Play(first_start),
    "writes": _Play(writes),
    "maintenance": _Play(maintenance, flags=()),
    "membership": _Play(membership),
    "forced": _Play(forced_start, members=3, prepare=forced, forced=True),
    "lagging": _Play(lagging, members=3, follower=True),
}


def play(name: str, folder: Path, *, bug: str = "none") -> Recorded:
    """Run a scenario and record it. Args: folder is new; bug is one of `bugs.py`, or none."""
    plan = PLAYS[name]
    cluster = new_cluster(NODE, folder, size=plan.members, flags=tuple(plan.flags))
    member = cluster.members[-1]
    root = folder / "disk"
    root.mkdir(parents=True)
    data_dir = root / DATA_DIR
    member.flags = (*plan.flags, f"--data-dir={data_dir}")
    stage = _Stage(cluster, member, Recording(str(root)), bug)
    before: dict[str, bytes | None] = {}
    told_before = 0
    try:
        if plan.prepare is not None:
            plan.prepare(stage)
            before, told_before = content_of(root), len(stage.calls)
            stage.recording.know(root)
        plan.scenario(stage)
    finally:
        cluster.kill()
    own = ids.member_id([member.peer_url], member.token)
    story = Story.begin([ids.member_id([one.peer_url], one.token) for one in cluster.members])
    for call in stage.calls:
        story.add(call)
    found = Recorded(
        name=name,
        recording=stage.recording,
        calls=stage.calls,
        flags=(*_start_flags(member), *plan.flags, *([FORCE] if plan.forced else [])),
        port=member.client_port,
        story=story.alone(own) if plan.forced else story,
        before=before,
        told_before=told_before,
        serves=not plan.follower,
        peer_port=member.peer_port,
    )
    _check(found, root)
    return found


def _start_flags(member: RealMember) -> list[str]:
    """Those that say who it is."""
    kept = ("--name=", "--initial-", "--advertise-client-urls=")
    return [flag for flag in member.command() if flag.startswith(kept)]


def _check(found: Recorded, folder: Path) -> None:
    """The recording, played to its end, is what is really there; and every answer was seen to leave."""
    disk = found.disk()
    for event in found.recording.events:
        disk.apply(event)
    differences = disk.differences(folder)
    assert not differences, f"the recording is not complete: {differences}"
    seen = answered(found.recording.events, found.port)
    if found.serves:
        missing = [call for call in found.calls[found.told_before :] if (call.port, call.stream) not in seen]
        assert not missing, f"answers nobody saw: {missing}"


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """For crash states: in memory where there is room, for thousands of them are written."""
    memory = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="etcdops-power-", dir=memory if memory.is_dir() else None)
