"""Why a member stopped by itself, and what its operator is told about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from etcdops.errors import EtcdopsError
from etcdops.ids import MemberID, format_id
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.storage.errors import NoSpace
from etcdops.node.zap_log import PANIC, fields

log = logging.getLogger(__name__)


class MemberFailed(EtcdopsError):
    """A running member found that it cannot go on. Nothing that it acknowledged on its own word is lost by ending."""

    code = "member-failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a member stopped by itself. Without an `error` it was removed from the cluster, which is no failure."""

    reason: str
    error: EtcdopsError | None = None


def failure(error: BaseException, member: MemberID, data_dir: Path) -> Ending:
    """Log `error`, once, and put it into words for the operator, with the next step."""
    if isinstance(error, CoreCorrupt):
        log.log(PANIC, str(error))
        return Ending("the raft log contradicts the cluster", _log_lost(error, member, data_dir))
    if isinstance(error, NoSpace):
        hint = "free some space on that file system, then start the member again: nothing acknowledged was lost"
        log.critical("failed to save Raft hard state and entries", extra=fields(error=str(error)))
        return Ending("the disk is full", NoSpace(error.message, cause=error.cause, hint=hint))
    if isinstance(error, EtcdopsError):
        log.critical("failed to save Raft hard state and entries", extra=fields(error=str(error)))
        return Ending("the disk failed", error)
    log.log(PANIC, "internal error", exc_info=error)
    what = f"internal error: {type(error).__name__}: {error}"
    return Ending("an internal error", MemberFailed(what, hint="start the member again, and report its log"))


def _log_lost(error: CoreCorrupt, member: MemberID, data_dir: Path) -> MemberFailed:
    """The words are etcd's: what reads logs knows them."""
    return MemberFailed(
        str(error),
        cause=f"{data_dir} lacks entries that this member acknowledged before: it is an older copy, "
        "or the disk lost what it said it had written",
        hint=f"move {data_dir} away, remove this member (`member remove {format_id(member)}`), add it again, and start "
        "it empty with --initial-cluster-state existing, so that it gets everything from the others",
    )
