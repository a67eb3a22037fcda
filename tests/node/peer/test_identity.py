"""Headers between members and the checks on them."""

from __future__ import annotations

import pytest

from etcdops.ids import ClusterID, MemberID
from etcdops.node.peer.identity import Identity, parse_id, parse_version
from etcdops.node.peer.port import Answer

ME = Identity(MemberID(0xABC), ClusterID(0xC1), ("http://a:1", "http://b:2"), "3.5.21")


def test_a_request_says_who_asks() -> None:
    """Source: etcd server/etcdserver/api/rafthttp/util.go, createPostRequest."""
    assert ME.headers == {
        "X-Server-From": "abc",
        "X-Server-Version": "3.5.21",
        "X-Min-Cluster-Version": "3.0.0",
        "X-Etcd-Cluster-ID": "c1",
        "X-PeerURLs": "http://a:1,http://b:2",
    }


@pytest.mark.parametrize("version", ["3.0.0", "3.4.23", "3.5.21", "3.6.0-rc.1", "4.0.0+git"])
def test_any_version_that_can_join_our_cluster_is_welcome(version: str) -> None:
    """Newer ones too: they know whether they still understand us."""
    assert ME.refusal({**ME.headers, "X-Server-Version": version}) is None


@pytest.mark.parametrize(
    ("changed", "answer"),
    [
        ({"X-Server-Version": "2.3.8"}, Answer(412, b"incompatible version")),
        ({"X-Min-Cluster-Version": "3.6.0"}, Answer(412, b"incompatible version")),
        ({"X-Etcd-Cluster-ID": "c2"}, Answer(412, b"cluster ID mismatch")),
        ({"X-Etcd-Cluster-ID": ""}, Answer(412, b"cluster ID mismatch")),
        ({"X-Server-Version": "three"}, Answer(400, b"invalid version")),
        ({"X-Min-Cluster-Version": "3.5." + "9" * 5000}, Answer(400, b"invalid version")),
        ({"X-Server-Version": "3.5.1\u0661"}, Answer(400, b"invalid version")),
    ],
)
def test_others_are_told_why_not(changed: dict[str, str], answer: Answer) -> None:
    """A version nobody can read makes etcd panic; here it is a bad request."""
    assert ME.refusal({**ME.headers, **changed}) == answer


def test_without_version_headers_a_peer_is_from_the_time_before_them() -> None:
    """Source: etcd rafthttp/util.go, serverVersion: 2.0.0, which is too old."""
    assert ME.refusal({"X-Etcd-Cluster-ID": "c1"}) == Answer(412, b"incompatible version")


def test_the_reason_of_a_refusal_is_logged_in_etcds_words(caplog: pytest.LogCaptureFixture) -> None:
    """Diagnosis looks for these messages and fields."""
    ME.refusal({**ME.headers, "X-Etcd-Cluster-ID": "c2", "X-Server-From": "f00"})
    ME.refusal({**ME.headers, "X-Server-Version": "2.3.8", "X-Server-From": "f00"})
    mismatch, version = caplog.records
    assert mismatch.message == "request cluster ID mismatch"
    assert mismatch.__dict__["zap_fields"] == {
        "local-member-id": "abc",
        "local-member-cluster-id": "c1",
        "local-member-server-version": "3.5.21",
        "local-member-server-minimum-cluster-version": "3.0.0",
        "remote-peer-server-name": "f00",
        "remote-peer-server-version": "3.5.21",
        "remote-peer-server-minimum-cluster-version": "3.0.0",
        "remote-peer-cluster-id": "c2",
    }
    assert version.message == "failed to check version compatibility"
    assert version.__dict__["zap_fields"]["error"] == "remote version is too low: remote[f00]=2.3.8, local=3.5.21"


@pytest.mark.parametrize("text", ["", "g", "-1", "0x1", "1 ", "1" * 17, "\u0661"])
def test_what_is_no_id_is_refused(text: str) -> None:
    """Python's int() would take some of these."""
    with pytest.raises(ValueError, match="not an ID"):
        parse_id(text)


def test_ids_and_versions_are_read() -> None:
    """Hex without leading zeros, in either case; major and minor."""
    assert parse_id("8E9e05c52164694d") == 0x8E9E05C52164694D
    assert parse_version("3.5.16") == (3, 5)
