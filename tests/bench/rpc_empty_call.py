"""How fast an empty unary call is: our server on both HTTP/2 ports against grpc.aio's, in one run.

    python -m tests.bench.rpc_empty_call [--calls 100000] [--h2load PATH] [servers...]

10 connections with 10 calls each at a time, a 300-byte request and answer. The load comes from `h2load` (Debian's
nghttp2-client), which costs little beside the server; both share the machine's cores. CPU is the server process's own.
`frames+tls` is ours over TLS 1.3; `connect` and `connect+tls` are one call on each of many connections, so that what
they cost is connecting and shaking hands.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc.aio
import uvloop
from aiohttp import web

from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.h2_port import H2Port
from etcdops.node.rpc.http2 import PortFactory
from etcdops.node.rpc.listener import serve
from etcdops.node.rpc.service import Methods, Unary
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.member import CLIENT_PROTOCOLS
from etcdops.node.tls.server import ServerTls
from tests.support.certificates import Authority

PATH = "/etcdserverpb.KV/Put"
PAYLOAD = b"x" * 300
PORTS: dict[str, PortFactory] = {
    "frames": FramePort,
    "frames+tls": FramePort,
    "connect": FramePort,
    "connect+tls": FramePort,
    "h2": H2Port,
}
TLS = "+tls"
CONNECTIONS = 500


async def _http(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="ok")


async def _serve_ours(name: str) -> None:
    methods = Methods({PATH: Unary(lambda request, call: call.reply(request))})
    with tempfile.TemporaryDirectory() as folder:
        tls = _tls(Path(folder)) if name.endswith(TLS) else None
        listener = await serve([("127.0.0.1", 0)], methods, _http, tls=tls, port_factory=PORTS[name])
        print(listener.addresses[0][1], flush=True)
        await asyncio.Event().wait()


def _tls(folder: Path) -> ServerTls:
    pair = Authority(folder).issue("server")
    info = TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key))
    made = ServerTls(info, endpoint="client", protocols=CLIENT_PROTOCOLS)
    made.load()
    return made


class _Echo(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not generic at run time
    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        async def echo(request: bytes, context: object) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(echo)


async def _serve_grpc_aio() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def _serve(name: str) -> None:
    profile = os.environ.get("RPC_PROFILE")
    if name == "grpc.aio":
        asyncio.run(_serve_grpc_aio())
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        loop = runner.get_loop()
        main = loop.create_task(_serve_ours(name))
        loop.add_signal_handler(signal.SIGTERM, main.cancel)
        if profile:
            import cProfile

            profiler = cProfile.Profile()
            profiler.enable()
        try:
            loop.run_until_complete(main)
        except asyncio.CancelledError:
            pass
        if profile:
            profiler.dump_stats(profile)


def _cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _measure(name: str, h2load: str, calls: int, data: str) -> tuple[float, float]:
    """Returns: calls per second, and microseconds of the server's CPU per call."""
    command = [sys.executable, "-m", __spec__.name, "--serve", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            each_connects = name.startswith("connect")
            load = [h2load, "-t", "1", "-d", data, "--npn-list=h2"]
            load += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
            url = f"{'https' if name.endswith(TLS) else 'http'}://127.0.0.1:{port}{PATH}"
            many = ["-c", "10", "-m", "10", "-n"]
            subprocess.run([*load, *many, str(max(calls // 10, 100)), url], check=True, capture_output=True)
            before = _cpu_seconds(server.pid)
            if each_connects:
                calls = min(calls, CONNECTIONS)
                many = ["-c", str(calls), "-m", "1", "-n"]
            done = subprocess.run(
                [*load, *many, str(calls), url], check=True, capture_output=True, text=True, timeout=300
            )
            spent = _cpu_seconds(server.pid) - before
        finally:
            server.terminate()
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done.stdout)
    succeeded = re.search(r"(\d+) succeeded", done.stdout)
    assert rate is not None
    assert succeeded is not None
    assert int(succeeded[1]) == calls, done.stdout
    return float(rate[1]), spent / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", nargs="*", default=["grpc.aio", "h2", "frames", "frames+tls"])
    parser.add_argument("--calls", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--h2load", default=shutil.which("h2load"))
    parser.add_argument("--serve")
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve)
        return
    if not arguments.h2load:
        sys.exit("h2load not found: install nghttp2-client, or name it with --h2load")
    best: dict[str, tuple[float, float]] = {}
    with tempfile.NamedTemporaryFile() as data:
        data.write(b"\0" + len(PAYLOAD).to_bytes(4, "big") + PAYLOAD)
        data.flush()
        for _ in range(arguments.rounds):
            for name in arguments.servers:
                result = _measure(name, arguments.h2load, arguments.calls, data.name)
                best[name] = max(best.get(name, (0.0, 0.0)), result)
    base = best[arguments.servers[0]][0]
    for name, (rate, cpu) in best.items():
        print(f"{name:10} {rate:9.0f} calls/s  {cpu:6.1f} us CPU a call  {rate / base:5.1f} x {arguments.servers[0]}")


if __name__ == "__main__":
    main()
