"""What a running member takes: memory, files, threads, tasks, room on disk. From /proc, its files and its own word.

The bundled node tells its tasks and heap blocks through `tests.soak.member`; etcd its goroutines and heap objects
through /metrics.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.support.real_etcd import RealMember

_ASK_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one member."""

    at_s: float
    """Since the run began."""

    pid: int
    """A new one is a new life."""

    rss_bytes: float
    fds: float
    threads: float
    tasks: float
    blocks: float
    db_bytes: float
    log_bytes: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def sample(member: RealMember, started: float, *, stats: Path | None) -> Sample | None:
    """A member as it is now; None while it does not run or cannot answer. Args: stats is the node's own word."""
    process = member.process
    if process is None or process.poll() is not None:
        return None
    folder = Path(f"/proc/{process.pid}")
    try:
        facts = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        inside = json.loads(stats.read_text()) if stats is not None else _metrics(member.url)
        return Sample(
            at_s=time.monotonic() - started,
            pid=process.pid,
            rss_bytes=float(facts["VmRSS"].split()[0]) * 1024,
            fds=float(len(os.listdir(folder / "fd"))),
            threads=float(facts["Threads"]),
            tasks=float(inside["tasks"]),
            blocks=float(inside["blocks"]),
            db_bytes=_size(member.data_dir, "member/state.db*", "member/snap/db"),
            log_bytes=_size(member.data_dir, "member/wal.db*", "member/wal/*"),
        )
    except (OSError, KeyError):
        return None


def _size(root: Path, *patterns: str) -> float:
    found = 0
    for pattern in patterns:
        for path in root.glob(pattern):
            try:
                found += path.stat().st_size
            except FileNotFoundError:
                pass  # it was just replaced
    return float(found)


def _metrics(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=_ASK_TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {"tasks": float(values["go_goroutines"]), "blocks": float(values["go_memstats_heap_objects"])}
