"""One put through the layers of a member, in microseconds a layer.

    python -m tests.bench.put_layers [--batches 1 10 100] [--puts 3000] [--rounds 5] [--markdown]

A real member of one, in this process, with real files: only the sockets are missing. The bytes that an HTTP/2 client
would send (256-byte values, random keys of 100,000) are given to its `ServerConnection`, a batch at a time, and the
next batch follows when all of them are answered; so a batch is what arrives in one turn of the event loop, and shares
one append and one fsync. Methods at the border of each layer are watched (`stopwatch.py`); times are exclusive
wall times, medians over all batches, so that other work on the machine hardly shows. The fsync is the difference
between an append with it and one without it, from a second member with `--unsafe-no-fsync`. The last row is what the
event loop's thread spends without any watching: a member's limit is a million divided by it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from etcdops.clock import SystemClock
from etcdops.node import main as node_main
from etcdops.node import zap_log
from etcdops.node.api.answer import Answer
from etcdops.node.apply.applier import Applier
from etcdops.node.config import load_config
from etcdops.node.raft.core import RaftCore
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.rpc.calls import UnaryServerCall
from etcdops.node.rpc.deadlines import Deadlines
from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.server_connection import ServerConnection
from etcdops.node.rpc.service import Method, Methods, Unary
from etcdops.node.server.bootstrap import boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.driver import Driver
from etcdops.node.server.proposals import Proposals
from etcdops.node.server.server import Server
from etcdops.node.server.state_machine import StateMachine
from etcdops.node.storage.mvcc import Mvcc
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.node.storage.write_txn import WriteTxn
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.bench.stopwatch import Stopwatch
from tests.fakes.http2_client import FakeClient
from tests.support.ports import free_ports

PATH = "/etcdserverpb.KV/Put"
KEYS = 100_000
VALUE = b"v" * 256
LEADER_TIMEOUT_S = 30.0
BATCH_TIMEOUT_S = 30.0

_DECODE = "rpc: bytes to message"
_CHECK = "api: decode, quota, checks"
_PROPOSE = "propose: request ID, waiter, batch"
_RAFT = "raft: append, Ready, commit"
_LOG = "raft log: SQLite append"
_FSYNC = "raft log: fsync"
_APPLY = "apply: decode, lease, quota, result"
_MVCC = "MVCC: two rows in SQLite"
_COMMIT = "state.db: commit every 100 ms"
_ANSWER = "answer: header, body"
_ENCODE = "rpc: message to bytes"
_DRIVER = "driver: Ready loop, hand-over to the disk"
_BENCH = "(bench)"
_LAYERS = (_DECODE, _CHECK, _PROPOSE, _RAFT, _LOG, _FSYNC, _APPLY, _MVCC, _COMMIT, _ANSWER, _ENCODE, _DRIVER)


def _watched() -> Stopwatch:
    """Every border of a layer, from now on, for all members in this process."""
    watch = Stopwatch()
    watch.watch(_DECODE, ServerConnection, "receive")
    watch.watch(_PROPOSE, Server, "propose")
    watch.watch(_PROPOSE, Proposals, "take_unsent")
    watch.watch(_DRIVER, Driver, "_turn", "_saved")
    watch.watch(_RAFT, RaftCore, "propose_batch", "ready", "advance")
    watch.watch(_RAFT, MemoryLog, "append")
    watch.watch(_LOG, RaftLog, "append")
    watch.watch(_APPLY, StateMachine, "apply")
    watch.watch(_APPLY, Applier, "apply")
    watch.watch(_MVCC, Mvcc, "begin")
    watch.watch(_MVCC, WriteTxn, "put", "end")
    watch.watch(_COMMIT, StateStore, "commit")
    watch.watch(_ANSWER, Proposals, "resolve")
    watch.watch(_ANSWER, Answer, "outcome")
    watch.watch(_ENCODE, UnaryServerCall, "reply")
    watch.watch(_ENCODE, ServerConnection, "pull")
    return watch


class _Client:
    """Gives requests to a connection and counts answers."""

    def __init__(self, server: Server, limits: Limits, watch: Stopwatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._answered = asyncio.Event()
        self._missing = 0
        self._planned = False
        self._fake = FakeClient()
        self._random = random.Random(7)
        methods: dict[str, Method] = dict(server.services.methods())
        put = methods[PATH]
        assert isinstance(put, Unary)
        methods[PATH] = Unary(watch.wrap(_CHECK, put.handler))
        self._connection = ServerConnection(
            Methods(methods),
            limits,
            "bench",
            now=self._loop.time,
            deadlines=Deadlines(lambda when: None),
            wake=self._plan,
            port_factory=FramePort,
        )
        self._connection.receive(self._fake.hello() + self._fake.window_update(0, 2**31 - 65_536))
        self._write = watch.wrap(_BENCH, self._read_answers)

    def requests(self, count: int) -> bytes:
        """The bytes of `count` puts."""
        parts = []
        for _ in range(count):
            key = b"bench/%08d" % self._random.randrange(KEYS)
            _, request = self._fake.call(PATH, pb.PutRequest(key=key, value=VALUE).SerializeToString())
            parts.append(request)
        return b"".join(parts)

    async def put(self, requests: bytes, count: int) -> None:
        """Send a batch and wait for its answers."""
        self._missing = count
        self._answered.clear()
        self._connection.receive(requests)
        self._plan()
        async with asyncio.timeout(BATCH_TIMEOUT_S):
            await self._answered.wait()

    def _plan(self) -> None:
        """As the listener does: one write at the end of the loop turn."""
        if not self._planned:
            self._planned = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._planned = False
        while data := self._connection.pull():
            self._write(data)

    def _read_answers(self, data: bytes) -> None:
        """Whole frames, as `pull` gives them: a HEADERS frame that ends its stream is an answer's last one."""
        at = 0
        while at < len(data):
            if data[at + 3] == 1 and data[at + 4] & 1:
                self._missing -= 1
            at += 9 + int.from_bytes(data[at : at + 3], "big")
        if self._missing <= 0:
            self._answered.set()


