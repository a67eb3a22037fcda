"""What a member's URL says about itself, without asking anybody."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

CLIENT_PORT = 2379
PEER_PORT = 2380
_DEFAULT_PORTS = {"http": 80, "https": 443}


def host_of(url: str) -> str:
    """The host without brackets; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def port_of(url: str) -> int | None:
    """The port, or the one its scheme stands for; None: it has none."""
    try:
        parts = urlsplit(url)
        return parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None


def scheme_of(url: str) -> str:
    return url.partition("://")[0].lower() if "://" in url else ""


def is_loopback(url: str) -> bool:
    """Whether only its own machine can reach it: 127.0.0.1, ::1, localhost."""
    host = host_of(url)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(url: str) -> bool:
    """Whether it means every address of a machine: fit to listen on, unfit to be dialled."""
    try:
        return ipaddress.ip_address(host_of(url)).is_unspecified
    except ValueError:
        return False


def split_urls(text: str | None) -> tuple[str, ...]:
    """The value of a flag that takes URLs."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def same_urls(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether two lists name the same addresses, in whatever order and with or without a slash at the end."""
    return {url.rstrip("/").lower() for url in ours} == {url.rstrip("/").lower() for url in theirs}


def initial_cluster(text: str | None) -> dict[str, tuple[str, ...]]:
    """`m1=http://a:2380,m2=http://b:2380` by name; a name may stand several times, once for each URL."""
    found: dict[str, tuple[str, ...]] = {}
    for part in split_urls(text):
        name, equals, url = part.partition("=")
        if equals:
            found[name] = (*found.get(name, ()), url)
    return found
