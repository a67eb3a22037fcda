"""What etcdctl and those who use etcd print when members answer late or not at all.

Clients tell little: that time ran out. A reason that stands in the same line, or that the members tell, is worth more.
"""

from __future__ import annotations

from etcdops.diagnosis.rules.network import OTHERS
from etcdops.diagnosis.rules.rule import LIKELY, POSSIBLE, Rule

DEFRAG_UNANSWERED = "Failed to defragment etcd member"

RULES = (
    # A client gives up after 5 s; the member goes on, and answers nobody until it has done.
    Rule(
        "defrag-stall",
        (DEFRAG_UNANSWERED,),
        LIKELY,
        all=("context deadline exceeded",),
        group="slow",
    ),
    Rule(
        "no-leader",
        ('{"health": "false"', '{"health":"false"'),
        POSSIBLE,
        none=("reason", "ALARM"),
        group="leader",
    ),
    Rule(
        "request-timeout",
        (
            "exceeded header timeout",
            "cluster may be unhealthy: failed to list members",
            "grpc: timed out when dialing",
            "Error: context deadline exceeded",
            "Error:  context deadline exceeded",
        ),
        POSSIBLE,
        group="leader",
    ),
    Rule(
        "request-timeout",
        (
            "Failed to get the status of endpoint",
            "Failed to get the hash of endpoint",
            "failed to fetch endpoints from etcd cluster member list",
        ),
        POSSIBLE,
        all=("context deadline exceeded",),
        group="leader",
    ),
    Rule("request-timeout", ("retrying of unary invoker failed",), POSSIBLE, all=("DeadlineExceeded",), group="leader"),
    Rule("peer-unreachable", ("are all unreachable", "no available published client urls"), POSSIBLE, group="reach"),
    # Patroni, by Python's urllib3; the reasons that the system tells are known as everybody's.
    Rule("peer-io-timeout", ("ConnectTimeoutError",), LIKELY, none=OTHERS, group="reach"),
    Rule(
        "request-timeout",
        ("ReadTimeoutError", "Read timed out. (read timeout="),
        POSSIBLE,
        none=OTHERS,
        group="reach",
    ),
    Rule(
        "peer-unreachable",
        (
            "Failed to get list of machines from",
            "Could not get the list of servers",
            "DCS is not accessible",
            "etcd.EtcdConnectionFailed",
            "waiting on etcd",
            # flannel, calico and docker, by the client of the v2 API
            "client: etcd cluster is unavailable or misconfigured",
            "returns server error [Bad Gateway]",
            # APISIX
            "no healthy etcd endpoint available",
            "failed to fetch data from etcd",
            "failed to fetch etcd version",
            # kube-apiserver
            "[-]etcd failed",
            "error getting data from etcd",
            "Unable to create storage backend",
            "error creating storage factory",
            # clients of the v3 API
            "etcdclient: no available endpoints",
            "etcd3.exceptions.ConnectionFailedError",
            "etcd3.exceptions.ConnectionTimeoutError",
            "Not able to connect to any etcd endpoints",
        ),
        POSSIBLE,
        none=("exceeded header timeout", "has no leader"),
        group="reach",
    ),
    # go-etcd, of the time of 0.4: etcdctl, fleet, confd, the first kube-apiserver. Discovery has words of its own.
    Rule(
        "peer-unreachable",
        ("All the given peers are not reachable",),
        POSSIBLE,
        none=("iscovery",),
        group="reach",
    ),
    # gRPC in Python, C++ and Java: nobody accepted, or who did hung up at once; why, other lines may tell.
    Rule(
        "peer-unreachable",
        (
            "failed to connect to all addresses",
            "etcd connection failed",
            "StatusRuntimeException: UNAVAILABLE",
            "status = StatusCode.UNAVAILABLE",
            "io.etcd.jetcd.common.exception.EtcdException: io exception",
        ),
        POSSIBLE,
        group="reach",
    ),
    Rule(
        "request-timeout",
        ("status = StatusCode.DEADLINE_EXCEEDED", "StatusRuntimeException: DEADLINE_EXCEEDED"),
        POSSIBLE,
        group="leader",
    ),
    # python-etcd, the client of the v2 API
    Rule("request-timeout", ("EtcdException", "etcd error"), POSSIBLE, all=("timed out",), group="reach"),
    # A member is added whose address is taken: by an attempt before, or by itself when it still had its data.
    Rule(
        "already-bootstrapped",
        ("Peer URLs already exists", "membership: peerURL exists"),
        POSSIBLE,
        none=("Validation on configuration change",),
        group="identity",
    ),
    Rule("config-invalid", ("No help topic for '", 'for "etcdctl"'), LIKELY, group="flags"),
)
