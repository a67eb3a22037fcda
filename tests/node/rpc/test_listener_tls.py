"""The client port with TLS: one port for gRPC and HTTP/1.1, and nobody who shakes hands slowly holds up the others."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

import aiohttp
import grpc
import grpc.aio
import pytest
from aiohttp import web

from etcdops.node.rpc.frame_port import FramePort
from etcdops.node.rpc.h2_port import H2Port
from etcdops.node.rpc.http2 import PREFACE, PortFactory
from etcdops.node.rpc.limits import Limits
from etcdops.node.rpc.listener import Listener, serve
from etcdops.node.rpc.service import Methods, Unary
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.member import CLIENT_PROTOCOLS
from etcdops.node.tls.server import ServerTls
from tests.fakes.http2_client import FakeClient
from tests.node.tls.handshakes import Pki, client_context, eventually, on_both_loops, refusals

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture(params=[FramePort, H2Port], ids=["frames", "h2"])
def port(request: pytest.FixtureRequest) -> PortFactory:
    """Both implementations of HTTP/2."""
    factory: PortFactory = request.param
    return factory


async def _http(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text=f"{request.scheme} {request.path}")


@contextlib.asynccontextmanager
async def _listening(info: TlsInfo, port: PortFactory, limits: Limits | None = None) -> AsyncIterator[Listener]:
    tls = ServerTls(info, endpoint="client", protocols=CLIENT_PROTOCOLS)
    tls.load()
    methods = Methods(
        {
            "/test.S/Echo": Unary(lambda request, call: call.reply(request)),
            "/test.S/Big": Unary(lambda request, call: call.reply(b"x" * int(request))),
        }
    )
    listener = await serve([("127.0.0.1", 0)], methods, _http, limits, tls=tls, port_factory=port, tick_s=0.02)
    try:
        yield listener
    finally:
        await listener.stop(0)


def _number(listener: Listener) -> int:
    return listener.addresses[0][1]


async def _connect(
    listener: Listener, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", _number(listener), ssl=context)


@on_both_loops
async def test_grpc_and_http_share_the_port(pki: Pki, port: PortFactory) -> None:
    """A client with a certificate; answers bigger than every buffer on the way."""
    pair = pki.pair("good")
    async with _listening(pki.info(), port) as listener:
        credentials = grpc.ssl_channel_credentials(
            pki.ours.ca.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes()
        )
        options = [("grpc.max_receive_message_length", -1)]
        address = f"127.0.0.1:{_number(listener)}"
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            echo = channel.unary_unary("/test.S/Echo", bytes, bytes)
            answers = await asyncio.gather(*(echo(b"%d" % number, timeout=20) for number in range(100)))
            assert answers == [b"%d" % number for number in range(100)]
            big = channel.unary_unary("/test.S/Big", bytes, bytes)
            assert len(await big(b"%d" % (12 * MIB), timeout=30)) == 12 * MIB
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://{address}/health", ssl=client_context(pki.ours, pair)) as response,
        ):
            assert await response.text() == "https /health"
        await eventually(lambda: listener.connections_open == 0, "the connections are gone")


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2"], "h2"), (["h2", "http/1.1"], "http/1.1"), (["spdy"], None), ([], None)]
)
@on_both_loops
async def test_what_is_spoken_is_agreed_on_or_found_out(pki: Pki, offered: list[str], chosen: str | None) -> None:
    """curl offers both and wants /health, which HTTP/1.1 serves; without ALPN the first bytes decide, as in etcd."""
    async with _listening(pki.info(), FramePort) as listener:
        context = client_context(pki.ours, pki.pair("good"))
        if offered:
            context.set_alpn_protocols(offered)
        for hello, answer in ((PREFACE + b"\0\0\0\4\0\0\0\0\0", b"\0"), (b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"H")):
            reader, writer = await _connect(listener, context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
            writer.write(hello)
            async with asyncio.timeout(20):
                assert (await reader.readexactly(1)) == answer
            writer.transport.abort()


@on_both_loops
async def test_who_is_not_let_in_leaves_nothing_behind(
    pki: Pki, port: PortFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Strangers, plain text and half handshakes are forgotten, and their places are free again."""
    limits = Limits(first_bytes_timeout_s=0.3, connections_max=8)
    async with _listening(pki.info(), port, limits) as listener:
        for _ in range(3):
            reader, writer = await _connect(listener, None)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(20):
                assert await reader.read() == b""
            writer.close()
        silent = [await _connect(listener, None) for _ in range(8)]
        for _, writer in silent:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        # nobody else has a place until their time is over
        reader, writer = await _connect(listener, client_context(pki.ours, pki.pair("good")))
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(20):
            assert await reader.readexactly(8) == b"HTTP/1.1"
        for _, half in silent:
            half.transport.abort()
        writer.transport.abort()
        await eventually(lambda: listener.connections_open == 0, "the connections are gone")
    assert len(refusals(caplog)) == 11
    assert {line["msg"] for line in refusals(caplog)} == {"rejected connection on client endpoint"}


@on_both_loops
async def test_a_stop_does_not_wait_for_half_a_handshake(pki: Pki) -> None:
    """Whoever has not said who he is has no claim to a graceful end."""
    async with _listening(pki.info(), FramePort) as listener:
        _, writer = await _connect(listener, None)
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        await eventually(lambda: listener.connections_open == 1, "it was accepted")
        async with asyncio.timeout(5):
            await listener.stop(20.0)
        writer.transport.abort()


@on_both_loops
async def test_a_client_at_fault_hears_why_over_tls_too(pki: Pki, port: PortFactory) -> None:
    """While it is still sending: TLS says goodbye and reads on until the other side does."""
    async with _listening(pki.info(), port) as listener:
        reader, writer = await _connect(listener, client_context(pki.ours, pki.pair("good")))
        fake = FakeClient()
        writer.write(PREFACE + b"\0\0\0\4\0\0\0\0\0")
        writer.write(b"\0\0\0\0\0\0\0\0\0")  # DATA on stream 0
        writer.write(b"\0\x40\0\0\0\0\0\0\1" + b"x" * 0x4000)
        received = b""
        async with asyncio.timeout(20):
            with contextlib.suppress(OSError):
                while data := await reader.read(65_536):
                    received += data
        fake.read(received)
        assert fake.goaways
        writer.transport.abort()
        await eventually(lambda: listener.connections_open == 0, "the connection is gone")
