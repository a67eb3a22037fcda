"""The client port under real etcdctl (Go's gRPC): a small KV, Watch and Lease that only this test knows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from etcdops.node.rpc.http2 import PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.listener import Listener, serve
from etcdops.node.rpc.service import Methods, RpcError, StatusCode, Stream, StreamCall, Unary, UnaryCall
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2
from tests.support.real_etcd import EtcdBinaries, find_etcd

SNAPSHOT_BYTES = 20 * 1024 * 1024 + 32
"""A multiple of 512 and a checksum's worth more: etcdctl looks no closer while saving."""


class TinyEtcd:
    """As much of etcd as `put`, `get` and `watch` need."""

    def __init__(self) -> None:
        self.revision = 1
        self.stored: dict[bytes, mvccpb_pb2.KeyValue] = {}
        self.watches: list[StreamCall] = []
        self.agents: list[str] = []

    def methods(self) -> Methods:
        return Methods(
            {
                "/etcdserverpb.KV/Put": Unary(self.put),
                "/etcdserverpb.KV/Range": Unary(self.range),
                "/etcdserverpb.KV/DeleteRange": Unary(self.refuse),
                "/etcdserverpb.Watch/Watch": Stream(self.watch),
                "/etcdserverpb.Maintenance/Snapshot": Stream(self.snapshot),
            }
        )

    def _header(self) -> pb.ResponseHeader:
        return pb.ResponseHeader(cluster_id=1, member_id=2, revision=self.revision, raft_term=3)

    def put(self, request: bytes, call: UnaryCall) -> None:
        asked = pb.PutRequest.FromString(request)
        agent = call.metadata["user-agent"]
        assert isinstance(agent, str)
        self.agents.append(agent)
        self.revision += 1
        self.stored[asked.key] = mvccpb_pb2.KeyValue(
            key=asked.key, value=asked.value, create_revision=self.revision, mod_revision=self.revision, version=1
        )
        call.reply(pb.PutResponse(header=self._header()).SerializeToString())
        event = mvccpb_pb2.Event(type=mvccpb_pb2.Event.PUT, kv=self.stored[asked.key])
        for watch in self.watches:
            watch.send(pb.WatchResponse(header=self._header(), events=[event]).SerializeToString())

    def range(self, request: bytes, call: UnaryCall) -> None:
        asked = pb.RangeRequest.FromString(request)
        found = [kv for key, kv in sorted(self.stored.items()) if key == asked.key or asked.range_end]
        if asked.keys_only:
            found = [mvccpb_pb2.KeyValue(key=kv.key) for kv in found]
        answer = pb.RangeResponse(header=self._header(), kvs=found, count=len(found))
        call.reply(answer.SerializeToString())

    def refuse(self, request: bytes, call: UnaryCall) -> None:
        raise RpcError(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")

    def watch(self, call: StreamCall) -> None:
        def on_message(request: bytes) -> None:
            asked = pb.WatchRequest.FromString(request)
            if asked.HasField("create_request"):
                self.watches.append(call)
                call.send(pb.WatchResponse(header=self._header(), created=True).SerializeToString())

        call.on_message = on_message
        call.on_cancel = lambda: self.watches.remove(call) if call in self.watches else None
        call.on_half_close = call.end

    def snapshot(self, call: StreamCall) -> None:
        left = SNAPSHOT_BYTES

        def go_on() -> None:
            nonlocal left
            while left:
                size = min(left, 32_768)
                left -= size
                piece = pb.SnapshotResponse(header=self._header(), remaining_bytes=left, blob=b"s" * size)
                if not call.send(piece.SerializeToString()):
                    return
            call.end()

        call.on_message = lambda _: go_on()
        call.on_writable = go_on


async def _http(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404)


@pytest.fixture(params=["3.4", "3.5"])
def binaries(request: pytest.FixtureRequest) -> EtcdBinaries:
    """etcdctl of one version."""
    found = find_etcd(request.param)
    if found is None:
        pytest.skip(f"etcd {request.param} is not in .cache/etcd (make etcd fetches it)")
    return found


@pytest.fixture
def tiny() -> TinyEtcd:
    return TinyEtcd()


@pytest.fixture
async def listener(tiny: TinyEtcd, port: PortFactory) -> AsyncIterator[Listener]:
    started = await serve([("127.0.0.1", 0)], tiny.methods(), _http, port_factory=port)
    yield started
    await started.stop(0)


class Etcdctl:
    """Runs etcdctl against a listener."""

    def __init__(self, binaries: EtcdBinaries, listener: Listener) -> None:
        self._path = binaries.etcdctl
        self._endpoint = f"127.0.0.1:{listener.addresses[0][1]}"

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            str(self._path),
            f"--endpoints={self._endpoint}",
            *arguments,
            env={"ETCDCTL_API": "3", "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def run(self, *arguments: str) -> tuple[int | None, str]:
        process = await self.start(*arguments)
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        return process.returncode, output.decode()


@pytest.fixture
def etcdctl(binaries: EtcdBinaries, listener: Listener) -> Etcdctl:
    return Etcdctl(binaries, listener)


@pytest.mark.real
@pytest.mark.slow
async def test_etcdctl_puts_gets_and_is_refused(etcdctl: Etcdctl, tiny: TinyEtcd) -> None:
    """Unary calls with Go's deadlines and header compression; errors come out in etcdctl's own form."""
    for number in range(3):
        assert await etcdctl.run("put", f"key-{number}", "value" * 1_000 * number) == (0, "OK\n")
    assert await etcdctl.run("get", "key-1", "--print-value-only") == (0, "value" * 1_000 + "\n")
    code, text = await etcdctl.run("get", "--prefix", "key", "--keys-only")
    assert (code, text.split()) == (0, ["key-0", "key-1", "key-2"])
    code, text = await etcdctl.run("del", "key-1")
    assert code == 1
    assert "etcdserver: permission denied" in text
    code, text = await etcdctl.run("lease", "list")
    assert code
    assert "unknown service etcdserverpb.Lease" in text
    assert tiny.agents[0].startswith("grpc-go/")


@pytest.mark.real
@pytest.mark.slow
async def test_etcdctl_puts_a_value_above_the_limit(binaries: EtcdBinaries, tiny: TinyEtcd, port: PortFactory) -> None:
    """Q05: the server's words reach the operator."""
    listener = await serve(
        [("127.0.0.1", 0)], tiny.methods(), _http, Limits(receive_bytes_max=50_000), port_factory=port
    )
    try:
        code, text = await Etcdctl(binaries, listener).run("put", "key", "x" * 100_000)
    finally:
        await listener.stop(0)
    assert code == 1
    assert "grpc: received message larger than max (100009 vs. 50000)" in text


@pytest.mark.real
@pytest.mark.slow
async def test_etcdctl_saves_a_snapshot(etcdctl: Etcdctl, tmp_path: Path) -> None:
    """Server streaming under Go's flow control."""
    path = tmp_path / "snapshot.db"
    code, text = await etcdctl.run("snapshot", "save", str(path))
    assert code == 0, text
    assert path.read_bytes() == b"s" * SNAPSHOT_BYTES


@pytest.mark.real
@pytest.mark.slow
async def test_etcdctl_watches(etcdctl: Etcdctl, tiny: TinyEtcd) -> None:
    """A stream both ways that lives as long as the client."""
    watching = await etcdctl.start("watch", "key")
    try:
        assert watching.stdout is not None
        async with asyncio.timeout(20):
            while not tiny.watches:  # noqa: ASYNC110  # the watch is another process's, it has no event
                await asyncio.sleep(0.01)
            assert (await etcdctl.run("put", "key", "one"))[0] == 0
            seen = [(await watching.stdout.readline()).decode().strip() for _ in range(3)]
        assert seen == ["PUT", "key", "one"]
    finally:
        watching.kill()
        await watching.communicate()
    async with asyncio.timeout(20):
        while tiny.watches:  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.01)
