"""What the bundled member says in words of its own, where etcd has none: mostly why it does not start."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, Rule

RULES = (
    Rule("disk-full", ("no space left while", "reason=the disk is full", "database or disk is full"), group="disk"),
    Rule("datadir-locked", ("is using the data directory",), deadly=True, group="lock"),
    Rule("cluster-id-mismatch", ("but the members around run cluster",), deadly=True, group="identity"),
    Rule(
        "raft-log-lost",
        (
            "the end of the raft log is lost",
            "a part of it is lost: acknowledged writes",
            "the store is older than the raft log",
        ),
        deadly=True,
        group="raftlog",
    ),
    Rule("raft-log-lost", (" ends at index ",), all=("has applied index",), deadly=True, group="raftlog"),
    Rule("snapshot-db-missing", ("has applied index",), all=("but ", " begins at "), deadly=True, group="raftlog"),
    Rule("wal-corrupt", ("the raft log /", "raft log of a member"), all=(" damaged",), deadly=True, group="wal"),
    Rule("wal-corrupt", ("wal.db is missing",), deadly=True, group="wal"),
    Rule("wal-corrupt", ("half of this member's data is gone",), LIKELY, deadly=True, group="wal"),
    Rule("db-corrupt", ("the state of a member",), all=(" damaged",), deadly=True, group="db"),
    Rule("db-corrupt", ("the state of a member is missing",), LIKELY, deadly=True, group="db"),
    Rule("read-only-filesystem", ("is read-only for this process",), LIKELY, group="disk"),
    Rule("datadir-permission", ("cannot use the data directory", "may be read or written by others"), group="access"),
    Rule("tls-file-error", ("the URL is https and no certificate is configured",), group="tls"),
    Rule(
        "config-invalid",
        (
            "--force-new-cluster needs the data of a member",
            "is the data directory of an etcd member, which keeps its data in another format",
            "is not supported by the node",
            "cannot read the config file",
            " is not YAML",
            "unrecognized feature gate",
            "is already set in line",
            ": unknown setting",
            "is not a directory",
            "correct --log-outputs",
        ),
        CERTAIN,
        deadly=True,
        group="flags",
    ),
)
