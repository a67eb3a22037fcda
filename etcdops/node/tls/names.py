"""Whether a certificate is for a host or an address, in Go's words when it is not.

Certificates are looked at as `SSLObject.getpeercert()` gives them. Sources: Go crypto/x509, Certificate.VerifyHostname
and HostnameError; etcd client/pkg/transport/listener_tls.go, checkCertSAN.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.node.go_text import quote, quote_list


class WrongName(Exception):
    """A certificate is not for whom it should be; the text is etcd's."""


@dataclass(frozen=True, slots=True)
class Names:
    """What a certificate says of whom it is for."""

    common_name: str = ""
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    serial: int = 0

    @classmethod
    def of(cls, certificate: object) -> Names | None:
        """Args: what getpeercert() returned. Returns: None - the other side showed none, or it was not asked for."""
        if not isinstance(certificate, dict) or not certificate:
            return None
        common = [value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"]
        others = certificate.get("subjectAltName", ())
        return cls(
            common[-1] if common else "",
            tuple(value for kind, value in others if kind == "DNS"),
            tuple(_plain_ip(value) for kind, value in others if kind == "IP Address"),
            int(certificate.get("serialNumber", "0"), 16),
        )

    def verify(self, host: str) -> None:
        """Raises: WrongName - the certificate is not for `host`, a name or an address."""
        address = _ip(host)
        if address is not None:
            if address in {_ip(known) for known in self.ip_addresses}:
                return
        elif any(matches(pattern, host) for pattern in self.dns_names):
            return
        raise WrongName(self._mismatch(host, address is not None))

    def _mismatch(self, host: str, is_address: bool) -> str:
        if not self.dns_names and not self.ip_addresses and matches(self.common_name, host):
            return "x509: certificate relies on legacy Common Name field, use SANs instead"
        if is_address and not self.ip_addresses:
            return f"x509: cannot validate certificate for {host} because it doesn't contain any IP SANs"
        valid = ", ".join(self.ip_addresses if is_address else self.dns_names)
        if not valid:
            return f"x509: certificate is not valid for any names, but wanted to match {host}"
        return f"x509: certificate is valid for {valid}, not {host}"


def check_allowed(names: Names | None, allowed_cns: Sequence[str], allowed_hostnames: Sequence[str]) -> None:
    """Raises: WrongName - lists are given and the certificate is for nobody in them.

    Source: etcd client/pkg/transport/listener.go, TLSInfo.baseConfig.
    """
    if not allowed_cns and not allowed_hostnames:
        return
    if names is not None:
        if allowed_cns and names.common_name in allowed_cns:
            return
        for host in allowed_hostnames:
            try:
                names.verify(host)
            except WrongName:
                continue
            return
    raise WrongName("client certificate authentication failed")


async def check_address(names: Names, address: str) -> None:
    """Whoever connects from `address` must be one of whom its certificate is for; one without names may be anybody.

    Host names are asked of the resolver, backwards and forwards. Raises: WrongName.
    """
    if names.ip_addresses:
        try:
            names.verify(address)
        except WrongName:
            if not names.dns_names:
                raise
        else:
            return
    if not names.dns_names:
        return
    found, reason = await _is_host_of(address, names.dns_names)
    if not found:
        because = f" ({reason})" if reason else ""
        raise WrongName(
            f"tls: {quote(address)} does not match any of DNSNames {quote_list(list(names.dns_names))}{because}"
        )


async def _is_host_of(address: str, dns_names: Sequence[str]) -> tuple[bool, str]:
    """Source: etcd client/pkg/transport/listener_tls.go, isHostInDNS."""
    wildcards = [name[1:] for name in dns_names if name.startswith("*.")]
    names = [name for name in dns_names if not name.startswith("*.")]
    loop = asyncio.get_running_loop()
    reason = ""
    try:
        found, _ = await loop.getnameinfo((address, 0), socket.NI_NAMEREQD)
        found = found.removesuffix(".")
        if found in names or any(found.endswith(end) for end in wildcards):
            return True, ""
    except OSError:
        reason = f"lookup {address}: no such host"
    for name in names:
        try:
            infos = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError:
            reason = f"lookup {name}: no such host"
            continue
        if any(_ip(str(info[4][0])) == _ip(address) for info in infos):
            return True, ""
    return False, reason


def matches(pattern: str, host: str) -> bool:
    """Whether a certificate's name covers `host`; `*` stands for the whole first label. Source: Go matchHostnames."""
    pattern, host = pattern.lower().removesuffix("."), host.lower().removesuffix(".")
    if not pattern or not host:
        return False
    wanted, given = pattern.split("."), host.split(".")
    if len(wanted) != len(given):
        return False
    if wanted[0] == "*" and len(wanted) > 1:
        wanted, given = wanted[1:], given[1:]
    return wanted == given


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


def _plain_ip(text: str) -> str:
    """OpenSSL writes IPv6 with capitals and without shortening."""
    address = _ip(text.strip())
    return str(address) if address is not None else text
