"""Goal: what cannot be listened on is known before a member has written anything, and said as etcd says it."""

from __future__ import annotations

import socket

import pytest

from etcdops.errors import StartRefused
from etcdops.node.sockets import listening_socket, prove_bindable


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_taken_address_is_refused_in_etcds_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartRefused, match=f"^listen tcp 127.0.0.1:{port}: bind: address already in use$"):
            prove_bindable([("127.0.0.1", _free_port()), ("127.0.0.1", port)])


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(StartRefused, match="bind: cannot assign requested address") as refused:
        prove_bindable([("192.0.2.1", _free_port())])
    assert refused.value.hint == "listen on an address of this machine"


def test_one_address_for_two_purposes_is_refused() -> None:
    """Clients and members on one port is a mistake that shows only when both are tried together."""
    port = _free_port()
    with pytest.raises(StartRefused, match="address already in use"):
        prove_bindable([("127.0.0.1", port), ("localhost", port)])


def test_what_was_tried_is_free_again() -> None:
    addresses = [("127.0.0.1", _free_port()), ("localhost", _free_port())]
    prove_bindable(addresses)
    for host, port in addresses:
        listening_socket(host, port).close()
