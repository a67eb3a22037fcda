"""A cluster that is only told of: members with what is written, what runs, who leads. It minds what is done to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.client.view import Alarm, ClusterView, HashKV, MemberStatus, MemberView, Silence
from etcdops.errors import EtcdopsError
from etcdops.ids import NO_MEMBER, ClusterID, LogIndex, MemberID, Revision, Term
from etcdops.playbooks.plan import Result
from etcdops.snapshot.facts import SnapshotFacts, SnapshotMember

INDEX = 1000


@dataclass
class FakeMember:
    """One member. `written` and `running` are what its host has and what its process was started with."""

    name: str
    id: MemberID
    written: str = "3.5.16"
    running: str = "3.5.16"
    up: bool = True
    learner: bool = False
    lag: int = 0
    hash: int = 7


@dataclass
class FakeFleet:
    """`done` is everything that was done, in order. Taking a second member away, or one that leads, is a failure."""

    members: list[FakeMember]
    wanted: str = "3.5.16"
    leader: str = "m1"
    alarms: list[Alarm] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    on_restart: Callable[[FakeMember], None] = lambda member: None
    """What happens beside, when one is restarted."""
    v2_data: str = ""
    stored_learners: tuple[MemberID, ...] = ()
    """Voters that are learners still in the list that 3.6 goes by."""
    zombies: list[FakeMember] = field(default_factory=list)
    """Members of that list only."""
    brought: dict[str, list[str]] = field(default_factory=dict)
    looks: int = 0
    heals_after: int = -1
    """After so many looks from now everybody has caught up; -1: nothing changes by itself."""

    @staticmethod
    def of(count: int, *, running: str = "3.5.16", wanted: str = "3.5.16", leader: str = "m1") -> FakeFleet:
        members = [FakeMember(f"m{n}", MemberID(n), running, running) for n in range(1, count + 1)]
        return FakeFleet(members, wanted, leader)

    def __getitem__(self, name: str) -> FakeMember:
        return next(member for member in self.members if member.name == name)

    async def look(self, *, hashes: bool = False) -> ClusterView:
        self.looks += 1
        if self.heals_after >= 0:
            self.heals_after -= 1
            if self.heals_after < 0:
                for member in self.members:
                    member.lag = 0
        return self.view(hashes=hashes)

    def view(self, *, hashes: bool = True) -> ClusterView:
        voters = [member for member in self.members if not member.learner]
        works = 2 * sum(member.up for member in voters) > len(voters)
        if works and not self[self.leader].up:
            self.leader = next(member.name for member in voters if member.up)
        leader = self[self.leader].id if works else NO_MEMBER
        members = tuple(self._seen(member, leader, hashes) for member in self.members)
        return ClusterView(ClusterID(9), members, tuple(self.alarms), serves_linearizable=works)

    def _seen(self, member: FakeMember, leader: MemberID, hashes: bool) -> MemberView:
        applied = LogIndex(INDEX * 10 - member.lag)
        status = MemberStatus(
            member.running, 0, 0, 0, leader, Term(2), LogIndex(INDEX * 10), applied, Revision(4), (), member.learner
        )
        return MemberView(
            id=member.id,
            name=member.name,
            peer_urls=(),
            client_urls=(f"http://{member.name}:2379",),
            is_learner=member.learner,
            started=True,
            endpoint=f"http://{member.name}:2379",
            status=status if member.up else None,
            error="" if member.up else "connection refused",
            silence=Silence.NONE if member.up else Silence.REFUSED,
            hash=HashKV(member.hash, Revision(1), Revision(4)) if hashes and member.up else None,
        )

    async def move_leader(self, leader: MemberView, to: MemberID) -> None:
        assert leader.name == self.leader
        self.leader = next(member.name for member in self.members if member.id == to)
        self.done.append(f"lead {self.leader}")

    async def unwritten(self, member: str) -> list[str]:
        return [] if self[member].written == self.wanted else [f"program: etcd {self.wanted}"]

    async def lacks_program(self, member: str) -> bool:
        return self.wanted not in self.brought.get(member, ())

    async def bring_program(self, member: str) -> None:
        self.brought.setdefault(member, []).append(self.wanted)

    async def write(self, member: str) -> list[str]:
        assert self.wanted in self.brought.get(member, ()), f"{self.wanted} is not on the host of {member}"
        self[member].written = self.wanted
        self.done.append(f"write {member}")
        return [self.wanted]

    async def outdated(self, member: str) -> list[str]:
        one = self[member]
        if not one.up:
            return ["it does not run"]
        return [] if one.running == one.written else [f"runs etcd {one.running}"]

    async def restart(self, member: str) -> None:
        one = self[member]
        others = [m.name for m in self.members if not m.up and m is not one]
        assert not others, f"{member} is restarted while {others} are down"
        assert self.leader != member or len(self.members) == 1, f"{member} is restarted while it leads"
        one.up, one.running = True, one.written
        self.done.append(f"restart {member}")
        self.on_restart(one)

    async def cluster_version(self) -> str:
        lowest = min(member.running for member in self.members)
        return f"{lowest.rpartition('.')[0]}.0"

    async def save(self, path: Path) -> Result:
        if path.exists():
            raise EtcdopsError(f"{path} is there already")
        path.write_bytes(b"snapshot")
        self.done.append("snapshot")
        return {}

    async def stored(self, path: Path) -> SnapshotFacts:
        assert path.read_bytes() == b"snapshot"
        members = tuple(
            SnapshotMember(member.id, member.name, (), (), member.id in self.stored_learners or member.learner)
            for member in [*self.members, *self.zombies]
        )
        return SnapshotFacts(LogIndex(INDEX), Term(2), members=members)

    async def check_v2store(self, member: str) -> str:
        return self.v2_data
