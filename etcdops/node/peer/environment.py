"""What every part of the transport shares."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass

import aiohttp

from etcdops.clock import Clock
from etcdops.node.peer.admission import Admission
from etcdops.node.peer.dialer import Dialer
from etcdops.node.peer.identity import Identity
from etcdops.node.peer.port import PeerHandler
from etcdops.node.peer.tasks import Tasks
from etcdops.node.tls.words import handshake_words


@dataclass(frozen=True, slots=True)
class Environment:
    """One transport's identity, connections and way into raft. Made when it starts."""

    identity: Identity
    handler: PeerHandler
    admission: Admission
    dialer: Dialer
    tasks: Tasks
    clock: Clock
    dial_timeout_s: float


def error_words(error: BaseException) -> str:
    """An I/O error in few words, as Go would put them where the console looks for them."""
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    # a port that lets nobody in says so in the handshake, or, in TLS 1.3, in place of its first answer
    for said in (error, error.__cause__):
        if isinstance(said, ssl.SSLError):
            return handshake_words(said)
    if isinstance(error, aiohttp.ClientConnectorError):
        call = "" if isinstance(error.os_error, socket.gaierror) else "connect: "
        return f"dial tcp {error.host}:{error.port}: {call}{_os_words(error.os_error)}"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "unexpected EOF"  # a stream that its sender did not end
    if isinstance(error, OSError) and error.errno:
        return _os_words(error)
    return str(error) or type(error).__name__


def _os_words(error: OSError) -> str:
    # asyncio has a sentence of its own with the address ("Connect call failed ...") where the system's reason should be
    if isinstance(error, socket.gaierror) or error.errno is None or error.errno not in errno.errorcode:
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()
