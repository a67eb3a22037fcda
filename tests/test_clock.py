"""Time as it is shown."""

from __future__ import annotations

from etcdops.clock import rfc3339


def test_times_are_rfc_3339_in_utc() -> None:
    """One shape everywhere: in JSON, beside snapshots, in lines."""
    assert rfc3339(1_800_000_000.1239) == "2027-01-15T08:00:00.123Z"
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339(None) is None
