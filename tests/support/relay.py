"""A TCP port that passes everything on to another one, until it falls silent: nothing is closed, nothing arrives."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 1 << 16


class Relay:
    """Of a cut cable it has the worst: whoever sends is told by the kernel that all has arrived."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._passing = threading.Event()
        self._passing.set()
        self._open: list[socket.socket] = []
        self._ended = False
        self.sent = 0
        """Pieces that clients sent."""
        self.answered = 0
        """Pieces that came back."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def fall_silent(self) -> None:
        self._passing.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                threading.Thread(target=self._pass, args=(client, server, "sent"), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, "answered"), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, count: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                self._passing.wait()
                if self._ended:
                    return
                target.sendall(data)
                setattr(self, count, getattr(self, count) + 1)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._ended = True
        self._passing.set()
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes who reads from it
            one.close()


@contextmanager
def relaying(port: int) -> Iterator[Relay]:
    """To a loopback port."""
    relay = Relay(("127.0.0.1", port))
    try:
        yield relay
    finally:
        relay.close()
