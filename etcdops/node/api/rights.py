"""Who may call what: one row for every RPC the node knows, and nobody for the rest.

A test compares the rows with the services in the .proto files, so a new RPC cannot go live without a decision here.
The user and role management that gives these words their full meaning is not there yet: authentication is off, and
with it off everybody may do everything, as in etcd.
Source: etcd server/etcdserver/api/v3rpc/maintenance.go and member.go (root checks); auth/store.go; apply_auth.go.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Right(enum.Enum):
    """What a caller must have while authentication is on."""

    ANYONE = "no token needed"
    USER = "any valid user"
    KEYS = "the permissions on every key and range in the request, nested transactions included"
    LEASE_KEYS = "the permissions on every key attached to the lease"
    SELF_OR_ROOT = "the user asked about, or root"
    ROOT = "root"


class Kind(enum.Enum):
    """How a method is called; grpc-prometheus's words."""

    UNARY = "unary"
    SERVER_STREAM = "server_stream"
    BIDI_STREAM = "bidi_stream"


@dataclass(frozen=True, slots=True)
class Row:
    """One RPC."""

    right: Right
    kind: Kind = Kind.UNARY
    on_learner: bool = False
    """A learner answers it (Range only when serializable). Source: etcd v3rpc/util.go, isRPCSupportedForLearner."""


RIGHTS: dict[str, Row] = {
    "/etcdserverpb.KV/Range": Row(Right.KEYS, on_learner=True),
    "/etcdserverpb.KV/RangeStream": Row(Right.KEYS, Kind.SERVER_STREAM),
    "/etcdserverpb.KV/Put": Row(Right.KEYS),
    "/etcdserverpb.KV/DeleteRange": Row(Right.KEYS),
    "/etcdserverpb.KV/Txn": Row(Right.KEYS),
    "/etcdserverpb.KV/Compact": Row(Right.ROOT),
    "/etcdserverpb.Watch/Watch": Row(Right.KEYS, Kind.BIDI_STREAM),
    "/etcdserverpb.Lease/LeaseGrant": Row(Right.USER),
    "/etcdserverpb.Lease/LeaseRevoke": Row(Right.LEASE_KEYS),
    "/etcdserverpb.Lease/LeaseKeepAlive": Row(Right.LEASE_KEYS, Kind.BIDI_STREAM),
    "/etcdserverpb.Lease/LeaseTimeToLive": Row(Right.LEASE_KEYS),
    "/etcdserverpb.Lease/LeaseLeases": Row(Right.LEASE_KEYS),
    "/etcdserverpb.Cluster/MemberAdd": Row(Right.ROOT),
    "/etcdserverpb.Cluster/MemberRemove": Row(Right.ROOT),
    "/etcdserverpb.Cluster/MemberUpdate": Row(Right.ROOT),
    "/etcdserverpb.Cluster/MemberList": Row(Right.USER),
    "/etcdserverpb.Cluster/MemberPromote": Row(Right.ROOT),
    "/etcdserverpb.Maintenance/Alarm": Row(Right.ROOT),  # GET: any valid user
    "/etcdserverpb.Maintenance/Status": Row(Right.USER, on_learner=True),
    "/etcdserverpb.Maintenance/Defragment": Row(Right.ROOT),
    "/etcdserverpb.Maintenance/Hash": Row(Right.ROOT),
    "/etcdserverpb.Maintenance/HashKV": Row(Right.ROOT),
    "/etcdserverpb.Maintenance/Snapshot": Row(Right.ROOT, Kind.SERVER_STREAM, on_learner=True),
    "/etcdserverpb.Maintenance/MoveLeader": Row(Right.ROOT),
    "/etcdserverpb.Maintenance/Downgrade": Row(Right.ROOT),
    "/etcdserverpb.Auth/AuthEnable": Row(Right.ROOT),
    "/etcdserverpb.Auth/AuthDisable": Row(Right.ROOT),
    "/etcdserverpb.Auth/AuthStatus": Row(Right.ROOT),
    "/etcdserverpb.Auth/Authenticate": Row(Right.ANYONE),
    "/etcdserverpb.Auth/UserAdd": Row(Right.ROOT),
    "/etcdserverpb.Auth/UserGet": Row(Right.SELF_OR_ROOT),
    "/etcdserverpb.Auth/UserList": Row(Right.ROOT),
    "/etcdserverpb.Auth/UserDelete": Row(Right.ROOT),
    "/etcdserverpb.Auth/UserChangePassword": Row(Right.ROOT),
    "/etcdserverpb.Auth/UserGrantRole": Row(Right.ROOT),
    "/etcdserverpb.Auth/UserRevokeRole": Row(Right.ROOT),
    "/etcdserverpb.Auth/RoleAdd": Row(Right.ROOT),
    "/etcdserverpb.Auth/RoleGet": Row(Right.SELF_OR_ROOT),
    "/etcdserverpb.Auth/RoleList": Row(Right.ROOT),
    "/etcdserverpb.Auth/RoleDelete": Row(Right.ROOT),
    "/etcdserverpb.Auth/RoleGrantPermission": Row(Right.ROOT),
    "/etcdserverpb.Auth/RoleRevokePermission": Row(Right.ROOT),
    "/v3lockpb.Lock/Lock": Row(Right.KEYS),
    "/v3lockpb.Lock/Unlock": Row(Right.KEYS),
    "/v3electionpb.Election/Campaign": Row(Right.KEYS),
    "/v3electionpb.Election/Proclaim": Row(Right.KEYS),
    "/v3electionpb.Election/Leader": Row(Right.KEYS),
    "/v3electionpb.Election/Observe": Row(Right.KEYS, Kind.SERVER_STREAM),
    "/v3electionpb.Election/Resign": Row(Right.KEYS),
    "/grpc.health.v1.Health/Check": Row(Right.ANYONE),
    "/grpc.health.v1.Health/Watch": Row(Right.ANYONE, Kind.SERVER_STREAM),
}
"""By path. A method without a row is not served at all."""
