"""A member's flags as the lines of etcd's --config-file, which has types, sections and some keys of its own.

etcd passes over a key it does not know, stops at a value of another type, and has no default for some of what the file
leaves out: all three are avoided here.
Source: etcd server/embed/config.go (Config, configJSON, securityConfig), server/etcdmain/config.go (configProxy) of
every minor version; client/v3/config.go (ConfigSpec).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from etcdops.errors import UsageError
from etcdops.rendering.flags import SWITCHES, Version

Value = str | int | bool | tuple[str, ...]

_NUMBERS = """
auth-token-ttl backend-batch-limit bcrypt-cost bootstrap-defrag-threshold-megabytes compaction-batch-limit
distributed-tracing-sampling-rate election-timeout experimental-bootstrap-defrag-threshold-megabytes
experimental-compaction-batch-limit experimental-distributed-tracing-sampling-rate
experimental-snapshot-catchup-entries heartbeat-interval max-concurrent-streams max-learners max-request-bytes
max-snapshots max-txn-ops max-wals proxy-dial-timeout proxy-failure-wait proxy-read-timeout proxy-refresh-interval
proxy-write-timeout quota-backend-bytes self-signed-cert-validity snapshot-catchup-entries snapshot-count
"""
NUMBERS = frozenset(_NUMBERS.split())
_DURATIONS = """
backend-batch-interval compact-hash-check-time compaction-sleep-interval corrupt-check-time discovery-dial-timeout
discovery-keepalive-time discovery-keepalive-timeout discovery-request-timeout downgrade-check-time
experimental-compact-hash-check-time experimental-compaction-sleep-interval experimental-corrupt-check-time
experimental-downgrade-check-time experimental-warning-apply-duration experimental-warning-unary-request-duration
experimental-watch-progress-notify-interval grpc-keepalive-interval grpc-keepalive-min-time grpc-keepalive-timeout
warning-apply-duration warning-unary-request-duration watch-progress-notify-interval
"""
DURATIONS = frozenset(_DURATIONS.split())
"""Whole nanoseconds in the file: Go's JSON has no words for them."""
_LISTS = """
cipher-suites client-cert-allowed-hostname discovery-endpoints log-output log-outputs peer-cert-allowed-cn
peer-cert-allowed-hostname
"""
LISTS = frozenset(_LISTS.split())
"""Lists in the file. URLs, `cors` and `host-whitelist` stay one string with commas."""

_CLIENT = "client-transport-security"
_PEER = "peer-transport-security"
_SECURITY = ("cert-file", "key-file", "client-cert-file", "client-key-file", "client-cert-auth", "trusted-ca-file")
_DISCOVERY = ("discovery-config", "client")
PLACES: Mapping[str, tuple[str, ...]] = {
    **{name: (_CLIENT, name) for name in (*_SECURITY, "auto-tls")},
    **{f"peer-{name}": (_PEER, name) for name in (*_SECURITY, "auto-tls", "skip-client-san-verification")},
    "client-cert-allowed-hostname": (_CLIENT, "allowed-hostname"),
    "peer-cert-allowed-cn": (_PEER, "allowed-cn"),
    "peer-cert-allowed-hostname": (_PEER, "allowed-hostname"),
    "socket-reuse-port": ("socket-options", "reuse-port"),
    "socket-reuse-address": ("socket-options", "reuse-address"),
    "experimental-snapshot-catchup-entries": ("experimental-snapshot-catch-up-entries",),
    "discovery-token": ("discovery-config", "token"),
    "discovery-endpoints": (*_DISCOVERY, "endpoints"),
    "discovery-dial-timeout": (*_DISCOVERY, "dial-timeout"),
    "discovery-request-timeout": (*_DISCOVERY, "request-timeout"),
    "discovery-keepalive-time": (*_DISCOVERY, "keepalive-time"),
    "discovery-keepalive-timeout": (*_DISCOVERY, "keepalive-timeout"),
    "discovery-cert": (*_DISCOVERY, "secure", "cert"),
    "discovery-key": (*_DISCOVERY, "secure", "key"),
    "discovery-cacert": (*_DISCOVERY, "secure", "cacert"),
    "discovery-insecure-transport": (*_DISCOVERY, "secure", "insecure-transport"),
    "discovery-insecure-skip-tls-verify": (*_DISCOVERY, "secure", "insecure-skip-tls-verify"),
    "discovery-user": (*_DISCOVERY, "auth", "username"),
    "discovery-password": (*_DISCOVERY, "auth", "password"),
}
"""Keys that are not the flag's name, with the sections around them."""

