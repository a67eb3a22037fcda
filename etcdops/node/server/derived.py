"""The settings of single parts, derived from the member's configuration."""

from __future__ import annotations

from random import Random

from etcdops.errors import StartRefused
from etcdops.node.api.port import Limits
from etcdops.node.config import Config
from etcdops.node.peer.codec import MalformedMessage, decode_conf_change
from etcdops.node.raft.config import RaftConfig
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.raft.types import ConfChange, Entry
from etcdops.node.server.auto_compaction import AutoCompactor, PeriodicCompactor, RevisionCompactor
from etcdops.node.server.bootstrap import Boot

COMMITTED_BYTES_PER_READY_MAX = 256 * 1024
"""Applied in one turn of the loop: some milliseconds, so that heartbeats are never late because of it."""


def api_limits(config: Config) -> Limits:
    return Limits(
        quota_bytes=config.quota_backend_bytes or 2 * 1024**3,
        max_request_bytes=config.max_request_bytes,
        max_txn_ops=config.max_txn_ops,
        max_learners=config.max_learners,
        strict_reconfig_check=config.strict_reconfig_check,
        host_whitelist=config.host_whitelist,
        cors=config.cors,
        request_timeout_s=config.request_timeout_s,
        election_timeout_s=config.election_timeout_ms / 1000,
        watch_progress_interval_s=config.watch_progress_notify_interval_s or 600.0,
    )


def raft_core(config: Config, boot: Boot, random: Random) -> RaftCore:
    """Raft as it goes on from `boot`. Raises: StartRefused when what was saved contradicts itself."""
    try:
        return RaftCore(raft_config(config, boot), boot.memory, random)
    except CoreCorrupt as error:
        raise StartRefused(
            f"the raft log {boot.raft_log.path} is damaged: {error}",
            cause="a part of it is lost: acknowledged writes may be missing from it",
            hint="move the data directory away, remove this member and add it again so that it gets the data from the "
            "others; if it is the only member, restore a snapshot",
        ) from error


def raft_config(config: Config, boot: Boot) -> RaftConfig:
    return RaftConfig(
        id=boot.member_id,
        election_timeout_ticks=config.election_ticks,
        applied=boot.state.consistent_index,
        pre_vote=config.pre_vote,
        size_max_bytes_committed_per_ready=COMMITTED_BYTES_PER_READY_MAX,
        # As in etcd: it leads until it ends, a second later, so that those who are left hear that it is removed. Who
        # does not would need its vote for the next leader.
        step_down_on_removal=False,
        conf_change_decoder=_decode_change,
    )


def _decode_change(entry: Entry) -> ConfChange | None:
    try:
        return decode_conf_change(entry.type, entry.data).change
    except MalformedMessage:
        return None


def auto_compactor(config: Config, now: float) -> AutoCompactor | None:
    keep = config.auto_compaction()
    if not keep:
        return None
    if config.auto_compaction_mode == "periodic":
        return PeriodicCompactor(float(keep), now)
    return RevisionCompactor(int(keep), now)
