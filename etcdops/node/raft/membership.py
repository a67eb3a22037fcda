"""Who is in the group: putting configuration changes and snapshots into force (Raft thesis 4)."""

from __future__ import annotations

from etcdops.ids import NO_MEMBER, LogIndex
from etcdops.node.raft.confchange import Changer, restore
from etcdops.node.raft.describe import describe_conf_state
from etcdops.node.raft.errors import ConfChangeRefused, CoreCorrupt, ProposalDropped
from etcdops.node.raft.proposals import append_proposal, proposal
from etcdops.node.raft.replication import broadcast_append, maybe_commit, send_append
from etcdops.node.raft.roles import Cause
from etcdops.node.raft.state import RaftState
from etcdops.node.raft.types import ConfChange, ConfState, EntryType, NoteLevel, Role, Snapshot


def apply_conf_change(raft: RaftState, change: ConfChange) -> ConfState:
    """Put a committed change into force. Raises: ConfChangeRefused, with nothing changed."""
    config, progress = Changer(raft.tracker, raft.log.last_index()).apply(change)
    raft.tracker.switch(config, progress)
    _act_on_configuration(raft)
    return config.conf_state()


def restore_configuration(raft: RaftState, conf_state: ConfState) -> None:
    """Start over with the configuration of a snapshot or a saved state. Raises: ConfChangeRefused."""
    tracker = raft.new_tracker()
    restore(tracker, raft.log.last_index(), conf_state)
    raft.tracker = tracker
    _act_on_configuration(raft)


def _act_on_configuration(raft: RaftState) -> None:
    """Draw the consequences of a new configuration. Source: etcd-io/raft raft.go, switchToConfig."""
    tracker = raft.tracker
    raft.note(f"{raft.name} switched to configuration {tracker.config}")
    own = tracker.progress.get(raft.id)
    raft.is_learner = own is not None and own.is_learner
    if raft.role is not Role.LEADER:
        return
    if own is None or own.is_learner:
        if raft.config.step_down_on_removal:
            raft.become_follower(raft.term, NO_MEMBER, Cause.REMOVED)
        return
    if maybe_commit(raft):
        broadcast_append(raft)
    else:
        for member, progress in tracker.progress.items():
            if member != raft.id:
                send_append(raft, member, progress, if_empty=False)  # a new member need not wait for a heartbeat
    if raft.transferee not in tracker.config.voters.ids():
        raft.transferee = NO_MEMBER


def install_snapshot(raft: RaftState, snapshot: Snapshot) -> bool:
    """Replace log and configuration by a leader's snapshot, unless it says nothing new. Returns whether it did.

    Source: etcd-io/raft raft.go, restore.
    """
    log, metadata = raft.log, snapshot.metadata
    if metadata.index <= log.committed:
        return False
    state = metadata.conf_state
    # Not `learners_next`: they are among the outgoing voters.
    if raft.id not in (*state.voters, *state.learners, *state.voters_outgoing):
        raft.note(
            f"{raft.name} attempted to restore snapshot but it is not in the ConfState "
            f"{describe_conf_state(state)}; should never happen",
            NoteLevel.WARNING,
        )
        return False
    which = f"snapshot [index: {metadata.index}, term: {metadata.term}]"
    if log.match_term(metadata.index, metadata.term):
        last_term, last_index = log.last_entry_id()
        raft.note(
            f"{raft.name} [commit: {log.committed}, lastindex: {last_index}, lastterm: {last_term}] "
            f"fast-forwarded commit to {which}"
        )
        log.commit_to(metadata.index)
        return False
    tracker = raft.new_tracker()
    try:
        restore(tracker, metadata.index, state)
    except ConfChangeRefused as error:
        raft.note(f"{raft.name} ignored {which}: unable to restore config: {error}", NoteLevel.WARNING)
        return False
    log.restore(snapshot)
    raft.tracker = tracker
    _act_on_configuration(raft)
    last_term, last_index = log.last_entry_id()
    raft.note(f"{raft.name} [commit: {log.committed}, lastindex: {last_index}, lastterm: {last_term}] restored {which}")
    return True


def applied_to(raft: RaftState, index: LogIndex) -> None:
    """The state machine has everything up to `index`; a leader now leaves a joint configuration that asks for it.

    The proposal is dropped while a leader transfer is under way: then either the next leader leaves, or this one does
    with the next entry applied.
    Source: etcd-io/raft raft.go, appliedTo.
    """
    raft.log.applied_to(max(index, raft.log.applied))
    config = raft.tracker.config
    if not config.auto_leave or raft.role is not Role.LEADER or raft.log.applied < raft.pending_conf_index:
        return
    try:
        append_proposal(raft, proposal(raft, EntryType.CONF_CHANGE_V2, (b"",)).entries, ConfChange())
    except ProposalDropped as error:
        raft.note_debug(f"not initiating automatic transition out of joint configuration {config}: {error}")
    else:
        raft.note(f"initiating automatic transition out of joint configuration {config}")


def check_restored(raft: RaftState, conf_state: ConfState) -> None:
    """The configuration that was put into force is the one that was saved. Raises: CoreCorrupt."""
    restored = raft.tracker.config.conf_state()
    if restored != _sorted(conf_state):
        raise CoreCorrupt(
            f"ConfStates not equivalent after sorting: {describe_conf_state(conf_state)} "
            f"and {describe_conf_state(restored)}"
        )


def _sorted(state: ConfState) -> ConfState:
    return ConfState(
        tuple(sorted(state.voters)),
        tuple(sorted(state.learners)),
        tuple(sorted(state.voters_outgoing)),
        tuple(sorted(state.learners_next)),
        state.auto_leave,
    )
