"""The Auth service of a member without users and roles: authentication is off and cannot be turned on.

What can be answered truthfully from "there are none" is answered as etcd does; what would create the first user or
role says that it is not available.
Source: etcd server/auth/store.go.
"""

from __future__ import annotations

from functools import partial

from google.protobuf.message import Message

from etcdops.node.api.answer import Answer, Handler, decode
from etcdops.node.api.errors import (
    AUTH_MANAGEMENT_UNIMPLEMENTED,
    AUTH_NOT_ENABLED,
    PERMISSION_NOT_GIVEN,
    ROLE_EMPTY,
    ROLE_NOT_FOUND,
    ROOT_USER_NOT_EXIST,
    USER_EMPTY,
    USER_NOT_FOUND,
    EtcdError,
)
from etcdops.proto import etcdserverpb_pb2 as pb

_AUTH_REVISION = b"\x18\x01"
"""AuthStatusResponse.authRevision of a store nothing was ever changed in."""

Fixed = tuple[type[Message], EtcdError | bytes]

_FIXED: dict[str, Fixed] = {
    "AuthEnable": (pb.AuthEnableRequest, ROOT_USER_NOT_EXIST),
    "AuthDisable": (pb.AuthDisableRequest, b""),
    "AuthStatus": (pb.AuthStatusRequest, _AUTH_REVISION),
    "Authenticate": (pb.AuthenticateRequest, AUTH_NOT_ENABLED),
    "UserGet": (pb.AuthUserGetRequest, USER_NOT_FOUND),
    "UserList": (pb.AuthUserListRequest, b""),
    "UserDelete": (pb.AuthUserDeleteRequest, USER_NOT_FOUND),
    "UserChangePassword": (pb.AuthUserChangePasswordRequest, USER_NOT_FOUND),
    "UserGrantRole": (pb.AuthUserGrantRoleRequest, USER_NOT_FOUND),
    "UserRevokeRole": (pb.AuthUserRevokeRoleRequest, USER_NOT_FOUND),
    "RoleGet": (pb.AuthRoleGetRequest, ROLE_NOT_FOUND),
    "RoleList": (pb.AuthRoleListRequest, b""),
    "RoleDelete": (pb.AuthRoleDeleteRequest, ROLE_NOT_FOUND),
    "RoleRevokePermission": (pb.AuthRoleRevokePermissionRequest, ROLE_NOT_FOUND),
}


def handlers() -> dict[str, Handler]:
    """Every method of etcdserverpb.Auth."""
    fixed: dict[str, Handler] = {
        f"/etcdserverpb.Auth/{name}": partial(_answer_fixed, request_type, result)
        for name, (request_type, result) in _FIXED.items()
    }
    return fixed | {
        "/etcdserverpb.Auth/UserAdd": _user_add,
        "/etcdserverpb.Auth/RoleAdd": _role_add,
        "/etcdserverpb.Auth/RoleGrantPermission": _role_grant_permission,
    }


def _answer_fixed(request_type: type[Message], result: EtcdError | bytes, message: bytes, answer: Answer) -> None:
    decode(request_type, message)
    _finish(answer, result)


def _user_add(message: bytes, answer: Answer) -> None:
    name = decode(pb.AuthUserAddRequest, message).name
    _finish(answer, AUTH_MANAGEMENT_UNIMPLEMENTED if name else USER_EMPTY)


def _role_add(message: bytes, answer: Answer) -> None:
    name = decode(pb.AuthRoleAddRequest, message).name
    _finish(answer, AUTH_MANAGEMENT_UNIMPLEMENTED if name else ROLE_EMPTY)


def _role_grant_permission(message: bytes, answer: Answer) -> None:
    has_permission = decode(pb.AuthRoleGrantPermissionRequest, message).HasField("perm")
    _finish(answer, ROLE_NOT_FOUND if has_permission else PERMISSION_NOT_GIVEN)


def _finish(answer: Answer, result: EtcdError | bytes) -> None:
    if isinstance(result, bytes):
        answer.ok(result)
    else:
        answer.fail(result)
