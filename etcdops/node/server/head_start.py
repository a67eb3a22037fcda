"""`--initial-election-tick-advance`: a member that just started need not wait a whole election timeout.

Source: etcd server/etcdserver/server.go, adjustTicks.
"""

from __future__ import annotations

PATIENCE_S = 5.0
"""How long a starting member looks for its peers; after that it waits like everybody."""


class HeadStart:
    """Ticks to skip, once: nearly a whole timeout when there is nobody else, a bit less once peers are connected.

    The rest of the timeout stays, so that a leader who is there has the time to say so.
    """

    def __init__(self, election_ticks: int, now: float, wanted: bool) -> None:
        self._election_ticks = election_ticks
        self._ends_at = now + PATIENCE_S
        self._wanted = wanted

    def ticks(self, now: float, members: int, active_peers: int) -> int:
        """How many ticks to skip now. Args: now is monotonic seconds; members counts those known, oneself included."""
        if not self._wanted:
            return 0
        if now > self._ends_at:
            self._wanted = False
            return 0
        if members == 1:
            skipped = self._election_ticks - 1
        elif active_peers > 1:
            skipped = self._election_ticks - 2
        else:
            return 0
        self._wanted = False
        return skipped
