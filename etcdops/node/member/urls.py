"""Peer URLs as etcd accepts them."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

_SCHEMES = ("http", "https", "unix", "unixs")


def parse_peer_urls(urls: Sequence[str]) -> tuple[str, ...] | None:
    """The URLs sorted and in Go's spelling, or None when one is not `scheme://host:port` or there is none.

    Source: etcd client/pkg/types/urls.go, NewURLs.
    """
    if not urls:
        return None
    parsed = [_parse(url.strip()) for url in urls]
    if any(url is None for url in parsed):
        return None
    return tuple(sorted(url for url in parsed if url is not None))


def _parse(url: str) -> str | None:
    if any(char in url for char in "\0\t\r\n\x7f "):
        return None
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _SCHEMES:
        return None
    if scheme in ("unix", "unixs"):
        return f"{scheme}://{rest}"
    try:
        split = urlsplit(f"{scheme}://{rest}")
        port = split.port
    except ValueError:
        return None
    if split.path or split.query or split.fragment or not _has_port(split.netloc):
        return None
    return f"{scheme}://{split.netloc}" if port is not None or split.netloc.endswith(":") else None


def _has_port(netloc: str) -> bool:
    """Go's net.SplitHostPort accepts it: a port after the last colon, IPv6 addresses in brackets."""
    host, colon, _ = netloc.rpartition(":")
    if not colon:
        return False
    return host.endswith("]") if "[" in host or "]" in host else ":" not in host
