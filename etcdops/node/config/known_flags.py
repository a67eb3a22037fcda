"""Flags etcd has in some release from 3.4 to 3.7 and the node does not act on.

They are accepted, so that a real member's command line or file starts a node, and named at start when they ask for
something else than the default. Supported flags are the fields of `settings.Config`.
"""

from __future__ import annotations

from dataclasses import dataclass

from etcdops.node.config.kinds import BOOL, DURATION, INT64, ORDERED_WORDS, TEXT, UINT, URLS, Kind, choice
from etcdops.node.config.settings import (
    AUTH,
    CLUSTERING,
    EXPERIMENTAL,
    LOGGING,
    MEMBER,
    PROXY,
    TRACING,
    Flag,
)


@dataclass(frozen=True, slots=True)
class KnownFlag:
    """A flag that is read and checked, and has no effect."""

    flag: Flag
    default: object
    secret: bool = False
    refused: str = ""  # why reading over it would harm: it decides which cluster the member belongs to


def _known(
    group: str, kind: Kind[object], default: object, *names: str, secret: bool = False, refused: str = ""
) -> list[KnownFlag]:
    return [KnownFlag(Flag(name, kind, group), default, secret, refused) for name in names]


_NO_DISCOVERY = "list the members in --initial-cluster instead"
_NO_PROXY = "etcd removed its v2 proxy in 3.6; point clients at the members"


_TABLE = [
    *_known(MEMBER, URLS, (), "listen-client-http-urls"),
    *_known(MEMBER, UINT, 5, "max-snapshots", "max-wals"),
    *_known(MEMBER, TEXT, "map", "backend-bbolt-freelist-type", "experimental-backend-bbolt-freelist-type"),
    *_known(MEMBER, BOOL, True, "enable-grpc-gateway"),
    *_known(MEMBER, BOOL, False, "socket-reuse-port", "socket-reuse-address"),
    *_known(MEMBER, DURATION, 5.0, "raft-read-timeout", "raft-write-timeout"),
    *_known(CLUSTERING, TEXT, "", "discovery", "discovery-srv", "discovery-srv-name", refused=_NO_DISCOVERY),
    *_known(CLUSTERING, TEXT, "", "discovery-proxy"),
    *_known(CLUSTERING, choice("proxy", "exit"), "proxy", "discovery-fallback"),
    *_known(CLUSTERING, ORDERED_WORDS, (), "discovery-endpoints", refused=_NO_DISCOVERY),
    *_known(CLUSTERING, TEXT, "", "discovery-token", refused=_NO_DISCOVERY),
    *_known(CLUSTERING, TEXT, "", "discovery-cert", "discovery-key", "discovery-cacert"),
    *_known(CLUSTERING, TEXT, "", "discovery-user", "discovery-password", secret=True),
    *_known(CLUSTERING, DURATION, 2.0, "discovery-dial-timeout", "discovery-keepalive-time"),
    *_known(CLUSTERING, DURATION, 5.0, "discovery-request-timeout"),
    *_known(CLUSTERING, DURATION, 6.0, "discovery-keepalive-timeout"),
    *_known(CLUSTERING, BOOL, True, "discovery-insecure-transport"),
    *_known(CLUSTERING, BOOL, False, "discovery-insecure-skip-tls-verify", "enable-v2"),
    *_known(CLUSTERING, TEXT, "", "v2-deprecation", "experimental-enable-v2v3"),
    *_known(AUTH, TEXT, "simple", "auth-token"),
    *_known(AUTH, UINT, 10, "bcrypt-cost"),
    *_known(AUTH, UINT, 300, "auth-token-ttl"),
    *_known(LOGGING, BOOL, False, "enable-log-rotation", "debug"),
    *_known(
        LOGGING,
        TEXT,
        '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
        "log-rotation-config-json",
    ),
    *_known(LOGGING, TEXT, "", "log-package-levels"),
    *_known(TRACING, BOOL, False, "enable-distributed-tracing", "experimental-enable-distributed-tracing"),
    *_known(TRACING, TEXT, "localhost:4317", "distributed-tracing-address"),
    *_known(TRACING, TEXT, "localhost:4317", "experimental-distributed-tracing-address"),
    *_known(TRACING, TEXT, "etcd", "distributed-tracing-service-name"),
    *_known(TRACING, TEXT, "etcd", "experimental-distributed-tracing-service-name"),
    *_known(TRACING, TEXT, "", "distributed-tracing-instance-id", "experimental-distributed-tracing-instance-id"),
    *_known(TRACING, INT64, 0, "distributed-tracing-sampling-rate", "experimental-distributed-tracing-sampling-rate"),
    *_known(PROXY, choice("off", "readonly", "on"), "off", "proxy", refused=_NO_PROXY),
    *_known(PROXY, UINT, 5000, "proxy-failure-wait", "proxy-write-timeout"),
    *_known(PROXY, UINT, 30000, "proxy-refresh-interval"),
    *_known(PROXY, UINT, 1000, "proxy-dial-timeout"),
    *_known(PROXY, UINT, 0, "proxy-read-timeout"),
    *_known(EXPERIMENTAL, BOOL, False, "memory-mlock", "experimental-memory-mlock"),
    *_known(EXPERIMENTAL, BOOL, True, "experimental-txn-mode-write-with-shared-buffer"),
    *_known(EXPERIMENTAL, BOOL, False, "experimental-stop-grpc-service-on-defrag", "next-cluster-version-compatible"),
    *_known(EXPERIMENTAL, DURATION, 5.0, "downgrade-check-time", "experimental-downgrade-check-time"),
    *_known(EXPERIMENTAL, UINT, 0, "bootstrap-defrag-threshold-megabytes"),
    *_known(EXPERIMENTAL, UINT, 0, "experimental-bootstrap-defrag-threshold-megabytes"),
    *_known(EXPERIMENTAL, BOOL, False, "experimental-set-member-localaddr"),
]

