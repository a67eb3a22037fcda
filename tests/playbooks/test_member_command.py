"""The command that starts a member: complete, and nothing in it that etcd refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.playbooks.cluster_file import Engine, EngineKind
from etcdops.playbooks.member_command import MemberStart, client_urls_beside, member_program


def flags(client_url: str, peer_url: str) -> dict[str, str]:
    start = MemberStart("m1", Path("/d"), (client_url,), (peer_url,), f"m1={peer_url}", "t")
    return dict(flag.removeprefix("--").split("=", 1) for flag in start.command(["/bin/etcd"])[1:])


def test_addresses_are_listened_on_as_they_are_advertised() -> None:
    """Goal: an address of this machine is both; localhost too, as etcd lets it pass."""
    for host in ("10.0.0.1", "[::1]", "localhost"):
        found = flags(f"http://{host}:2379", f"https://{host}:2380")
        assert found["listen-client-urls"] == found["advertise-client-urls"] == f"http://{host}:2379"
        assert found["listen-peer-urls"] == found["initial-advertise-peer-urls"] == f"https://{host}:2380"


def test_a_host_name_is_advertised_and_not_listened_on() -> None:
    """Goal: etcd refuses a name in a listen URL. Source: etcd server/embed/config.go, checkBindURLs."""
    found = flags("https://etcd1.example:2379", "https://etcd1.example:2380")
    assert found["listen-client-urls"] == "https://0.0.0.0:2379"
    assert found["advertise-client-urls"] == "https://etcd1.example:2379"
    assert found["listen-peer-urls"] == "https://0.0.0.0:2380"


def test_certificates_are_asked_for_when_a_url_needs_them() -> None:
    assert MemberStart("m", Path("/d"), ("https://h:1",), ("http://h:2",), "", "").secure
    assert not MemberStart("m", Path("/d"), ("http://h:1",), ("http://h:2",), "", "").secure


@pytest.mark.parametrize(
    ("peers", "clients"),
    [
        (["http://127.0.0.1:2380"], ("http://127.0.0.1:2379",)),
        (["http://localhost:22380", "http://[::1]:32380"], ("http://localhost:22379", "http://[::1]:32379")),
        (["https://etcd1.example"], ("https://etcd1.example:2379",)),
    ],
)
def test_clients_are_expected_one_port_below_the_peers(peers: list[str], clients: tuple[str, ...]) -> None:
    """Goal: 2379 beside 2380, 22379 beside 22380, as in etcd's own examples."""
    assert client_urls_beside(peers) == clients


def test_etcd_needs_its_path() -> None:
    with pytest.raises(UsageError, match="path of etcd"):
        member_program(Engine(EngineKind.ETCD))
