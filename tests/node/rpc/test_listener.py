"""The client port with real sockets and real clients: grpcio, aiohttp, curl, and hand-made bytes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
import uvloop
from aiohttp import web

from etcdops.errors import StartRefused
from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.http2 import PREFACE, PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.listener import Listener, serve
from etcdops.node.rpc.server_connection import ServerConnection
from etcdops.node.rpc.service import Methods, RpcError, StatusCode, Stream, StreamCall, Unary, UnaryCall
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.member import CLIENT_PROTOCOLS
from etcdops.node.tls.server import ServerTls
from tests.fakes.http2_client import FakeClient
from tests.support.certificates import Authority

MIB = 1024 * 1024
Start = Callable[..., Awaitable[Listener]]


class Service:
    """A service with every kind of method."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.kept: list[UnaryCall] = []
        self.peers: list[str] = []

    def methods(self) -> Methods:
        return Methods(
            {
                "/test.S/Echo": Unary(lambda request, call: call.reply(request)),
                "/test.S/Size": Unary(lambda request, call: call.reply(str(len(request)).encode())),
                "/test.S/Big": Unary(lambda request, call: call.reply(b"x" * int(request))),
                "/test.S/Token": Unary(self.token),
                "/test.S/Keep": Unary(self.keep),
                "/test.S/Fail": Unary(self.fail),
                "/test.S/Chat": Stream(self.chat),
                "/test.S/Count": Stream(self.count),
            }
        )

    def token(self, request: bytes, call: UnaryCall) -> None:
        value = call.metadata.get(request.decode(), "nothing")
        self.peers.append(call.peer)
        call.reply(value if isinstance(value, bytes) else value.encode())

    def keep(self, request: bytes, call: UnaryCall) -> None:
        self.kept.append(call)
        call.on_cancel = lambda: self.cancelled.append("unary")

    def fail(self, request: bytes, call: UnaryCall) -> None:
        raise RpcError(StatusCode.FAILED_PRECONDITION, f"etcdserver: {request.decode()}")

    def chat(self, call: StreamCall) -> None:
        call.on_message = lambda message: (call.send(message), None)[1]
        call.on_half_close = call.end
        call.on_cancel = lambda: self.cancelled.append("stream")

    def count(self, call: StreamCall) -> None:
        """Server streaming: the request says how many messages of 1 MiB."""
        left = 0

        def go_on() -> None:
            nonlocal left
            while left:
                left -= 1
                if not call.send(b"y" * MIB):
                    return
            call.end()

        def begin(message: bytes) -> None:
            nonlocal left
            left = int(message)
            go_on()

        call.on_message = begin
        call.on_writable = go_on


async def http(request: web.BaseRequest) -> web.StreamResponse:
    """The HTTP side: /health, /slow, and the size of what is posted."""
    if request.path == "/health":
        return web.json_response({"health": "true"})
    if request.path == "/slow":
        await asyncio.sleep(0.15)
        return web.Response(text="at last")
    return web.Response(text=str(len(await request.read())))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def start(service: Service, port: PortFactory) -> AsyncIterator[Start]:
    """Starts a listener on a free port; all are stopped at the end."""
    started: list[Listener] = []

    async def begin(limits: Limits | None = None, *, tick_s: float = 0.02) -> Listener:
        listener = await serve([("127.0.0.1", 0)], service.methods(), http, limits, port_factory=port, tick_s=tick_s)
        started.append(listener)
        return listener

    yield begin
    for listener in started:
        await listener.stop(0)


def address(listener: Listener) -> str:
    host, number = listener.addresses[0]
    return f"{host}:{number}"


async def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    """Wait for a condition, with a deadline."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  # the condition is the server's state, it has no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited {timeout_s} s in vain: {what}")


def channel(listener: Listener, *options: tuple[str, int]) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address(listener), options=[("grpc.max_receive_message_length", -1), *options])


def unary(grpc_channel: grpc.aio.Channel, path: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return grpc_channel.unary_unary(path, bytes, bytes)


def stream(grpc_channel: grpc.aio.Channel, path: str) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    return grpc_channel.stream_stream(path, bytes, bytes)


async def let_one_call_expire(grpc_channel: grpc.aio.Channel, service: Service) -> None:
    """Call with a short deadline. On a slow machine it may pass before the call has left, so more than one try."""
    async with asyncio.timeout(30):
        while not service.kept:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await unary(grpc_channel, "/test.S/Keep")(b"", timeout=0.1)
            assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: "unary" in service.cancelled, "the handler is told")


class RawClient:
    """A socket and a FakeClient."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.fake = FakeClient()

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                data = await self.reader.read(65_536)
                if not data:
                    raise EOFError("the server has closed the connection")
                self.fake.read(data)

    async def at_end(self, timeout_s: float = 10) -> bytes:
        """What still comes until the server closes."""
        async with asyncio.timeout(timeout_s):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@contextlib.asynccontextmanager
