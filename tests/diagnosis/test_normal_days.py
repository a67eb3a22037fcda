"""What healthy members say when they are started, stopped and restarted, over hours and months: no finding.

Beside each a day that is none, in the same words.
"""

from __future__ import annotations

import pytest

from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.diagnosis.finding import Severity

M1, M2, M3 = "8a1f9d2c3b4e5f60", "9b2f9d2c3b4e5f61", "ac3f9d2c3b4e5f62"


def line(clock: str, text: str) -> str:
    return f"2018-03-02 {clock}.000000 I | {text}"


def elected(clock: str, leader: str, term: int) -> str:
    return line(clock, f"raft: raft.node: {M1} elected leader {leader} at term {term}")


def started(clock: str) -> str:
    return line(clock, "etcdmain: etcd Version: 3.3.27")


def stopped(clock: str) -> str:
    return line(clock, "pkg/osutil: received terminated signal, shutting down...")


def active(clock: str, peer: str) -> str:
    return line(clock, f"rafthttp: peer {peer} became active")


def unknown(clock: str, peer: str) -> str:
    return line(clock, f"rafthttp: failed to find member {peer} in cluster 2c48bef043e896b6")


def slugs(*lines: str) -> list[str]:
    return [found.slug for found in diagnose_lines(lines).findings if found.severity > Severity.INFO]


def test_leaders_that_change_now_and_then_are_no_flapping() -> None:
    """Hours apart they are elections; within the hour they are what an operator is called for."""
    days = [elected(f"{hour:02}:00:00", M2 if hour % 2 else M3, hour + 2) for hour in range(2, 20, 2)]
    assert slugs(*days) == []
    hour = [elected(f"10:{minute:02}:00", M2 if minute % 2 else M3, minute) for minute in range(2, 6)]
    assert slugs(*hour) == ["leader-flapping"]


def test_a_leadership_that_is_handed_over_is_no_flapping() -> None:
    """As each leader does that is stopped, or told to. Source: raft/raft.go, stepLeader and stepFollower."""
    handover = [
        line(f"10:0{term}:00", f"raft: {M1} [term {term}] received MsgTimeoutNow from {M2} and starts an election")
        for term in range(2, 7)
    ]
    won = [elected(f"10:0{term}:01", M1, term + 1) for term in range(2, 7)]
    assert slugs(*sorted([*handover, *won])) == []
    assert slugs(*won) == ["leader-flapping"]


def test_a_question_for_a_version_that_nobody_answered_once_is_over_when_the_next_ones_are() -> None:
    """As on a machine that is busy for a moment; where nothing follows, or a prober says so too, it stands."""
    told = f"etcdserver: failed to reach the peerURL(http://m2:2380) of member {M2} (Get http://m2:2380/version: "
    asked = line("10:00:20", told + "dial tcp 10.0.0.2:2380: i/o timeout)")
    probed = line(
        "10:00:21", f"rafthttp: health check for peer {M2} could not connect: dial tcp 10.0.0.2:2380: i/o timeout"
    )
    later = line("10:00:50", "mvcc: finished scheduled compaction at 7 (took 1ms)")
    assert slugs(started("10:00:00"), active("10:00:05", M2), asked) == ["peer-io-timeout"]
    assert slugs(started("10:00:00"), active("10:00:05", M2), asked, later) == []
    assert slugs(started("10:00:00"), active("10:00:05", M2), asked, probed, later) == ["peer-io-timeout"]


def test_what_a_member_that_is_stopped_answers_its_peers_is_no_trouble() -> None:
    """It serves for a moment longer than it knows anybody. Source: rafthttp/transport.go, Stop; http.go, ServeHTTP."""
    once = [started("10:00:00"), active("10:00:05", M2), stopped("12:00:00"), unknown("12:00:01", M2)]
    again = [started("12:00:10"), active("12:00:12", M2), stopped("18:00:00"), unknown("18:00:01", M2)]
    assert slugs(*once, *again) == ["terminated-by-signal"]
    assert slugs(*once, *again, started("18:00:09"), active("18:00:11", M2)) == []
    assert slugs(started("10:00:00"), active("10:00:05", M2), unknown("12:00:00", M3)) == ["member-not-found"]


