"""What somebody did on purpose is no trouble: a member removed, a cluster upgraded, a snapshot restored.

Beside each what looks the same, and is one.
"""

from __future__ import annotations

import pytest

from tests.diagnosis.test_normal_days import M1, M2, M3, line, slugs, started

REFUSED = (
    "grpc: addrConn.createTransport failed to connect to {127.0.0.1:2399 <nil> 0 <nil>}. "
    'Err :connection error: desc = "transport: Error while dialing '
    'dial tcp 127.0.0.1:2399: connect: connection refused"'
)
READY = line("10:00:05", "embed: ready to serve client requests")


def rejected(clock: str) -> str:
    return line(clock, f"rafthttp: rejected the stream from peer {M2} since it was removed")


def test_a_member_that_was_removed_may_dial_until_it_knows() -> None:
    """It stops a second after it was told. Source: etcdserver/server.go, stopWithDelay."""
    removed = line("10:00:00", f"etcdserver/membership: removed member {M2} from cluster 2c48bef043e896b6")
    later = line("10:00:09", "mvcc: store.index: compact 4711")
    assert slugs(removed, rejected("10:00:00"), rejected("10:00:01"), later) == []
    assert slugs(removed, rejected("10:00:00"), rejected("10:00:01")) == ["removed-peer-dialing"]
    assert slugs(removed, rejected("10:00:00"), rejected("10:05:00"), line("11:00:00", "x")) == ["removed-peer-dialing"]
    assert slugs(rejected("10:00:00"), later) == ["removed-peer-dialing"]


@pytest.mark.parametrize(("theirs", "found"), [("3.4.9", []), ("3.5.0", ["version-incompatible"])])
def test_patches_of_one_minor_release_may_be_mixed(theirs: str, found: list[str]) -> None:
    """Source: 3.4 etcdserver/cluster_util.go, decideClusterVersion."""
    assert (
        slugs(
            line("10:00:00", f"etcdserver: member {M2} has a higher version {theirs}"),
            line("10:00:00", "etcdserver: the local etcd version 3.4.0 is not up-to-date"),
        )
        == found
    )


@pytest.mark.parametrize(("theirs", "found"), [("3.5.21", []), ("3.6.1", ["version-incompatible"])])
def test_patches_may_be_mixed_also_where_one_line_tells_both(theirs: str, found: list[str]) -> None:
    """Source: 3.5 server/etcdserver/cluster_util.go, decideClusterVersion."""
    told = (
        '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","caller":"etcdserver/cluster_util.go:185","msg":"leader found '
        f'higher-versioned member","local-member-version":"3.5.9","remote-member-id":"{M2}","remote-member-version":'
        f'"{theirs}"}}'
    )
    assert slugs(told) == found


def test_a_snapshot_is_restored_with_one_forced_start_of_each_member() -> None:
    """As k3s does it: the old member is forced to read what it had, the restored one to be the only one."""
    restored = '{"level":"info","msg":"restored snapshot","path":"/snapshots/s1","data-dir":"/k3s/data/server/db/etcd"}'

    def forced(minute: int, member: str) -> str:
        told = f"etcdserver: forcing restart of member {member} in cluster 2c48bef043e896b6 at commit index 99"
        return line(f"10:{minute:02}:00", told)

    assert slugs(forced(0, M1), restored, forced(1, M3)) == []
    assert slugs(forced(0, M1), restored, forced(1, M3), forced(9, M3)) == ["force-new-cluster-left-on"]
    assert slugs(forced(0, M1)) == ["force-new-cluster-left-on"]


def test_who_closes_its_door_finds_it_closed() -> None:
    """The gateway of a server dials it until the process ends, or it is started anew within it, as in k3s."""
    closing = line("11:00:00", "embed: closing etcd server")
    assert slugs(started("10:00:00"), READY, closing, line("11:00:01", REFUSED)) == []
    assert slugs(started("10:00:00"), line("10:00:01", REFUSED), READY) == []
    assert slugs(started("10:00:00"), READY, line("11:00:01", REFUSED)) == ["peer-connection-refused"]
    assert slugs(line("11:00:01", REFUSED)) == ["peer-connection-refused"]


def test_a_door_that_stays_closed_is_a_trouble() -> None:
    """A start takes seconds; whose log goes on without its end has not come up."""
    hours = line("11:00:00", "mvcc: restore compact to 4711")
    assert slugs(started("10:00:00"), line("10:00:01", REFUSED), hours) == ["peer-connection-refused"]


def test_a_peer_that_closes_its_streams_and_knows_nobody_is_going_down() -> None:
    """It is not the membership that is wrong. Source: rafthttp/transport.go, Stop."""
    lost = line("10:00:00", f"rafthttp: lost the TCP streaming connection with peer {M2} (stream MsgApp v2 reader)")
    unknown = f"rafthttp: failed to dial {M2} on stream Message (peer {M2} failed to find local node {M1})"
    assert slugs(lost, line("10:00:00", unknown)) == ["peer-unreachable"]
    assert slugs(lost, line("10:05:00", unknown)) == ["member-not-found"]
    assert slugs(line("10:00:00", unknown)) == ["member-not-found"]
