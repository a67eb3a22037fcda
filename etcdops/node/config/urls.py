"""Member URLs: read, ordered and checked exactly as etcd does, because member IDs are hashes of their text."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from etcdops.node.go_text import quote, quote_list

UrlsByName = Mapping[str, tuple[str, ...]]

_SCHEMES = ("http", "https", "unix", "unixs")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def parse_url(text: str) -> str:
    """One URL in the form etcd keeps it.

    Raises: ValueError with etcd's words. Source: etcd client/pkg/types/urls.go, NewURLs; Go net/url, Parse.
    """
    text = text.strip()
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in text):
        raise ValueError(f"parse {quote(text)}: net/url: invalid control character in URL")
    match = _SCHEME.match(text)
    if match is None:
        if text.startswith(":"):
            raise ValueError(f"parse {quote(text)}: missing protocol scheme")
        if ":" in text.partition("/")[0]:
            raise ValueError(f"parse {quote(text)}: first path segment in URL cannot contain colon")
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
    scheme, rest = match[1].lower(), text[match.end() :]
    if scheme not in _SCHEMES:
        raise ValueError(f"URL scheme must be http, https, unix, or unixs: {text}")
    authority, path = _authority(rest)
    _check_host(text, authority)
    if scheme in ("http", "https"):
        if split_host_port(authority.rpartition("@")[2]) is None:
            raise ValueError(f'URL address does not have the form "host:port": {text}')
        if path:
            raise ValueError(f"URL must not contain a path: {text}")
    return f"{scheme}:{rest}"


def _authority(rest: str) -> tuple[str, str]:
    if not rest.startswith("//"):
        return "", rest
    end = re.search(r"[/?#]", rest[2:])
    if end is None:
        return rest[2:], ""
    cut = 2 + end.start()
    return rest[2:cut], rest[cut:] if rest[cut] == "/" else ""


def _check_host(text: str, authority: str) -> None:
    host = authority.rpartition("@")[2]
    for char in host:
        if char in ' "<>\\^`{|}':
            raise ValueError(f"parse {quote(text)}: invalid character {quote(char)} in host name")
    colon = host.rfind(":")
    if host.startswith("["):
        close = host.rfind("]")
        if close < 0:
            raise ValueError(f"parse {quote(text)}: missing ']' in host")
        colon = close + 1 if close + 1 < len(host) else -1
    port = host[colon:] if colon >= 0 else ""
    if port and not re.fullmatch(r":[0-9]*", port):
        raise ValueError(f"parse {quote(text)}: invalid port {quote(port)} after host")


def split_host_port(address: str) -> tuple[str, str] | None:
    """Host and port of `host:port` or `[v6]:port`; None for anything else. Source: Go net.SplitHostPort."""
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or not port.startswith(":") or ":" in port[1:] or "[" in host:
            return None
        return host, port[1:]
    host, colon, port = address.rpartition(":")
    if not colon or ":" in host or "[" in address or "]" in address:
        return None
    return host, port


def host_and_port(url: str) -> tuple[str, int]:
    """Where a parsed TCP URL points. Raises: ValueError - no usable port number."""
    split = split_host_port(url.partition("//")[2].rpartition("@")[2])
    if split is None or not split[1].isdigit() or int(split[1]) > 65535:
        raise ValueError(f"no usable port in {url}")
    return split[0], int(split[1])


def parse_urls(text: str) -> tuple[str, ...]:
    """Comma-separated URLs, each once, sorted by their text. Raises: ValueError."""
    return tuple(sorted({parse_url(item) for item in text.split(",")}))


def parse_urls_by_name(text: str) -> dict[str, tuple[str, ...]]:
    """`a=http://1:2380,b=http://2:2380,b=http://3:2380` as URLs by member name.

    Raises: ValueError. Source: etcd client/pkg/types/urlsmap.go, NewURLsMap.
    """
    collected: dict[str, list[str]] = {}
    for item in text.split(","):
        if item:
            name, _, url = item.partition("=")
            collected.setdefault(name, []).append(url)
    return {name: tuple(sorted(parse_url(url) for url in urls)) for name, urls in collected.items()}


def render_urls_by_name(members: UrlsByName) -> str:
    """The inverse of `parse_urls_by_name`, sorted. Source: etcd URLsMap.String."""
    return ",".join(sorted(f"{name}={url}" for name, urls in members.items() for url in urls))


def check_bind_urls(urls: Iterable[str]) -> None:
    """A listen URL names an address of this machine, not a domain.

    Raises: ValueError. Source: etcd server/embed/config.go, checkBindURLs.
    """
    for url in urls:
        if url.startswith("unix"):
            continue
        host, _ = host_and_port(url)
        if host != "localhost" and not _is_ip(host):
            raise ValueError(f"expected IP in URL for binding ({url})")


def check_host_urls(urls: Iterable[str]) -> None:
    """An advertised URL has a host others can dial. Raises: ValueError. Source: etcd config.go, checkHostURLs."""
    for url in urls:
        if not url.startswith("unix") and not host_and_port(url)[0]:
            raise ValueError(f"unexpected empty host ({url})")


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


Resolve = Callable[[str], str]
"""A host name to its IP address as text; raises OSError when there is none."""


def difference(left: Sequence[str], right: Sequence[str], resolve: Resolve) -> str | None:
    """None if both lists mean the same addresses, else the reason in etcd's words.

    `localhost` is never resolved, so it differs from 127.0.0.1. Source: etcd pkg/netutil/netutil.go, urlsEqual.
    """
    if len(left) != len(right):
        return f"len({quote_list(list(left))}) != len({quote_list(list(right))})"
    if sorted(left) == sorted(right):
        return None
    try:
        pairs = zip(sorted(_resolved(left, resolve)), sorted(_resolved(right, resolve)), strict=True)
    except OSError as error:
        return f"failed to resolve {error.filename} ({error.strerror or error})"
    for mine, theirs in pairs:
        if mine != theirs:
            return f"resolved urls: {quote(mine)} != {quote(theirs)}"
    return None


def _resolved(urls: Sequence[str], resolve: Resolve) -> list[str]:
    resolved = []
    for url in urls:
        if url.startswith("unix"):
            resolved.append(url)
            continue
        host, port = host_and_port(url)
        try:
            address = host if host == "localhost" or _is_ip(host) else resolve(host)
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), quote(url)) from error
        scheme = url.partition(":")[0]
        resolved.append(f"{scheme}://[{address}]:{port}" if ":" in address else f"{scheme}://{address}:{port}")
    return resolved
