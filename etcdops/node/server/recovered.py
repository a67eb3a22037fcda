"""The state side of a member: everything that is rebuilt from `state.db`, at the start and after a received
snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from etcdops.clock import Clock
from etcdops.ids import ClusterID
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.api.port import TimerHandle
from etcdops.node.apply.alarms import Alarms
from etcdops.node.apply.applier import Applier
from etcdops.node.apply.quota import Quota
from etcdops.node.lease.lessor import Lessor
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.state import StateStore
from etcdops.node.watch.hub import WatchHub


class Recovered:
    """The store and what lives on it in memory. `replace` gives all of them another store; only `state` is a new
    object.
    """

    def __init__(
        self,
        state: StateStore,
        cluster_id: ClusterID,
        *,
        clock: Clock,
        metrics: NodeMetrics,
        quota_bytes: int,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], TimerHandle],
        storage_failed: Callable[[StorageFailed], None],
    ) -> None:
        self.state = state
        self.members = MemberRegistry(cluster_id, state.members)
        self.lessor = Lessor(state.leases, clock)
        self.alarms = Alarms(state.alarms)
        self.hub = WatchHub(state.mvcc, call_soon)
        self.applier = Applier(
            state,
            lessor=self.lessor,
            hub=self.hub,
            members=self.members,
            alarms=self.alarms,
            quota=Quota(quota_bytes, lambda: self.state.size_bytes),
            metrics=metrics,
            call_later=call_later,
            on_storage_failure=storage_failed,
        )
        self.applier.recover(state)

    def replace(self, image: Path) -> None:
        """Become the state of a received image, which is moved into place. Raises: StartRefused, StorageFailed."""
        self.state.abandon()
        StateStore.install(image, self.state.path)
        self.state = StateStore.open(self.state.path, create=False)
        self.applier.recover(self.state)
