"""Which flags each version of etcd takes, and how a setting is fitted to a version.

etcd refuses to start on a flag it does not know, so nothing is rendered that the target version would refuse. The table
says, for every minor version, the first patch release with the flag.
Source: etcd server/etcdmain/config.go (newConfig) and server/embed/config.go (AddFlags) of every release.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from etcdops.errors import UsageError

MINORS = ((3, 4), (3, 5), (3, 6), (3, 7))
"""The versions we know."""

_EVERYWHERE = """
advertise-client-urls auth-token auto-compaction-mode auto-compaction-retention auto-tls backend-batch-interval
backend-batch-limit bcrypt-cost cert-file cipher-suites client-cert-allowed-hostname client-cert-auth
client-crl-file config-file cors data-dir discovery-fallback discovery-srv discovery-srv-name election-timeout
enable-grpc-gateway enable-pprof force-new-cluster grpc-keepalive-interval grpc-keepalive-min-time
grpc-keepalive-timeout heartbeat-interval host-whitelist initial-advertise-peer-urls initial-cluster
initial-cluster-state initial-cluster-token initial-election-tick-advance key-file listen-client-urls
listen-metrics-urls listen-peer-urls log-level log-outputs logger max-request-bytes max-snapshots max-txn-ops
max-wals metrics name peer-auto-tls peer-cert-allowed-cn peer-cert-allowed-hostname peer-cert-file
peer-client-cert-auth peer-crl-file peer-key-file peer-trusted-ca-file pre-vote quota-backend-bytes snapshot-count
strict-reconfig-check trusted-ca-file wal-dir
"""

_SINCE = """
                                                      3.4  3.5  3.6  3.7
