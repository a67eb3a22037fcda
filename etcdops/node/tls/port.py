"""An open port that speaks TLS only, for a server that is a factory of asyncio protocols."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from etcdops.node.tls.server import ServerTls
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
_HANDSHAKES_MAX = 1000
"""Handshakes at a time: whoever comes beyond waits to be accepted."""

_OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class TlsPort:
    """Accepts until it is closed. Each handshake has a task and a deadline of its own, so a slow one delays nobody."""

    def __init__(self, listening: socket.socket, factory: Callable[[], asyncio.BaseProtocol], tls: ServerTls) -> None:
        """Args: listening - becomes the port's own."""
        self._listening = listening
        self._factory = factory
        self._tls = tls
        self._room = asyncio.Semaphore(_HANDSHAKES_MAX)
        self._handshakes: set[asyncio.Task[None]] = set()
        self._acceptor = asyncio.get_running_loop().create_task(self._accept())
        self._acceptor.add_done_callback(_tell_loop)

    async def close(self) -> None:
        """Nobody is let in any more; connections that were stay."""
        waiting = [self._acceptor, *self._handshakes]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        self._listening.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._room.acquire()
            try:
                accepted, address = await loop.sock_accept(self._listening)
            except OSError as error:
                # out of files, or whoever came has hung up already: neither may end the loop
                self._room.release()
                _logger.warning("failed to accept a connection", extra=fields(error=error))
                await asyncio.sleep(0.1 if error.errno in _OUT_OF_FILES else 0)
                continue
            handshake = loop.create_task(self._let_in(accepted, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _let_in(self, accepted: socket.socket, address: object) -> None:
        try:
            accepted.setblocking(False)
            await self._tls.accept(accepted, address, self._factory, HANDSHAKE_TIMEOUT_S)
        except Exception as error:
            _logger.error("closed a connection after an internal error", exc_info=error)
            accepted.close()
        finally:
            self._room.release()


def _tell_loop(acceptor: asyncio.Task[None]) -> None:
    if not acceptor.cancelled() and (error := acceptor.exception()) is not None:
        # Nobody would be let in any more.
        asyncio.get_running_loop().call_exception_handler({"message": "accepting peers ended", "exception": error})