KNOWN_FLAGS: dict[str, KnownFlag] = {known.flag.name: known for known in _TABLE}

IGNORED_FLAGS = frozenset(
    {
        "cluster-active-size",
        "cluster-remove-delay",
        "cluster-sync-interval",
        "config",
        "force",
        "max-result-buffer",
        "max-retry-attempts",
        "peer-heartbeat-interval",
        "peer-election-timeout",
        "retry-interval",
        "snapshot",
        "v",
        "vv",
        "test.coverprofile",
        "test.outputdir",
    }
)
"""Switches of etcd 0.4 and of its own tests that every etcd reads over.

Source: etcd server/etcdmain/config.go, ignored.
"""

FEATURE_GATES: dict[str, str | None] = {
    "InitialCorruptCheck": "initial_corrupt_check",
    "CompactHashCheck": "compact_hash_check_enabled",
    "LeaseCheckpoint": "enable_lease_checkpoint",
    "LeaseCheckpointPersist": "enable_lease_checkpoint_persist",
    "StopGRPCServiceOnDefrag": None,
    "TxnModeWriteWithSharedBuffer": None,
    "SetMemberLocalAddr": None,
    "FastLeaseKeepAlive": None,
    "PriorityRequest": None,
}
"""`--feature-gates` (etcd 3.6 and later) names -> the field of Config they set; None: known, no effect."""

_IN_SECTIONS = {
    "cert-file": "cert-file",
    "key-file": "key-file",
    "client-cert-file": "client-cert-file",
    "client-key-file": "client-key-file",
    "client-cert-auth": "client-cert-auth",
    "trusted-ca-file": "trusted-ca-file",
    "auto-tls": "auto-tls",
    "allowed-cn": "cert-allowed-cn",
    "allowed-hostname": "cert-allowed-hostname",
}

FILE_SECTIONS: dict[str, dict[str, str]] = {
    "client-transport-security": {
        **_IN_SECTIONS,
        "allowed-cn": "client-cert-allowed-cn",
        "allowed-hostname": "client-cert-allowed-hostname",
        "skip-client-san-verification": "",
    },
    "peer-transport-security": {
        **{key: f"peer-{flag}" for key, flag in _IN_SECTIONS.items()},
        "skip-client-san-verification": "experimental-peer-skip-client-san-verification",
    },
}
"""Mappings of a config file that hold TLS settings: what such a section may hold -> the flag it sets, nothing for
what is always so: clients may connect from anywhere.

Source: etcd server/embed/config.go, securityConfig.
"""
