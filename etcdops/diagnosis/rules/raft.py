"""Leaders, heartbeats, reads and proposals that take too long."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE, Rule

RULES = (
    Rule(
        "heartbeat-slow",
        ("failed to send out heartbeat on time", "leader is overloaded likely from slow disk"),
        measure="took",
        group="slow",
    ),
    Rule("server-overloaded", ("A tick missed to fire",), LIKELY, group="slow"),
    Rule("server-overloaded", ("server is likely overloaded",), POSSIBLE, group="slow"),
    Rule(
        "read-index-timeout",
        (
            "timed out waiting for read index response",
            "waiting for ReadIndex response took too long",
            "ignored out-of-date read index response",
            "failed to get read index from",
            "timed out sending read state",
        ),
        CERTAIN,
        none=("server stopped", "raft: stopped"),
        group="slow",
    ),
    # Before its reasons: what could not be done says more than why, where one line tells both.
    Rule(
        "lease-revoke-failed",
        ("failed to revoke lease", "failed to revoke ", "failed to assign token for lease revoking"),
        CERTAIN,
        none=("server stopped", "role"),
        group="leader",
    ),
    Rule(
        "no-leader",
        (
            "etcdserver: no leader",
            "/health false; no leader",
            "/health error; no leader",
            "has no leader",
            "client: no leader endpoint",
            "raft status no leader",
            "RAFT NO LEADER",
        ),
        CERTAIN,
        group="leader",
    ),
    Rule(
        "request-timeout",
        (
            "etcdserver: request timed out",
            "/health false; Range fail",
            "[-]linearizable_read failed",
            "[-]serializable_read failed",
            "/health error; QGET failed",
            "QGET fails",
            "apply wait timeout",
            "waiting for the applied index took too long",
            "timed out waiting for the applied",
        ),
        LIKELY,
        group="leader",
    ),
    Rule(
        "request-timeout",
        ("publish error", "failed to publish local member to cluster through raft"),
        POSSIBLE,
        none=("server stopped", "is stopping"),
        group="leader",
    ),
    Rule("leader-flapping", ("etcdserver: leader changed",), POSSIBLE, group="leader"),
)
