"""Certificates on hosts: who trusts whom, what a file lacks, one authority told of once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from etcdops.doctor.gather.certificates import gather_certificates
from etcdops.doctor.observation import HostObservation, MemberOnHost
from etcdops.doctor.words import in_words
from etcdops.remote.become import Become
from etcdops.remote.local import LocalSession
from etcdops.remote.session import Session
from etcdops.services.discover import Found
from etcdops.services.port import Origin, ProcessConfig, Setting, State
from tests.doctor.gather.test_paths import PEERS, port
from tests.fakes.session import FakeSession
from tests.support.certificates import Authority

FLAGS = {
    "peer-cert-file": "/pki/peer.crt",
    "peer-key-file": "/pki/peer.key",
    "peer-trusted-ca-file": "/pki/ca.crt",
    "initial-advertise-peer-urls": "https://10.0.0.1:2380",
}


def host(name: str, flags: dict[str, str] = FLAGS) -> HostObservation:
    settings = {flag: Setting(value, Origin.FLAG) for flag, value in {**flags, "name": f"m-{name}"}.items()}
    found = Found("", "1", State.STOPPED, None, ProcessConfig("etcd", settings))
    return HostObservation(name, members=(MemberOnHost(found),))


async def test_a_peers_certificate_is_held_against_what_the_others_trust(tmp_path: Path) -> None:
    """Signed by an authority that h1 alone has: h1 would be refused by h2, and h2 by h1."""
    files = {}
    for name in ("h1", "h2"):
        authority = Authority(tmp_path / name, f"ca-{name}")
        pair = authority.issue("peer", hosts=("10.0.0.1",))
        files[name] = {
            "/pki/peer.crt": pair.cert.read_text(),
            "/pki/ca.crt": authority.ca.read_text(),
            "/pki/peer.key": "",
        }

    async def connect(name: str) -> Session:
        return FakeSession(name, files[name])

    seen = await gather_certificates(connect, {"h1": host("h1"), "h2": host("h2")})
    assert [(one.where, one.member, one.use, one.trusted) for one in seen] == [
        ("h1:/pki/peer.crt", "m-h1", "peer", False),
        ("h2:/pki/peer.crt", "m-h2", "peer", False),
        ("h1:/pki/ca.crt", "cluster", "authority", None),
        ("h2:/pki/ca.crt", "cluster", "authority", None),
    ]
    assert all(one.hosts == ("10.0.0.1",) for one in seen[:2])


async def test_one_authority_for_all_is_told_of_once_and_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = {"/pki/ca.crt": authority.ca.read_text(), "/pki/peer.key": ""}
    files["/pki/peer.crt"] = authority.issue("peer").cert.read_text()

    async def connect(name: str) -> Session:
        return FakeSession(name, files)

    seen = await gather_certificates(connect, {"h1": host("h1"), "h2": host("h2")})
    assert [(one.use, one.trusted) for one in seen] == [("peer", True), ("peer", True), ("authority", None)]


@pytest.mark.slow
async def test_a_port_that_shows_another_certificate_than_its_file_is_told_of_too(tmp_path: Path) -> None:
    """A process that took in an old one; the same one again would say nothing new."""
    authority = Authority(tmp_path)
    old, new = authority.issue("old"), authority.issue("new")
    for shown, expected in ((old, ["h1:{}", "m-h1 on port {}"]), (new, ["h1:{}"])):
        async with port(peers=PEERS, tls=(shown, authority.ca)) as number:
            flags = {
                "peer-cert-file": str(new.cert),
                "peer-key-file": str(new.key),
                "listen-peer-urls": f"https://127.0.0.1:{number}",
            }
            (member,) = host("h1", flags).members
            running = MemberOnHost(dataclasses.replace(member.found, state=State.RUNNING))
            session = LocalSession("h1", Become(needed=False))

            async def connect(_: str, session: Session = session) -> Session:
                return session

            try:
                seen = await gather_certificates(connect, {"h1": HostObservation("h1", members=(running,))})
            finally:
                await session.close()
        assert [in_words(one.where, "en") for one in seen] == [
            text.format(at) for text, at in zip(expected, (new.cert, number), strict=False)
        ]


async def test_files_that_are_missing_or_no_certificates_are_named(tmp_path: Path) -> None:
    """With the path, as the flag names it; the key is looked for, not read."""

    async def connect(name: str) -> Session:
        return FakeSession(name, {"/pki/ca.crt": "rubbish"})

    seen = await gather_certificates(connect, {"h1": host("h1")})
    assert {one.where: bool(one.error) for one in seen} == {
        "h1:/pki/peer.crt": True,
        "h1:/pki/peer.key": True,
        "h1:/pki/ca.crt": True,
    }
    assert await gather_certificates(connect, {"h1": host("h1", {})}) == ()
