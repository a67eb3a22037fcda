"""Data that differs between members, that is too much, on its way, or restored from a backup."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, Rule

RULES = (
    # Data that differs.
    Rule(
        "corrupt-alarm",
        (
            "etcdserver: corrupt cluster",
            "found data inconsistency with peers",
            "found hash mismatch",
            "hash mismatch",
            "found different hash values from remote peer",
            "mismatched hashes",
            "alarm:CORRUPT",
            "CORRUPT alarm",
            "checkInitialHashKV failed",
            "revision from follower must be less than or equal to leader's",
            "same compact revision then hashes must match",
            "compact revision from follower must be less",
            '"CORRUPT"',
            "alarm CORRUPT",
            "inconsistent with peers",
            "alarm=CORRUPT",
            "alarm activated: CORRUPT",
            "failed compaction hash check",
        ),
        CERTAIN,
        none=("expected sha256", "Skipped peer", "starting", "initial-corrupt-check", "disarmed"),
        group="alarm",
    ),
    Rule(
        "corrupt-alarm",
        ("'s hash ", "expected hash ", "expected at most "),
        LIKELY,
        all=("revision",),
        none=("sha256", "hash-kv"),
        group="alarm",
    ),
    Rule(
        "quota-exceeded",
        (
            "exceeded backend quota",
            "database space exceeded",
            "etcdserver: no space",
            "alarm:NOSPACE",
            "NOSPACE",
            "alarm NOSPACE",
            "mvcc: database space",
        ),
        CERTAIN,
        none=("alarm disarmed", "disarmed"),
        group="alarm",
    ),
    # Snapshots on their way.
    Rule(
        "snapshot-send-failed",
        (
            "failed to send database snapshot",
            "failed to be sent out",
            "failed to write database snapshot out",
            "failed to save incoming database snapshot",
            "failed to save KV snapshot",
            "failed to close database snapshot",
            "snapshot sending failed",
            "failed to receive and save",
            "snapshot failed, resumed sending replication messages to",
        ),
        CERTAIN,
        none=("(stopped)", "error=stopped"),  # by the end of this member, or of the peer's membership
        group="snapshot",
    ),
    Rule(
        "snapshot-slow",
        ("snapshotting taking too long to transfer", "snapshotting is taking more than"),
        group="snapshot",
    ),
    # Restoring a backup.
    Rule(
        "restore-failed",
        (
            "snapshot missing hash but",
            "not empty or could not be read",
            "expected sha256",
            "data-dir not empty",
            "snapshot file integrity check failed",
            "--skip-hash-check=false",
            "mark-compacted required if",
            "unexpected size:",
            "data directory exists",
            "file is not a valid snapshot",
        ),
        group="restore",
    ),
    Rule("restore-failed", ("already exists", '" exists'), LIKELY, all=("-dir ",), group="restore"),
    Rule("+restored", ("restored snapshot",), 0.3, all=("snap",), none=("commit:", "lastindex"), group="restore"),
)
