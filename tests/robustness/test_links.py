"""Links between members: what is held, cut or slow does what its name says, in one direction only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.robustness.links import Links
from tests.robustness.owner import owner_of_connection
from tests.support.ports import free_ports

WAIT_S = 5.0
SILENCE_S = 0.15


class Echo:
    """A member "b" that sends back what it receives."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                pass  # the other end was reset

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def links() -> Iterator[Links]:
    """Everybody who dials is "a"."""
    with Links(lambda local_port, remote_port: "a") as made:
        yield made


def _dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), WAIT_S)
    connection.settimeout(WAIT_S)
    return connection


def _ask(connection: socket.socket, text: bytes = b"hello") -> bytes:
    connection.sendall(text)
    return connection.recv(100)


def _is_silent(connection: socket.socket) -> bool:
    connection.settimeout(SILENCE_S)
    try:
        connection.recv(100)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(WAIT_S)
    return False


def _is_closed(connection: socket.socket) -> bool:
    """Fails when nothing happens."""
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("pair", [("a", "b"), ("b", "a")], ids=["to", "from"])
def test_what_is_held_in_one_direction_comes_after_the_healing(links: Links, echo: Echo, pair: tuple[str, str]) -> None:
    """A black hole: connections stay open, new ones are accepted, nothing arrives; as packets that are sent again."""
    port = links.listen("b", echo.port)
    with _dial(port) as connection:
        assert _ask(connection) == b"hello"
        links.hold([pair])
        connection.sendall(b"late")
        assert _is_silent(connection)
        with _dial(port) as other:
            other.sendall(b"new")
            assert _is_silent(other)
            links.heal([pair])
            assert connection.recv(100) == b"late"
            assert other.recv(100) == b"new"


@pytest.mark.slow
def test_other_directions_go_on(links: Links, echo: Echo) -> None:
    """Only the named directions are held."""
    port = links.listen("b", echo.port)
    with _dial(port) as connection:
        links.hold([("c", "b"), ("a", "c")])
        assert _ask(connection) == b"hello"


@pytest.mark.slow
def test_what_is_cut_is_reset_and_works_again_after_the_healing(links: Links, echo: Echo) -> None:
    """Connections that are open are reset, new ones are too."""
    port = links.listen("b", echo.port)
    with _dial(port) as connection:
        assert _ask(connection) == b"hello"
        links.cut([("b", "a")])
        assert _is_closed(connection)
    with _dial(port) as refused:
        assert _is_closed(refused)
    links.heal()
    with _dial(port) as again:
        assert _ask(again) == b"hello"


@pytest.mark.slow
def test_a_slow_link_takes_longer(links: Links, echo: Echo) -> None:
    """Both directions of 0.1 s: an answer takes 0.2 s."""
    port = links.listen("b", echo.port)
    with _dial(port) as connection:
        links.slow([("a", "b"), ("b", "a")], 0.1)
        begin = time.monotonic()
        assert _ask(connection) == b"hello"
        assert time.monotonic() - begin >= 0.2


@pytest.mark.slow
def test_a_member_that_is_down_refuses_through_its_link_too(links: Links) -> None:
    """Nobody listens behind the proxy: the dialler is told at once."""
    (nobody,) = free_ports(1)
    port = links.listen("b", nobody)
    with _dial(port) as connection:
        assert _is_closed(connection)


@pytest.mark.real
@pytest.mark.slow
def test_the_owner_of_a_connection_is_found_by_its_process(echo: Echo) -> None:
    """Of two processes, the one that has dialled; this process is neither."""
    code = (
        "import socket,sys;s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));"
        "print(s.getsockname()[1],flush=True);sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(echo.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert owner_of_connection(port, echo.port, {"other": os.getpid(), "dialler": process.pid}) == "dialler"
        assert owner_of_connection(port, echo.port, {"other": os.getpid()}) is None
        process.communicate()
    assert owner_of_connection(port, echo.port, {"dialler": process.pid}) is None