async def raw(listener: Listener) -> AsyncIterator[RawClient]:
    host, number = listener.addresses[0]
    reader, writer = await asyncio.open_connection(host, number)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


# gRPC by grpcio


async def test_grpc_aio_calls_of_every_kind(start: Start) -> None:
    """Unary, errors, both kinds of streaming, metadata, compression, by grpc's own client."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        echo = unary(grpc_channel, "/test.S/Echo")
        assert await echo(b"hello", timeout=10) == b"hello"
        assert await echo(b"z" * 300_000, timeout=10, compression=grpc.Compression.Gzip) == b"z" * 300_000
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await unary(grpc_channel, "/test.S/Fail")(b"100% n\xc3\xb6", timeout=10)
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert failed.value.details() == "etcdserver: 100% nö"
        metadata = (("token", "secret"), ("raw-bin", b"\x00\xff"))
        token = unary(grpc_channel, "/test.S/Token")
        assert await token(b"token", timeout=10, metadata=metadata) == b"secret"
        assert await token(b"raw-bin", timeout=10, metadata=metadata) == b"\x00\xff"
        chat = stream(grpc_channel, "/test.S/Chat")(None, timeout=10)
        for number in range(20):
            await chat.write(b"%d" % number)
            assert await chat.read() == b"%d" % number
        await chat.done_writing()
        assert not isinstance(await chat.read(), bytes), "the end"
        assert await chat.code() is grpc.StatusCode.OK


async def test_grpc_aio_error_statuses(start: Start) -> None:
    """Unknown method and service, a message above the limit, a deadline."""
    listener = await start()
    async with channel(listener) as grpc_channel:

        async def failure(path: str, payload: bytes, timeout: float = 10) -> tuple[grpc.StatusCode, str | None]:
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await unary(grpc_channel, path)(payload, timeout=timeout)
            return failed.value.code(), failed.value.details()

        unimplemented = grpc.StatusCode.UNIMPLEMENTED
        assert await failure("/test.S/No", b"") == (unimplemented, "unknown method No for service test.S")
        assert await failure("/no.S/No", b"") == (unimplemented, "unknown service no.S")
        code, text = await failure("/test.S/Size", b"x" * (2 * MIB + 1))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text == "grpc: received message larger than max (2097153 vs. 2097152)"
        assert await unary(grpc_channel, "/test.S/Size")(b"x" * (2 * MIB), timeout=10) == b"2097152"


async def test_a_deadline_reaches_the_handler(start: Start, service: Service) -> None:
    """Both sides count; the client sees DEADLINE_EXCEEDED, the handler its cancellation."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        await let_one_call_expire(grpc_channel, service)


async def test_cancelling_reaches_the_handler(start: Start, service: Service) -> None:
    """RST_STREAM from a real client, and a channel closed with a stream open."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        call = unary(grpc_channel, "/test.S/Keep")(b"")
        await eventually(lambda: len(service.kept) == 1, "the call arrives")
        call.cancel()
        await eventually(lambda: service.cancelled == ["unary"], "the handler is told")
        chat = stream(grpc_channel, "/test.S/Chat")(None)
        await chat.write(b"x")
        await chat.read()
    await eventually(lambda: service.cancelled == ["unary", "stream"], "the stream ends with its connection")


@pytest.mark.slow
async def test_big_answers_and_long_streams(start: Start) -> None:
    """100 MiB in one message, and 100 messages of 1 MiB with backpressure, while small calls go on."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        big = unary(grpc_channel, "/test.S/Big")(b"%d" % (100 * MIB), timeout=50)
        count = grpc_channel.unary_stream("/test.S/Count", bytes, bytes)(b"100", timeout=50)
        echo = unary(grpc_channel, "/test.S/Echo")
        for _ in range(20):
            assert await echo(b"x", timeout=20) == b"x"
        sizes = [len(message) async for message in count]
        assert sizes == [MIB] * 100
        assert len(await big) == 100 * MIB


