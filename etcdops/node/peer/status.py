"""What is known about the link to one peer."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from etcdops.clock import Clock
from etcdops.ids import MemberID, format_id
from etcdops.node.histogram import Histogram, exponential
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)


ROUND_TRIP_BUCKETS_S = tuple(0.0001 * 2**power for power in range(16))
"""0.1 ms to 3 s. Source: etcd server/etcdserver/api/rafthttp/metrics.go, peer_round_trip_time_seconds."""


@dataclass(slots=True)
class PeerStats:
    """Counters behind etcd's etcd_network_* metrics, per peer. They only grow, except those that say otherwise."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_failures: int = 0
    received_failures: int = 0
    disconnected: int = 0
    snapshots_sent: int = 0
    snapshot_send_failures: int = 0
    snapshots_received: int = 0
    snapshot_receive_failures: int = 0
    snapshots_in_flight: int = 0
    """Being sent now: goes up and down."""
    snapshots_arriving: int = 0
    """Being received now: goes up and down."""
    snapshot_sends_s: Histogram = field(default_factory=lambda: exponential(0.1, 10))
    snapshot_receives_s: Histogram = field(default_factory=lambda: exponential(0.1, 10))
    round_trip_s: float = 0.0
    """Smoothed round trip of the probes; 0 before the first answer."""
    round_trips_s: Histogram = field(default_factory=lambda: Histogram(ROUND_TRIP_BUCKETS_S))
    """Of every probe that was answered."""


@dataclass(slots=True)
class SavedImages:
    """Database images that arrived, whoever sent them. Source: etcd server/etcdserver/api/snap/metrics.go."""

    saves_s: Histogram = field(default_factory=lambda: exponential(0.1, 10))
    """From the first byte to the complete file."""
    fsyncs_s: Histogram = field(default_factory=lambda: exponential(0.001, 14))


class PeerStatus:
    """Whether a peer is active: the last thing tried with it worked.

    Source: etcd server/etcdserver/api/rafthttp/peer_status.go.
    """

    def __init__(self, member: MemberID, clock: Clock) -> None:
        self.stats = PeerStats()
        self.active_since: float | None = None
        self._member = member
        self._clock = clock

    @property
    def active(self) -> bool:
        return self.active_since is not None

    def activate(self) -> None:
        """Something worked."""
        if self.active_since is None:
            _logger.info("peer became active", extra=fields(peer_id=format_id(self._member)))
            self.active_since = self._clock.monotonic()

    def deactivate(self, source: str, action: str, reason: object) -> None:
        """Something failed: `action` ("dial", "read", "write", ...) on `source` ("stream Message", "pipeline", ...)."""
        peer = format_id(self._member)
        failure = fields(peer_id=peer, error=f"failed to {action} {peer} on {source} ({reason})")
        if self.active_since is None:
            _logger.debug("peer deactivated again", extra=failure)
            return
        _logger.warning("peer became inactive (message send to peer failed)", extra=failure)
        self.active_since = None
        self.stats.disconnected += 1
