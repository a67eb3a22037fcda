"""Auth with no users: what etcd would say of an empty store, and a clear word for the rest."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.proto import authpb_pb2 as authpb
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.fakes.calls import Api
from tests.node.api.refusals import refused


def ask(api: Api, name: str, request: Message) -> pb.AuthStatusResponse:
    return api.call(f"/etcdserverpb.Auth/{name}", request, pb.AuthStatusResponse)


def test_authentication_is_off(api: Api) -> None:
    """A04, A06, H12: turning it off again is fine, the KV revision stays, the auth revision starts at 1."""
    status = ask(api, "AuthStatus", pb.AuthStatusRequest())
    assert (status.enabled, status.authRevision, status.header.revision) == (False, 1, 1)
    assert ask(api, "AuthDisable", pb.AuthDisableRequest()).header.revision == 1
    for name, request in (("UserList", pb.AuthUserListRequest()), ("RoleList", pb.AuthRoleListRequest())):
        assert ask(api, name, request).HasField("header")


@pytest.mark.parametrize(
    ("name", "request_", "error"),
    [
        ("AuthEnable", pb.AuthEnableRequest(), errors.ROOT_USER_NOT_EXIST),
        ("Authenticate", pb.AuthenticateRequest(name="root", password="x"), errors.AUTH_NOT_ENABLED),
        ("UserAdd", pb.AuthUserAddRequest(), errors.USER_EMPTY),
        ("UserAdd", pb.AuthUserAddRequest(name="a"), errors.AUTH_MANAGEMENT_UNIMPLEMENTED),
        ("UserGet", pb.AuthUserGetRequest(name="a"), errors.USER_NOT_FOUND),
        ("UserDelete", pb.AuthUserDeleteRequest(name="a"), errors.USER_NOT_FOUND),
        ("UserChangePassword", pb.AuthUserChangePasswordRequest(name="a"), errors.USER_NOT_FOUND),
        ("UserGrantRole", pb.AuthUserGrantRoleRequest(user="a", role="b"), errors.USER_NOT_FOUND),
        ("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="a", role="b"), errors.USER_NOT_FOUND),
        ("RoleAdd", pb.AuthRoleAddRequest(), errors.ROLE_EMPTY),
        ("RoleAdd", pb.AuthRoleAddRequest(name="a"), errors.AUTH_MANAGEMENT_UNIMPLEMENTED),
        ("RoleGet", pb.AuthRoleGetRequest(role="a"), errors.ROLE_NOT_FOUND),
        ("RoleDelete", pb.AuthRoleDeleteRequest(role="a"), errors.ROLE_NOT_FOUND),
        ("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="a"), errors.PERMISSION_NOT_GIVEN),
        (
            "RoleGrantPermission",
            pb.AuthRoleGrantPermissionRequest(name="a", perm=authpb.Permission(key=b"k")),
            errors.ROLE_NOT_FOUND,
        ),
        ("RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role="a"), errors.ROLE_NOT_FOUND),
    ],
)
def test_what_an_empty_store_answers(api: Api, name: str, request_: Message, error: EtcdError) -> None:
    """A01, A07, A11, A14, A19, A20, A23, A24, A27, A31, A32."""
    with refused(error):
        ask(api, name, request_)
