"""Ways from a host to members: what each kind of broken way is called, tried for real on this machine."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etcdops.client.view import ClusterView, MemberView
from etcdops.doctor.gather import paths
from etcdops.doctor.gather.paths import CLIENT, PEER, Way, paths_from, try_paths, ways_to
from etcdops.doctor.observation import HostObservation, MemberOnHost, Outcome
from etcdops.errors import Unreachable
from etcdops.ids import ClusterID, MemberID
from etcdops.inventory.model import Cluster, Host, Inventory, place
from etcdops.remote.become import Become
from etcdops.remote.local import LocalSession
from etcdops.remote.session import Session
from etcdops.services.discover import Found
from etcdops.services.port import Origin, ProcessConfig, Setting, State
from tests.fakes.session import FakeSession, said
from tests.support.certificates import Authority, KeyPair
from tests.support.ports import free_ports

PEERS = b"HTTP/1.0 200 OK\r\nX-Etcd-Cluster-ID: cd\r\n\r\n[]"
OF_ANOTHER = b"HTTP/1.0 200 OK\r\nX-Etcd-Cluster-ID: ee\r\n\r\n[]"
VERSION = b'HTTP/1.0 200 OK\r\n\r\n{"etcdserver":"3.5.16","etcdcluster":"3.5.0"}'
MISSING = b"HTTP/1.0 404 Not Found\r\n\r\n404 page not found"


@asynccontextmanager
async def port(
    *, peers: bytes = MISSING, version: bytes = MISSING, tls: tuple[KeyPair, Path] | None = None
) -> AsyncIterator[int]:
    """A port that answers two questions. `tls`: what it shows, and whom its clients must show a certificate of."""
    context = None
    if tls is not None:
        pair, authority = tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.cert, pair.key)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await reader.readline()
            writer.write(peers if b"/members" in asked else version)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def member(flags: dict[str, str]) -> HostObservation:
    """A host with a member that has these settings."""
    config = ProcessConfig("etcd", {name: Setting(value, Origin.FLAG) for name, value in flags.items()})
    return HostObservation("here", members=(MemberOnHost(Found("", "1", State.RUNNING, None, config)),))


async def dialled(host: HostObservation, ways: Sequence[Way]) -> list[tuple[Outcome, str]]:
    session = LocalSession("here", Become(needed=False))
    try:
        found = await paths_from(session, host, ways, cluster_id=ClusterID(0xCD))
    finally:
        await session.close()
    assert all(path.from_host == "here" and path.took_s is not None for path in found)
    return [(path.outcome, path.reason) for path in found]


@pytest.mark.slow
async def test_ways_without_tls_are_told_apart() -> None:
    """Nobody there, no such name, the other port of a member, a member of another cluster, TLS where none should be."""
    (closed,) = free_ports(1)
    async with port(peers=PEERS) as peer, port(version=VERSION) as client, port(peers=OF_ANOTHER) as stray:
        url = "http://127.0.0.1:{}".format
        found = await dialled(
            HostObservation("here"),
            [
                Way("m1", url(peer), PEER),
                Way("m1", url(client), CLIENT),
                Way("m2", url(closed), PEER),
                Way("m2", f"http://no-such-name.invalid:{peer}", PEER),
                Way("m3", url(client), PEER),
                Way("m3", url(peer), CLIENT),
                Way("m4", url(stray), PEER),
                Way("m5", f"https://127.0.0.1:{peer}", PEER),
            ],
        )
    assert [outcome for outcome, _ in found] == [
        Outcome.OK, Outcome.OK, Outcome.REFUSED, Outcome.NAME, Outcome.NOT_ETCD, Outcome.NOT_ETCD,
        Outcome.WRONG_MEMBER, Outcome.TLS,
    ]  # fmt: skip
    assert found[6][1] == "a member of cluster ee answers there"
    assert found[7][1] == "it speaks without TLS, and the URL says https"


@pytest.mark.slow
async def test_ways_with_tls_are_told_apart(tmp_path: Path) -> None:
    """Peers are dialled with the member's own certificate; clients' are not asked for."""
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others", "another-ca")
    own = ours.issue("m1")
    good, strange = ours.issue("m2"), others.issue("m3")
    elsewhere = ours.issue("m4", hosts=("10.9.9.9",))
    host = member(
        {"peer-trusted-ca-file": str(ours.ca), "peer-cert-file": str(own.cert), "peer-key-file": str(own.key)}
    )
    async with (
        port(peers=PEERS, tls=(good, ours.ca)) as fine,
        port(peers=PEERS, tls=(strange, ours.ca)) as unsigned,
        port(peers=PEERS, tls=(elsewhere, ours.ca)) as named,
        port(peers=PEERS, tls=(good, others.ca)) as refusing,
        port(version=VERSION, tls=(strange, others.ca)) as client,
    ):
        url = "https://127.0.0.1:{}".format
        found = await dialled(
            host,
            [
                Way("m2", url(fine), PEER),
                Way("m3", url(unsigned), PEER),
                Way("m4", url(named), PEER),
                Way("m5", url(refusing), PEER),
                Way("m2", url(client), CLIENT),
                Way("m2", f"http://127.0.0.1:{fine}", PEER),
            ],
        )
    ok, unknown_issuer, wrong_name, refused, client_port, plain = found
    assert (ok[0], client_port[0]) == (Outcome.OK, Outcome.OK)
    assert {outcome for outcome, _ in (unknown_issuer, wrong_name, refused, plain)} == {Outcome.TLS}
    assert "certificate" in unknown_issuer[1]
    assert "10.9.9.9" in wrong_name[1] or "mismatch" in wrong_name[1]
    assert plain[1] == "it speaks TLS, and the URL says http"


async def test_a_host_without_python_tries_tcp_alone() -> None:
    """bash and nc tell less; what nothing could try is left out."""
    session = FakeSession("h1")
    session.answer("command -v python3", result=said("ok\nrefused\nnone\n"))
    ways = [Way("m1", f"http://10.0.0.{n}:2380", PEER) for n in (1, 2, 3)]
    found = await paths_from(session, HostObservation("h1"), ways)
    assert [(path.url, path.outcome) for path in found] == [
        ("http://10.0.0.1:2380", Outcome.OK),
        ("http://10.0.0.2:2380", Outcome.REFUSED),
    ]
    assert [str(word) for word in session.ran[0].argv[-2:]] == ["10.0.0.3", "2380"]


async def test_hosts_that_were_not_seen_are_not_dialled_from() -> None:
    """And one that breaks off hides no other."""

    async def connect(host: str) -> Session:
        if host == "h2":
            raise Unreachable("h2 cannot be reached")
        session = FakeSession(host)
        session.answer("command -v python3", result=said('[["ok", "", 0.01]]'))
        return session

    hosts = {name: HostObservation(name, error="" if name != "h3" else "no") for name in ("h1", "h2", "h3")}
    found = await try_paths(connect, hosts, [Way("m1", "http://10.0.0.1:2380", PEER)])
    assert [path.from_host for path in found] == ["h1"]


def test_the_clusters_own_member_list_says_where_members_are() -> None:
    """What the inventory says counts only where nobody could be asked."""
    inventory = Inventory(hosts={"a": Host(name="a", address="10.0.0.1")})
    cluster = Cluster.model_validate({"members": [{"host": "a"}]})
    placed = [place(inventory, cluster, one) for one in cluster.members]
    seen = MemberView(MemberID(1), "a", ("http://10.0.0.9:2380",), ("unix://etcd",), False, True, "", None)
    assert [way.url for way in ways_to(None, placed)] == ["http://10.0.0.1:2380", "http://10.0.0.1:2379"]
    assert [way.url for way in ways_to(ClusterView(ClusterID(1), (seen,)), placed)] == ["http://10.0.0.9:2380"]
    assert ways_to(ClusterView(None, (), members_known=False), placed)


def test_a_member_that_makes_its_own_certificates_trusts_everybody() -> None:
    """--peer-auto-tls: no authority signed them. Source: etcd client/pkg/transport/listener.go."""
    flags = {"peer-cert-file": "/c", "peer-key-file": "/k", "peer-trusted-ca-file": "/a"}
    for auto, verified in (("true", False), ("false", True)):
        (one,) = member({**flags, "peer-auto-tls": auto}).members
        asked = paths._identity(one, PEER)
        assert asked == {"files": {"ca": "/a", "cert": "/c", "key": "/k"}, "verify": verified}
        assert paths._identity(one, CLIENT) == {"files": {}, "verify": False}