@pytest.mark.slow
async def test_the_synchronous_client_from_many_threads(start: Start) -> None:
    """grpcio's blocking stubs, each thread with a channel of its own."""
    listener = await start()

    def work(number: int) -> list[bytes]:
        with grpc.insecure_channel(address(listener), [("grpc.use_local_subchannel_pool", 1)]) as sync_channel:
            echo = sync_channel.unary_unary("/test.S/Echo", bytes, bytes)
            return [echo(b"%d-%d" % (number, turn), timeout=20) for turn in range(50)]

    results = await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(8)))
    assert results == [[b"%d-%d" % (number, turn) for turn in range(50)] for number in range(8)]


@pytest.mark.slow
async def test_a_thousand_calls_at_once_on_one_connection(start: Start) -> None:
    """More than fit one window or one write."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        echo = unary(grpc_channel, "/test.S/Echo")
        answers = await asyncio.gather(*(echo(b"%d" % number * 20, timeout=30) for number in range(1000)))
        assert answers == [b"%d" % number * 20 for number in range(1000)]


async def test_peers_are_named_with_address_and_port(start: Start, service: Service) -> None:
    """`Call.peer`."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        await unary(grpc_channel, "/test.S/Token")(b"x", timeout=10)
    host, _, number = service.peers[0].rpartition(":")
    assert host == "127.0.0.1"
    assert int(number) > 0


# HTTP/1.1 on the same port


async def test_http_requests_share_the_port(start: Start) -> None:
    """/health by aiohttp, twice on one connection, beside gRPC."""
    listener = await start()
    url = f"http://{address(listener)}"
    async with aiohttp.ClientSession() as session, channel(listener) as grpc_channel:
        for _ in range(3):
            async with session.get(f"{url}/health") as response:
                assert response.status == 200
                assert await response.json() == {"health": "true"}
        assert await unary(grpc_channel, "/test.S/Echo")(b"x", timeout=10) == b"x"
        async with session.post(f"{url}/size", data=io.BytesIO(b"x" * (2 * MIB - 1))) as response:
            assert await response.text() == str(2 * MIB - 1)
        async with session.post(f"{url}/size", data=io.BytesIO(b"x" * (2 * MIB + 1))) as response:
            assert response.status == 413
        assert listener.connections_open == 2


@pytest.mark.slow
async def test_curl_speaks_http_and_http2(start: Start) -> None:
    """What an operator types: curl URL, and curl with prior knowledge of HTTP/2 gets 415."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    listener = await start()

    async def run(*options: str) -> str:
        process = await asyncio.create_subprocess_exec(
            curl, "-sS", "-m", "10", *options, f"http://{address(listener)}/health", stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return output.decode()

    assert await run() == '{"health": "true"}'
    assert "415" in await run("--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}")


async def test_requests_in_pieces_and_pipelined(start: Start) -> None:
    """The first bytes decide, however few come at a time; PUT and POST begin like the preface."""
    listener = await start()
    async with raw(listener) as client:
        for byte in b"P":
            client.write(bytes([byte]))
        await asyncio.sleep(0.01)
        client.write(b"OST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        client.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await client.at_end()
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert b"\r\n\r\n3" in answer
    assert answer.endswith(b'{"health": "true"}')


async def test_the_preface_in_single_bytes(start: Start) -> None:
    """HTTP/2 is known once all 24 bytes are there."""
    listener = await start()
    async with raw(listener) as client:
        sent = client.fake.hello() + client.fake.call("/test.S/Echo", b"x")[1]
        for number in range(len(PREFACE) + 12):
            client.write(sent[number : number + 1])
            await client.writer.drain()
        client.write(sent[len(PREFACE) + 12 :])
        await client.read_until(lambda: client.fake.answer(1).ended)
        assert client.fake.answer(1).messages == [b"x"]


async def test_garbage_gets_an_http_error(start: Start) -> None:
    """A TLS client on the plain port, or noise."""
    listener = await start()
    async with raw(listener) as client:
        client.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n" * 20)
        assert b"400 Bad Request" in await client.at_end()
    await eventually(lambda: listener.connections_open == 0, "the connection is gone")


# Deadlines of silent clients


async def test_a_client_that_says_nothing_is_dropped(start: Start) -> None:
    """Half-open sockets do not stay."""
    listener = await start(Limits(first_bytes_timeout_s=0.05))
    async with raw(listener) as client:
        client.write(PREFACE[:10])
        await client.at_end()
    await eventually(lambda: listener.connections_open == 0, "the connection is gone")


async def test_what_breaks_inside_breaks_one_connection(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the timer that serves all, and in what one asks the loop for: that client goes, the others stay."""

    def fail(connection: ServerConnection, *_: object) -> bool:
        raise RuntimeError("out of nowhere")

    listener = await start()
    async with raw(listener) as client:
        client.write(PREFACE)
        await eventually(lambda: listener.connections_open == 1, "it is there")
        with monkeypatch.context() as patch:
            patch.setattr(ServerConnection, "tick", fail)
            await client.at_end()
        await eventually(lambda: listener.connections_open == 0, "it is gone")
    async with channel(listener) as grpc_channel:
        assert await unary(grpc_channel, "/test.S/Echo")(b"served") == b"served"
    assert "closed a connection after an internal error" in caplog.text


