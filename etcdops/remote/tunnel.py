"""A socket of this machine that leads through an SSH connection to an address as the host sees it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

import paramiko

from etcdops.errors import EtcdopsError
from etcdops.remote import ssh_channel

_CHUNK_BYTES = 1 << 16
_CONNECTIONS_MAX = 64
_CONNECT_TIMEOUT_S = 10.0


class SSHTunnel:
    """Listens until it is closed. Each connection has two threads, one a direction.

    Args: transport - gives the SSH connection for each new connection; it may wait, and raise what logging in raises,
        which the client sees as a connection closed at once. listener - where clients come in, which is closed with the
        tunnel; none: a loopback port.
    """

    def __init__(
        self,
        transport: Callable[[], paramiko.Transport],
        target: tuple[str, int],
        listener: socket.socket | None = None,
    ) -> None:
        self._transport = transport
        self._target = target
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._room = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        self._open: set[socket.socket] = set()
        self._acceptor = threading.Thread(target=self._accept, daemon=True, name=f"tunnel-{target[0]}:{target[1]}")
        self._acceptor.start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    async def close(self) -> None:
        """Close it and what goes through it."""
        await asyncio.to_thread(self.shut)

    def shut(self) -> None:
        """The same for threads."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
        self._listener.close()
        for connection in list(self._open):
            _shut(connection)
        self._acceptor.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            self._open.add(connection)
            threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        try:
            channel = self._transport().open_channel(
                "direct-tcpip", self._target, ("127.0.0.1", 0), timeout=_CONNECT_TIMEOUT_S
            )
        except (EtcdopsError, paramiko.SSHException, OSError, EOFError):
            self._done(connection)  # the client sees its connection closed, as if the target had refused it
            return
        back = threading.Thread(target=_pump, args=(channel, connection), daemon=True)
        back.start()
        _pump(connection, channel)
        back.join()
        ssh_channel.close(channel)
        self._done(connection)

    def _done(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        connection.close()
        self._room.release()


def _pump(source: socket.socket | paramiko.Channel, target: socket.socket | paramiko.Channel) -> None:
    """Carry bytes until the source ends, and tell the target that it did."""
    try:
        while data := source.recv(_CHUNK_BYTES):
            if isinstance(target, paramiko.Channel):
                ssh_channel.send_all(target, data)
            else:
                target.sendall(data)
    except OSError:
        _shut(source)
    with contextlib.suppress(OSError, EOFError):
        if isinstance(target, paramiko.Channel):
            ssh_channel.end_sending(target)
        else:
            target.shutdown(socket.SHUT_WR)


def _shut(end: socket.socket | paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError):
        end.shutdown(socket.SHUT_RDWR)
