"""Logs such as busy members write, of any size: few kinds of lines, numbers and names that never repeat.

python -m tests.diagnosis.busy_log FILE MEGABYTES [json|journald|text]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PEERS = ("9b2f9d2c3b4e5f61", "ac3f9d2c3b4e5f62")
_START = 1_714_644_000.0
_BATCH = 20_000
_HEARTBEAT = "leader failed to send out heartbeat on time; took too long, leader is overloaded likely from slow disk"


def _zap(level: str, caller: str, message: str, fields: str = "") -> str:
    return f'"level":"{level}","ts":"@","caller":"{caller}","msg":"{message}"{"," if fields else ""}{fields}'


def _key(dice: random.Random) -> str:
    kind = dice.choice(("pods", "events", "configmaps", "leases"))
    return f"/registry/{kind}/{dice.choice(('default', 'kube-system', 'shop'))}/web-{dice.getrandbits(40):010x}"


def _slow_request(dice: random.Random) -> str:
    took = f"{dice.uniform(1, 3):.9f}s" if dice.random() < 0.1 else f"{dice.uniform(100, 999):.6f}ms"
    read = dice.random() < 0.6
    request = f'key:\\"{_key(dice)}\\" ' if read else f'txn:<success:<request_put:<key:\\"{_key(dice)}\\" >>>'
    failed = ',"error":"context canceled"' if dice.random() < 0.1 else ""
    return _zap(
        "warn",
        "etcdserver/util.go:170",
        "apply request took too long",
        f'"took":"{took}","expected-duration":"100ms","prefix":"{"read-only range " if read else ""}",'
        f'"request":"{request}","response":"range_response_count:1 size:{dice.randrange(9000)}"{failed}',
    )


def _trace(dice: random.Random) -> str:
    number = dice.randrange(10**9)
    detail = f"{{range_begin:{_key(dice)}; response_count:1; }}"
    fields = f'"detail":"{detail}","duration":"{dice.uniform(100, 900):.6f}ms","step_count":1'
    return _zap("info", "traceutil/trace.go:171", f"trace[{number}] range", fields)


def _upkeep(dice: random.Random) -> str:
    number = dice.randrange(10**9)
    took = f"{dice.uniform(1, 90):.6f}ms"
    return dice.choice(
        (
            _zap("info", "mvcc/index.go:214", "compact tree index", f'"revision":{number}'),
            _zap("info", "mvcc/kvstore_compaction.go:66", "finished scheduled compaction", f'"took":"{took}"'),
            _zap("info", "etcdserver/server.go:2426", "compacted Raft logs", f'"compact-index":{number}'),
            _zap("info", "fileutil/purge.go:85", "purged", f'"path":"/var/lib/etcd/member/snap/{number:016x}.snap"'),
            _zap("info", "etcdhttp/metrics.go:159", "/health OK", '"status-code":200'),
        )
    )


def _peer(dice: random.Random) -> str:
    peer, took = dice.choice(PEERS), f"{dice.uniform(5, 900):.6f}ms"
    refused = "dial tcp 10.0.0.3:2380: connect: connection refused"
    return dice.choice(
        (
            _zap(
                "warn",
                "rafthttp/probing_status.go:68",
                "prober detected unhealthy status",
                f'"remote-peer-id":"{peer}","rtt":"{took}","error":"{refused}"',
            ),
            _zap(
                "warn",
                "etcdserver/raft.go:416",
                _HEARTBEAT,
                f'"to":"{peer}","heartbeat-interval":"100ms","exceeded-duration":"{took}"',
            ),
            _zap("warn", "wal/wal.go:805", "slow fdatasync", f'"took":"{dice.uniform(1, 3):.9f}s"'),
        )
    )


def _client(dice: random.Random) -> str:
    address = f"10.0.{dice.randrange(9)}.{dice.randrange(255)}:{dice.randrange(1024, 65535)}"
    error = dice.choice(("EOF", "remote error: tls: bad certificate"))
    return _zap(
        "warn",
        "embed/config_logging.go:169",
        "rejected connection",
        f'"remote-addr":"{address}","server-name":"","error":"{error}"',
    )


_KINDS: dict[Callable[[random.Random], str], int] = {_slow_request: 35, _trace: 20, _upkeep: 25, _peer: 8, _client: 12}


def _text(dice: random.Random) -> str:
    return dice.choice(
        (
            f'read-only range request "key:\\"{_key(dice)}\\" " with result "range_response_count:1 size:'
            f'{dice.randrange(9000)}" took too long ({dice.uniform(100, 400):.6f}ms) to execute',
            f"store.index: compact {dice.randrange(10**9)}",
            f"finished scheduled compaction at {dice.randrange(10**9)} (took {dice.uniform(1, 9):.6f}ms)",
            f"health check for peer {dice.choice(PEERS)} could not connect: dial tcp 10.0.0.3:2380: connection refused",
        )
    )


def busy_lines(form: str = "json", seed: int = 1) -> Iterator[str]:
    """Lines without end. `form`: json, journald (JSON behind the journal's prefix), or text (3.3 and before)."""
    dice, moment = random.Random(seed), _START
    kinds, weights = list(_KINDS), list(_KINDS.values())
    while True:
        for kind in dice.choices(kinds, weights, k=_BATCH):
            moment += dice.random() * 0.01
            clock = time.gmtime(moment)
            prefix = "" if form == "json" else time.strftime("%b %d %H:%M:%S m1 etcd[1242]: ", clock)
            if form == "text":
                yield prefix + _text(dice)
            else:
                stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', clock)}.{int(moment * 1000) % 1000:03d}Z"
                yield prefix + "{" + kind(dice).replace("@", stamp, 1) + "}"


def write_busy_log(path: Path, size: int, form: str = "json") -> None:
    """A file of about that many bytes."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for line in busy_lines(form):
            written += file.write(line + "\n")
            if written >= size:
                return


if __name__ == "__main__":
    write_busy_log(Path(sys.argv[1]), int(float(sys.argv[2]) * 1e6), *sys.argv[3:4])
