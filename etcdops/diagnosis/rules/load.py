"""Slow disks, slow requests, and work that holds others up."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE, Rule

RULES = (
    Rule("disk-slow", ("slow fdatasync", "sync duration of"), measure="took", group="slow"),
    # The kernel: a process that waits for its disk, or for a processor.
    Rule("disk-slow", ("task etcd:",), LIKELY, all=("blocked for more than",), group="slow"),
    Rule("server-overloaded", ("soft lockup",), LIKELY, all=("[etcd:",), group="slow"),
    Rule(
        "slow-range",
        ("apply request took too long", "took too long ("),
        LIKELY,
        all=("read-only range",),
        measure="took",
        group="slow",
    ),
    Rule("slow-range", ("took too long (",), LIKELY, all=("range",), measure="took", group="slow"),
    Rule(
        "apply-slow",
        ("apply request took too long", "apply entries took too long", "took too long (", "request took too long"),
        LIKELY,
        measure="took",
        group="slow",
    ),
    Rule("apply-slow", ("avoid queries with large range",), POSSIBLE, group="slow"),
    Rule("slow-range", ("request stats",), POSSIBLE, all=("KV/Range",), measure="took", group="slow"),
    Rule("apply-slow", ("request stats",), POSSIBLE, measure="took", group="slow"),
    Rule(
        "defrag-stall",
        ("finished defragmenting directory", "finished defragmenting"),
        LIKELY,
        measure="took",
        group="slow",
    ),
    Rule(
        "compaction-slow",
        ("finished scheduled compaction", "Finished scheduled compaction"),
        LIKELY,
        measure="took",
        group="slow",
    ),
    Rule(
        "lease-overload",
        ("lease keepalive response queue is full", "too many lease", "lease expired too many"),
        CERTAIN,
        group="lease",
    ),
)
