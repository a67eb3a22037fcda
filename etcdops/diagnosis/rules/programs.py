"""What those that run etcd, or stand on it, say of it: the kubelet, k3s, operators, Calico, Cilium, APISIX, Bitnami.

They see etcd from outside. What etcd itself says in the same log is worth more, so that most of this is `POSSIBLE`.
"""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import LIKELY, POSSIBLE, Rule

RULES = (
    # k3s and rke2 look for the node's name among the members' before they join, `name-1a2b3c4d`.
    Rule(
        "duplicate-member-name",
        ("duplicate node name found", "due to duplicate node names"),
        LIKELY,
        group="identity",
    ),
    # A member refuses what only voters may answer: Talos' health check, kubeadm, k3s.
    Rule("learner-not-ready", ("rpc not supported for learner",), POSSIBLE, group="reconfig"),
    # The kubelet of a container that ends again and again; why, its own log tells.
    Rule(
        "liveness-restart-loop",
        ("restarting failed container=etcd ", 'etcd\\" with CrashLoopBackOff', 'etcd" with CrashLoopBackOff'),
        POSSIBLE,
        group="probe",
    ),
    Rule(
        "liveness-restart-loop",
        ("CrashLoopBackOff",),
        POSSIBLE,
        all=("etcd-", "0/"),
        none=("operator", "backup", "manager"),
        group="probe",
    ),
    # CoreOS' operator counts the pods, Cilium waits for a key that is written anew each minute.
    Rule(
        "quorum-lost",
        ("failed to reconcile: lost quorum", "all etcd pods are dead", "has-quorum=false", "quorum check failed"),
        POSSIBLE,
        group="leader",
    ),
    Rule(
        "request-timeout",
        ("etcdv3.go", "etcd client timeout exceeded", "plugin/errors"),
        POSSIBLE,
        all=("exceeded",),
        group="leader",
    ),
    # Who asked whom for what is not said; a client without an address, or for an API that is switched off.
    Rule(
        "config-invalid",
        (
            "o etcd endpoints specified",
            "invalid etcd configuration",
            'etcd "client-cert-auth" cannot be used with gRPC-gateway',
            'unsupported protocol scheme "',
        ),
        LIKELY,
        group="flags",
    ),
    Rule(
        "config-invalid",
        ("Failed to get list of machines from", "Bad response"),
        LIKELY,
        all=("404 page not found",),
        group="flags",
    ),
    Rule("auth-denied", ("insufficient credentials code: 401", "etcd forbidden code: 403"), group="auth"),
    Rule(
        "peer-unreachable",
        (
            # OpenShift's operator, as a line and as an event
            "UnhealthyEtcdMember",
            "UnstartedEtcdMember",
            "EtcdMembersDegraded: ",
            # kubeadm
            "Failed to get etcd status for",
            "etcd cluster is not healthy",
            "error syncing endpoints with etc",
            # kops' etcd-manager
            "unable to reach member ",
            # Cilium
            "timeout while retrieving initial list of objects from kvstore",
            "timeout while waiting for initial connection",
            "not able to connect to any etcd endpoints",
            # Bitnami's images
            "Cluster not responding!",
            # Rancher
            "Failed to bring up Etcd Plane",
            # talosctl
            'service "etcd" not in expected state',
        ),
        POSSIBLE,
        none=("No unhealthy members", "EtcdMembersDegraded: All"),
        group="reach",
    ),
    Rule("dns-lookup-failed", ("nslookup: can't resolve '",), LIKELY, none=("'(null)'",), group="reach"),
)
