"""In which order endpoints are tried: in turn while they work, those that failed lately last."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Balancer:
    """Spreads requests over endpoints. Knows no network: it is told what worked.

    Args: now - seconds, monotonic. An endpoint that failed less than `PENALTY_S` ago is tried after all others.
    """

    PENALTY_S = 5.0

    def __init__(self, endpoints: Sequence[str], now: Callable[[], float]) -> None:
        self._endpoints = list(endpoints)
        self._failed_at: dict[str, float] = {}
        self._turn = 0
        self._now = now

    def order(self) -> list[str]:
        """All endpoints in the order to try them; the first one changes from call to call."""
        count = len(self._endpoints)
        rotated = [self._endpoints[(self._turn + step) % count] for step in range(count)]
        self._turn = (self._turn + 1) % count
        too_recent = self._now() - self.PENALTY_S
        # A stable sort: among equals the rotation stays.
        return sorted(rotated, key=lambda endpoint: max(self._failed_at.get(endpoint, 0.0) - too_recent, 0.0))

    def succeeded(self, endpoint: str) -> None:
        self._failed_at.pop(endpoint, None)

    def failed(self, endpoint: str) -> None:
        self._failed_at[endpoint] = self._now()
