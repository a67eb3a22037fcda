"""Addresses in all the spellings people and members use."""

from __future__ import annotations

import pytest

from etcdops.client.endpoints import parse_endpoint, parse_endpoints
from etcdops.errors import UsageError


@pytest.mark.parametrize(
    ("text", "url", "target"),
    [
        ("http://10.0.0.1:2379", "http://10.0.0.1:2379", "dns:///10.0.0.1:2379"),
        ("https://etcd-1.example:2379/", "https://etcd-1.example:2379", "dns:///etcd-1.example:2379"),
        ("10.0.0.1:2379", "http://10.0.0.1:2379", "dns:///10.0.0.1:2379"),
        ("localhost", "http://localhost:2379", "dns:///localhost:2379"),
        (" http://h:1 ", "http://h:1", "dns:///h:1"),
        ("http://[::1]:2379", "http://[::1]:2379", "dns:///[::1]:2379"),
        ("unix:/run/etcd.sock", "unix:/run/etcd.sock", "unix:/run/etcd.sock"),
        ("unix:///run/etcd.sock", "unix:/run/etcd.sock", "unix:/run/etcd.sock"),
        ("unixs:etcd:2379", "unixs:etcd:2379", "unix:etcd:2379"),
    ],
)
def test_an_endpoint_has_one_spelling(text: str, url: str, target: str) -> None:
    """Equal addresses must compare equal, or a member would be asked twice."""
    endpoint = parse_endpoint(text)
    assert (endpoint.url, endpoint.target) == (url, target)
    assert parse_endpoint(endpoint.url) == endpoint


def test_a_missing_scheme_means_tls_when_certificates_are_given() -> None:
    """etcd's client: clientv3/internal/endpoint, translateEndpoint."""
    assert parse_endpoint("h:2379", secure_default=True).secure
    assert not parse_endpoint("h:2379", secure_default=False).secure
    assert not parse_endpoint("http://h:2379", secure_default=True).secure


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://h:1",
        "http://",
        "http://h:99999",
        "http://h:x",
        "http://h:1/v3",
        "unix:",
        "http://a b:1",
        "http://u:pw@h:1",
    ],
)
def test_what_is_no_endpoint_is_refused_and_never_prints_a_password(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_endpoints([text])
    assert "pw" not in " ".join(raised.value.lines())


def test_lists_keep_their_order_and_drop_repetitions() -> None:
    urls = [endpoint.url for endpoint in parse_endpoints(["b:1,a:1", "http://b:1", ""])]
    assert urls == ["http://b:1", "http://a:1"]