_NEVER = (9, 9, 0)
_SINCE: Mapping[str, tuple[int, int, int]] = {
    **dict.fromkeys(("client-crl-file", "peer-crl-file", "raft-read-timeout", "raft-write-timeout"), _NEVER),
    **dict.fromkeys(("client-cert-allowed-hostname", "peer-cert-allowed-cn", "peer-cert-allowed-hostname"), (3, 5, 14)),
    "experimental-peer-skip-client-san-verification": (3, 6, 0),
}
"""Flags that the file has no word for, or only from a version on."""

DEFAULTS: Mapping[str, tuple[str, str]] = {
    "auto-compaction-mode": ("periodic", ""),
    "enable-grpc-gateway": ("true", ""),
    "tls-min-version": ("TLS1.2", ""),
    "experimental-distributed-tracing-address": ("localhost:4317", "experimental-enable-distributed-tracing"),
    "experimental-distributed-tracing-service-name": ("etcd", "experimental-enable-distributed-tracing"),
}
"""Flag -> (its default, the flag without which it does not count). Before 3.6 only the command line has these
defaults: with a file that says nothing, 3.4 has no gateway, and a retention without a mode ends the member.
Source: the flags of etcd's main packages whose default is not in embed.NewConfig."""

_DEFAULTS_MENDED = (3, 6)

_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_NANOSECONDS = {
    "ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
}  # fmt: skip
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


@dataclass(frozen=True, slots=True)
class Line:
    """`key: value` of the file. No value: a section begins, whose lines are one deeper."""

    depth: int
    key: str
    value: Value | None = None


def config_lines(flags: Mapping[str, str], version: Version) -> tuple[Line, ...]:
    """The file that says what `flags` say.

    Args: flags - by their names without dashes, fitted to `version`.
    Raises: UsageError - a flag that has no place in the file of that version, or a value that is not of its type.
    """
    tree: dict[str, object] = {}
    for name, text in {**flags, **_unsaid(flags, version)}.items():
        if (version.major, version.minor, version.patch) < _SINCE.get(name, (0, 0, 0)):
            raise UsageError(
                f"{name} cannot be written in the config file of etcd {version}: it is only a flag there",
                hint="configure the member by its environment file, or leave the setting out",
            )
        *sections, key = PLACES.get(name, (name,))
        place = tree
        for section in sections:
            inner = place.setdefault(section, {})
            assert isinstance(inner, dict)
            place = inner
        place[key] = typed(name, text)
    return tuple(_lines(tree, 0))


def typed(name: str, text: str) -> Value:
    """A flag's value with the type it has in the file. Raises: UsageError - it is none of that type."""
    for names, read, kind in _KINDS:
        if name in names:
            try:
                return read(text)
            except ValueError:
                raise UsageError(f"{name}={text!r} is not {kind}", hint="change it in the inventory") from None
    return text


def _unsaid(flags: Mapping[str, str], version: Version) -> dict[str, str]:
    return {
        name: default
        for name, (default, needed) in DEFAULTS.items()
        if version.line < _DEFAULTS_MENDED
        and version.has(name)
        and name not in flags
        and (not needed or needed in flags)
    }


def _lines(tree: Mapping[str, object], depth: int) -> Iterator[Line]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield Line(depth, key)
            yield from _lines(value, depth + 1)
        else:
            assert isinstance(value, str | int | tuple)
            yield Line(depth, key, value)


def _number(text: str) -> int:
    return int(text, 0)  # Go reads 0x10 and 1_000 as Python does


def _nanoseconds(text: str) -> int:
    """Source: Go time.ParseDuration."""
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not re.fullmatch(f"(?:{_DURATION.pattern})+", rest):
        raise ValueError(text)
    return sign * int(sum(Fraction(number) * _NANOSECONDS[unit] for number, unit in _DURATION.findall(rest)))


def _switch(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(text)
    return text in _TRUE


def _list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


_KINDS: tuple[tuple[frozenset[str], Callable[[str], Value], str], ...] = (
    (SWITCHES, _switch, "true or false"),
    (NUMBERS, _number, "a whole number"),
    (DURATIONS, _nanoseconds, "a time such as 500ms or 1h30m"),
    (LISTS, _list, "a list"),
)
