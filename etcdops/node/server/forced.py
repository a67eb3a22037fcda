"""`--force-new-cluster`: a member goes on alone with what it has, whoever else there was.

Source: etcd server/etcdserver/bootstrap.go, bootstrapRawNodeFromWAL; raft.go, createConfigChangeEnts.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from etcdops.errors import StartRefused
from etcdops.ids import LogIndex, MemberID, format_id
from etcdops.node.member.member import parse_member, promotion_json
from etcdops.node.peer.codec import MalformedMessage, decode_conf_change, encode_conf_change
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeTransition,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    HardState,
)
from etcdops.node.storage.raft_log import LoadedLog, RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)


def force_new_cluster(
    raft_log: RaftLog, loaded: LoadedLog, hard_state: HardState, state: StateStore
) -> tuple[LoadedLog, HardState]:
    """Discard what is not committed, and append the removal of everybody else as if it had been agreed on.

    Source: etcd server/etcdserver/raft.go, createConfigChangeEnts.
    """
    survivor = raft_log.member_id
    committed = _decided(loaded, hard_state.commit, state, survivor)
    kept = [entry for entry in loaded.entries if entry.index <= committed]
    discarded = len(loaded.entries) - len(kept)
    if discarded:
        log.info("discarding uncommitted WAL entries", extra=fields(number_of_uncommitted_entries=discarded))
    index = kept[-1].index if kept else loaded.snapshot.index
    term = hard_state.term
    changes = []
    members = {member: parse_member(text) for member, text in state.members.all().items()}
    own = members.get(survivor)
    if own is None:
        raise StartRefused(
            f"--force-new-cluster: this member ({format_id(survivor)}) is not in its own member list",
            hint="choose another survivor, or restore a snapshot with `etcdops snapshot restore`",
        )
    if own.is_learner:
        # First: the last voter cannot be removed.
        promotion = ConfChangeSingle(ConfChangeType.ADD_NODE, survivor)
        changes.append(ConfChange((promotion,), context=promotion_json(survivor)))
    for gone in sorted({*members, *_conf_members(state, loaded), *_added(kept, state)} - {survivor}):
        changes.append(ConfChange((ConfChangeSingle(ConfChangeType.REMOVE_NODE, gone),)))
    entries = [
        Entry(term, LogIndex(index + 1 + offset), EntryType.CONF_CHANGE, encode_conf_change(0, change))
        for offset, change in enumerate(changes)
    ]
    last = entries[-1].index if entries else index
    forced = HardState(term, hard_state.vote, last)
    raft_log.truncate_after(index)
    raft_log.append(forced, entries, sync=True)
    log.info(
        "forcing restart member",
        extra=fields(
            cluster_id=format_id(raft_log.cluster_id), local_member_id=format_id(survivor), commit_index=int(last)
        ),
    )
    return dataclasses.replace(loaded, hard_state=forced, entries=[*kept, *entries]), forced


def _decided(loaded: LoadedLog, commit: LogIndex, state: StateStore, survivor: MemberID) -> LogIndex:
    """The last entry that is committed, whether the commit index says so or not: it is not synced, and may be behind
    what was acknowledged. A member that is the only voter has committed all that it has written, so forcing a new
    cluster once more loses nothing; up to the entry that adds a second voter.

    etcd trusts the commit index, and may lose writes when the flag is still there at the next start.
    """
    conf = applied_conf_state(loaded, state)
    voters, joint = set(conf.voters), bool(conf.voters_outgoing)
    for entry in loaded.entries:
        if entry.index > commit:
            if joint or voters != {survivor}:
                break
            commit = entry.index
        if entry.index <= state.consistent_index or entry.type is EntryType.NORMAL:
            continue
        try:
            change = decode_conf_change(entry.type, entry.data).change
        except MalformedMessage:
            continue
        joint = joint or len(change.changes) != 1 or change.transition is not ConfChangeTransition.AUTO
        for single in change.changes:
            if single.type is ConfChangeType.ADD_NODE:
                voters.add(single.node_id)
            else:
                voters.discard(single.node_id)
    return commit


def _conf_members(state: StateStore, loaded: LoadedLog) -> set[MemberID]:
    conf = applied_conf_state(loaded, state)
    return {*conf.voters, *conf.learners, *conf.voters_outgoing, *conf.learners_next}


def _added(entries: Iterable[Entry], state: StateStore) -> set[MemberID]:
    """Who joins with entries that are committed, but not in the store yet: after a loss of power it is behind them."""
    added: set[MemberID] = set()
    for entry in entries:
        if entry.index <= state.consistent_index or entry.type is not EntryType.CONF_CHANGE:
            continue
        try:
            _, change = decode_conf_change(entry.type, entry.data)
        except MalformedMessage:
            continue
        added.update(single.node_id for single in change.changes if single.type is not ConfChangeType.REMOVE_NODE)
    return added


def applied_conf_state(loaded: LoadedLog, state: StateStore) -> ConfState:
    """The configuration as of the consistent index: entries at or below it are not handed out again."""
    return state.conf_state or loaded.snapshot.conf_state
