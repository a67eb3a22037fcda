"""Who a TLS port lets in, and what it says of the others: to them and to the log."""

from __future__ import annotations

import asyncio
import datetime
import os
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from etcdops.node.tls.info import TlsInfo
from tests.node.tls.handshakes import Pki, ask, client_context, eventually, install, on_both_loops, open_port, refusals
from tests.support.certificates import Authority, KeyPair

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("pki"))


@pytest.mark.parametrize(
    ("kind", "alert", "reason"),
    [
        ("none", "CERTIFICATE_REQUIRED", "tls: client didn't provide a certificate"),
        (
            "stranger",
            "UNKNOWN_CA",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        (
            "expired",
            "CERTIFICATE_EXPIRED",
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time",
        ),
        (
            "tomorrow",
            "BAD_CERTIFICATE",
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: current time",
        ),
    ],
)
@on_both_loops
async def test_who_is_refused_hears_why_and_so_does_the_log(
    pki: Pki, caplog: pytest.LogCaptureFixture, kind: str, alert: str, reason: str
) -> None:
    """The other side gets the alert, the operator Go's words. Source: real etcd 3.5's log for the same clients."""
    pair = None if kind == "none" else pki.pair(kind)
    async with open_port(pki.info(), endpoint="client") as port:
        with pytest.raises(ssl.SSLError, match=alert):
            await ask(port, client_context(pki.ours, pair))
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
        assert await ask(port, client_context(pki.ours, pki.pair("good"))) == b"hello"
    (line,) = refusals(caplog)
    assert line["msg"] == "rejected connection on client endpoint"
    assert str(line["error"]).startswith(reason)
    assert str(line["remote-addr"]).startswith("127.0.0.1:")
    assert line["server-name"] == ""
    assert "dns-names" not in line  # as etcd: what was not verified is not repeated


@on_both_loops
async def test_a_client_that_does_not_trust_us_is_told_to_the_log(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    """It says so with an alert, as Go's clients do; asyncio's do not, so this one is written by hand."""
    async with open_port(pki.info()) as port:
        context, incoming, outgoing = client_context(pki.other), ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        writer.write(outgoing.read())
        incoming.write(await reader.read(65_536))
        with pytest.raises(ssl.SSLCertVerificationError):
            client.do_handshake()
        writer.write(outgoing.read())
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
        writer.close()
    (line,) = refusals(caplog)
    assert line["error"] == "remote error: tls: unknown certificate authority"
    assert line["server-name"] == "localhost"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", "tls: first record does not look like a TLS handshake"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "tls: first record does not look like a TLS handshake"),
        (b"\x00" * 20, "tls: first record does not look like a TLS handshake"),
        (b"", "EOF"),
    ],
)
@on_both_loops
async def test_what_is_no_tls_is_turned_away(
    pki: Pki, caplog: pytest.LogCaptureFixture, words: bytes, reason: str
) -> None:
    """Plain HTTP, plain gRPC, noise, and the port check of a load balancer. Source: real etcd 3.5's log."""
    async with open_port(pki.info()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(words)
        writer.write_eof()
        async with asyncio.timeout(20):
            assert b"HTTP" not in await reader.read()
        writer.close()
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
    assert refusals(caplog)[0]["error"] == reason


@on_both_loops
async def test_a_client_that_resets_is_named(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    """Its address is known from when it came; the socket cannot say any more."""
    async with open_port(pki.info()) as port:
        client = socket.create_connection(("127.0.0.1", port.number))
        name = "{}:{}".format(*client.getsockname())
        client.send(b"\x16\x03\x01\x00\x05")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
    (line,) = refusals(caplog)
    assert line["remote-addr"] == name
    assert line["error"] == f"read tcp 127.0.0.1:{port.number}->{name}: read: connection reset by peer"


@on_both_loops
async def test_a_slow_handshake_delays_nobody_and_ends(
    pki: Pki, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent clients have a deadline; whoever comes meanwhile is served."""
    monkeypatch.setattr("etcdops.node.tls.port.HANDSHAKE_TIMEOUT_S", 0.3)
    async with open_port(pki.info()) as port:
        slow = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(20)]
        for _, writer in slow:
            writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a hello
        assert await ask(port, client_context(pki.ours, pki.pair("good"))) == b"hello"
        for reader, writer in slow:
            async with asyncio.timeout(20):
                await reader.read()
            writer.close()
        await eventually(lambda: len(refusals(caplog)) == 20, "a line for each")
    assert all(str(line["error"]).endswith("i/o timeout") for line in refusals(caplog))


# From where, and for whom: peers


@pytest.mark.parametrize(
    ("hosts", "reason"),
    [
        (["10.9.9.9"], "x509: certificate is valid for 10.9.9.9, not 127.0.0.1"),
        (["10.9.9.9", "fd00::1"], "x509: certificate is valid for 10.9.9.9, fd00::1, not 127.0.0.1"),
        (["host.invalid"], 'tls: "127.0.0.1" does not match any of DNSNames ["host.invalid"] (lookup host.invalid: '),
        (["10.9.9.9", "host.invalid"], 'tls: "127.0.0.1" does not match any of DNSNames ["host.invalid"] (lookup'),
        (["127.0.0.1"], ""),
        (["localhost"], ""),  # the resolver knows it
        (["host.invalid", "localhost"], ""),
        ([], ""),
    ],
)
@on_both_loops
async def test_a_peer_is_where_its_certificate_says(
    pki: Pki, caplog: pytest.LogCaptureFixture, hosts: list[str], reason: str
) -> None:
    """Its address must be one of its names, by number or by the resolver; without names it may be anywhere.

    Source: etcd client/pkg/transport/listener_tls.go, checkCertSAN.
    """
    context = client_context(pki.ours, pki.ours.issue("peer", hosts=hosts))
    async with open_port(pki.info(), check_addresses=True) as port:
        if not reason:
            assert await ask(port, context) == b"hello"
            return
        with pytest.raises((EOFError, OSError)):
            await ask(port, context)
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
        assert not port.let_in
    (line,) = refusals(caplog)
    assert str(line["error"]).startswith(reason)
    assert [*line["ip-addresses"], *line["dns-names"]] == hosts  # type: ignore[misc]  # lists of names
    assert line["msg"] == "rejected connection on peer endpoint"


@on_both_loops
async def test_addresses_may_be_left_unchecked(pki: Pki) -> None:
    """--experimental-peer-skip-client-san-verification; and client ports never look."""
    context = client_context(pki.ours, pki.ours.issue("peer", hosts=["10.9.9.9"]))
    async with open_port(replace(pki.info(), skip_client_san_verify=True), check_addresses=True) as port:
        assert await ask(port, context) == b"hello"


@pytest.mark.parametrize(
    ("allowed", "let_in"),
    [
        ({"allowed_cns": ("good",)}, True),
        ({"allowed_cns": ("else", "good")}, True),
        ({"allowed_cns": ("else",)}, False),
        ({"allowed_hostnames": ("localhost",)}, True),
        ({"allowed_hostnames": ("127.0.0.1",)}, True),
        ({"allowed_hostnames": ("good", "elsewhere")}, False),
    ],
)
@on_both_loops
async def test_lists_of_names_let_in_only_those(
    pki: Pki, caplog: pytest.LogCaptureFixture, allowed: dict[str, tuple[str, ...]], let_in: bool
) -> None:
    """--peer-cert-allowed-cn and the like. Source: etcd client/pkg/transport/listener.go, baseConfig."""
    info = replace(pki.info(), **allowed)  # type: ignore[arg-type]  # lists of names
    context = client_context(pki.ours, pki.pair("good"))
    async with open_port(info) as port:
        if let_in:
            assert await ask(port, context) == b"hello"
            return
        with pytest.raises((EOFError, OSError)):
            await ask(port, context)
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
    assert refusals(caplog)[0]["error"] == "client certificate authentication failed"


# Revocation


def _revoke(authority: Authority, path: Path, *pairs: KeyPair, der: bool = False) -> None:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(
        x509.load_pem_x509_certificate(authority.ca.read_bytes()).subject
    )
    builder = builder.last_update(now).next_update(now + datetime.timedelta(days=1))
    for pair in pairs:
        serial = x509.load_pem_x509_certificate(pair.cert.read_bytes()).serial_number
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
        )
    encoding = serialization.Encoding.DER if der else serialization.Encoding.PEM
    content = builder.sign(authority.key, hashes.SHA256()).public_bytes(encoding)
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.rename(path)


@on_both_loops
async def test_a_revoked_certificate_is_refused_from_the_next_connection_on(
    pki: Pki, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The list is followed; without it nobody comes in. Source: etcd listener_tls.go, checkCRL."""
    good, bad = pki.ours.issue("kept"), pki.ours.issue("lost")
    crl = tmp_path / "crl"
    _revoke(pki.ours, crl)
    async with open_port(replace(pki.info(), crl_file=str(crl))) as port:
        assert await ask(port, client_context(pki.ours, bad)) == b"hello"
        _revoke(pki.ours, crl, bad, der=True)
        with pytest.raises((EOFError, OSError)):
            await ask(port, client_context(pki.ours, bad))
        assert await ask(port, client_context(pki.ours, good)) == b"hello"
        await eventually(lambda: bool(refusals(caplog)), "a line in the log")
        crl.unlink()
        with pytest.raises((EOFError, OSError)):
            await ask(port, client_context(pki.ours, good))
        await eventually(lambda: len(refusals(caplog)) == 2, "a line in the log")
        _revoke(pki.ours, crl)
        assert await ask(port, client_context(pki.ours, bad)) == b"hello"
    serial = x509.load_pem_x509_certificate(bad.cert.read_bytes()).serial_number
    shown = serial.to_bytes((serial.bit_length() + 7) // 8, "big").hex()
    assert [line["error"] for line in refusals(caplog)] == [
        f"transport: certificate serial {shown} revoked",
        f"open {crl}: no such file or directory",
    ]


# Files that change


@on_both_loops
async def test_new_files_are_used_by_new_connections(pki: Pki, tmp_path: Path) -> None:
    """Certificate, key and authority, without a restart; connections that are open stay."""
    shown = pki.ours.issue("first")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(pki.ours.ca.read_bytes())
    info = TlsInfo(cert_file=str(shown.cert), key_file=str(shown.key), trusted_ca_file=str(trusted))
    ours, theirs = client_context(pki.ours, pki.pair("good")), client_context(pki.other, pki.other.issue("client"))
    async with open_port(info) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number, ssl=ours)
        trusted.write_bytes(pki.ours.ca.read_bytes() + pki.other.ca.read_bytes())
        assert await ask(port, ours) == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, theirs)  # they are trusted now, and do not trust what is shown
        install(pki.other.issue("second"), shown)
        trusted.write_bytes(pki.other.ca.read_bytes())
        assert await ask(port, theirs) == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, ours)
        writer.write(b"still")
        async with asyncio.timeout(20):
            assert await reader.readexactly(5) == b"still"
        writer.transport.abort()


@on_both_loops
async def test_files_that_do_not_fit_together_leave_what_was(
    pki: Pki, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """In the middle of a rotation a certificate has its predecessor's key: one warning, and no client notices.

    etcd refuses every handshake until both files are there.
    """
    shown = pki.ours.issue("rotating")
    context = client_context(pki.ours, pki.pair("good"))
    async with open_port(pki.info(shown)) as port:
        assert await ask(port, context) == b"hello"
        fresh = pki.ours.issue("fresh")
        fresh.cert.rename(shown.cert)
        for _ in range(3):
            assert await ask(port, context) == b"hello"
        os.unlink(shown.key)
        assert await ask(port, context) == b"hello"
        warnings = [record for record in caplog.records if record.getMessage() == "failed to create peer certificate"]
        said = [str(record.__dict__["zap_fields"]["error"]) for record in warnings]
        assert said == [
            f"tls: private key does not match public key ({shown.cert}, {shown.key})",
            f"open {shown.key}: no such file or directory",
        ]
        caplog.clear()
        caplog.set_level("INFO")
        fresh.key.rename(shown.key)
        assert await ask(port, context) == b"hello"
        assert "reloaded certificate files" in caplog.messages
