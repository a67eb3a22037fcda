"""Configuration changes as pure functions: one configuration and its members in, the next one out.

Source: etcd-io/raft confchange/confchange.go and restore.go; Raft thesis 4.1 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from etcdops.ids import NO_MEMBER, LogIndex, MemberID
from etcdops.node.raft.errors import ConfChangeRefused
from etcdops.node.raft.quorum import JointConfig
from etcdops.node.raft.tracker import Progress, ProgressTracker, TrackerConfig
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfState

Changed = tuple[TrackerConfig, dict[MemberID, Progress]]


@dataclass(frozen=True, slots=True)
class Changer:
    """What a change starts from. New members are probed from `last_index` on; nothing in `tracker` is touched.

    Every method raises ConfChangeRefused when the change does not fit.
    """

    tracker: ProgressTracker
    last_index: LogIndex

    def apply(self, change: ConfChange) -> Changed:
        """Make `change` in the way it asks for: leave, enter a joint configuration, or change one voter."""
        if leaves_joint(change):
            return self.leave_joint()
        if enters_joint(change):
            auto_leave = change.transition is not ConfChangeTransition.JOINT_EXPLICIT
            return self.enter_joint(auto_leave, change.changes)
        return self.simple(change.changes)

    def simple(self, changes: Sequence[ConfChangeSingle]) -> Changed:
        """Changes that add or remove at most one voter, so that old and new majorities overlap."""
        config = self.tracker.config
        if config.voters.is_joint:
            raise ConfChangeRefused("can't apply simple config change in joint config")
        draft = self._draft()
        draft.apply(changes)
        if len(draft.incoming.symmetric_difference(config.voters.incoming)) > 1:
            raise ConfChangeRefused("more than one voter changed without entering joint config")
        return draft.finish()

    def enter_joint(self, auto_leave: bool, changes: Sequence[ConfChangeSingle]) -> Changed:
        """Any changes, with the old voters kept as the outgoing half that must agree too."""
        config = self.tracker.config
        if config.voters.is_joint:
            raise ConfChangeRefused("config is already joint")
        if not config.voters.incoming:
            raise ConfChangeRefused("can't make a zero-voter config joint")
        draft = self._draft()
        draft.outgoing = set(draft.incoming)
        draft.apply(changes)
        draft.auto_leave = auto_leave
        return draft.finish()

    def leave_joint(self) -> Changed:
        """The incoming half decides alone; those who are in neither half nor learners are forgotten."""
        if not self.tracker.config.voters.is_joint:
            raise ConfChangeRefused("can't leave a non-joint config")
        draft = self._draft()
        for member in draft.learners_next:
            draft.progress[member].is_learner = True
        draft.learners |= draft.learners_next
        draft.learners_next = set()
        for member in draft.outgoing - draft.incoming - draft.learners:
            draft.progress.pop(member, None)
        draft.outgoing = set()
        draft.auto_leave = False
        return draft.finish()

    def _draft(self) -> _Draft:
        config = self.tracker.config
        draft = _Draft(
            tracker=self.tracker,
            last_index=self.last_index,
            incoming=set(config.voters.incoming),
            outgoing=set(config.voters.outgoing),
            learners=set(config.learners),
            learners_next=set(config.learners_next),
            auto_leave=config.auto_leave,
            progress={member: seen.clone() for member, seen in self.tracker.progress.items()},
        )
        _check_invariants(draft.config(), draft.progress)
        return draft


@dataclass(slots=True)
class _Draft:
    """A configuration that is being changed."""

    tracker: ProgressTracker
    last_index: LogIndex
    incoming: set[MemberID]
    outgoing: set[MemberID]
    learners: set[MemberID]
    learners_next: set[MemberID]
    auto_leave: bool
    progress: dict[MemberID, Progress]

    def apply(self, changes: Sequence[ConfChangeSingle]) -> None:
        """Make the changes one after the other, to the incoming half."""
        for change in changes:
            if change.node_id == NO_MEMBER:
                continue  # how etcd marks a change that it refused after it was committed
            if change.type is ConfChangeType.ADD_NODE:
                self._make_voter(change.node_id)
            elif change.type is ConfChangeType.ADD_LEARNER_NODE:
                self._make_learner(change.node_id)
            elif change.type is ConfChangeType.REMOVE_NODE:
                self._remove(change.node_id)
        if not self.incoming:
            raise ConfChangeRefused("removed all voters")

    def finish(self) -> Changed:
        """The result, checked."""
        config = self.config()
        _check_invariants(config, self.progress)
        return config, self.progress

    def config(self) -> TrackerConfig:
        """The draft as a value."""
        voters = JointConfig(_ordered(self.incoming), _ordered(self.outgoing))
        return TrackerConfig(voters, _ordered(self.learners), _ordered(self.learners_next), self.auto_leave)

    def _make_voter(self, member: MemberID) -> None:
        known = self.progress.get(member)
        self.incoming.add(member)
        if known is None:
            self._add_progress(member, is_learner=False)
            return
        known.is_learner = False
        self.learners.discard(member)
        self.learners_next.discard(member)

    def _make_learner(self, member: MemberID) -> None:
        known = self.progress.get(member)
        if known is None:
            self.learners.add(member)
            self._add_progress(member, is_learner=True)
            return
        if known.is_learner:
            return
        self._remove(member)
        self.progress[member] = known
        if member in self.outgoing:
            # Still a voter of the outgoing half: it becomes a learner when that half is left.
            self.learners_next.add(member)
        else:
            known.is_learner = True
            self.learners.add(member)

    def _remove(self, member: MemberID) -> None:
        if member not in self.progress:
            return
        self.incoming.discard(member)
        self.learners.discard(member)
        self.learners_next.discard(member)
        if member not in self.outgoing:
            del self.progress[member]

    def _add_progress(self, member: MemberID, *, is_learner: bool) -> None:
        self.progress[member] = Progress(
            next=LogIndex(max(self.last_index, 1)),
            inflights=self.tracker.new_inflights(),
            match=LogIndex(0),
            is_learner=is_learner,
            # Else check-quorum could depose the leader before a new member had the time to say anything.
            recent_active=True,
        )


def leaves_joint(change: ConfChange) -> bool:
    """Whether `change` asks to leave a joint configuration: it says nothing at all."""
    return not change.changes and change.transition is ConfChangeTransition.AUTO


def enters_joint(change: ConfChange) -> bool:
    """Whether `change` needs a joint configuration: more than one member, or because it says so."""
    return change.transition is not ConfChangeTransition.AUTO or len(change.changes) > 1


def restore(tracker: ProgressTracker, last_index: LogIndex, conf_state: ConfState) -> None:
    """Fill an empty `tracker` with the configuration that a snapshot or a saved state describes.

    The outgoing voters are added first and then replaced in one joint change, which is how they came about.
    Raises: ConfChangeRefused when `conf_state` describes no possible configuration.
    """
    incoming = [
        *_singles(ConfChangeType.REMOVE_NODE, conf_state.voters_outgoing),
        *_singles(ConfChangeType.ADD_NODE, conf_state.voters),
        *_singles(ConfChangeType.ADD_LEARNER_NODE, conf_state.learners),
        *_singles(ConfChangeType.ADD_LEARNER_NODE, conf_state.learners_next),
    ]
    outgoing = _singles(ConfChangeType.ADD_NODE, conf_state.voters_outgoing)
    for change in outgoing or incoming:
        tracker.switch(*Changer(tracker, last_index).simple((change,)))
    if outgoing:
        tracker.switch(*Changer(tracker, last_index).enter_joint(conf_state.auto_leave, incoming))


def _singles(kind: ConfChangeType, members: Iterable[MemberID]) -> list[ConfChangeSingle]:
    return [ConfChangeSingle(kind, member) for member in members]


def _ordered(members: set[MemberID]) -> tuple[MemberID, ...]:
    return tuple(sorted(members))


def _check_invariants(config: TrackerConfig, progress: Mapping[MemberID, Progress]) -> None:
    """Refuse a configuration that contradicts itself. Source: confchange.go, checkInvariants."""
    voters = config.voters
    for member in (*voters.ids(), *config.learners, *config.learners_next):
        if member not in progress:
            raise ConfChangeRefused(f"no progress for {member}")
    for member in config.learners_next:
        if member not in voters.outgoing:
            raise ConfChangeRefused(f"{member} is in LearnersNext, but not Voters[1]")
        if progress[member].is_learner:
            raise ConfChangeRefused(f"{member} is in LearnersNext, but is already marked as learner")
    for member in config.learners:
        if member in voters.outgoing:
            raise ConfChangeRefused(f"{member} is in Learners and Voters[1]")
        if member in voters.incoming:
            raise ConfChangeRefused(f"{member} is in Learners and Voters[0]")
        if not progress[member].is_learner:
            raise ConfChangeRefused(f"{member} is in Learners, but is not marked as learner")
    if not voters.is_joint and config.learners_next:
        raise ConfChangeRefused("LearnersNext must be empty when not joint")
    if not voters.is_joint and config.auto_leave:
        raise ConfChangeRefused("AutoLeave must be false when not joint")
