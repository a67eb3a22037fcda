"""Ports and dials of one test, and certificates good and bad."""

from __future__ import annotations

import asyncio
import datetime
import inspect
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
import uvloop

from etcdops.node.sockets import listening_socket
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.port import TlsPort
from etcdops.node.tls.server import ServerTls
from tests.support.certificates import Authority, KeyPair

HOUR = datetime.timedelta(hours=1)
DEADLINE_S = 20.0


def on_both_loops(test: Callable[..., Coroutine[object, object, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's loop and on uvloop: each has TLS of its own."""

    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **fixtures: object) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(**fixtures))

    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    wanted = inspect.signature(test)
    loop_factory = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = wanted.replace(  # type: ignore[attr-defined]  # what pytest asks for a test's fixtures
        parameters=[*wanted.parameters.values(), loop_factory]
    )
    loops = [asyncio.new_event_loop, uvloop.new_event_loop]
    return pytest.mark.parametrize("loop_factory", loops, ids=["asyncio", "uvloop"])(run)


@dataclass(frozen=True)
class Pki:
    """An authority, and another one that nobody trusts."""

    ours: Authority
    other: Authority

    @classmethod
    def make(cls, folder: Path) -> Pki:
        return cls(Authority(folder / "ours", "ours"), Authority(folder / "other", "other"))

    def pair(self, kind: str) -> KeyPair:
        """A certificate: good, stranger's, expired or of tomorrow."""
        match kind:
            case "good":
                return self.ours.issue("good")
            case "stranger":
                return self.other.issue("stranger")
            case "expired":
                return self.ours.issue("expired", valid_until=-HOUR)
            case _:
                return self.ours.issue("tomorrow", valid_from=HOUR)

    def info(self, pair: KeyPair | None = None) -> TlsInfo:
        """A port that wants certificates of our authority and shows `pair`."""
        shown = pair or self.ours.issue("server")
        return TlsInfo(cert_file=str(shown.cert), key_file=str(shown.key), trusted_ca_file=str(self.ours.ca))


def client_context(authority: Authority, pair: KeyPair | None = None) -> ssl.SSLContext:
    """A client by the standard library, that trusts `authority` and shows `pair`."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    if pair is not None:
        context.load_cert_chain(pair.cert, pair.key)
    return context


@dataclass
class Port:
    """An open port; who is let in is answered what it says."""

    number: int
    let_in: list[asyncio.Transport] = field(default_factory=list)


class _Echo(asyncio.Protocol):
    def __init__(self, port: Port) -> None:
        self._port = port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without being a subclass
        self._port.let_in.append(self._transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@asynccontextmanager
async def open_port(info: TlsInfo, *, check_addresses: bool = False, endpoint: str = "peer") -> AsyncIterator[Port]:
    """A port on loopback that echoes; closed at the end, with its connections."""
    tls = ServerTls(info, endpoint=endpoint, protocols=("http/1.1", "h2"), check_addresses=check_addresses)
    tls.load()
    listening = listening_socket("127.0.0.1", 0)
    port = Port(listening.getsockname()[1])
    accepting = TlsPort(listening, lambda: _Echo(port), tls)
    try:
        yield port
    finally:
        await accepting.close()
        for transport in port.let_in:
            transport.abort()
        await asyncio.sleep(0)


async def ask(port: Port, context: ssl.SSLContext | None, words: bytes = b"hello") -> bytes:
    """What a new connection answers. Raises: OSError, or EOFError, when it is not let in."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number, ssl=context)
        try:
            writer.write(words)
            return await reader.readexactly(len(words))
        finally:
            writer.transport.abort()


def refusals(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """The fields of each line about a connection that was not let in, with its message."""
    return [
        {"msg": record.getMessage(), **record.__dict__["zap_fields"]}
        for record in caplog.records
        if record.getMessage().startswith("rejected connection")
    ]


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, with a deadline."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  # the condition is a log or a socket, it has no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"waited {DEADLINE_S} s in vain: {what}")


def install(pair: KeyPair, target: KeyPair) -> None:
    """Put `pair` in the place of `target`, file by file, as a rotation does."""
    pair.cert.rename(target.cert)
    pair.key.rename(target.key)


def with_files(info: TlsInfo, **changed: str) -> TlsInfo:
    return replace(info, **changed)  # type: ignore[arg-type]  # file names
