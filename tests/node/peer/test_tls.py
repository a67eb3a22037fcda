"""Members that talk over TLS, each showing a certificate to the other."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import replace
from pathlib import Path

import pytest

from etcdops.ids import LogIndex, Term
from etcdops.node.member.member import Member
from etcdops.node.peer import forward
from etcdops.node.peer.forward import ask_leader
from etcdops.node.peer.port import Answer, PeerRoutes
from etcdops.node.peer.remote import FetchFailed, fetch_cluster, fetch_versions
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.types import ConfState, Message, MessageType, Snapshot, SnapshotMetadata
from etcdops.node.tls.client import ClientTls
from etcdops.node.tls.info import TlsInfo
from tests.node.peer.support import ALICE, BOB, Node, append, connected, dialing, eventually, heartbeat, running
from tests.node.tls.handshakes import Pki, client_context, install, on_both_loops, refusals
from tests.support.ports import free_ports

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("pki"))


def _dial(info: TlsInfo) -> ClientTls:
    tls = ClientTls(info)
    tls.load()
    return tls


@on_both_loops
async def test_everything_that_members_say_goes_over_tls(pki: Pki, tmp_path: Path) -> None:
    """Streams, posts, probes and databases, both ways; and what strangers and followers ask."""

    async def renew(body: bytes) -> Answer:
        return Answer(200, body)

    one, two = free_ports(2)
    alice_tls, bob_tls = pki.info(pki.ours.issue("alice")), pki.info(pki.ours.issue("bob"))
    database = tmp_path / "state.db"
    database.write_bytes(random.Random(1).randbytes(3_000_000))
    metadata = SnapshotMetadata(LogIndex(0x12), Term(5), ConfState(voters=(ALICE, BOB)))
    image = Message(MessageType.SNAP, to=BOB, from_=ALICE, term=Term(5), snapshot=Snapshot(metadata))
    async with (
        running(tmp_path, ALICE, port=one, peers={BOB: [f"https://127.0.0.1:{two}"]}, tls=alice_tls) as alice,
        running(
            tmp_path, BOB, port=two, peers={ALICE: [alice.url]}, tls=bob_tls, routes=PeerRoutes(leases=renew)
        ) as bob,
    ):
        await connected(alice, BOB)
        await connected(bob, ALICE)
        alice.transport.send([append(ALICE, BOB, 1, 3, size=200_000), heartbeat(ALICE, BOB, 7)])
        await eventually(lambda: len(bob.raft.received) == 2)
        alice.transport.send_snapshot(image, database)
        await eventually(lambda: alice.raft.snapshots == [(BOB, True)])
        received = received_path(bob.snapshot_dir, LogIndex(0x12)).read_bytes()
        assert hashlib.sha256(received).digest() == hashlib.sha256(database.read_bytes()).digest()
        await eventually(lambda: alice.transport.stats()[BOB].round_trip_s > 0, "it was probed")
        async with dialing(_dial(alice_tls)) as dialer:
            answer = await ask_leader(dialer, forward.LEASE_RENEW, b"lease", lambda: [bob.url], timeout_s=20)
        assert answer == Answer(200, b"lease")
        found = await fetch_cluster([bob.url], tls=_dial(alice_tls))
        assert found.source == bob.url
        versions = await fetch_versions([Member(BOB, (bob.url,), "bob")], tls=_dial(alice_tls))
        assert versions[BOB] is not None


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.__dict__.get("zap_fields", {}) for record in caplog.records]
    return [str(fields["error"]) for fields in found if "error" in fields]


@pytest.mark.parametrize(
    ("kind", "port_says", "dial_says"),
    [
        (
            "stranger",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "remote error: tls: unknown certificate authority",
        ),
        (
            "expired",
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid",
            "remote error: tls: expired certificate",
        ),
    ],
)
@on_both_loops
async def test_a_member_whose_certificate_is_refused_hears_why(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, port_says: str, dial_says: str
) -> None:
    """Both logs name the fault; the port serves others; with a good certificate the member is back, unrestarted."""
    bad = pki.pair(kind)
    one, two = free_ports(2)
    good_info = pki.info()
    # its dials are bad; its port is good
    bob_info = replace(pki.info(), client_cert_file=str(bad.cert), client_key_file=str(bad.key))
    async with (
        running(tmp_path, ALICE, port=one, peers={BOB: [f"https://127.0.0.1:{two}"]}, tls=good_info) as alice,
        running(tmp_path, BOB, port=two, peers={ALICE: [alice.url]}, tls=bob_info),
    ):
        await eventually(lambda: any(str(line["error"]).startswith(port_says) for line in refusals(caplog)), "refused")
        await eventually(lambda: any(dial_says in text for text in _errors(caplog)), "told")
        install(pki.pair("good"), bad)
        await connected(alice, BOB)


@on_both_loops
async def test_a_member_is_not_dialled_when_it_cannot_prove_who_it_is(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong authority and a wrong name, in Go's words; the port that was not believed hears that too."""
    wrong_name, stranger = pki.ours.issue("wrong", hosts=["10.9.9.9"]), pki.other.issue("stranger")
    for pair, words, alert in (
        (
            stranger,
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            "remote error: tls: unknown certificate authority",
        ),
        (
            wrong_name,
            "tls: failed to verify certificate: x509: certificate is valid for other names, not 127.0.0.1",
            "remote error: tls: bad certificate",
        ),
    ):
        caplog.clear()
        shown = replace(pki.info(), cert_file=str(pair.cert), key_file=str(pair.key))
        async with running(tmp_path, BOB, tls=shown) as bob:
            with pytest.raises(FetchFailed, match=words):
                await fetch_cluster([bob.url], tls=_dial(pki.info()))
            await eventually(lambda: bool(refusals(caplog)), "the port's log")
            assert refusals(caplog)[0]["error"] == alert


