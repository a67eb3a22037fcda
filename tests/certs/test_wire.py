"""What a port shows and takes, asked of a TLS server of our own; of real members in tests/playbooks/certificates."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from etcdops.certs.authority import Authority, Issued
from etcdops.certs.facts import Use, describe, read_certificates
from etcdops.certs.wire import dial
from etcdops.clock import SystemClock
from etcdops.errors import Unreachable

BODY = b'{"etcdserver":"3.5.16","etcdcluster":"3.5.0"}'
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@asynccontextmanager
async def member(folder: Path, shown: Issued | None, trusts: bytes = b"") -> AsyncIterator[int]:
    """A port that shows a certificate, wants one of `trusts`, and answers /version; without `shown`, plainly."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1000):
            writer.write(ANSWER)
            await writer.drain()
            await reader.read()  # as the peer port of 3.4 does, it leaves the closing to the other side
        writer.close()

    context = None
    if shown is not None:
        pair = folder / "pair.pem"
        pair.write_bytes(shown.certificate + shown.key.reveal().encode())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
        if trusts:
            context.load_verify_locations(cadata=trusts.decode())
            context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def authorities(tmp_path: Path) -> tuple[Authority, Authority]:
    return tuple(Authority.create(tmp_path / name, "same name", SystemClock()) for name in ("a", "b"))  # type: ignore[return-value]  # two of them


async def test_a_member_shows_its_certificate_and_takes_ours(
    tmp_path: Path, authorities: tuple[Authority, Authority]
) -> None:
    """The certificate is seen whatever signed it; acceptance is an answer to a request."""
    ours, _ = authorities
    shown = ours.issue(Use.SERVER, "m1", hosts=["127.0.0.1"])
    async with member(tmp_path, shown, ours.trusted_pem) as port:
        found = await dial("127.0.0.1", port, shown=ours.issue(Use.CLIENT, "me"))
    assert found.certificate is not None
    expected = describe(read_certificates(shown.certificate, source="shown")[0])
    assert describe(found.certificate).fingerprint == expected.fingerprint
    assert found.accepted
    assert found.versions == ("3.5.16", "3.5.0")


async def test_a_certificate_of_another_authority_is_refused_and_the_members_own_is_still_seen(
    tmp_path: Path, authorities: tuple[Authority, Authority]
) -> None:
    """Both have the same name, as before and after a rotation: only the signature tells them apart."""
    ours, other = authorities
    async with member(tmp_path, ours.issue(Use.SERVER, "m1", hosts=["127.0.0.1"]), ours.trusted_pem) as port:
        refused = await dial("127.0.0.1", port, shown=other.issue(Use.CLIENT, "me"))
        nothing = await dial("127.0.0.1", port)
    assert refused.certificate is not None
    assert not refused.accepted
    assert refused.refusal
    assert not nothing.accepted


async def test_a_port_without_tls_is_told_apart_from_a_closed_one(tmp_path: Path) -> None:
    """Both are errors that name the address."""
    async with member(tmp_path, None) as port:
        assert (await dial("127.0.0.1", port, tls=False)).accepted
        with pytest.raises(Unreachable, match=r"handshake|connected"):
            await dial("127.0.0.1", port)
    with pytest.raises(Unreachable, match="cannot be connected to"):
        await dial("127.0.0.1", port)


def test_a_certificate_for_a_key_that_stays_where_it_is(authorities: tuple[Authority, Authority]) -> None:
    """Renewal changes one file on the host, so no handshake finds a key that does not fit."""
    ours, _ = authorities
    first = ours.issue(Use.SERVER, "m1", hosts=["127.0.0.1"])
    [old] = read_certificates(first.certificate, source="first")
    [new] = read_certificates(ours.certify(Use.SERVER, "m1", old.public_key(), hosts=["10.0.0.1"]), source="new")
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    assert describe(new).addresses == ("10.0.0.1",)
    assert ours.signed(new)


def test_an_authority_that_was_retired_can_be_asked_for(authorities: tuple[Authority, Authority]) -> None:
    """Its key is kept, to prove that nobody trusts it any more."""
    ours, _ = authorities
    old = ours.certificate
    ours.begin_rotation()
    retired = ours.predecessor(describe(old).fingerprint)
    assert retired is not None
    [issued] = read_certificates(retired.issue(Use.CLIENT, "me").certificate, source="issued")
    assert retired.signed(issued)
    assert not ours.signed(issued)
    assert ours.predecessor(describe(ours.certificate).fingerprint) is None
