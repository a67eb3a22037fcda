"""Member URLs are read and refused as etcd reads and refuses them."""

from __future__ import annotations

import pytest

from etcdops.node.config.urls import (
    check_bind_urls,
    check_host_urls,
    difference,
    host_and_port,
    parse_url,
    parse_urls,
    parse_urls_by_name,
    render_urls_by_name,
    split_host_port,
)

REFUSED = {
    "localhost:2379": "URL scheme must be http, https, unix, or unixs: localhost:2379",
    "127.0.0.1:2379": 'parse "127.0.0.1:2379": first path segment in URL cannot contain colon',
    "2379": "URL scheme must be http, https, unix, or unixs: 2379",
    "ftp://127.0.0.1:2379": "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:2379",
    "http://127.0.0.1": 'URL address does not have the form "host:port": http://127.0.0.1',
    "http://": 'URL address does not have the form "host:port": http://',
    "http://a:1:2": 'URL address does not have the form "host:port": http://a:1:2',
    "http://127.0.0.1:2379/": "URL must not contain a path: http://127.0.0.1:2379/",
    "http://127.0.0.1:2379/path": "URL must not contain a path: http://127.0.0.1:2379/path",
    "http://127.0.0.1:abc": 'parse "http://127.0.0.1:abc": invalid port ":abc" after host',
    "http://my host:2379": 'parse "http://my host:2379": invalid character " " in host name',
    "://x": 'parse "://x": missing protocol scheme',
    "http://[::1:2379": "parse \"http://[::1:2379\": missing ']' in host",
}
"""URL -> etcd's words; the real etcd test compares with a real one."""


@pytest.mark.parametrize(("url", "problem"), REFUSED.items())
def test_urls_that_are_refused(url: str, problem: str) -> None:
    """etcd client/pkg/types/urls.go, NewURLs."""
    with pytest.raises(ValueError) as refused:
        parse_url(url)
    assert str(refused.value) == problem


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://127.0.0.1:2379", "http://127.0.0.1:2379"),
        (" https://[::1]:2379 ", "https://[::1]:2379"),
        ("HTTP://Host:1", "http://Host:1"),
        ("unix:///tmp/socket", "unix:///tmp/socket"),
        ("http://:2379", "http://:2379"),
    ],
)
def test_urls_that_are_taken(url: str, kept: str) -> None:
    """Spaces go, the scheme is written small, the host stays."""
    assert parse_url(url) == kept


def test_lists_are_sorted_and_each_url_is_kept_once() -> None:
    """etcd pkg/flags/unique_urls.go."""
    assert parse_urls("http://b:1,http://a:1, http://b:1") == ("http://a:1", "http://b:1")
    with pytest.raises(ValueError, match="URL scheme must be"):
        parse_urls("http://a:1,")


def test_initial_cluster_is_read_and_written() -> None:
    """etcd client/pkg/types/urlsmap.go, TestParseInitialCluster."""
    text = "mem1=http://10.0.0.1:2379,mem1=http://128.193.4.20:2379,mem2=http://10.0.0.2:2379,default=http://127.0.0.1:2379"
    members = parse_urls_by_name(text)
    assert members == {
        "mem1": ("http://10.0.0.1:2379", "http://128.193.4.20:2379"),
        "mem2": ("http://10.0.0.2:2379",),
        "default": ("http://127.0.0.1:2379",),
    }
    assert parse_urls_by_name(render_urls_by_name(members)) == members
    with pytest.raises(ValueError, match="URL scheme must be"):
        parse_urls_by_name("%^=http://a:1,b")


@pytest.mark.parametrize(
    ("address", "split"),
    [
        ("host:1", ("host", "1")),
        (":1", ("", "1")),
        ("[::1]:80", ("::1", "80")),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", "80")),
        ("host", None),
        ("::1", None),
        ("[::1]", None),
        ("[::1]80", None),
        ("a:b:c", None),
    ],
)
def test_host_and_port_are_split(address: str, split: tuple[str, str] | None) -> None:
    """Go net.SplitHostPort."""
    assert split_host_port(address) == split


def test_ports_are_numbers() -> None:
    """A URL may have any port text; listening needs a number."""
    assert host_and_port("http://127.0.0.1:2379") == ("127.0.0.1", 2379)
    for url in ("http://127.0.0.1:", "http://127.0.0.1:70000"):
        with pytest.raises(ValueError, match="no usable port"):
            host_and_port(url)


def test_listening_needs_an_address() -> None:
    """etcd server/embed/config.go, checkBindURLs."""
    check_bind_urls(["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1", "http://0.0.0.0:1", "unix:///x"])
    with pytest.raises(ValueError, match=r"expected IP in URL for binding \(http://example.com:2379\)"):
        check_bind_urls(["http://example.com:2379"])
    with pytest.raises(ValueError, match="expected IP in URL for binding"):
        check_bind_urls(["http://:2379"])


def test_advertising_needs_a_host() -> None:
    """etcd server/embed/config.go, checkHostURLs."""
    check_host_urls(["http://example.com:2379", "http://127.0.0.1:2379"])
    with pytest.raises(ValueError, match=r"unexpected empty host \(http://:2379\)"):
        check_host_urls(["http://:2379"])


def _resolve(host: str) -> str:
    known = {"a.example": "10.0.0.1", "b.example": "10.0.0.2"}
    if host not in known:
        raise OSError(-2, "Name or service not known")
    return known[host]


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        (["http://x:1", "http://y:1"], ["http://y:1", "http://x:1"], None),
        (["http://a.example:1"], ["http://10.0.0.1:1"], None),
        (["http://a.example:1"], ["http://b.example:1"], 'resolved urls: "http://10.0.0.1:1" != "http://10.0.0.2:1"'),
        (["http://localhost:1"], ["http://127.0.0.1:1"], 'resolved urls: "http://localhost:1" != "http://127.0.0.1:1"'),
        (["http://x:1"], ["http://x:1", "http://y:1"], 'len(["http://x:1"]) != len(["http://x:1" "http://y:1"])'),
        (
            ["http://no.example:1"],
            ["http://10.0.0.1:1"],
            'failed to resolve "http://no.example:1" (Name or service not known)',
        ),
    ],
)
def test_addresses_are_compared_by_what_they_mean(left: list[str], right: list[str], reason: str | None) -> None:
    """etcd pkg/netutil/netutil.go, urlsEqual."""
    assert difference(left, right, _resolve) == reason
