"""Database images: made for members that lag too far behind, and the reason why the raft log may be cut.

The one rule of this module (reliability of the whole store hangs on it): log entries are dropped only after the store
that contains them was checkpointed with an fsync, because the store itself is not synced per entry.
Source: etcd server/etcdserver/server.go, snapshot and createMergedSnapshotMessage.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from etcdops.ids import LogIndex, MemberID, Term, format_id
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.types import ConfState, Message, SnapshotMetadata
from etcdops.node.server.data_dir import DataDir
from etcdops.node.storage.errors import NoSpace
from etcdops.node.storage.snapshot_copy import SnapshotInfo
from etcdops.node.storage.state import StateStore
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

T = TypeVar("T")

IN_FLIGHT_MAX = 16
"""Images being sent at once. Source: etcd server/etcdserver/server.go, maxInFlightMsgSnap."""

CHECKPOINT_EVERY_S = 30.0
"""How often the store is synced even when the log need not be cut: it bounds what a restart applies again."""

CUT_PAUSE_S = 30.0
"""How long after a member got an image the log is not cut: it needs the entries that follow the image, or it would need
another one, and another one. Source: etcd server/etcdserver/server.go, releaseDelayAfterSnapshot.
"""

RETRY_S = 1.0
"""How long to wait after a checkpoint that failed."""

Background = Callable[[Callable[[], T], Callable[[T | None, BaseException | None], None]], None]


class ImageSender(Protocol):
    """The peer transport's part in this."""

    def send_snapshot(self, message: Message, path: Path) -> None: ...


class LogCutter(Protocol):
    """The log writer's part in this."""

    def record_snapshot(self, metadata: SnapshotMetadata, keep_after: LogIndex, done: Callable[[], None]) -> None: ...


class Images:
    """Makes images of the store in the background, and cuts the raft log behind checkpoints."""

    def __init__(
        self,
        *,
        state: Callable[[], StateStore],
        memory: MemoryLog,
        writer: LogCutter,
        sender: ImageSender,
        directory: DataDir,
        metrics: NodeMetrics,
        run_in_background: Background[SnapshotInfo | LogIndex],
        report_failed: Callable[[MemberID], None],
        storage_failed: Callable[[BaseException], None],
        monotonic: Callable[[], float],
        snapshot_count: int,
        catchup_entries: int,
    ) -> None:
        """Args: snapshot_count applied entries make the log due for a cut; catchup_entries of them stay for followers
        that are only a little behind; report_failed tells raft that a member did not get its image; storage_failed
        hears of a disk that broke."""
        self._state = state
        self._memory = memory
        self._writer = writer
        self._sender = sender
        self._directory = directory
        self._metrics = metrics
        self._run_in_background = run_in_background
        self._report_failed = report_failed
        self._storage_failed = storage_failed
        self._monotonic = monotonic
        self._snapshot_count = snapshot_count
        self._catchup_entries = catchup_entries
        self._sending: dict[MemberID, Path] = {}
        self._checkpointing = False
        self._checkpointed_at = monotonic()
        self._next_try = self._no_cut_before = 0.0
        self._number = 0

    # Out: a member that lags gets an image.

    def send(self, message: Message) -> None:
        """Answer a SNAP message: make an image of the store as it is now, and send it with that index."""
        target = message.to
        state = self._state()
        if target in self._sending or len(self._sending) >= IN_FLIGHT_MAX or not self._committed(state):
            self._report_failed(target)
            return
        self._number += 1
        path = self._directory.snapshots / f"outgoing-{format_id(target)}-{self._number}.tmp"
        self._sending[target] = path
        log.info("sending database snapshot", extra=fields(to=format_id(target), path=str(path)))

        def finished(info: SnapshotInfo | LogIndex | None, error: BaseException | None) -> None:
            if error is not None or not isinstance(info, SnapshotInfo):
                log.warning(
                    "failed to send database snapshot", extra=fields(to=format_id(target), error=str(error or info))
                )
                self.sent(target, False)
                self._report_failed(target)
                return
            metadata = SnapshotMetadata(info.consistent_index, info.consistent_term, info.conf_state or ConfState())
            assert message.snapshot is not None
            self._sender.send_snapshot(message._replace(snapshot=message.snapshot._replace(metadata=metadata)), path)

        self._run_in_background(lambda: state.write_snapshot(path), finished)

    def sent(self, target: MemberID, ok: bool) -> None:
        """The transfer ended, one way or the other: its image is of no more use."""
        if ok:
            self._no_cut_before = self._monotonic() + CUT_PAUSE_S
        path = self._sending.pop(target, None)
        if path is not None:
            path.unlink(missing_ok=True)

    # The log: cut it behind a checkpoint.

    def after_apply(self, applied: LogIndex, term: Term, conf_state: ConfState) -> None:
        """Checkpoint when enough was applied since the last one, or when it was long ago."""
        now = self._monotonic()
        if self._checkpointing or now < self._next_try:
            return
        due = applied - self._memory.snapshot().metadata.index > self._snapshot_count and self._may_cut(now)
        if not due and now - self._checkpointed_at < CHECKPOINT_EVERY_S:
            return
        state = self._state()
        if not self._committed(state):
            self._next_try = now + RETRY_S
            return
        self._checkpointing = True
        metadata = SnapshotMetadata(applied, term, conf_state)
        self._run_in_background(state.checkpoint, lambda index, error: self._checkpointed(metadata, due, index, error))

    def _checkpointed(
        self, metadata: SnapshotMetadata, due: bool, index: SnapshotInfo | LogIndex | None, error: BaseException | None
    ) -> None:
        self._checkpointed_at = self._monotonic()
        if error is not None or not isinstance(index, int):
            self._checkpointing = False
            self._next_try = self._checkpointed_at + RETRY_S
            if error is not None and not isinstance(error, NoSpace | asyncio.CancelledError):
                # After an fsync that failed nothing is known about what is on the disk.
                self._storage_failed(error)
                return
            # The log keeps everything: nothing is lost, only longer.
            log.warning("failed to checkpoint the store", extra=fields(error=str(error)))
            return
        if not due or index < metadata.index or self._memory.snapshot().metadata.index >= metadata.index:
            # Somebody else's snapshot was installed meanwhile, or the store was synced only.
            self._checkpointing = False
            return
        keep_after = LogIndex(max(metadata.index - self._catchup_entries, 0))
        self._writer.record_snapshot(metadata, keep_after, lambda: self._recorded(metadata, keep_after))

    def _may_cut(self, now: float) -> bool:
        return not self._sending and now >= self._no_cut_before

    def _committed(self, state: StateStore) -> bool:
        """Let other connections see everything applied so far. Raises: StorageFailed - not because it is full."""
        try:
            state.commit()
        except NoSpace as error:
            log.warning("failed to commit the store", extra=fields(error=error.message, next=error.hint))
            return False
        return True

    def _recorded(self, metadata: SnapshotMetadata, keep_after: LogIndex) -> None:
        self._checkpointing = False
        if self._memory.snapshot().metadata.index >= metadata.index:
            return
        self._memory.create_snapshot(metadata.index, metadata.conf_state)
        if keep_after >= self._memory.first_index():
            self._memory.compact(keep_after)
        self._directory.release_images(metadata.index)
        log.info("compacted Raft logs", extra=fields(compact_index=int(keep_after)))
