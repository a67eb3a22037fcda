"""What the log says of requests that failed or took long, in etcd's words. Never a key or a value.

Source: etcd server/etcdserver/util.go, warnOfExpensiveRequest and warnOfFailedRequest.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from etcdops.ids import ClusterID, format_id
from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.node.apply import wire
from etcdops.node.apply.alarms import Alarm
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

SLOW_APPLY_S = 0.1
"""etcd's default of --experimental-warning-apply-duration."""

_KINDS = {
    wire.FIELD_RANGE: "range",
    wire.FIELD_PUT: "put",
    wire.FIELD_DELETE_RANGE: "delete_range",
    wire.FIELD_TXN: "txn",
    wire.FIELD_COMPACTION: "compaction",
    wire.FIELD_LEASE_GRANT: "lease_grant",
    wire.FIELD_LEASE_REVOKE: "lease_revoke",
    wire.FIELD_ALARM: "alarm",
    wire.FIELD_LEASE_CHECKPOINT: "lease_checkpoint",
}

_LOGGED_AS = {
    errors.NO_SPACE: "etcdserver: no space",
    errors.LEASE_NOT_FOUND: "lease not found",
    errors.LEASE_EXISTS: "lease already exists",
    errors.LEASE_TTL_TOO_LARGE: "too large lease TTL",
    errors.FUTURE_REVISION: "mvcc: required revision is a future revision",
}
"""Inside the server etcd's errors have other texts than on the wire; log readers know these."""


def failed(request: wire.InternalRequest, error: EtcdError) -> None:
    """A request had no effect. A compacted revision is not worth a line: compactors race."""
    if error is errors.COMPACTED:
        return
    log.warning(
        "failed to apply request", extra=fields(request=_shown(request), error=_LOGGED_AS.get(error, error.text))
    )


def slow(request: wire.InternalRequest, took_s: float, expected_s: float) -> None:
    """A request blocked everything behind it for longer than it should."""
    log.warning(
        "apply request took too long",
        extra=fields(
            took=timedelta(seconds=took_s),
            expected_duration=timedelta(seconds=expected_s),
            request=_shown(request),
        ),
    )


def alarm_raised(alarm: Alarm) -> None:
    log.warning("alarm raised", extra=fields({"alarm": alarm.type.name, "from": format(alarm.member, "x")}))


def alarm_disarmed(alarm: Alarm) -> None:
    log.warning("alarm disarmed", extra=fields({"alarm": alarm.type.name, "from": format(alarm.member, "x")}))


def _shown(request: wire.InternalRequest) -> str:
    kind = _KINDS.get(request.field, f"field {request.field}")
    return f"header:<ID:{request.request_id} > {kind}:<size:{len(request.request)} >"


def cluster_version(cluster: ClusterID, before: str, now: str) -> None:
    """All agreed on a version to speak. Source: etcd server/etcdserver/api/membership/cluster.go, SetVersion."""
    named: dict[str, object] = {"cluster-id": format_id(cluster)}
    if before:
        log.info("updated cluster version", extra=fields(named | {"from": _minor(before), "to": _minor(now)}))
    else:
        log.info("set initial cluster version", extra=fields(named | {"cluster-version": _minor(now)}))


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