def test_a_peer_that_is_stopped_knows_nobody_at_its_end() -> None:
    """Its last answer; afterwards nothing listens there. Who goes on answering so does not know this member."""
    lost = line(
        "10:00:00", f"rafthttp: failed to dial {M2} on stream Message (peer {M2} failed to find local node {M1})"
    )
    refused = line(
        "10:00:05",
        f"rafthttp: health check for peer {M2} could not connect: dial tcp 10.0.0.2:2380: connect: connection refused",
    )
    assert slugs(lost) == ["member-not-found"]
    assert slugs(lost, active("10:00:09", M2)) == []
    assert slugs(lost, refused) == ["peer-connection-refused"]


def test_planned_restarts_are_no_finding() -> None:
    """Hours after the start, and the member is back. Without an end, or again and again, somebody stops it."""
    planned = [text for hour in range(1, 9, 2) for text in (started(f"0{hour}:00:00"), stopped(f"0{hour + 1}:59:00"))]
    assert slugs(*planned, started("09:00:00")) == []
    assert slugs(*planned) == ["terminated-by-signal"]
    probed = [
        text
        for minute in range(0, 40, 10)
        for text in (started(f"10:{minute:02}:00"), stopped(f"10:{minute + 8:02}:00"))
    ]
    assert slugs(*probed, started("10:41:00")) == ["terminated-by-signal"]
    twice = [text for minute in (0, 1) for text in (started(f"10:0{minute}:00"), stopped(f"10:0{minute}:30"))]
    assert slugs(*twice, started("10:02:00")) == []
    assert slugs(*twice) == ["terminated-by-signal"]
    assert slugs(*twice, started("10:02:00"), stopped("10:02:30"), started("10:03:00")) == ["terminated-by-signal"]


@pytest.mark.parametrize(
    "named",
    [
        "etcd.service - etcd member m1 of prod",
        "etcd member m1 of prod",
        "Etcd Server",
        "etcd - highly-available key value store",
        "The distributed ETCD",
        "Distributed reliable key-value store",
        "Key Value Store",
        "etcd3.service - the store of k8s",
    ],
)
def test_what_systemd_was_asked_to_stop_is_no_finding(named: str) -> None:
    """However often and whatever the unit is called: its description is a text of whoever wrote it."""

    def life(minute: int) -> list[str]:
        at = f"Jan 31 10:{minute:02}"
        return [
            f"{at}:00 h1 etcd[{700 + minute}]: etcd Version: 3.4.23",
            f"{at}:10 h1 systemd[1]: Stopping {named}...",
            f"{at}:10 h1 etcd[{700 + minute}]: received terminated signal, shutting down...",
        ]

    asked = [text for minute in range(5) for text in life(minute)]
    assert slugs(*asked) == []
    unasked = [text for text in asked if "systemd" not in text]
    assert slugs(*unasked) == ["terminated-by-signal"]
    others = [text.replace(named, "User Manager for UID 0") for text in asked]
    assert slugs(*others) == ["terminated-by-signal"]


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (f"etcdserver/membership: skipped updating attributes of removed member {M3}", "removed-peer-dialing"),
        (
            'etcdserver: failed to apply request "header:<ID:1 > compaction:<revision:30 > " with response "" '
            "took (8.092µs) to execute, err is mvcc: required revision has been compacted",
            "watch-compacted",
        ),
    ],
)
def test_what_is_read_again_from_the_log_at_a_start_is_over(told: str, cause: str) -> None:
    """Source: etcdserver/server.go, applyEntries; what is said of it later is of today."""
    ready = line("10:00:05", "embed: ready to serve client requests")
    assert slugs(started("10:00:00"), line("10:00:01", told), ready) == []
    assert slugs(started("10:00:00"), ready, line("11:00:00", told)) == [cause]


def test_etcd_of_2_says_that_it_is_ready_in_other_words() -> None:
    """So its doubts at a start are over as well. Source: etcdserver/server.go, publish."""
    doubt = "2016-03-02 10:00:01.000000 E | etcdserver: publish error: etcdserver: request timed out"
    told = "etcdserver: published {Name:m1 ClientURLs:[http://10.0.0.1:2379]} to cluster 7e27622e"
    ready = f"2016-03-02 10:00:09.000000 I | {told}"
    assert slugs(doubt) == ["request-timeout"]
    assert slugs(doubt, ready) == []