auth-token-ttl                                          10    0    0    0
backend-bbolt-freelist-type                              -    0    0    0
bootstrap-defrag-threshold-megabytes                     -    -    0    0
client-cert-file                                         -    0    0    0
client-key-file                                          -    0    0    0
compact-hash-check-time                                  -    -    0    0
compaction-batch-limit                                   -    -    0    0
compaction-sleep-interval                                -    -    0    0
corrupt-check-time                                       -    -    0    0
debug                                                    0    -    -    -
discovery                                                0    0    0    -
discovery-cacert                                         -    -    0    0
discovery-cert                                           -    -    0    0
discovery-dial-timeout                                   -    -    0    0
discovery-endpoints                                      -    -    0    0
discovery-insecure-skip-tls-verify                       -    -    0    0
discovery-insecure-transport                             -    -    0    0
discovery-keepalive-time                                 -    -    0    0
discovery-keepalive-timeout                              -    -    0    0
discovery-key                                            -    -    0    0
discovery-password                                       -    -    0    0
discovery-proxy                                          0    0    0    -
discovery-request-timeout                                -    -    0    0
discovery-token                                          -    -    0    0
discovery-user                                           -    -    0    0
distributed-tracing-address                              -    -    0    0
distributed-tracing-instance-id                          -    -    0    0
distributed-tracing-sampling-rate                        -    -    0    0
distributed-tracing-service-name                         -    -    0    0
downgrade-check-time                                     -    -    0    0
enable-distributed-tracing                               -    -    0    0
enable-log-rotation                                      -    0    0    0
enable-v2                                                0    0    -    -
experimental-backend-bbolt-freelist-type                 0    -    -    -
experimental-bootstrap-defrag-threshold-megabytes        -    0    0    -
experimental-compact-hash-check-enabled                  -    5    0    -
experimental-compact-hash-check-time                     -    5    0    -
experimental-compaction-batch-limit                      0    0    0    -
experimental-compaction-sleep-interval                   -   16    0    -
experimental-corrupt-check-time                          0    0    0    -
experimental-distributed-tracing-address                 -    0    0    -
experimental-distributed-tracing-instance-id             -    0    0    -
experimental-distributed-tracing-sampling-rate           -   11    0    -
experimental-distributed-tracing-service-name            -    0    0    -
experimental-downgrade-check-time                        -    0    0    -
experimental-enable-distributed-tracing                  -    0    0    -
experimental-enable-lease-checkpoint                     0    0    0    -
experimental-enable-lease-checkpoint-persist            20    2    0    -
experimental-enable-v2v3                                 0    0    -    -
experimental-initial-corrupt-check                       0    0    0    -
experimental-memory-mlock                                -    0    0    -
experimental-peer-skip-client-san-verification           0    0    0    -
experimental-snapshot-catchup-entries                    -   14    0    -
experimental-stop-grpc-service-on-defrag                 -   14    0    -
experimental-txn-mode-write-with-shared-buffer           -    0    0    -
experimental-warning-apply-duration                     16    0    0    -
experimental-warning-unary-request-duration              -    -    0    -
experimental-watch-progress-notify-interval             11    0    0    -
feature-gates                                            -    -    0    0
listen-client-http-urls                                 25    8    0    0
log-format                                               -    -    0    0
log-output                                               0    -    -    -
log-package-levels                                       0    -    -    -
log-rotation-config-json                                 -    0    0    0
max-concurrent-streams                                  20    5    0    0
max-learners                                             -    -    0    0
memory-mlock                                             -    -    0    0
next-cluster-version-compatible                         31    -    -    -
peer-client-cert-file                                    -    0    0    0
peer-client-key-file                                     -    0    0    0
peer-skip-client-san-verification                        -    -    0    0
proxy                                                    0    0    -    -
proxy-dial-timeout                                       0    0    -    -
proxy-failure-wait                                       0    0    -    -
proxy-read-timeout                                       0    0    -    -
proxy-refresh-interval                                   0    0    -    -
proxy-write-timeout                                      0    0    -    -
raft-read-timeout                                        -    0    0    0
raft-write-timeout                                       -    0    0    0
self-signed-cert-validity                                -    0    0    0
snapshot-catchup-entries                                 -    -    0    0
socket-reuse-address                                     -    0    0    0
socket-reuse-port                                        -    0    0    0
tls-max-version                                         25    8    0    0
tls-min-version                                         25    8    0    0
unsafe-no-fsync                                         10    0    0    0
v2-deprecation                                           -    0    0    0
warning-apply-duration                                   -    -    0    0
warning-unary-request-duration                           -    -    0    0
watch-progress-notify-interval                           -    -    0    0
"""

RENAMED: Mapping[str, tuple[str, ...]] = {
    "backend-bbolt-freelist-type": ("experimental-backend-bbolt-freelist-type",),
    "bootstrap-defrag-threshold-megabytes": ("experimental-bootstrap-defrag-threshold-megabytes",),
    "compact-hash-check-time": ("experimental-compact-hash-check-time",),
    "compaction-batch-limit": ("experimental-compaction-batch-limit",),
    "compaction-sleep-interval": ("experimental-compaction-sleep-interval",),
    "corrupt-check-time": ("experimental-corrupt-check-time",),
    "distributed-tracing-address": ("experimental-distributed-tracing-address",),
    "distributed-tracing-instance-id": ("experimental-distributed-tracing-instance-id",),
    "distributed-tracing-sampling-rate": ("experimental-distributed-tracing-sampling-rate",),
    "distributed-tracing-service-name": ("experimental-distributed-tracing-service-name",),
    "downgrade-check-time": ("experimental-downgrade-check-time",),
    "enable-distributed-tracing": ("experimental-enable-distributed-tracing",),
    "memory-mlock": ("experimental-memory-mlock",),
    "peer-skip-client-san-verification": ("experimental-peer-skip-client-san-verification",),
    "snapshot-catchup-entries": ("experimental-snapshot-catchup-entries",),
    "warning-apply-duration": ("experimental-warning-apply-duration",),
    "warning-unary-request-duration": ("experimental-warning-unary-request-duration",),
    "watch-progress-notify-interval": ("experimental-watch-progress-notify-interval",),
    "log-outputs": ("log-output",),
}
"""The name a setting has now -> the names it had before."""

GATES: Mapping[str, str] = {
    "experimental-compact-hash-check-enabled": "CompactHashCheck",
    "experimental-enable-lease-checkpoint": "LeaseCheckpoint",
    "experimental-enable-lease-checkpoint-persist": "LeaseCheckpointPersist",
    "experimental-initial-corrupt-check": "InitialCorruptCheck",
    "experimental-stop-grpc-service-on-defrag": "StopGRPCServiceOnDefrag",
    "experimental-txn-mode-write-with-shared-buffer": "TxnModeWriteWithSharedBuffer",
}
"""Switches that became feature gates in 3.6. Source: etcd server/features/etcd_features.go."""

_SWITCHES = """
auto-tls client-cert-auth debug discovery-insecure-skip-tls-verify discovery-insecure-transport
enable-distributed-tracing enable-grpc-gateway enable-log-rotation enable-pprof enable-v2
experimental-compact-hash-check-enabled experimental-enable-distributed-tracing
experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist
experimental-initial-corrupt-check experimental-memory-mlock experimental-peer-skip-client-san-verification
experimental-stop-grpc-service-on-defrag experimental-txn-mode-write-with-shared-buffer force-new-cluster
initial-election-tick-advance memory-mlock next-cluster-version-compatible peer-auto-tls peer-client-cert-auth
peer-skip-client-san-verification pre-vote socket-reuse-address socket-reuse-port strict-reconfig-check
unsafe-no-fsync version
"""
SWITCHES = frozenset(_SWITCHES.split())
"""Flags that are on without a value; the next argument is never taken for theirs. Source: as the table, BoolVar."""

GATES_FLAG = "feature-gates"
_GATES_SINCE = (3, 6)
_LATEST_PATCH = 1000


def _read_table() -> dict[str, dict[tuple[int, int], int]]:
    table = {name: dict.fromkeys(MINORS, 0) for name in _EVERYWHERE.split()}
    for line in _SINCE.strip().splitlines()[1:]:
        name, *firsts = line.split()
        table[name] = {minor: int(first) for minor, first in zip(MINORS, firsts, strict=True) if first != "-"}
    return table


FLAGS = _read_table()
"""Flag -> minor version -> its first patch release there."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A version of etcd; without a patch, the latest of its minor."""

    major: int
    minor: int
    patch: int = _LATEST_PATCH

    @classmethod
    def parse(cls, text: str) -> Version:
        """`3.5` or `3.5.16`. Raises: UsageError - neither, or a minor version we do not know."""
        match = re.fullmatch(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
        if match is None:
            raise UsageError(f"{text!r} is no version of etcd", hint="write it as 3.5.16 or 3.5")
        found = cls(int(match[1]), int(match[2]), int(match[3]) if match[3] else _LATEST_PATCH)
        if found.line not in MINORS:
            known = ", ".join(f"{major}.{minor}" for major, minor in MINORS)
            raise UsageError(f"etcd {text} is not known here", hint=f"etcdops knows {known}")
        return found

    @property
    def line(self) -> tuple[int, int]:
        return self.major, self.minor

    def has(self, flag: str) -> bool:
        """Whether this version takes the flag."""
        first = FLAGS.get(flag, {}).get(self.line)
        return first is not None and self.patch >= first

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}" + ("" if self.patch == _LATEST_PATCH else f".{self.patch}")