@on_both_loops
async def test_plain_and_tls_do_not_mix(pki: Pki, tmp_path: Path) -> None:
    """http:// to a TLS port and https:// to a plain one fail with a reason, at once."""
    async with running(tmp_path, ALICE, tls=pki.info()) as secure, running(tmp_path, BOB) as plain:
        with pytest.raises(FetchFailed, match=r"Server disconnected|EOF|reset"):
            await fetch_cluster([secure.url.replace("https:", "http:")])
        with pytest.raises(FetchFailed, match="tls: first record does not look like a TLS handshake"):
            await fetch_cluster([plain.url.replace("http:", "https:")], tls=_dial(pki.info()))


@on_both_loops
async def test_names_that_are_allowed_hold_in_both_directions(pki: Pki, tmp_path: Path) -> None:
    """--peer-cert-allowed-cn is asked of who dials and of who is dialled. Source: etcd TLSInfo.baseConfig."""
    info = pki.info(pki.ours.issue("bob"))
    async with running(tmp_path, BOB, tls=info) as bob:
        assert (await fetch_cluster([bob.url], tls=_dial(replace(info, allowed_cns=("bob",))))).source == bob.url
        with pytest.raises(FetchFailed, match="client certificate authentication failed"):
            await fetch_cluster([bob.url], tls=_dial(replace(info, allowed_cns=("alice",))))


@on_both_loops
async def test_a_dial_uses_the_files_that_are_there_now(pki: Pki, tmp_path: Path) -> None:
    """The authority is another one and so is every certificate: streams that are open stay, new ones are made."""
    one, two = free_ports(2)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pki.ours.ca.read_bytes())
    pairs = [pki.ours.issue("alice-rotated"), pki.ours.issue("bob-rotated")]
    infos = [TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key), trusted_ca_file=str(trusted)) for pair in pairs]
    async with (
        running(tmp_path, ALICE, port=one, peers={BOB: [f"https://127.0.0.1:{two}"]}, tls=infos[0]) as alice,
        running(tmp_path, BOB, port=two, peers={ALICE: [alice.url]}, tls=infos[1]) as bob,
    ):
        await _all_streams(alice, bob)
        trusted.write_bytes(pki.ours.ca.read_bytes() + pki.other.ca.read_bytes())
        for number, pair in enumerate(pairs):
            install(pki.other.issue(f"next-{number}"), pair)
        trusted.write_bytes(pki.other.ca.read_bytes())
        alice.transport.send([heartbeat(ALICE, BOB, 1)])
        await eventually(lambda: len(bob.raft.received) == 1)
        # whoever still has the first authority's certificate is a stranger by now
        with pytest.raises(FetchFailed):
            await fetch_cluster([alice.url], tls=_dial(pki.info()))
        alice.transport.remove_peer(BOB)
        alice.transport.add_peer(BOB, [bob.url])
        await connected(alice, BOB)
        await eventually(lambda: _beats(alice, bob) > 1, "heartbeats over new connections")


async def _all_streams(alice: Node, bob: Node) -> None:
    await connected(alice, BOB)
    await connected(bob, ALICE)


def _beats(alice: Node, bob: Node) -> int:
    alice.transport.send([heartbeat(ALICE, BOB, 2)])
    return len(bob.raft.received)


async def test_a_silent_connection_to_the_peer_port_does_not_stay(
    pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the middle of a handshake nor after it."""
    monkeypatch.setattr("etcdops.node.peer.listener.FIRST_REQUEST_TIMEOUT_S", 0.3)
    monkeypatch.setattr("etcdops.node.tls.port.HANDSHAKE_TIMEOUT_S", 0.3)
    async with running(tmp_path, ALICE, tls=pki.info()) as alice:
        number = int(alice.url.rpartition(":")[2])
        quiet = await asyncio.open_connection("127.0.0.1", number)
        done = await asyncio.open_connection("127.0.0.1", number, ssl=client_context(pki.ours, pki.ours.issue("quiet")))
        for stream, writer in (quiet, done):
            async with asyncio.timeout(20):
                assert await stream.read() == b""
            writer.transport.abort()
