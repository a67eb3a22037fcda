"""A member of the inventory becomes one whole configuration, fitted to its version."""

from __future__ import annotations

import pytest

from etcdops.errors import UsageError
from etcdops.node.config import known_flags
from etcdops.rendering.member import NODE_REFUSES
from tests.rendering.members import config


def test_a_plain_member_has_what_etcd_needs_and_no_more() -> None:
    """Every flag of a static bootstrap."""
    assert config({}).arguments == (
        "--name=h1",
        "--data-dir=/var/lib/etcd",
        "--listen-client-urls=http://0.0.0.0:2379",
        "--advertise-client-urls=http://10.0.0.1:2379",
        "--listen-peer-urls=http://0.0.0.0:2380",
        "--initial-advertise-peer-urls=http://10.0.0.1:2380",
        "--initial-cluster=h1=http://10.0.0.1:2380,h2=http://10.0.0.2:2380,h3=http://10.0.0.3:2380",
        "--initial-cluster-token=prod",
        "--initial-cluster-state=new",
        "--strict-reconfig-check=true",
    )


def test_a_joining_member_names_those_that_are_there() -> None:
    """etcd refuses a list that does not match the cluster's."""
    flags = config({}, initial_cluster_state="existing", joined=["h1", "h3"]).flags
    assert flags["initial-cluster-state"] == "existing"
    assert flags["initial-cluster"] == "h1=http://10.0.0.1:2380,h3=http://10.0.0.3:2380"


def test_members_and_clients_are_trusted_by_different_authorities() -> None:
    """With one for both, every client could dial the peer port as a member."""
    flags = config({"tls": {}}).flags
    assert flags["trusted-ca-file"] == "/etc/etcd/pki/ca.crt"
    assert flags["peer-trusted-ca-file"] == "/etc/etcd/pki/peer-ca.crt"
    assert flags["client-cert-auth"] == flags["peer-client-cert-auth"] == "true"
    assert flags["listen-peer-urls"] == "https://0.0.0.0:2380"
    half = config({"tls": {"peer": False, "client_cert_auth": False}}).flags
    assert [name for name in half if "cert" in name or "ca-file" in name] == ["cert-file", "trusted-ca-file"]


@pytest.mark.parametrize(
    ("engine", "flag", "value"),
    [
        ({"version": "3.4"}, "logger", "zap"),
        ({"version": "3.4"}, "experimental-corrupt-check-time", "1h"),
        ({"version": "3.7"}, "corrupt-check-time", "1h"),
        ({"kind": "node"}, "experimental-corrupt-check-time", "1h"),
    ],
)
def test_flags_are_those_of_the_version(engine: dict[str, str], flag: str, value: str) -> None:
    """The inventory may use any version's name."""
    assert config({"engine": engine, "settings": {"corrupt-check-time": "1h"}}).flags[flag] == value


def test_members_that_discover_each_other_have_no_initial_cluster() -> None:
    """etcd refuses both. Token and state still count: a member whose data is lost must not begin a cluster anew."""
    flags = config({"settings": {"discovery-srv": "example.com"}}, initial_cluster_state="existing").flags
    assert "initial-cluster" not in flags
    assert (flags["initial-cluster-token"], flags["initial-cluster-state"]) == ("prod", "existing")
    by_url = config({"settings": {"discovery": "https://discovery.example.com/token"}}).flags
    assert [name for name in by_url if name.startswith("initial-cluster")] == ["initial-cluster-state"]


@pytest.mark.parametrize(
    ("engine", "settings", "why"),
    [
        ({"version": "3.7"}, {"discovery": "https://d/t"}, "discovery cannot be: etcd 3.7 does not take it"),
        ({"version": "3.5"}, {"discovery-endpoints": "http://d:2379", "discovery-token": "t"}, "3.5 does not take it"),
        ({"version": "3.6"}, {"discovery-token": "t"}, "means nothing without discovery-endpoints"),
        ({"version": "3.6"}, {"discovery-endpoints": "http://d:2379"}, "means nothing without discovery-token"),
        ({"version": "3.5"}, {"discovery": "https://d/t", "discovery-srv": "x"}, "in one way only"),
        ({"version": "3.5"}, {"discovery": "https://d"}, "it is no URL of a token"),
        ({"version": "3.5"}, {"discovery": "d:2379/t"}, "it is no URL of a token"),
        (
            {"version": "3.6"},
            {"discovery-endpoints": "http://d:2379", "discovery-token": "t", "discovery-proxy": "p"},
            "discovery-proxy cannot be: it is for `discovery`; etcd refuses it",
        ),
        ({"kind": "node"}, {"discovery-srv": "x"}, "the bundled node does not take it"),
    ],
)
def test_members_that_would_not_find_each_other_are_refused(
    engine: dict[str, str], settings: dict[str, str], why: str
) -> None:
    """Without the setting that is left out, each of them would begin a cluster of its own."""
    with pytest.raises(UsageError, match=why):
        config({"engine": engine, "settings": settings})


def test_the_flags_that_the_bundled_node_refuses_are_those_it_refuses() -> None:
    """The console knows nothing of the node's code."""
    assert set(NODE_REFUSES) == {one.flag.name for one in known_flags.KNOWN_FLAGS.values() if one.refused}


@pytest.mark.parametrize(
    "name", ["force-new-cluster", "initial-cluster", "cert-file", "discovery-password", "data-dir"]
)
def test_what_must_not_be_written_down_is_refused(name: str) -> None:
    """Above all --force-new-cluster, which every restart would repeat; and no secret."""
    with pytest.raises(UsageError, match=f"the setting {name} is not one to write down"):
        config({"settings": {name: "x"}})


def test_certificates_that_somebody_else_makes_are_named_where_they_are() -> None:
    """kubeadm's layout; one host keeps a file elsewhere; members ask each other for certificates, clients need none."""
    pki = "/etc/kubernetes/pki/etcd"
    files = {"cert_file": f"{pki}/server.crt", "key_file": f"{pki}/server.key", "peer_cert_file": f"{pki}/peer.crt"}
    tls = {"files": files, "client_cert_auth": False, "peer_client_cert_auth": True}
    made = config({"tls": tls, "members": [{"host": "h1", "tls_files": {"key_file": "/secret/server.key"}}]})
    assert made.pki is None
    found = {name: value for name, value in made.flags.items() if name.endswith("-file") or "cert-auth" in name}
    assert found == {
        "cert-file": f"{pki}/server.crt",
        "key-file": "/secret/server.key",
        "peer-cert-file": f"{pki}/peer.crt",
        "peer-client-cert-auth": "true",
    }
    assert made.certificate_folders == (pki, "/secret")
