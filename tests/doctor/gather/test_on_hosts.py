"""What hosts add to an observation: which of them are looked at, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from etcdops.certs.facts import describe
from etcdops.doctor.gather import on_hosts
from etcdops.doctor.gather.on_hosts import merged, most_common_cluster, spare_hosts, with_hosts
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation, SeenCertificate
from etcdops.doctor.words import in_words
from etcdops.errors import Unreachable
from etcdops.facts.host import DataDir
from etcdops.ids import ClusterID
from etcdops.inventory.model import Cluster, Host, Inventory
from etcdops.remote.session import Session
from etcdops.services.discover import Found
from etcdops.services.port import State
from tests.support.certificates import Authority

CLUSTER = Cluster.model_validate({"name": "prod", "members": [{"host": "h1"}, {"host": "h2"}]})
OTHER = Cluster.model_validate({"name": "other", "members": [{"host": "h3"}]})
INVENTORY = Inventory(
    hosts={name: Host(name=name) for name in ("h1", "h2", "h3", "h4")}, clusters={"prod": CLUSTER, "other": OTHER}
)


def test_hosts_that_keep_no_member_any_more_are_looked_at_as_well() -> None:
    """A removed member often still runs; another cluster's hosts are its own business."""
    assert spare_hosts(INVENTORY) == ("h4",)


async def test_hosts_that_cannot_be_reached_are_named_with_the_next_step() -> None:
    """A spare one that is off is nobody's trouble."""

    async def connect(host: str) -> Session:
        raise Unreachable(f"{host} cannot be reached")

    seen = await with_hosts(Observation(), connect, INVENTORY, CLUSTER)
    assert [(in_words(one.what, "en"), in_words(one.why, "en")) for one in seen.unseen] == [
        ("the host h1", "h1 cannot be reached"),
        ("the host h2", "h2 cannot be reached"),
    ]
    assert all(one.next_step for one in seen.unseen)
    assert ([*seen.hosts], seen.paths, seen.certificates) == (["h1", "h2"], (), ())
    assert [member.name for member in seen.placed] == ["h1", "h2"]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [((1, 1, 2), 1), ((1, 2), None), ((None, 7), 7), ((), None)],
    ids=["most", "a tie", "one unreadable", "nobody"],
)
def test_the_cluster_of_most_data_directories_is_meant(ids: tuple[int | None, ...], expected: int | None) -> None:
    """Where nobody answers, the data tells which cluster this is."""
    hosts = {str(n): _host(ClusterID(one) if one is not None else None) for n, one in enumerate(ids)}
    assert most_common_cluster(hosts) == expected
    assert on_hosts.unseen_hosts(hosts) == ()


def test_a_certificate_that_is_seen_twice_is_one(tmp_path: Path) -> None:
    """In its file on the host, and by a client on its port: what the client thinks of it is kept."""
    facts = [describe(load(Authority(tmp_path / name).issue("m1").cert)) for name in ("old", "new")]
    file = SeenCertificate("h1:/pki/server.crt", "m1", "server", facts[0], ("a",))
    port = SeenCertificate("m1 on port 2379", "m1", "server", facts[0], ("b",), trusted=False)
    other = SeenCertificate("m2 on port 2379", "m2", "server", facts[1])
    broken = SeenCertificate("h1:/pki/peer.crt", "m1", "peer", error="there is no such file")
    first, second, third = merged([file, broken], [other, port])
    assert (first.where, first.hosts, first.trusted) == ("h1:/pki/server.crt", ("a", "b"), False)
    assert (second, third) == (broken, other)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _host(cluster: ClusterID | None) -> HostObservation:
    data = DataDir("/var/lib/etcd", 1, True, None, cluster)
    return HostObservation("h", members=(MemberOnHost(Found("", "1", State.RUNNING), data=data),))
