"""What a member does by the clock: commits, automatic compaction, the cluster version.

`tick` is called once per heartbeat interval and decides from the time what is due.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from etcdops.ids import Revision
from etcdops.node.api.errors import COMPACTED, EtcdError
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_COMPACTION
from etcdops.node.server.auto_compaction import AutoCompactor
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb

log = logging.getLogger(__name__)

COMMIT_EVERY_S = 0.1
COMMIT_STATEMENTS_MAX = 10_000
"""Source: etcd server/mvcc/backend/backend.go, defaultBatchInterval and defaultBatchLimit."""

VERSIONS_EVERY_S = 5.0
"""Source: etcd server/etcdserver/server.go, monitorVersionInterval."""

Propose = Callable[[int, bytes, Callable[[Outcome], None]], None]


class Store(Protocol):
    """What housekeeping needs from the store."""

    @property
    def pending(self) -> int: ...
    def commit(self) -> None: ...


class Housekeeping:
    """The periodic work of one member. Nothing in it waits."""

    def __init__(
        self,
        *,
        store: Callable[[], Store],
        propose: Propose,
        revision: Callable[[], Revision],
        is_leading: Callable[[], bool],
        ask_versions: Callable[[], None],
        cluster_version_known: Callable[[], bool],
        compactor: AutoCompactor | None,
        storage_failed: Callable[[BaseException], None],
        metrics: NodeMetrics,
        monotonic: Callable[[], float],
        commit_every_s: float = COMMIT_EVERY_S,
        commit_statements_max: int = COMMIT_STATEMENTS_MAX,
    ) -> None:
        self._store = store
        self._propose = propose
        self._revision = revision
        self._is_leading = is_leading
        self._ask_versions = ask_versions
        self._cluster_version_known = cluster_version_known
        self._compactor = compactor
        self._storage_failed = storage_failed
        self._metrics = metrics
        self._monotonic = monotonic
        self._commit_every_s = commit_every_s
        self._commit_statements_max = commit_statements_max
        self._next_commit = self._next_versions = 0.0
        self._compacting = False

    def tick(self, now: float) -> None:
        """Do what is due. Args: now is monotonic seconds."""
        self._commit(now)
        leading = self._is_leading()
        if leading:
            self._watch_versions(now)
        self._compact(now, leading)

    def _commit(self, now: float) -> None:
        store = self._store()
        pending = store.pending
        if pending and (now >= self._next_commit or pending >= self._commit_statements_max):
            self._next_commit = now + self._commit_every_s
            started = self._monotonic()
            try:
                store.commit()
            except NoSpace as error:
                # Nothing is lost: the transaction stays open, and the raft log has it all.
                log.error("failed to commit the store", extra=fields(error=error.message, next=error.hint))
                return
            except StorageFailed as error:
                self._storage_failed(error)
                return
            self._metrics.backend_commit_s.observe(self._monotonic() - started)

    def _watch_versions(self, now: float) -> None:
        # Until the cluster has a version it does not offer everything: do not make it wait.
        if now >= self._next_versions or not self._cluster_version_known():
            self._next_versions = now + VERSIONS_EVERY_S
            self._ask_versions()

    def _compact(self, now: float, leading: bool) -> None:
        if self._compactor is None or self._compacting:
            return
        revision = self._compactor.due(now, self._revision(), leading=leading)
        if revision is None:
            return
        self._compacting = True
        log.info("starting auto compaction", extra=fields(revision=int(revision)))
        request = pb.CompactionRequest(revision=revision).SerializeToString()
        self._propose(FIELD_COMPACTION, request, lambda outcome: self._compacted(revision, outcome.error))

    def _compacted(self, revision: Revision, error: EtcdError | None) -> None:
        assert self._compactor is not None
        self._compacting = False
        if error is None or error is COMPACTED:
            self._compactor.finished(self._monotonic(), revision)
            log.info("completed auto compaction", extra=fields(revision=int(revision)))
        else:
            log.warning("failed auto compaction", extra=fields(revision=int(revision), error=error.text))