async def test_an_end_of_accepting_is_told_to_the_loop(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would be let in any more, and the member would look alive."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    listener = await start()

    def fail(listener: Listener, accepted: socket.socket, *_: object) -> None:
        accepted.close()
        raise RuntimeError("out of nowhere")

    monkeypatch.setattr(Listener, "_take", fail)
    with socket.create_connection(listener.addresses[0]):
        await eventually(lambda: bool(told), "the loop has heard of it")
    asyncio.get_running_loop().set_exception_handler(None)
    (error,) = told
    assert "out of nowhere" in repr(error)


async def test_a_slow_header_is_dropped(start: Start) -> None:
    """One byte now and then does not keep a connection (slow loris), also on a kept-alive one."""
    listener = await start(Limits(http_header_timeout_s=0.1))
    async with raw(listener) as client:
        client.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.reader.readuntil(b"}")
        client.write(b"GET /hea")
        await client.at_end()
    async with raw(listener) as client:
        client.write(b"GET /hea")
        await client.at_end()


async def test_a_stalled_body_is_dropped(start: Start) -> None:
    """A request that promises bytes and sends none."""
    listener = await start(Limits(http_header_timeout_s=0.02))
    async with raw(listener) as client:
        client.write(b"POST /size HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        await client.at_end()


async def test_a_slow_answer_is_not_dropped(start: Start) -> None:
    """The server may take its time."""
    listener = await start(Limits(http_header_timeout_s=0.02, http_idle_timeout_s=0.05))
    async with raw(listener) as client:
        client.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"at last" in await client.at_end(), "answered, then closed for idleness"


async def test_a_dead_grpc_client_is_found_by_ping(start: Start) -> None:
    """Keepalive: silence, a ping, more silence, gone."""
    listener = await start(Limits(keepalive_interval_s=0.05, keepalive_timeout_s=0.05))
    async with raw(listener) as client:
        client.write(client.fake.hello())
        await client.read_until(lambda: bool(client.fake.pings))
        await client.at_end()
    await eventually(lambda: listener.connections_open == 0, "the connection is gone")


@pytest.mark.slow
@pytest.mark.parametrize("port", [FramePort], ids=["frames"])  # the reference takes a minute for so many pings
async def test_a_client_that_reads_nothing_is_not_listened_to(start: Start, service: Service) -> None:
    """Answers it does not take are bounded by not reading its requests; once it reads, it is served again."""
    listener = await start(Limits(controls_burst=10**9, keepalive_min_time_s=0.0))
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        # The kernel's own buffers, which may grow to tens of megabytes, are not what is tested.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        client.setblocking(False)
        await loop.sock_connect(client, listener.addresses[0])
        fake = FakeClient()
        await loop.sock_sendall(client, fake.hello() + fake.call("/test.S/Keep")[1] + fake.call("/test.S/Keep")[1])
        pings = fake.ping() * 5_000
        sent = 0
        stalled: asyncio.Future[None] = asyncio.ensure_future(loop.sock_sendall(client, pings))
        while (await asyncio.wait([stalled], timeout=0.5))[0]:
            sent += len(pings)
            assert sent < 64 * MIB, "the server went on reading"
            stalled = asyncio.ensure_future(loop.sock_sendall(client, pings))
        service.kept[0].reply(b"after all")
        async with asyncio.timeout(90):
            tail = b""
            while b"after all" not in tail:
                tail = tail[-8:] + await loop.sock_recv(client, MIB)
            await stalled
    await eventually(lambda: listener.connections_open == 0, "the connection is gone")


@pytest.mark.slow
async def test_others_are_served_during_a_rapid_reset_attack(start: Start) -> None:
    """CVE-2023-44487: the attacker is sent away again and again, a bystander notices little."""
    listener = await start(Limits(resets_burst=300))
    attacking = True
    sent_away = 0
    fake = FakeClient()
    calls = [fake.call("/test.S/Keep") for _ in range(1_000)]
    pieces = [fake.hello(), *(sent + fake.reset(stream_id) for stream_id, sent in calls)]

    async def attack() -> None:
        nonlocal sent_away
        while attacking:
            async with raw(listener) as client:
                with contextlib.suppress(ConnectionError):
                    for start_at in range(0, len(pieces), 50):
                        client.write(b"".join(pieces[start_at : start_at + 50]))
                        await client.writer.drain()
                    await client.at_end()
                sent_away += 1

    attacker = asyncio.create_task(attack())
    try:
        async with channel(listener) as grpc_channel:
            echo = unary(grpc_channel, "/test.S/Echo")
            for number in range(30):
                assert await echo(b"%d" % number, timeout=10) == b"%d" % number
        await eventually(lambda: sent_away >= 2, "the attacker was sent away twice")
    finally:
        attacking = False
        await asyncio.wait_for(attacker, 20)
    await eventually(lambda: listener.connections_open == 0, "nothing is left of it")


# Limits and the end


async def test_connections_beyond_the_limit_wait(start: Start) -> None:
    """Accepted when others leave."""
    listener = await start(Limits(connections_max=2))
    async with raw(listener) as first, raw(listener), raw(listener) as third:
        await eventually(lambda: listener.connections_open == 2, "two are in")
        third.write(third.fake.hello() + third.fake.call("/test.S/Echo", b"x")[1])
        first.writer.close()
        await third.read_until(lambda: third.fake.answer(1).ended)
        assert listener.connections_open == 2


async def test_clients_that_come_at_once_are_accepted_at_once(start: Start) -> None:
    """A turn of the loop takes long at full load: a client must not wait one for each of those before it."""
    listener = await start()
    address = listener.addresses[0]
    with contextlib.ExitStack() as stack:
        # The kernel takes them all; the loop does not run meanwhile.
        for _ in range(50):
            stack.enter_context(socket.create_connection(address, 5.0))
        for _ in range(10):
            await asyncio.sleep(0)
        assert listener.connections_open == 50


@pytest.mark.parametrize("turns", range(7))
async def test_stopping_while_clients_are_accepted_waits_for_nobody(start: Start, turns: int) -> None:
    """However far their connections have come: they hold no call, so the grace is not for them."""
    listener = await start()
    address = listener.addresses[0]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, 5.0)) for _ in range(20)]
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(10.0):
            await listener.stop(60.0)
        assert listener.connections_open == 0
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""


