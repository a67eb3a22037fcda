"""Users, roles and authentication itself: thin calls, messages as etcd has them."""

from __future__ import annotations

from etcdops.client import methods
from etcdops.client.caller import Caller
from etcdops.client.kv import Key, key_range
from etcdops.proto import authpb_pb2 as authpb
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.secret import Secret


class Auth:
    """The Auth service. All calls: `timeout` in seconds; errors as `Caller.unary`. Passwords travel as `Secret`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def status(self, *, timeout: float | None = None) -> pb.AuthStatusResponse:
        """Whether authentication is on (3.5 and newer)."""
        return await self._caller.unary(methods.AUTH_STATUS, pb.AuthStatusRequest(), timeout=timeout)

    async def enable(self, *, timeout: float | None = None) -> pb.AuthEnableResponse:
        return await self._caller.unary(methods.AUTH_ENABLE, pb.AuthEnableRequest(), timeout=timeout)

    async def disable(self, *, timeout: float | None = None) -> pb.AuthDisableResponse:
        return await self._caller.unary(methods.AUTH_DISABLE, pb.AuthDisableRequest(), timeout=timeout)

    async def user_add(
        self, name: str, password: Secret | None = None, *, timeout: float | None = None
    ) -> pb.AuthUserAddResponse:
        """Add a user; without a password it can only come by certificate."""
        options = authpb.UserAddOptions(no_password=password is None)
        request = pb.AuthUserAddRequest(name=name, password=password.reveal() if password else "", options=options)
        return await self._caller.unary(methods.USER_ADD, request, timeout=timeout)

    async def user_get(self, name: str, *, timeout: float | None = None) -> pb.AuthUserGetResponse:
        return await self._caller.unary(methods.USER_GET, pb.AuthUserGetRequest(name=name), timeout=timeout)

    async def user_list(self, *, timeout: float | None = None) -> pb.AuthUserListResponse:
        return await self._caller.unary(methods.USER_LIST, pb.AuthUserListRequest(), timeout=timeout)

    async def user_delete(self, name: str, *, timeout: float | None = None) -> pb.AuthUserDeleteResponse:
        return await self._caller.unary(methods.USER_DELETE, pb.AuthUserDeleteRequest(name=name), timeout=timeout)

    async def user_change_password(
        self, name: str, password: Secret, *, timeout: float | None = None
    ) -> pb.AuthUserChangePasswordResponse:
        request = pb.AuthUserChangePasswordRequest(name=name, password=password.reveal())
        return await self._caller.unary(methods.USER_CHANGE_PASSWORD, request, timeout=timeout)

    async def user_grant_role(
        self, user: str, role: str, *, timeout: float | None = None
    ) -> pb.AuthUserGrantRoleResponse:
        request = pb.AuthUserGrantRoleRequest(user=user, role=role)
        return await self._caller.unary(methods.USER_GRANT_ROLE, request, timeout=timeout)

    async def user_revoke_role(
        self, user: str, role: str, *, timeout: float | None = None
    ) -> pb.AuthUserRevokeRoleResponse:
        request = pb.AuthUserRevokeRoleRequest(name=user, role=role)
        return await self._caller.unary(methods.USER_REVOKE_ROLE, request, timeout=timeout)

    async def role_add(self, name: str, *, timeout: float | None = None) -> pb.AuthRoleAddResponse:
        return await self._caller.unary(methods.ROLE_ADD, pb.AuthRoleAddRequest(name=name), timeout=timeout)

    async def role_get(self, name: str, *, timeout: float | None = None) -> pb.AuthRoleGetResponse:
        return await self._caller.unary(methods.ROLE_GET, pb.AuthRoleGetRequest(role=name), timeout=timeout)

    async def role_list(self, *, timeout: float | None = None) -> pb.AuthRoleListResponse:
        return await self._caller.unary(methods.ROLE_LIST, pb.AuthRoleListRequest(), timeout=timeout)

    async def role_delete(self, name: str, *, timeout: float | None = None) -> pb.AuthRoleDeleteResponse:
        return await self._caller.unary(methods.ROLE_DELETE, pb.AuthRoleDeleteRequest(role=name), timeout=timeout)

    async def role_grant_permission(
        self,
        role: str,
        permission: authpb.Permission.Type.ValueType,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        timeout: float | None = None,
    ) -> pb.AuthRoleGrantPermissionResponse:
        start, end = key_range(key, range_end, prefix)
        granted = authpb.Permission(permType=permission, key=start, range_end=end)
        request = pb.AuthRoleGrantPermissionRequest(name=role, perm=granted)
        return await self._caller.unary(methods.ROLE_GRANT_PERMISSION, request, timeout=timeout)

    async def role_revoke_permission(
        self,
        role: str,
        key: Key,
        *,
        range_end: Key | None = None,
        prefix: bool = False,
        timeout: float | None = None,
    ) -> pb.AuthRoleRevokePermissionResponse:
        start, end = key_range(key, range_end, prefix)
        request = pb.AuthRoleRevokePermissionRequest(role=role, key=start, range_end=end)
        return await self._caller.unary(methods.ROLE_REVOKE_PERMISSION, request, timeout=timeout)
