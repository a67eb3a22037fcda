"""Which words of which line speak for which cause: data, one file for each area.

Order matters within a file: of the rules of one `group` only the first that matches counts, so the narrow ones come
first. Wording is what etcd's source prints (2.0 to 3.7), and what Go, bbolt, systemd, the kernel and kubelet print
round it.
"""

from __future__ import annotations

from etcdops.diagnosis.rules import (
    answers,
    backend,
    bundled,
    clients,
    data,
    facts,
    first,
    host,
    load,
    membership,
    network,
    programs,
    raft,
    start,
    storage,
    tls,
    wal,
)
from etcdops.diagnosis.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    *facts.RULES,
    *bundled.RULES,
    *storage.RULES,
    *wal.RULES,
    *backend.RULES,
    *data.RULES,
    *host.RULES,
    *membership.RULES,
    *raft.RULES,
    *tls.RULES,
    *network.RULES,
    *start.RULES,
    *load.RULES,
    *clients.RULES,
    *programs.RULES,
    *answers.RULES,
    *first.RULES,
)
"""All of them, those whose match decides most first."""