@dataclass(frozen=True)
class Measured:
    """Microseconds a put."""

    layers: dict[str, float]
    """Median over the batches; the commit, which comes ten times a second, is a mean."""

    loop_cpu_us: float
    """CPU of the event loop's thread, the best round."""


async def _measure(folder: Path, batch: int, puts: int, rounds: int, watch: Stopwatch, *, sync: bool) -> Measured:
    """A fresh member under puts."""
    client_port, peer_port = free_ports(2)
    arguments = [
        f"--data-dir={folder}",
        f"--listen-client-urls=http://127.0.0.1:{client_port}",
        f"--advertise-client-urls=http://127.0.0.1:{client_port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-cluster=default=http://127.0.0.1:{peer_port}",
        *([] if sync else ["--unsafe-no-fsync"]),
    ]
    config = load_config(arguments, {})
    directory = DataDir.open(folder)
    server = Server(config, directory, await boot(config, directory), SystemClock())
    await server.start()
    try:
        deadline = time.monotonic() + LEADER_TIMEOUT_S
        while not server.is_leader or not server.applier.cluster_version:
            assert time.monotonic() < deadline, "the member did not become leader"
            await asyncio.sleep(0.02)
        client = _Client(server, Limits.from_config(config), watch)
        found: dict[str, list[float]] = {}
        await _round(client, batch, min(puts, 500), watch, {})  # warm caches, and the client's header table
        cpu_us = [await _round(client, batch, puts, watch, found) for _ in range(rounds)]
    finally:
        await server.stop()
    layers = {layer: statistics.median(spent) for layer, spent in found.items()}
    layers[_COMMIT] = statistics.fmean(found.get(_COMMIT, [0.0]))
    return Measured(layers, min(cpu_us))


async def _round(client: _Client, batch: int, puts: int, watch: Stopwatch, found: dict[str, list[float]]) -> float:
    """Add what each batch took to `found`, in microseconds a put. Returns: the loop's CPU, in the same unit."""
    batches = [client.requests(batch) for _ in range(max(puts // batch, 1))]
    gc.collect()
    bench_ns = 0
    before = time.thread_time_ns()
    for requests in batches:
        watch.reset()
        await client.put(requests, batch)
        bench_ns += watch.spent_ns.pop(_BENCH)
        for layer in _LAYERS:
            found.setdefault(layer, []).append(watch.spent_ns[layer] / batch / 1000)
    return (time.thread_time_ns() - before - bench_ns) / len(batches) / batch / 1000


def _run(batches: Sequence[int], puts: int, rounds: int) -> dict[int, Measured]:
    found: dict[int, Measured] = {}
    with tempfile.TemporaryDirectory(prefix="put-layers-") as name:

        def measure(batch: int, kind: str, watch: Stopwatch) -> Measured:
            folder = Path(name) / f"{batch}-{kind}"
            folder.mkdir(mode=0o700)
            # A batch of one waits for the disk every time: fewer of them say as much.
            count = puts if batch > 1 else puts // 3
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_measure(folder, batch, count, rounds, watch, sync=kind != "unsynced"))

        plain = {batch: measure(batch, "unwatched", Stopwatch()) for batch in batches}
        watch = _watched()
        for batch in batches:
            synced, unsynced = measure(batch, "synced", watch), measure(batch, "unsynced", watch)
            layers = dict(synced.layers)
            layers[_LOG] = min(unsynced.layers[_LOG], synced.layers[_LOG])
            layers[_FSYNC] = synced.layers[_LOG] - layers[_LOG]
            found[batch] = Measured(layers, plain[batch].loop_cpu_us)
    return found


def _table(found: dict[int, Measured], *, markdown: bool) -> Iterable[str]:
    """Rows of text, or of a table for DESIGN.md."""
    rows = [["microseconds a put; puts in one turn:", *map(str, found)]]
    if markdown:
        rows.append(["---", *("---:" for _ in found)])
    rows += [[layer, *(f"{one.layers[layer]:.1f}" for one in found.values())] for layer in _LAYERS]
    rows.append(["sum", *(f"{sum(one.layers.values()):.1f}" for one in found.values())])
    rows.append(["CPU of the event loop's thread, unwatched", *(f"{one.loop_cpu_us:.1f}" for one in found.values())])
    for first, *others in rows:
        yield f"| {' | '.join([first, *others])} |" if markdown else f"{first:42}" + "".join(f"{x:>10}" for x in others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--puts", type=int, default=3000, help="a round; a third of it for single puts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    zap_log.configure(level="error", outputs=("stderr",), log_format="console")
    gc.set_threshold(node_main._GC_THRESHOLD)
    for line in _table(_run(arguments.batches, arguments.puts, arguments.rounds), markdown=arguments.markdown):
        print(line)


if __name__ == "__main__":
    main()
