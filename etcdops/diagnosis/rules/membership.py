"""Who belongs to which cluster, and changes of that."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE, Rule

RULES = (
    Rule(
        "cluster-id-mismatch",
        ("luster ID mismatch", "clusterID mismatch", "conflicting cluster ID with the target cluster"),
        group="identity",
    ),
    Rule("already-bootstrapped", ("has already been bootstrapped",), deadly=True, group="identity"),
    Rule("member-count-unequal", ("member count is unequal",), deadly=True, group="identity"),
    Rule(
        "peer-urls-unmatched",
        (
            "unmatched member while checking PeerURLs",
            "PeerURLs: no match found for existing member",
            "no match found for existing member",
            "!= resolved",
            "(resolved from ",
        ),
        none=("missing from --initial-", "to match --initial-cluster"),
        deadly=True,
        group="identity",
    ),
    # k3s and rke2, of a node whose address is another than in the member list; their own misprint
    Rule(
        "peer-urls-unmatched",
        ("this server is a not a member of the etcd cluster", "this server is not a member of the etcd cluster"),
        LIKELY,
        group="identity",
    ),
    Rule(
        "member-removed",
        (
            "permanently removed from the cluster",
            "Member was removed from the cluster",
            "since it was removed from the cluster",
            "removed member should not",
        ),
        CERTAIN,
        none=("rejected",),
        group="identity",
    ),
    # The line before it says why; in 2.0 that may be another cluster.
    Rule("member-removed", ("data-dir used by this member must be removed",), 0.45, group="identity"),
    # A forced start of a member that was removed; a snapshot of a cluster that it is no member of; a race at removal.
    Rule("member-removed", ("removed all voters",), LIKELY, deadly=True, group="identity"),
    Rule(
        "member-removed",
        ("attempted to restore snapshot but it is not in the ConfState", "failed to find local ID"),
        POSSIBLE,
        group="identity",
    ),
    Rule(
        "member-removed",
        ("failed to dial", "failed to heartbeat", "prober"),
        LIKELY,
        all=("member was permanently removed",),
        group="identity",
    ),
    Rule("member-removed", ("member was permanently removed",), CERTAIN, group="identity"),
    Rule(
        "removed-peer-dialing",
        (
            "rejected stream from remote peer because it was removed",
            "rejected the stream from peer",
            "since it was removed",
            "rejected Raft message from removed member",
            "reject message from removed member",
            "cannot process message from removed member",
        ),
        CERTAIN,
        group="identity",
    ),
    # It told its name before it was removed: also when the log of that time is read again at a start.
    Rule(
        "removed-peer-dialing",
        ("updating attributes of removed member", "skipped attributes update of removed member"),
        POSSIBLE,
        group="identity",
    ),
    Rule(
        "member-not-found",
        (
            "failed to find remote peer in cluster",
            "failed to find member ",
            "fail to find sender",
        ),
        none=("SRV",),
        group="identity",
    ),
    # As the member hears it that is not known there; a peer on its way down says so too.
    Rule(
        "member-not-found",
        ("failed to find local node", "faild to fine local node", "could not recognize local member"),
        POSSIBLE,
        group="identity",
    ),
    Rule(
        "member-id-mismatch",
        (
            "ignored streaming request; ID mismatch",
            "streaming request ignored (ID mismatch",
            "streaming request ignored due to ID mismatch",
            "rejected Raft message to mismatch member",
            "rejected message to mismatch member",
            "member ID mismatch",
            "to field mismatch",
            "cannot process message to mismatch member",
        ),
        group="identity",
    ),
    Rule(
        "raft-log-lost",
        ("nodeID should always be equal to member ID", "got different member ID"),
        LIKELY,
        group="identity",
    ),
    Rule(
        "duplicate-member-name",
        (
            "two member with same name found",
            "two members with the given name",
            "duplicate member name",
            "has duplicated name",
            "duplicated member name",
            "found duplicate name",
        ),
        none=("discovery",),
        group="identity",
    ),
    Rule("name-not-in-initial-cluster", ("couldn't find local name",), deadly=True, group="initial"),
    Rule(
        "initial-cluster-mismatch",
        (
            "--initial-cluster must include",
            "but missing from --initial-advertise-peer-urls",
            "-initial-cluster must include",
            "but missing from --initial-cluster=",
            "has different advertised URLs in the cluster",
            "do not match in",
            "forgot to set --initial-cluster",
            "forgot to set --initial-advertise-peer-urls",
            "forgot to set -initial-",
        ),
        CERTAIN,
        none=("dial ", "certificate", "tls"),
        deadly=True,
        group="initial",
    ),
    # Its own name was asked for twice, and had two addresses. Source: server/config/config.go, advertiseMatchesCluster
    Rule(
        "initial-cluster-mismatch",
        ("to match --initial-cluster",),
        CERTAIN,
        all=("(resolved from ",),
        deadly=True,
        group="initial",
    ),
    Rule(
        "initial-cluster-mismatch",
        (
            "has duplicate url",
            "has duplicated url",
            "duplicate url ",
            "conflicting entries for member name",
            "ember exists with identical ID",
        ),
        LIKELY,
        none=("discovery cluster",),
        group="initial",
    ),
    Rule(
        "join-cluster-unreachable",
        ("cannot fetch cluster info from peer urls", "could not retrieve cluster information from the given"),
        deadly=True,
        group="join",
    ),
    Rule(
        "join-cluster-unreachable",
        (
            "could not get cluster response from",
            "failed to get cluster response",
            # What answers is no etcd, or its port for clients.
            "unmarshal cluster response",
            "could not parse the cluster ID from cluster res",
            "failed to parse cluster ID",
            "failed to read body of cluster response",
            "could not read the body of cluster response",
        ),
        POSSIBLE,
        group="join",
    ),
    Rule(
        "force-new-cluster-left-on",
        # One line of each forced start, so that starts can be counted.
        ("forcing restart of member", "forcing restart member", "etcdserver: force new cluster"),
        LIKELY,
        group="force",
    ),
    # Changes that were refused.
    Rule(
        "reconfig-not-enough-started",
        (
            "not enough started members",
            "the number of started member",
            "started member will be less than quorum",
            "not enough healthy members",
        ),
        group="reconfig",
    ),
    Rule(
        "reconfig-unhealthy",
        (
            "not healthy for reconfigure",
            "etcdserver: unhealthy cluster",
            "reconfigure breaks active quorum",
            "unhealthy cluster",
            "local member has not been connected to",
        ),
        # A leader that stops finds nobody to hand over to; `etcdctl endpoint health` sums up what it said before.
        none=("leadership", "Error: unhealthy cluster"),
        group="reconfig",
    ),
    Rule(
        "learner-not-ready",
        ("learner is not ready", "can only promote a learner member which is in sync with leader"),
        group="reconfig",
    ),
    Rule("too-many-learners", ("too many learner members in cluster",), group="reconfig"),
    # Versions.
    Rule(
        "v2-content-blocks-upgrade",
        (
            "detected disallowed v2 WAL",
            "illegal v2store content",
            "detected disallowed custom content in v2store",
            "--v2-deprecation=write-only",
        ),
        deadly=True,
        none=("write-only-skip-check is enabled", "etcd-version"),
        group="version",
    ),
    Rule("v2-content-blocks-upgrade", ("detected custom v2store content",), POSSIBLE, group="version"),
    Rule(
        "version-downgrade",
        (
            "cluster cannot be downgraded",
            "invalid downgrade; ",
            "lower than determined cluster version",
            "unsupported storage version",
            "wal file was written with",
            "not allowed to join when downgrade",
            "storage version is newer",
            "failed to detect storage version",
            "unknown fields in WAL entry",
            "Failed to validate schema",
            "detected unsupported data schema",
            "unknown wal version in data dir",
        ),
        deadly=True,
        group="version",
    ),
    # The running cluster is asked to go down and does not; nobody ends.
    Rule(
        "version-downgrade",
        (
            "Cannot downgrade from",
            "cannot downgrade storage",
            "WAL contains newer entries",
            "cannot detect storage schema version",
            "cannot create migration plan",
        ),
        LIKELY,
        group="version",
    ),
    Rule("version-downgrade", ("invalid downgrade target", "reject downgrade request"), POSSIBLE, group="version"),
    Rule(
        "version-incompatible",
        (
            "server version incompatib",
            "failed version compatibility check",
            "request version incompatibility",
            "failed to check version compatibility",
            "request sent was ignored by peer",
            "local version is too low: remote[",
            "remote version is too low: remote[",
            "cluster version of remote member is not compatible",
            "lower than the minimal cluster version",
            "higher than the maximum cluster version",
            "incompatible version",
            "incompatible with current running cluster",
            "hanging major storage version",
            "incomptible with current running cluster",
        ),
        group="version",
    ),
    Rule(
        "version-incompatible",
        (
            "leader found higher-versioned member",
            "is not up-to-date",
            "has a higher version",
            "mismatching etcd version",
        ),
        POSSIBLE,
        group="version",
    ),
    Rule(
        "unsupported-arch",
        (
            "unsupported architecture since ETCD_UNSUPPORTED_ARCH is not set",
            "unsupported platform without ETCD_UNSUPPORTED_ARCH",
            "etcd on unsupported platform",
            "on unsupported architecture since ETCD_UNSUPPORTED_ARCH is not",
        ),
        group="version",
    ),
    # A binary for another processor or system, as the kernel, the C library and Go say it.
    Rule(
        "unsupported-arch",
        (
            "exec format error",
            "CPU does not support x86-64-v",
            "can only be run on AMD64 processors with v",
            "SIGILL: illegal instruction",
            "(required by /usr/bin/etcd)",
            "(required by /usr/local/bin/etcd)",
            "(required by etcd)",
        ),
        LIKELY,
        deadly=True,
        group="version",
    ),
)
