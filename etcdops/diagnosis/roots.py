"""Which cause accounts for which symptom, so that a full disk is one finding and not a wall of lost leaders.

Edges go from a cause to what it makes appear. They are data: groups of slugs, and which group explains which. The graph
has no cycle (tests/diagnosis/test_roots.py); what is explained by anything present is shown under it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

QUORUM = ("quorum-lost", "no-leader", "leader-flapping", "leader-election")
WAITS = ("read-index-timeout", "request-timeout", "lease-revoke-failed", "too-many-requests")
SLOW = ("apply-slow", "slow-range", "compaction-slow", "defrag-stall", "server-overloaded")
UNREACHED = (
    "peer-unreachable",
    "network-overloaded",
    "snapshot-send-failed",
    "client-disconnect-noise",
)
ENDED = ("systemd-unit-failure", "terminated-by-signal", "liveness-restart-loop")
NOT_UP = (*ENDED, "client-disconnect-noise")
AWAY = (
    "peer-connection-refused",
    "peer-io-timeout",
    "peer-no-route",
    "peer-unreachable",
    "network-overloaded",
    "snapshot-send-failed",
)
"""How a dead member looks to the others."""

BROKEN_DISK = ("disk-full", "read-only-filesystem", "filesystem-error")
BROKEN_DATA = (
    "wal-corrupt",
    "db-corrupt",
    "snapshot-db-missing",
    "raft-log-lost",
    "raft-state-out-of-range",
    "corrupt-alarm",
)
WRONG_START = (
    "already-bootstrapped",
    "member-count-unequal",
    "peer-urls-unmatched",
    "initial-cluster-mismatch",
    "name-not-in-initial-cluster",
    "member-removed",
    "duplicate-member-name",
    "datadir-permission",
    "datadir-locked",
    "port-in-use",
    "cannot-assign-address",
    "host-in-listen-url",
    "config-invalid",
    "unsupported-arch",
    "version-downgrade",
    "v2-content-blocks-upgrade",
    "tls-file-error",
    "dns-srv-failure",
    "discovery-token-reused",
    "discovery-full",
    "discovery-unreachable",
    "force-new-cluster-left-on",
)
REACH = ("network-unreachable", "dns-lookup-failed", "peer-no-route", "peer-io-timeout", "peer-connection-refused")
TLS = (
    "tls-expired",
    "tls-unknown-ca",
    "tls-san-mismatch",
    "tls-key-usage",
    "tls-plaintext-mismatch",
    "tls-file-error",
    "tls-bad-certificate",
    "tls-handshake-failed",
)
IDENTITY = (
    "duplicate-cloned-member",
    "cluster-id-mismatch",
    "member-id-mismatch",
    "member-not-found",
    "removed-peer-dialing",
)

_BY_LOAD = (
    *QUORUM,
    *WAITS,
    *SLOW,
    "heartbeat-slow",
    "liveness-restart-loop",
    "network-overloaded",
    "watch-overload",
    "snapshot-slow",
)


def _edges() -> Mapping[str, frozenset[str]]:
    edges: dict[str, set[str]] = {}

    def explain(causes: Iterable[str], *symptoms: str) -> None:
        for cause in causes:
            edges.setdefault(cause, set()).update(set(symptoms) - {cause})

    def chain(*slugs: str) -> None:
        for at, slug in enumerate(slugs):
            explain([slug], *slugs[at + 1 :])

    explain(BROKEN_DISK, *BROKEN_DATA, "disk-slow", "datadir-permission", *_BY_LOAD, *NOT_UP, *UNREACHED)
    chain("filesystem-error", "read-only-filesystem")
    explain(
        ["oom-killed"],
        *QUORUM,
        *WAITS,
        *SLOW,
        "heartbeat-slow",
        *NOT_UP,
        "disk-slow",
        "peer-unreachable",
        "datadir-locked",
    )
    explain(BROKEN_DATA, *QUORUM, *WAITS, *NOT_UP, "peer-unreachable", "join-cluster-unreachable")
    chain("snapshot-db-missing", "db-corrupt", "wal-corrupt")
    explain(["db-corrupt", "wal-corrupt", "snapshot-db-missing"], "snapshot-send-failed")
    chain("raft-log-lost", "raft-state-out-of-range", "wal-corrupt")
    explain(WRONG_START, *QUORUM, *WAITS, *NOT_UP, "peer-unreachable")
    chain("name-not-in-initial-cluster", "initial-cluster-mismatch")
    explain(["dns-srv-failure"], "dns-lookup-failed", "initial-cluster-mismatch", "config-invalid")
    explain(
        ["discovery-token-reused"],
        "duplicate-member-name",
        "already-bootstrapped",
        "discovery-full",
        "discovery-unreachable",
    )
    explain(["already-bootstrapped", "member-removed"], "removed-peer-dialing", "peer-unreachable")
    explain(["member-removed"], "cluster-id-mismatch")
    chain(*IDENTITY)
    explain(IDENTITY, *QUORUM, *WAITS, *UNREACHED, *SLOW)
    explain(["cluster-id-mismatch", "duplicate-cloned-member"], "raft-log-lost")
    explain(["force-new-cluster-left-on"], "cluster-id-mismatch", "member-not-found")
    chain(*TLS)
    # A member that stops to be started with other certificates says for a moment that it knows its peers no more.
    explain(TLS, *QUORUM, *WAITS, *UNREACHED, *SLOW, "liveness-restart-loop", "reconfig-unhealthy", "member-not-found")
    chain("network-unreachable", "dns-lookup-failed", "peer-no-route", "peer-io-timeout")
    explain(["network-unreachable", "dns-lookup-failed"], "discovery-unreachable")
    explain(
        REACH, *QUORUM, *WAITS, *UNREACHED, *SLOW, "reconfig-unhealthy", "learner-not-ready", "liveness-restart-loop"
    )
    # Who died of it says what was to be done; who only could not dial says why. A reason of its own is the cause.
    explain(
        [*TLS, *IDENTITY, *BROKEN_DISK, "network-unreachable", "dns-lookup-failed", "version-incompatible"],
        "join-cluster-unreachable",
    )
    explain(
        ["join-cluster-unreachable"],
        "peer-no-route",
        "peer-io-timeout",
        "peer-connection-refused",
        "peer-unreachable",
        *ENDED,
    )
    explain(
        ["advertise-loopback"],
        *QUORUM,
        *WAITS,
        "peer-connection-refused",
        "peer-unreachable",
        "member-id-mismatch",
        "member-not-found",
        "reconfig-unhealthy",
    )
    explain(["version-incompatible"], *QUORUM, *WAITS, *UNREACHED)
    explain(["quota-exceeded"], "liveness-restart-loop", *WAITS, "disk-slow")
    explain(
        ["peer-unreachable"],
        *QUORUM,
        *WAITS,
        "network-overloaded",
        *SLOW,
        "reconfig-unhealthy",
        "snapshot-send-failed",
    )
    explain(["disk-slow"], *_BY_LOAD)
    explain(
        ["defrag-stall", "compaction-slow"],
        "heartbeat-slow",
        *WAITS,
        "apply-slow",
        "slow-range",
        "server-overloaded",
        "leader-flapping",
        "no-leader",
    )
    explain(
        ["quorum-lost"],
        "no-leader",
        "leader-flapping",
        "leader-election",
        *WAITS,
        *SLOW,
        *ENDED,
        "reconfig-unhealthy",
        "auth-denied",
    )
    explain(
        ["heartbeat-slow"],
        "leader-flapping",
        "no-leader",
        *WAITS,
        "apply-slow",
        "slow-range",
        "server-overloaded",
        "network-overloaded",
    )
    explain(["leader-flapping"], "no-leader", "leader-election", *WAITS, "apply-slow", "slow-range")
    explain(["no-leader"], *WAITS, "apply-slow", "slow-range", "leader-election", "liveness-restart-loop")
    explain(
        ["too-many-requests", "server-overloaded"], "read-index-timeout", "request-timeout", "apply-slow", "slow-range"
    )
    explain(["read-index-timeout"], "slow-range", "request-timeout")
    explain(["slow-range"], "apply-slow")
    explain(["apply-slow"], "request-timeout")
    explain(
        ["too-many-open-files"], *QUORUM, *WAITS, "peer-unreachable", "client-disconnect-noise", "liveness-restart-loop"
    )
    explain(["liveness-restart-loop"], "terminated-by-signal", "systemd-unit-failure")
    explain(["systemd-unit-failure"], "terminated-by-signal")
    explain(["terminated-by-signal"], "leader-election")
    explain(
        ["reconfig-not-enough-started"],
        "reconfig-unhealthy",
        *QUORUM,
        *WAITS,
        "peer-connection-refused",
        "peer-unreachable",
    )
    explain(["auth-token-invalid"], "lease-revoke-failed", "auth-denied")
    explain(["lease-overload"], "lease-revoke-failed")
    return {cause: frozenset(symptoms) for cause, symptoms in edges.items()}


EXPLAINS: Mapping[str, frozenset[str]] = _edges()
"""cause -> the symptoms it accounts for, wherever both are seen."""

ELSEWHERE: Mapping[str, frozenset[str]] = {
    cause: frozenset(AWAY) for cause in (*BROKEN_DISK, "oom-killed", *BROKEN_DATA, *WRONG_START, "systemd-unit-failure")
}
"""cause -> symptoms that other members show because this one is down."""
