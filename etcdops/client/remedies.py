"""What to do about a reason not to be let in, one place for errors and findings alike. Pure."""

from __future__ import annotations

from etcdops.wording import Texts

_USER = Texts(
    "authentication is on: give --user NAME and --password-file FILE",
    "集群已启用认证：请用 --user NAME 与 --password-file FILE 提供凭据",
)
_CHECK = Texts(
    "check --user and the password",
    "检查 --user 与密码",
)
_ROLE = Texts(
    "use a user whose roles grant this, or root",
    "使用有此权限的用户，或 root",
)
_LOGIN = Texts(
    "log in again: give --user and --password-file",
    "重新登录：提供 --user 与 --password-file",
)
_CERT = Texts(
    "give --cert and --key, signed by the member's authority",
    "提供由该成员信任的 CA 签发的 --cert 与 --key",
)
_AUTHORITY = Texts(
    "give a --cert signed by an authority in the member's --trusted-ca-file",
    "提供由该成员 --trusted-ca-file 中某个 CA 签发的 --cert",
)
_RENEW = Texts(
    "renew the client certificate that --cert names",
    "更新 --cert 指定的客户端证书",
)
_RENEW_THERE = Texts(
    "renew it on the member; --insecure-skip-tls-verify connects meanwhile",
    "在该成员上更新证书；其间可用 --insecure-skip-tls-verify 连接",
)
_CLOCKS = Texts(
    "check the clocks of this machine and of the member",
    "检查本机与该成员的时钟",
)
_NAME = Texts(
    "give a name that its certificate carries: as the host in --endpoints, or with --server-name",
    "使用其证书中包含的名称：写在 --endpoints 中，或用 --server-name 指定",
)
_CACERT = Texts(
    "give the certificate of the authority that signed it with --cacert",
    "用 --cacert 提供签发该证书的 CA 证书",
)
_HTTPS = Texts(
    "write https:// in --endpoints, and --cacert FILE if the members' authority is your own",
    "在 --endpoints 中使用 https://；若为自建 CA，再加 --cacert FILE",
)
_HTTP = Texts(
    "write http:// in --endpoints: this port does not speak TLS",
    "在 --endpoints 中使用 http://：该端口未启用 TLS",
)

# First match wins: a part of the reason as it is shown, and the step that ends it.
_REMEDIES: tuple[tuple[str, Texts], ...] = (
    ("user name is empty", _USER),
    ("invalid user ID or password", _CHECK),
    ("permission denied", _ROLE),
    ("invalid auth token", _LOGIN),
    ("wants a client certificate", _CERT),
    ("does not accept our client certificate", _CERT),
    ("does not trust the authority of our", _AUTHORITY),
    ("our client certificate has expired", _RENEW),
    ("not accepted: certificate has expired", _RENEW_THERE),
    ("not accepted: certificate is not yet valid", _CLOCKS),
    ("not valid for", _NAME),
    ("for other names", _NAME),
    ("its certificate is not accepted", _CACERT),
    ("wants TLS", _HTTPS),
    ("plain text", _HTTP),
)


def find_remedy(reason: str) -> Texts | None:
    """The next step for a reason such as `TLS: our client certificate has expired: renew --cert`; None = none known."""
    return next((step for part, step in _REMEDIES if part in reason), None)


def remedy(reason: str) -> str:
    """The same in English; "" = none known."""
    found = find_remedy(reason)
    return found.en if found is not None else ""
