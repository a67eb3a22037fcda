"""A group of members under everything a network, a power supply and an operator can do, and the promises it must keep.

One step is one small thing: deliver, lose or double a message, let a tick pass, save without sending, kill. After each
step the promises are checked (Raft figure 3):

- election safety: at most one leader in a term;
- log matching: logs that have the same entry have the same entries before it;
- leader completeness: a leader has everything that was committed before its term;
- state machine safety: nobody applies another entry at an index;

and, beyond the paper, that nothing is committed which is not on the disks of a quorum, and that no read misses what was
committed when it was asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from etcdops.ids import LogIndex, MemberID
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.errors import ProposalDropped
from etcdops.node.raft.quorum import JointConfig
from etcdops.node.raft.storage import LogError
from etcdops.node.raft.types import ConfState, Entry, EntryType, Message, Ready, Role
from tests.node.raft.quorum_oracle import decides
from tests.node.raft.world import Member, World, group

CHANGES = ("v4", "l4", "r4", "v5", "l5", "r5", "l3", "v3", "r2 v4", "v2 r4", "r1", "v1", "l1 v5", "v1 v2 v3", "")


class Broken(AssertionError):
    """A promise was not kept."""


class Promises:
    """Everything that was ever seen in the group, and what must not contradict it."""

    def __init__(self) -> None:
        self.leaders: dict[int, MemberID] = {}
        # (index, term) -> the entry, and the term of the one before it.
        self.entries: dict[tuple[int, int], tuple[Entry, int | None]] = {}
        self.committed: dict[int, Entry] = {}
        # index -> the term of the leader that committed it: leaders of later terms have it, one of an earlier term that
        # does not know yet that it is deposed need not.
        self.committed_in: dict[int, int] = {}

    @property
    def commit_index(self) -> int:
        """The highest index that anybody committed."""
        return max(self.committed, default=0)

    def see_leader(self, member: Member) -> None:
        """Somebody leads: nobody else does in this term, and it has everything that was committed before."""
        core = member.core
        if self.leaders.setdefault(core.term, member.id) != member.id:
            raise Broken(f"term {core.term} has two leaders")
        for index, entry in self.committed.items():
            if self.committed_in.get(index, core.term) >= core.term:
                continue
            try:
                term = core._raft.log.term(LogIndex(index))
            except LogError:
                if index >= core._raft.log.first_index():
                    raise Broken(f"leader {member.id} of term {core.term} lacks committed entry {index}") from None
                continue
            if term != entry.term:
                raise Broken(f"leader {member.id} of term {core.term} has another entry at committed index {index}")

    def see_appended(self, entries: Iterable[Entry], term_before: int | None) -> None:
        """Entries are written to some log, after an entry of this term (None: not known)."""
        for entry in entries:
            known, before = self.entries.setdefault((entry.index, entry.term), (entry, term_before))
            if known != entry:
                raise Broken(f"two entries at index {entry.index} of term {entry.term}")
            if None not in (before, term_before) and before != term_before:
                raise Broken(f"logs with the same entry {entry.index} of term {entry.term} differ before it")
            term_before = entry.term

    def see_committed(self, entries: Iterable[Entry]) -> None:
        """Entries are applied, or known to be committed."""
        for entry in entries:
            if self.committed.setdefault(entry.index, entry) != entry:
                raise Broken(f"two entries are committed at index {entry.index}")


class Chaos:
    """Members 1 to 3, two spare ones, and whatever happens to them."""

    def __init__(self, seed: int, *, pre_vote: bool = True, check_quorum: bool = True, changes: bool = True) -> None:
        self.random = random.Random(seed)
        self.promises = Promises()
        self.changes = changes
        self.reads: dict[bytes, int] = {}
        self.proposed = 0
        self.cut: set[frozenset[MemberID]] = set()
        # For each leader and term, how far its commit index was looked at, and its configuration at that time.
        self.looked: dict[tuple[MemberID, int], tuple[int, ConfState]] = {}
        # Saved, but not applied and advanced yet: the moment between the disk and the rest.
        self.saved: dict[MemberID, Ready] = {}

        def settings(config: RaftConfig) -> RaftConfig:
            return replace(
                config,
                pre_vote=pre_vote,
                check_quorum=check_quorum,
                debug_notes=False,
                size_max_bytes_per_message=40,
                size_max_bytes_committed_per_ready=60,
                inflight_messages_max=3,
            )

        self.world: World = group(3, index=1, settings=settings)
        template = self.world.member(1).config
        for number in (4, 5):
            empty = self.world.member(1).log.state._replace(metadata=type(self.world.member(1).log.state.metadata)())
            self.world.add(replace(template, id=MemberID(number)), empty)
        self.actions: list[tuple[int, Callable[[], None]]] = [
            (60, self.deliver),
            (40, self.work),
            (12, self.tick),
            (8, self.propose),
            (6, self.save),
            (4, self.lose),
            (3, self.double),
            (6, self.read),
            (2, self.change),
            (1, self.restart),
            (1, self.die_before_saving),
            (2, self.partition),
            (3, self.heal),
            (1, self.compact),
            (1, self.transfer),
            (1, self.campaign),
            (1, self.forget),
            (1, self.unreachable),
        ]

    def run(self, steps: int) -> None:
        """Let `steps` things happen."""
        weights = [weight for weight, _ in self.actions]
        functions = [function for _, function in self.actions]
        for function in self.random.choices(functions, weights, k=steps):
            function()

    def member(self) -> Member:
        """Any member."""
        return self.random.choice(list(self.world.members.values()))

    def deliver(self) -> None:
        """A message arrives: usually the oldest of its pair, sometimes any."""
        for _ in range(self.random.randrange(1, 6)):
            if not self.world.network:
                return
            position = self.random.randrange(min(len(self.world.network), 4)) if self.random.random() < 0.2 else 0
            message = self.world.network.pop(position)
            if frozenset((message.from_, message.to)) not in self.cut:
                self.step(message)

    def step(self, message: Message) -> None:
        member = self.world.members.get(message.to)
        if member is not None:
            member.core.step(message)
            self.look(member)

    def work(self) -> None:
        """Somebody does what is to be done."""
        self.do_work(self.member())

    def do_work(self, member: Member) -> None:
        ready = self.saved.pop(member.id, None)
        if ready is None:
            ready = self.start(member)
            if ready is None:
                return
            self.write(member, ready)
        self.finish(member, ready)

    def save(self) -> None:
        """Somebody's disk is written, and the rest waits: it may be killed in between."""
        member = self.member()
        if member.id not in self.saved:
            ready = self.start(member)
            if ready is not None:
                self.write(member, ready)
                self.saved[member.id] = ready

    def start(self, member: Member) -> Ready | None:
        ready = member.core.ready()
        if ready is not None:
            self.world.network += ready.messages  # at once, before anything is saved
        return ready

    def write(self, member: Member, ready: Ready) -> None:
        if ready.entries:
            before = ready.entries[0].index - 1
            term_before = None if ready.snapshot else self.term_or_none(member, before)
            self.promises.see_appended(ready.entries, term_before)
        member.save(ready)

    def term_or_none(self, member: Member, index: int) -> int | None:
        try:
            return member.log.term(LogIndex(index))
        except LogError:
            return None

    def finish(self, member: Member, ready: Ready) -> None:
        self.world.network += ready.messages_after_save
        for message in (*ready.messages, *ready.messages_after_save):
            if message.snapshot is not None:
                member.core.report_snapshot(message.to, self.random.random() < 0.8)
        self.promises.see_committed(ready.committed_entries)
        for read in ready.read_states:
            if read.index < self.reads.get(read.context, 0):
                raise Broken(f"the read {read.context!r} at {read.index} misses what was committed")
        member.reads += ready.read_states
        for entry in ready.committed_entries:
            member.apply_entry(entry)
            self.look(member)
        member.core.advance(ready)
        self.look(member)

    def look(self, member: Member) -> None:
        """Check what this member has become."""
        core = member.core
        if core.role is not Role.LEADER:
            return
        self.promises.see_leader(member)
        commit = core.commit_index
        # A new leader knows what was committed before it; it has committed nothing itself.
        before, state = self.looked.get((member.id, core.term), (commit, core.conf_state))
        self.looked[member.id, core.term] = (commit, core.conf_state)
        if commit > before:
            for index in range(commit, before, -1):
                if self.promises.committed_in.setdefault(index, core.term) < core.term:
                    break
            self.see_on_disks(member, commit, state)

    def see_on_disks(self, leader: Member, commit: int, before: ConfState) -> None:
        """What a leader commits is on the disks of a quorum: of its configuration now, or a moment before."""
        try:
            term = leader.core._raft.log.term(LogIndex(commit))
        except LogError:
            return
        holders = [member.id for member in self.world.members.values() if self.holds(member, commit, term)]
        for state in (before, leader.core.conf_state):
            if decides(JointConfig(state.voters, state.voters_outgoing), holders):
                return
        raise Broken(f"index {commit} is committed by {leader.id}, and on the disks of {holders} only")

    def holds(self, member: Member, index: int, term: int) -> bool:
        return member.log.first_index() > index or self.term_or_none(member, index) == term

    def tick(self) -> None:
        """Time passes for somebody, sometimes much."""
        member = self.member()
        for _ in range(self.random.choice((1, 1, 1, 1, 1, 2, 10))):
            member.core.tick()
        self.look(member)

    def propose(self) -> None:
        """Somebody proposes something new."""
        self.proposed += 1
        self.attempt(lambda core: core.core.propose_batch([b"%d;" % self.proposed, b""]))

    def change(self) -> None:
        """Somebody proposes another configuration."""
        if self.changes:
            text = self.random.choice(CHANGES)
            old = len(text.split()) == 1 and self.random.random() < 0.5
            kind = EntryType.CONF_CHANGE if old else EntryType.CONF_CHANGE_V2
            self.attempt(lambda member: member.propose_change(text, kind))

    def attempt(self, propose: Callable[[Member], None]) -> None:
        member = self.member()
        try:
            propose(member)
        except ProposalDropped:
            pass  # nothing of it may ever be seen; the promises do not depend on it
        self.look(member)

    def read(self) -> None:
        """Somebody asks for a read index: it must reach what is committed now."""
        context = b"r%d" % len(self.reads)
        self.reads[context] = self.promises.commit_index
        self.member().core.read_index(context)

    def lose(self) -> None:
        """A message is lost."""
        if self.world.network:
            lost = self.world.network.pop(self.random.randrange(len(self.world.network)))
            if lost.from_ in self.world.members and self.random.random() < 0.5:
                self.world.members[lost.from_].core.report_unreachable(lost.to)

    def double(self) -> None:
        """A message will arrive twice."""
        if self.world.network:
            self.world.network.append(self.random.choice(self.world.network))

    def restart(self) -> None:
        """Somebody is killed, sometimes with the power, and starts again."""
        member = self.member()
        self.saved.pop(member.id, None)
        member.restart(power_lost=self.random.random() < 0.5)

    def die_before_saving(self) -> None:
        """Somebody is killed after it sent what may leave at once, and before it saved anything."""
        member = self.member()
        if self.start(member) is not None:
            member.restart()

    def partition(self) -> None:
        """A pair, or one with everybody, is cut apart; often it is a leader."""
        ids = list(self.world.members)
        leaders = [member.id for member in self.world.members.values() if member.core.role is Role.LEADER]
        one = self.random.choice(leaders if leaders and self.random.random() < 0.5 else ids)
        others = [other for other in ids if other != one]
        for other in others if self.random.random() < 0.5 else [self.random.choice(others)]:
            self.cut.add(frozenset((one, other)))

    def heal(self) -> None:
        """All cuts are mended."""
        self.cut.clear()

    def compact(self) -> None:
        """Somebody drops what it has applied."""
        member = self.member()
        index = member.log.state.metadata.index
        if member.id not in self.saved and member.log.first_index() <= index <= member.log.last_index():
            member.compact(index)

    def transfer(self) -> None:
        """An operator wants another leader."""
        self.member().core.transfer_leader(self.member().id)

    def campaign(self) -> None:
        """Somebody campaigns without need."""
        member = self.member()
        member.core.campaign()
        self.look(member)

    def forget(self) -> None:
        """Somebody forgets its leader."""
        self.member().core.forget_leader()

    def unreachable(self) -> None:
        """A wrong report of a lost message."""
        self.member().core.report_unreachable(self.member().id)

    def recover(self, rounds_max: int = 400) -> None:
        """Everything works again: then the group elects a leader, and commits, everywhere."""
        self.heal()
        mark = b"the end;"
        for _ in range(rounds_max):
            for member in list(self.world.members.values()):
                member.core.tick()
                while member.core.has_ready() or member.id in self.saved:
                    self.do_work(member)
            messages, self.world.network = self.world.network, []
            for message in messages:
                self.step(message)
            leaders = [member for member in self.world.members.values() if member.core.role is Role.LEADER]
            if leaders and not any(mark in member.log.state.data for member in leaders):
                newest = max(leaders, key=lambda member: member.core.term)
                try:
                    newest.core.propose(mark)
                except ProposalDropped:
                    pass  # a transfer is under way
            elif leaders and self.everybody_has(mark, max(leaders, key=lambda member: member.core.term)):
                return
        raise Broken("a group without faults does not come to an agreement")

    def everybody_has(self, mark: bytes, leader: Member) -> bool:
        state = leader.core.conf_state
        ids = (*state.voters, *state.voters_outgoing, *state.learners)
        return all(mark in self.world.members[member].log.state.data for member in ids)
