"""How fast the load itself is: against a server that speaks gRPC and stores nothing.

A member that comes near to that is held up by the load, and its figure says nothing.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop
from aiohttp import web

from etcdops.node.rpc.listener import serve
from etcdops.node.rpc.service import Methods, Unary, UnaryCall
from tests.bench import put_load, read_load
from tests.bench.figures import Ceiling, Row
from tests.bench.run import TIMEOUT_S, Bench

NEAR = 0.8
"""Of the load's own ceiling: from there on it may be the load that is measured."""

_ANSWER = b"\x12" + bytes((0x80 | put_load.VALUE_BYTES & 0x7F, put_load.VALUE_BYTES >> 7)) + bytes(put_load.VALUE_BYTES)
"""As long as the answer to a read of one value."""


def measure(bench: Bench) -> None:
    """Find the highest rates of our own load and of what reads."""
    plan = bench.plan
    with _null_server() as url:
        for _ in range(plan.rounds):
            load = put_load.put([url], connections=50, in_flight=10, puts=plan.puts, seed=0, timeout_s=TIMEOUT_S)
            _note(bench, "puts", load.rate)
            reads = read_load.read(url, serializable=True, reads=plan.reads, timeout_s=TIMEOUT_S, h2load=bench.h2load)
            _note(bench, "reads", reads)


def needed(rows: list[Row], kind: str) -> float:
    """The highest rate of any member in a run. `kind` is "puts" or "reads"."""
    return max((max(row.etcd, row.node) for row in rows if row.unit == f"{kind}/s"), default=0.0)


def _note(bench: Bench, kind: str, rate: float) -> None:
    known = next((one for one in bench.ceilings if one.kind == kind), None)
    if known is None:
        bench.ceilings.append(Ceiling(kind, rate))
    elif rate > known.rate:
        bench.ceilings[bench.ceilings.index(known)] = Ceiling(kind, rate)


@contextmanager
def _null_server() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-m", "tests.bench.ceilings"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


async def _serve() -> None:
    async def http(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="ok")

    def reads(request: bytes, call: UnaryCall) -> None:
        call.reply(_ANSWER)

    def puts(request: bytes, call: UnaryCall) -> None:
        call.reply(b"")

    listener = await serve(
        [("127.0.0.1", 0)], Methods({read_load.PATH: Unary(reads), put_load.PATH: Unary(puts)}), http
    )
    print(listener.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
