"""What failed is named in the log as Go names it, which is what `etcdops diagnose` and other tools look for."""

from __future__ import annotations

import errno
import socket

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.node.peer.environment import error_words

H3 = ConnectionKey("10.0.0.3", 2380, False, True, None, None, None)


@pytest.mark.parametrize(
    ("number", "words", "cause"),
    [
        (errno.ECONNREFUSED, "connection refused", "peer-connection-refused"),
        (errno.EHOSTUNREACH, "no route to host", "peer-no-route"),
        (errno.ENETUNREACH, "network is unreachable", "network-unreachable"),
        (errno.ETIMEDOUT, "connection timed out", "peer-io-timeout"),
    ],
)
def test_a_connection_that_failed_says_why_and_not_only_where(number: int, words: str, cause: str) -> None:
    """asyncio keeps the number and puts the address in the place of the reason. Source: Go, net.OpError."""
    failed = aiohttp.ClientConnectorError(H3, OSError(number, "Connect call failed ('10.0.0.3', 2380)"))
    said = error_words(failed)
    assert said == f"dial tcp 10.0.0.3:2380: connect: {words}"
    line = (
        '{"level":"warn","ts":"2024-05-02T10:00:00.000Z","msg":"prober detected unhealthy status",'
        f'"remote-peer-id":"8a1f9d2c3b4e5f60","rtt":"1ms","error":"{said}"}}'
    )
    assert [finding.slug for finding in diagnose_lines([line]).findings] == [cause]


def test_a_name_that_nobody_knows_keeps_the_words_of_the_resolver() -> None:
    """Its numbers are not those of the system. Source: getaddrinfo(3)."""
    failed = aiohttp.ClientConnectorError(H3, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    assert error_words(failed) == "dial tcp 10.0.0.3:2380: Name or service not known"
