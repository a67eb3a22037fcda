"""What to do about a reason not to be let in, one place for errors and findings alike. Pure."""

from __future__ import annotations

# First match wins: a part of the reason as it is shown, and the step that ends it.
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("user name is empty", "authentication is on: give --user NAME and --password-file FILE"),
    ("invalid user ID or password", "check --user and the password"),
    ("permission denied", "use a user whose roles grant this, or root"),
    ("invalid auth token", "log in again: give --user and --password-file"),
    ("wants a client certificate", "give --cert and --key, signed by the member's authority"),
    ("does not accept our client certificate", "give --cert and --key, signed by the member's authority"),
    ("does not trust the authority of our", "give a --cert signed by an authority in the member's --trusted-ca-file"),
    ("our client certificate has expired", "renew the client certificate that --cert names"),
    ("not accepted: certificate has expired", "renew it on the member; --insecure-skip-tls-verify connects meanwhile"),
    ("not accepted: certificate is not yet valid", "check the clocks of this machine and of the member"),
    ("not valid for", "give a name that its certificate carries: as the host in --endpoints, or with --server-name"),
    ("for other names", "give a name that its certificate carries: as the host in --endpoints, or with --server-name"),
    ("its certificate is not accepted", "give the certificate of the authority that signed it with --cacert"),
    ("wants TLS", "write https:// in --endpoints, and --cacert FILE if the members' authority is your own"),
    ("plain text", "write http:// in --endpoints: this port does not speak TLS"),
)  # fmt: skip


def remedy(reason: str) -> str:
    """The next step for a reason such as `TLS: our client certificate has expired: renew --cert`; "" = none known."""
    return next((step for part, step in _REMEDIES if part in reason), "")