async def test_stopping_lets_calls_finish(start: Start, service: Service) -> None:
    """Graceful: open calls are answered, new connections refused, idle ones closed."""
    listener = await start()
    async with channel(listener) as grpc_channel, raw(listener) as idle:
        idle.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await idle.reader.readuntil(b"}")
        call = unary(grpc_channel, "/test.S/Keep")(b"", timeout=20)
        await eventually(lambda: len(service.kept) == 1, "the call arrives")
        stopping = asyncio.create_task(listener.stop(10))
        await idle.at_end()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection(*listener.addresses[0])
        service.kept[0].reply(b"done")
        assert await call == b"done"
        await asyncio.wait_for(stopping, 10)
    assert listener.connections_open == 0


async def test_stopping_has_a_deadline(start: Start, service: Service) -> None:
    """Calls that do not end are ended as UNAVAILABLE; etcd's text."""
    listener = await start()
    async with channel(listener) as grpc_channel:
        call = unary(grpc_channel, "/test.S/Keep")(b"", timeout=20)
        await eventually(lambda: len(service.kept) == 1, "the call arrives")
        await asyncio.wait_for(listener.stop(0.05), 10)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
        assert failed.value.details() == "etcdserver: server stopped"
    assert service.cancelled == ["unary"]


async def test_stopping_closes_http_connections_after_their_answer(start: Start) -> None:
    """A keep-alive connection does not hold up the stop."""
    listener = await start()
    async with raw(listener) as client:
        client.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: listener.connections_open == 1, "it is there")
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(listener.stop(10))
        answer = await client.at_end()
        assert b"at last" in answer
        assert b"Connection: close" in answer
        await asyncio.wait_for(stopping, 2)


