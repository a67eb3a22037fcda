"""Whom a certificate is for, as Go decides it."""

from __future__ import annotations

import pytest

from etcdops.node.tls.names import Names, WrongName, check_allowed, matches


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("a.example.com", "a.example.com", True),
        ("A.example.COM", "a.Example.com", True),
        ("a.example.com.", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.b.example.com", "a.*.example.com", False),
        ("a*.example.com", "ab.example.com", False),
        ("*", "a", False),
        ("", "", False),
    ],
)
def test_a_star_is_the_whole_first_label(pattern: str, host: str, covered: bool) -> None:
    """Source: Go crypto/x509, matchHostnames."""
    assert matches(pattern, host) is covered


@pytest.mark.parametrize(
    ("names", "host", "message"),
    [
        (Names(ip_addresses=("10.0.0.1",)), "10.0.0.2", "x509: certificate is valid for 10.0.0.1, not 10.0.0.2"),
        (
            Names(dns_names=("a",)),
            "10.0.0.2",
            "x509: cannot validate certificate for 10.0.0.2 because it doesn't contain any IP SANs",
        ),
        (Names(dns_names=("a", "b")), "c", "x509: certificate is valid for a, b, not c"),
        (Names(ip_addresses=("::1",)), "c", "x509: certificate is not valid for any names, but wanted to match c"),
        (Names(common_name="c"), "c", "x509: certificate relies on legacy Common Name field, use SANs instead"),
        (Names(common_name="*.c", ip_addresses=("::1",)), "::2", "x509: certificate is valid for ::1, not ::2"),
    ],
)
def test_a_mismatch_is_told_in_gos_words(names: Names, host: str, message: str) -> None:
    """Source: Go crypto/x509, HostnameError.Error."""
    with pytest.raises(WrongName) as refused:
        names.verify(host)
    assert str(refused.value) == message


@pytest.mark.parametrize("host", ["::1", "0:0::1", "[::1]", "10.0.0.1", "::ffff:10.0.0.1"])
def test_addresses_are_compared_as_numbers(host: str) -> None:
    """However they are written, by OpenSSL or by whoever asks."""
    Names(ip_addresses=("0:0:0:0:0:0:0:1", "10.0.0.1")).verify(host)


def test_what_openssl_says_is_read_whole() -> None:
    """The form of `SSLObject.getpeercert()`; nothing when no certificate was asked for."""
    names = Names.of(
        {
            "subject": ((("organizationName", "o"),), (("commonName", "me"),)),
            "subjectAltName": (("DNS", "a"), ("IP Address", "0:0:0:0:0:0:0:1"), ("URI", "x"), ("DNS", "*.b")),
            "serialNumber": "0A1F",
        }
    )
    assert names == Names("me", ("a", "*.b"), ("::1",), 0x0A1F)
    assert Names.of({}) is None
    assert Names.of(None) is None


def test_a_list_of_names_is_for_whoever_showed_a_certificate() -> None:
    """Without one nobody is on it; without a list everybody is."""
    check_allowed(None, (), ())
    check_allowed(Names("a"), ("b", "a"), ())
    check_allowed(Names(dns_names=("a",)), (), ("b", "a"))
    for names, cns, hosts in ((None, ("a",), ()), (Names("b"), ("a",), ()), (Names("a"), (), ("a",))):
        with pytest.raises(WrongName, match="client certificate authentication failed"):
            check_allowed(names, cns, hosts)