@dataclass(slots=True)
class Fitted:
    """Settings as one version takes them."""

    flags: dict[str, str] = field(default_factory=dict)
    """By etcd's names, without dashes before them."""
    notes: list[str] = field(default_factory=list)
    """What was renamed or left out, and why: a line each."""


def fit(settings: Mapping[str, str], version: Version) -> Fitted:
    """Give every setting the name it has in `version`; leave out what that version has no word for, and say so.

    Raises: UsageError - a name that no version knows, or two settings that are the same thing.
    """
    fitted = Fitted()
    gates: dict[str, str] = {}
    for name, value in settings.items():
        _require_known(name)
        if name == GATES_FLAG:
            gates.update(_gates_of(value))
        elif name in GATES and version.line >= _GATES_SINCE:
            gates[GATES[name]] = value
            fitted.notes.append(f"{name} is the feature gate {GATES[name]} in {version}")
        else:
            _fit_one(name, value, version, fitted)
    if version.line >= _GATES_SINCE:
        if gates:
            fitted.flags[GATES_FLAG] = ",".join(f"{gate}={value}" for gate, value in sorted(gates.items()))
    else:
        flags = {gate: flag for flag, gate in GATES.items()}
        for gate, value in gates.items():
            fitted.notes.append(f"the feature gate {gate} is called {flags.get(gate, 'nothing')} in {version}")
            _fit_one(flags.get(gate, gate), value, version, fitted)
    return fitted


def _fit_one(name: str, value: str, version: Version, fitted: Fitted) -> None:
    taken = next((spelling for spelling in _spellings(name) if version.has(spelling)), None)
    if taken is None:
        where = [f"{major}.{minor}.{first}" for (major, minor), first in FLAGS.get(name, {}).items()]
        known = f"it is there from {', '.join(where)} on" if where else "no version has it"
        fitted.notes.append(f"{name}={value} is left out: etcd {version} does not take it; {known}")
        return
    if taken in fitted.flags and fitted.flags[taken] != value:
        raise UsageError(
            f"two settings are the same flag {taken} of etcd {version}: {fitted.flags[taken]!r} and {value!r}",
            hint="keep one of them",
        )
    if taken != name:
        fitted.notes.append(f"{name} is called {taken} in {version}")
    fitted.flags[taken] = value


def _spellings(name: str) -> tuple[str, ...]:
    """All names of a setting, the one that was asked for first, then the newest."""
    for newest, older in RENAMED.items():
        if name == newest or name in older:
            return tuple(dict.fromkeys((name, newest, *older)))
    return (name,)


def _require_known(name: str) -> None:
    if name not in FLAGS:
        close = difflib.get_close_matches(name, FLAGS, n=1)
        raise UsageError(
            f"no version of etcd has a flag {name}",
            hint=f"did you mean {close[0]}?" if close else "see etcd --help for the names",
        )


def _gates_of(text: str) -> dict[str, str]:
    """`A=true,B=false` as a mapping. Raises: UsageError."""
    found: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        gate, equals, value = part.partition("=")
        if not equals or value not in ("true", "false"):
            raise UsageError(f"{GATES_FLAG}: {part!r} is no gate", hint="write Gate=true,Other=false")
        found[gate] = value
    return found


def variable(flag: str) -> str:
    """The environment variable that etcd reads a flag from. Source: etcd pkg/flags/flag.go, FlagToEnv."""
    return "ETCD_" + flag.upper().replace("-", "_")