@pytest.mark.slow
async def test_tls_serves_both_protocols(service: Service, port: PortFactory, tmp_path: Path) -> None:
    """gRPC with ALPN and HTTP/1.1, on one TLS port; a client without TLS is turned away."""
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    info = TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key))
    tls = ServerTls(info, endpoint="client", protocols=CLIENT_PROTOCOLS)
    tls.load()
    client_context = ssl.create_default_context(cafile=str(authority.ca))
    listener = await serve([("127.0.0.1", 0)], service.methods(), http, tls=tls, port_factory=port, tick_s=0.02)
    try:
        credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes())
        async with grpc.aio.secure_channel(address(listener), credentials) as grpc_channel:
            assert await unary(grpc_channel, "/test.S/Echo")(b"x" * 100_000, timeout=10) == b"x" * 100_000
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://{address(listener)}/health", ssl=client_context) as response,
        ):
            assert await response.json() == {"health": "true"}
        async with raw(listener) as plain:
            plain.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" not in await plain.at_end()
    finally:
        await listener.stop(0)


async def test_addresses_mean_what_they_mean_to_go(service: Service) -> None:
    """localhost is IPv4's, 0.0.0.0 is everything there is, several addresses are one listener."""
    listener = await serve([("localhost", 0), ("0.0.0.0", 0)], service.methods(), http)
    try:
        (local, local_port), (everywhere, everywhere_port) = listener.addresses
        assert local == "127.0.0.1"
        assert everywhere in ("::", "0.0.0.0")
        hosts = [("127.0.0.1", local_port), ("127.0.0.1", everywhere_port)]
        if everywhere == "::":
            hosts.append(("::1", everywhere_port))
        for host, number in hosts:
            shown = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
            async with grpc.aio.insecure_channel(shown) as grpc_channel:
                assert await unary(grpc_channel, "/test.S/Token")(b"none", timeout=10) == b"nothing"
        assert all(peer.startswith(("127.0.0.1:", "[::1]:")) for peer in service.peers)
    finally:
        await listener.stop(0)


async def test_a_port_in_use_is_named(start: Start, service: Service) -> None:
    """Go's words, and what to do."""
    listener = await start()
    with pytest.raises(StartRefused) as refused:
        await serve([listener.addresses[0]], service.methods(), http)
    assert str(refused.value) == f"listen tcp {address(listener)}: bind: address already in use"
    assert refused.value.hint


async def test_a_foreign_address_is_named(service: Service) -> None:
    """192.0.2.1 is never this machine's."""
    with pytest.raises(StartRefused, match=r"listen tcp 192\.0\.2\.1:0: bind: cannot assign requested address"):
        await serve([("192.0.2.1", 0)], service.methods(), http)


@pytest.mark.slow
def test_all_of_it_on_uvloop(service: Service, port: PortFactory) -> None:
    """The node's own event loop: calls, a big answer, a long stream, HTTP, a graceful stop."""

    async def scenario() -> None:
        listener = await serve([("127.0.0.1", 0)], service.methods(), http, port_factory=port, tick_s=0.02)
        async with channel(listener) as grpc_channel, aiohttp.ClientSession() as session:
            echo = unary(grpc_channel, "/test.S/Echo")
            answers = await asyncio.gather(*(echo(b"%d" % number, timeout=20) for number in range(200)))
            assert answers == [b"%d" % number for number in range(200)]
            assert len(await unary(grpc_channel, "/test.S/Big")(b"%d" % (30 * MIB), timeout=30)) == 30 * MIB
            count = grpc_channel.unary_stream("/test.S/Count", bytes, bytes)(b"30", timeout=30)
            assert [len(message) async for message in count] == [MIB] * 30
            async with session.get(f"http://{address(listener)}/health") as response:
                assert await response.json() == {"health": "true"}
            await let_one_call_expire(grpc_channel, service)
            service.kept.clear()
            call = unary(grpc_channel, "/test.S/Keep")(b"", timeout=20)
            await eventually(lambda: len(service.kept) == 1, "the call arrives")
            stopping = asyncio.create_task(listener.stop(10))
            await asyncio.sleep(0)
            service.kept[0].reply(b"done")
            assert await call == b"done"
            await asyncio.wait_for(stopping, 10)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
