"""What certificates say, and what is wrong with them for a use."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from etcdops.certs.authority import Authority
from etcdops.certs.facts import CertificateFacts, Use, describe, read_certificates
from etcdops.clock import ManualClock
from etcdops.errors import UsageError

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "pki", "prod", ManualClock(NOW.timestamp()))


def leaf(authority: Authority, use: Use, *hosts: str, days: int = 365) -> CertificateFacts:
    issued = authority.issue(use, "etcd-1", hosts=hosts, days=days)
    return describe(read_certificates(issued.certificate, source="issued")[0])


@pytest.mark.parametrize(
    ("host", "covered"),
    [
        ("etcd-1.example.com", True),
        ("ETCD-1.example.com.", True),
        ("a.wild.example.com", True),
        ("a.b.wild.example.com", False),
        ("wild.example.com", False),
        ("etcd-2.example.com", False),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("fd00::1", True),
        ("fd00:0:0::1", True),
        ("etcd-1", False),
    ],
)
def test_a_certificate_covers_its_alternative_names_only(authority: Authority, host: str, covered: bool) -> None:
    """Go verifies names as RFC 6125 says, and has ignored the common name since 1.15."""
    facts = leaf(authority, Use.SERVER, "etcd-1.example.com", "*.wild.example.com", "10.0.0.1", "fd00::1")
    assert facts.covers(host) is covered


def test_a_fit_certificate_has_no_problems(authority: Authority) -> None:
    """For its own use and, as a server's, for a client's."""
    facts = leaf(authority, Use.SERVER, "10.0.0.1")
    assert facts.problems(Use.SERVER, hosts=["10.0.0.1"], now=NOW) == []
    assert facts.problems(Use.PEER, hosts=["10.0.0.1"], now=NOW) == []
    assert facts.problems(Use.CLIENT, hosts=[], now=NOW) == []
    assert (facts.subject, facts.issuer, facts.is_authority) == ("etcd-1", "prod", False)


def test_problems_are_named(authority: Authority) -> None:
    """Each of the reasons why a TLS handshake between members fails."""
    client = leaf(authority, Use.CLIENT)
    assert client.problems(Use.PEER, hosts=["10.0.0.1"], now=NOW) == [
        "it is not for server use, which a peer certificate needs",
        "it is not valid for 10.0.0.1",
    ]
    short = leaf(authority, Use.SERVER, "10.0.0.1", days=10)
    assert short.problems(Use.CLIENT, hosts=[], now=NOW) == ["it expires in 10 days, on 2026-03-11"]
    late = NOW + datetime.timedelta(days=10)
    assert short.problems(Use.CLIENT, hosts=[], now=late) == ["it expired on 2026-03-11 00:00:00 UTC"]
    early = NOW - datetime.timedelta(hours=2)
    assert "it is valid only from 2026-02-28 23:00:00 UTC on" in short.problems(Use.CLIENT, hosts=[], now=early)
    root = describe(authority.certificate)
    assert root.problems(Use.CLIENT, hosts=[], now=NOW) == [
        "it is an authority's own certificate, not one of a server or client"
    ]


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_an_error_naming_the_file(content: bytes) -> None:
    """Not a traceback of a library."""
    with pytest.raises(UsageError, match=r"etcd-1\.crt"):
        read_certificates(content, source="etcd-1.crt")
