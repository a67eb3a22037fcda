"""Lines that are no trouble and decide what trouble means: starts, stops, elections, peers that are back."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import HINT, Rule

START = "+start"
READY = "+ready"
SIGNAL = "+signal"
STOPPING = "+stopping"
CLOSING = "+closing"
CAMPAIGN = "+campaign"
ELECTED = "+elected"
LOST = "+lost-leader"
HANDOVER = "+handover"
REFUSED_VOTES = "+refused-votes"
NO_LEADER_NOW = "+no-leader"
PEER_BACK = "+peer-back"
PEER_LOST = "+peer-lost"
PEER_GONE = "+peer-gone"
LOOPBACK = "+loopback"
RESTORED = "+restored"
PANIC = "+panic"
SRV_FOUND = "+srv-found"

RULES = (
    Rule(SRV_FOUND, ("ot bootstrap from DNS",), HINT, group="srv"),
    Rule(
        START,
        (
            "starting etcd",
            "etcd Version: ",
            "starting an etcd server",
            "Starting etcd",
            "Etcd Version",
            "starting member",
            "etcd: listening for peers on",  # 2.0
        ),
        HINT,
        none=("failed", "couldn't"),
        group="life",
    ),
    Rule(
        READY,
        (
            "ready to serve client requests",
            "serving client requests on",
            "serving insecure client requests",
            "serving client traffic",
            "published {Name:",
            "published local member to cluster",
            # who watches over them: talosctl, OpenShift's operator, Cilium
            "waiting for etcd to be healthy: OK",
            "No unhealthy members found",
            "has-quorum=true",
        ),
        HINT,
        group="life",
    ),
    Rule(SIGNAL, ("received signal; shutting down", "signal, shutting down"), HINT, group="life"),
    Rule(CLOSING, ("closing etcd server",), HINT, group="life"),  # also where it is part of another program, as in k3s
    Rule(STOPPING, ("Stopped etcd", "Stopped Etcd", "Stopping container"), HINT, group="life"),
    # systemd names the unit by its description, which is whatever somebody wrote into it
    Rule(
        STOPPING,
        ("etcd", "Etcd", "ETCD", "ey-value", "ey value", "ey-Value", "ey Value"),
        HINT,
        all=("Stopping ",),
        group="life",
        programs=("systemd",),
    ),
    Rule(CAMPAIGN, ("is starting a new election at term",), HINT, group="election"),
    Rule(ELECTED, ("elected leader ", "became leader at term", "changed leader from"), HINT, group="election"),
    Rule(
        HANDOVER,
        ("received MsgTimeoutNow from", "sends MsgTimeoutNow to", "sent MsgTimeoutNow to"),
        HINT,
        group="election",
    ),
    Rule(LOST, (" lost leader ", "stepped down to follower since quorum is not active"), HINT, group="election"),
    Rule(
        REFUSED_VOTES,
        (
            "received vote rejection from",
            " vote rejections",
            "received MsgVoteResp rejection",
            "received MsgPreVoteResp rejection",
        ),
        HINT,
        group="election",
    ),
    Rule(
        NO_LEADER_NOW,
        ("; dropping proposal", "no leader at term", "dropping index reading msg"),
        HINT,
        group="election",
    ),
    Rule(
        PEER_BACK,
        (
            "peer became active",
            "became active",
            "becomes active",  # 2.0
            "established a TCP streaming connection",
            "established TCP streaming connection",
        ),
        HINT,
        none=("inactive",),
        group="peer",
    ),
    Rule(
        PEER_LOST,
        (
            "lost the TCP streaming connection",
            "lost TCP streaming connection",
            "peer became inactive",
            "became inactive",
            "becomes inactive",
            "closed an existing TCP streaming connection",
            "the connection to peer",
        ),
        HINT,
        none=("dial tcp",),
        group="peer",
    ),
    Rule(PEER_GONE, ("removed remote peer", "removed peer "), HINT, group="peer"),
    Rule(
        PEER_GONE, ("removed member ",), HINT, all=(" from cluster ",), none=("reject", "attributes"), group="peer"
    ),  # 2.x
    Rule(PANIC, ("panic: ", "goroutine ", "fatal error: ", "[signal SIG"), HINT, group="panic"),
)
