"""The URLs one member can be reached by, tried in turn."""

from __future__ import annotations

from collections.abc import Iterable

from etcdops.node.config.urls import host_and_port, parse_url


def parse_peer_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """Peer URLs without a trailing slash, sorted as etcd keeps them.

    Raises: ValueError - none given, or one that is not http or https with host and port.
    """
    parsed = []
    for text in urls:
        url = parse_url(text)
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"peers are reached by http or https, not {text}")
        host_and_port(url)
        parsed.append(url)
    if not parsed:
        raise ValueError("a peer without URLs")
    return tuple(sorted(parsed))


class UrlPicker:
    """Keeps to one URL until it fails. Source: etcd server/etcdserver/api/rafthttp/urlpick.go."""

    def __init__(self, urls: Iterable[str]) -> None:
        self.update(urls)

    def update(self, urls: Iterable[str]) -> None:
        """Start over with other URLs. Raises: ValueError."""
        self._urls = parse_peer_urls(urls)
        self._picked = 0

    def pick(self) -> str:
        """The URL to use now, without a trailing slash."""
        return self._urls[self._picked]

    def unreachable(self, url: str) -> None:
        """`url` failed. Ignored when it is not the picked one, since somebody else reported it first."""
        if url == self._urls[self._picked]:
            self._picked = (self._picked + 1) % len(self._urls)
