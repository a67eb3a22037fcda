"""What the first etcd (0.4) says of discovery, of joining and of versions; from 2.0 on the words are others."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE, Rule

RULES = (
    Rule(
        "discovery-unreachable",
        (
            "Discovery encountered an error",
            "failed to connect discovery service[",
            "must register itself to discovery service as required",
            "Discovery heartbeat failed",
        ),
        LIKELY,
        none=("cluster is full",),
        group="reach",
    ),
    Rule(
        "join-cluster-unreachable",
        ("cannot connect to existing peers", "cannot connect to previous cluster"),
        LIKELY,
        group="reach",
    ),
    Rule("peer-unreachable", ("warning: heartbeat time out peer=",), POSSIBLE, group="reach"),
    Rule("version-incompatible", ("fail passing version compatibility(",), CERTAIN, group="version"),
    # Its data are of another name than the cluster has at this address. Source: server/peer_server.go, FindCluster
    Rule(
        "already-bootstrapped",
        ("is not allowed to join the cluster with existing URL", "tries to join the cluster with existing URL"),
        LIKELY,
        group="identity",
    ),
    Rule("member-removed", ("removed during cluster re-configuration",), CERTAIN, group="removed"),
    Rule(
        "config-invalid", ("failed sanitizing configuration", "The data dir was not set and could not"), group="flags"
    ),
)
