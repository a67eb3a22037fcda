"""What a client may not do to a server: ping too often, or make it work for nothing. Pure: time is an argument."""

from __future__ import annotations

_PING_STRIKES_MAX = 2
_IDLE_PING_INTERVAL_S = 7200.0  # with no call open, pings are welcome this often


class PingPolicy:
    """Counts pings that come too soon; sending data forgives them, so that bandwidth probes are no offence.

    Source: grpc-go internal/transport/http2_server.go, http2Server.handlePing (without PermitWithoutStream, as etcd).
    """

    __slots__ = ("_interval_min_s", "_last", "_strikes", "forgiven")

    def __init__(self, interval_min_s: float) -> None:
        self._interval_min_s = interval_min_s
        self._last = float("-inf")
        self._strikes = 0
        self.forgiven = False
        """Set by the owner whenever it sends headers or data."""

    def on_ping(self, now: float, *, calls_open: bool) -> bool:
        """Returns: whether this ping is one too many."""
        last, self._last = self._last, now
        if self.forgiven:
            self.forgiven = False
            self._strikes = 0
            return False
        interval = self._interval_min_s if calls_open else _IDLE_PING_INTERVAL_S
        if now - last < interval:
            self._strikes += 1
        return self._strikes > _PING_STRIKES_MAX


class Keepalive:
    """When to ask a silent client whether it is still there, and when to give it up.

    Source: grpc-go internal/transport/http2_server.go, http2Server.keepalive.
    """

    __slots__ = ("_interval_s", "_pinged_at", "_quiet_since", "_timeout_s", "heard")

    def __init__(self, interval_s: float, timeout_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._quiet_since = now
        self._pinged_at: float | None = None
        self.heard = False
        """Set by the owner whenever bytes arrive."""

    def tick(self, now: float) -> str:
        """Returns: `ping` - send one now; `dead` - close the connection; empty - nothing to do."""
        if self.heard:
            self.heard = False
            self._quiet_since = now
            self._pinged_at = None
            return ""
        if self._pinged_at is not None:
            return "dead" if self._timeout_s and now - self._pinged_at >= self._timeout_s else ""
        if self._interval_s and now - self._quiet_since >= self._interval_s:
            self._pinged_at = now
            return "ping"
        return ""


class Allowance:
    """So many at once, so many a second after that."""

    __slots__ = ("_burst", "_left", "_per_s", "_updated")

    def __init__(self, burst: int, per_s: float, now: float) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._left = float(burst)
        self._updated = now

    def spend(self, now: float) -> bool:
        """Use one. Returns: whether there was one."""
        self._left = min(self._burst, self._left + (now - self._updated) * self._per_s)
        self._updated = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
