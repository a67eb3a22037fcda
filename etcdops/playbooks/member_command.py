"""The command that starts a member, complete as it stands. Both engines take the same flags."""

from __future__ import annotations

import ipaddress
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from etcdops.errors import UsageError
from etcdops.playbooks.cluster_file import Engine, EngineKind

_ALL = "0.0.0.0"  # noqa: S104 - its name is advertised, and only the operator knows which addresses are its own


@dataclass(frozen=True, slots=True)
class MemberStart:
    """What a member is started with. The URLs are those it advertises."""

    name: str
    data_dir: Path
    client_urls: Sequence[str]
    peer_urls: Sequence[str]
    initial_cluster: str
    token: str

    @property
    def secure(self) -> bool:
        """Whether it needs certificates that nobody told us about."""
        return any(url.startswith("https:") for url in (*self.client_urls, *self.peer_urls))

    def command(self, program: Sequence[str]) -> list[str]:
        """A program of either engine, and its flags."""
        return [
            *program,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={_bound(self.client_urls)}",
            f"--advertise-client-urls={','.join(self.client_urls)}",
            f"--listen-peer-urls={_bound(self.peer_urls)}",
            f"--initial-advertise-peer-urls={','.join(self.peer_urls)}",
            f"--initial-cluster={self.initial_cluster}",
            f"--initial-cluster-token={self.token}",
            "--initial-cluster-state=new",
            "--logger=zap",
            "--log-outputs=stderr",
        ]


def member_program(engine: Engine) -> list[str]:
    """What starts a member of this engine, wherever it is called from. Raises: UsageError - nobody said which etcd."""
    if engine.kind is EngineKind.NODE:
        return [sys.executable, "-m", "etcdops", "node"]
    if engine.binary is None:
        raise UsageError("engine etcd needs the path of etcd's binary", hint="name it with --etcd PATH")
    return [str(engine.binary)]


def shown_program(engine: Engine) -> list[str]:
    """`member_program` as one types it: `etcdops node` where that is in the PATH."""
    if engine.kind is EngineKind.NODE and shutil.which("etcdops"):
        return ["etcdops", "node"]
    return member_program(engine)


def client_urls_beside(peer_urls: Sequence[str]) -> tuple[str, ...]:
    """Where clients usually reach the member with these peer URLs: one port below (2379 and 2380, 22379 and 22380)."""
    found = []
    for url in peer_urls:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        found.append(f"{parts.scheme}://{host}:{(parts.port or 2380) - 1}")
    return tuple(dict.fromkeys(found))


def _bound(urls: Sequence[str]) -> str:
    """The URLs to listen on. A host name is nothing to listen on: then all addresses of the machine.

    Source: etcd server/embed/config.go, checkBindURLs.
    """
    return ",".join(dict.fromkeys(_bindable(url) for url in urls))


def _bindable(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host == "localhost" or parts.scheme not in ("http", "https") or _is_address(host):
        return url
    return urlunsplit(parts._replace(netloc=f"{_ALL}:{parts.port}" if parts.port else _ALL))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
