"""Every RPC of etcd's v3 API as a value: its path, its messages, and what doing it twice would mean."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


class Effect(enum.Enum):
    """What sending a request a second time does when nobody knows whether the first arrived."""

    READ = "read"
    """Nothing changes: it may be asked again, anywhere."""
    IDEMPOTENT = "idempotent"
    """Twice is the same as once; the answer too."""
    WRITE = "write"
    """Twice is not once: another revision, another lease, another member, or an error although the first one worked."""


@dataclass(frozen=True)  # no slots: Python 3.11 cannot make a frozen, slotted instance through `Method[...]`
class Method(Generic[Request, Response]):
    """One RPC. `effect` holds for any request of it; callers that know better (a read-only txn) say so per call."""

    path: str
    parse: Callable[[bytes], Response]
    effect: Effect
    tolerates_no_token: bool = False
    """Older servers answer it without a token even with auth on, so it is worth asking when no token can be had."""

    @property
    def name(self) -> str:
        """`KV/Put`: short, for messages."""
        return self.path.removeprefix("/etcdserverpb.")


_READ, _IDEMPOTENT, _WRITE = Effect.READ, Effect.IDEMPOTENT, Effect.WRITE
_KV, _LEASE, _CLUSTER = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Cluster/"
_MAINTENANCE, _AUTH = "/etcdserverpb.Maintenance/", "/etcdserverpb.Auth/"

RANGE = Method[pb.RangeRequest, pb.RangeResponse](_KV + "Range", pb.RangeResponse.FromString, _READ)
PUT = Method[pb.PutRequest, pb.PutResponse](_KV + "Put", pb.PutResponse.FromString, _WRITE)
# A second delete finds nothing and says 0 deleted.
DELETE_RANGE = Method[pb.DeleteRangeRequest, pb.DeleteRangeResponse](
    _KV + "DeleteRange", pb.DeleteRangeResponse.FromString, _WRITE
)
TXN = Method[pb.TxnRequest, pb.TxnResponse](_KV + "Txn", pb.TxnResponse.FromString, _WRITE)
# A second compaction at the same revision is refused as compacted.
COMPACT = Method[pb.CompactionRequest, pb.CompactionResponse](_KV + "Compact", pb.CompactionResponse.FromString, _WRITE)

WATCH = Method[pb.WatchRequest, pb.WatchResponse]("/etcdserverpb.Watch/Watch", pb.WatchResponse.FromString, _READ)

LEASE_GRANT = Method[pb.LeaseGrantRequest, pb.LeaseGrantResponse](
    _LEASE + "LeaseGrant", pb.LeaseGrantResponse.FromString, _WRITE
)
LEASE_REVOKE = Method[pb.LeaseRevokeRequest, pb.LeaseRevokeResponse](
    _LEASE + "LeaseRevoke", pb.LeaseRevokeResponse.FromString, _WRITE
)
LEASE_KEEP_ALIVE = Method[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse](
    _LEASE + "LeaseKeepAlive", pb.LeaseKeepAliveResponse.FromString, _IDEMPOTENT
)
LEASE_TIME_TO_LIVE = Method[pb.LeaseTimeToLiveRequest, pb.LeaseTimeToLiveResponse](
    _LEASE + "LeaseTimeToLive", pb.LeaseTimeToLiveResponse.FromString, _READ
)
LEASE_LEASES = Method[pb.LeaseLeasesRequest, pb.LeaseLeasesResponse](
    _LEASE + "LeaseLeases", pb.LeaseLeasesResponse.FromString, _READ
)

MEMBER_LIST = Method[pb.MemberListRequest, pb.MemberListResponse](
    _CLUSTER + "MemberList", pb.MemberListResponse.FromString, _READ, tolerates_no_token=True
)
MEMBER_ADD = Method[pb.MemberAddRequest, pb.MemberAddResponse](
    _CLUSTER + "MemberAdd", pb.MemberAddResponse.FromString, _WRITE
)
MEMBER_REMOVE = Method[pb.MemberRemoveRequest, pb.MemberRemoveResponse](
    _CLUSTER + "MemberRemove", pb.MemberRemoveResponse.FromString, _WRITE
)
MEMBER_UPDATE = Method[pb.MemberUpdateRequest, pb.MemberUpdateResponse](
    _CLUSTER + "MemberUpdate", pb.MemberUpdateResponse.FromString, _IDEMPOTENT
)
MEMBER_PROMOTE = Method[pb.MemberPromoteRequest, pb.MemberPromoteResponse](
    _CLUSTER + "MemberPromote", pb.MemberPromoteResponse.FromString, _WRITE
)

STATUS = Method[pb.StatusRequest, pb.StatusResponse](
    _MAINTENANCE + "Status", pb.StatusResponse.FromString, _READ, tolerates_no_token=True
)
ALARM_GET = Method[pb.AlarmRequest, pb.AlarmResponse](
    _MAINTENANCE + "Alarm", pb.AlarmResponse.FromString, _READ, tolerates_no_token=True
)
ALARM_SET = Method[pb.AlarmRequest, pb.AlarmResponse](_MAINTENANCE + "Alarm", pb.AlarmResponse.FromString, _IDEMPOTENT)
DEFRAGMENT = Method[pb.DefragmentRequest, pb.DefragmentResponse](
    _MAINTENANCE + "Defragment", pb.DefragmentResponse.FromString, _IDEMPOTENT
)
HASH = Method[pb.HashRequest, pb.HashResponse](_MAINTENANCE + "Hash", pb.HashResponse.FromString, _READ)
HASH_KV = Method[pb.HashKVRequest, pb.HashKVResponse](
    _MAINTENANCE + "HashKV", pb.HashKVResponse.FromString, _READ, tolerates_no_token=True
)
SNAPSHOT = Method[pb.SnapshotRequest, pb.SnapshotResponse](
    _MAINTENANCE + "Snapshot", pb.SnapshotResponse.FromString, _READ
)
MOVE_LEADER = Method[pb.MoveLeaderRequest, pb.MoveLeaderResponse](
    _MAINTENANCE + "MoveLeader", pb.MoveLeaderResponse.FromString, _WRITE
)
DOWNGRADE = Method[pb.DowngradeRequest, pb.DowngradeResponse](
    _MAINTENANCE + "Downgrade", pb.DowngradeResponse.FromString, _WRITE
)

AUTHENTICATE = Method[pb.AuthenticateRequest, pb.AuthenticateResponse](
    _AUTH + "Authenticate", pb.AuthenticateResponse.FromString, _IDEMPOTENT
)
AUTH_STATUS = Method[pb.AuthStatusRequest, pb.AuthStatusResponse](
    _AUTH + "AuthStatus", pb.AuthStatusResponse.FromString, _READ
)
AUTH_ENABLE = Method[pb.AuthEnableRequest, pb.AuthEnableResponse](
    _AUTH + "AuthEnable", pb.AuthEnableResponse.FromString, _IDEMPOTENT
)
AUTH_DISABLE = Method[pb.AuthDisableRequest, pb.AuthDisableResponse](
    _AUTH + "AuthDisable", pb.AuthDisableResponse.FromString, _IDEMPOTENT
)
USER_ADD = Method[pb.AuthUserAddRequest, pb.AuthUserAddResponse](
    _AUTH + "UserAdd", pb.AuthUserAddResponse.FromString, _WRITE
)
USER_GET = Method[pb.AuthUserGetRequest, pb.AuthUserGetResponse](
    _AUTH + "UserGet", pb.AuthUserGetResponse.FromString, _READ
)
USER_LIST = Method[pb.AuthUserListRequest, pb.AuthUserListResponse](
    _AUTH + "UserList", pb.AuthUserListResponse.FromString, _READ
)
USER_DELETE = Method[pb.AuthUserDeleteRequest, pb.AuthUserDeleteResponse](
    _AUTH + "UserDelete", pb.AuthUserDeleteResponse.FromString, _WRITE
)
USER_CHANGE_PASSWORD = Method[pb.AuthUserChangePasswordRequest, pb.AuthUserChangePasswordResponse](
    _AUTH + "UserChangePassword", pb.AuthUserChangePasswordResponse.FromString, _IDEMPOTENT
)
USER_GRANT_ROLE = Method[pb.AuthUserGrantRoleRequest, pb.AuthUserGrantRoleResponse](
    _AUTH + "UserGrantRole", pb.AuthUserGrantRoleResponse.FromString, _IDEMPOTENT
)
USER_REVOKE_ROLE = Method[pb.AuthUserRevokeRoleRequest, pb.AuthUserRevokeRoleResponse](
    _AUTH + "UserRevokeRole", pb.AuthUserRevokeRoleResponse.FromString, _WRITE
)
ROLE_ADD = Method[pb.AuthRoleAddRequest, pb.AuthRoleAddResponse](
    _AUTH + "RoleAdd", pb.AuthRoleAddResponse.FromString, _WRITE
)
ROLE_GET = Method[pb.AuthRoleGetRequest, pb.AuthRoleGetResponse](
    _AUTH + "RoleGet", pb.AuthRoleGetResponse.FromString, _READ
)
ROLE_LIST = Method[pb.AuthRoleListRequest, pb.AuthRoleListResponse](
    _AUTH + "RoleList", pb.AuthRoleListResponse.FromString, _READ
)
ROLE_DELETE = Method[pb.AuthRoleDeleteRequest, pb.AuthRoleDeleteResponse](
    _AUTH + "RoleDelete", pb.AuthRoleDeleteResponse.FromString, _WRITE
)
ROLE_GRANT_PERMISSION = Method[pb.AuthRoleGrantPermissionRequest, pb.AuthRoleGrantPermissionResponse](
    _AUTH + "RoleGrantPermission", pb.AuthRoleGrantPermissionResponse.FromString, _IDEMPOTENT
)
ROLE_REVOKE_PERMISSION = Method[pb.AuthRoleRevokePermissionRequest, pb.AuthRoleRevokePermissionResponse](
    _AUTH + "RoleRevokePermission", pb.AuthRoleRevokePermissionResponse.FromString, _WRITE
)
