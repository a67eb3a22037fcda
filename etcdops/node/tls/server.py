"""TLS of one kind of port: who is let in, and what the log says of whoever is not."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import cast

from etcdops.node.tls.contexts import Following, server_context
from etcdops.node.tls.handshake import ATTEMPT, Attempt
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.names import Names, WrongName, check_address, check_allowed
from etcdops.node.tls.revoked import RevokedSerials
from etcdops.node.tls.words import handshake_words
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

_LAST_WORDS_S = 1.0
"""How long whoever was refused may take to hear why."""

_GOODBYE_S = 5.0
"""How long the other side may take to say goodbye when a connection is closed."""


class ServerTls:
    """TLS of the client port or of the peer port, from files that are followed."""

    def __init__(
        self, info: TlsInfo, *, endpoint: str, protocols: Sequence[str], check_addresses: bool = False
    ) -> None:
        """Args: endpoint - "client" or "peer", for the log; protocols - offered by ALPN, whoever offers none is served
        as well; check_addresses - a certificate with names must be for the address it comes from.
        """
        self.info = info
        self._endpoint = endpoint
        self._check_addresses = check_addresses and not info.skip_client_san_verify
        self._contexts = Following(
            lambda: server_context(info, protocols),
            [info.cert_file, info.key_file, info.trusted_ca_file],
            "failed to create peer certificate",
        )
        self._revoked = RevokedSerials(info.crl_file) if info.crl_file else None
        self._has_checks = bool(self._check_addresses or self._revoked or info.allowed_cns or info.allowed_hostnames)

    def load(self) -> None:
        """Read the files for the first time. Raises: UnusableFiles."""
        self._contexts.load()

    async def accept(
        self, accepted: socket.socket, address: object, factory: Callable[[], asyncio.BaseProtocol], timeout_s: float
    ) -> bool:
        """Shake hands on a new connection, then give it to a protocol of `factory`.

        Run it in a task of its own: others are let in meanwhile.
        Args: address - where it comes from, as `accept` gave it: the socket of one that has hung up cannot say.
        Returns: False - whoever came was not let in; the reason is in the log, the socket closed or about to be.
        """
        attempt = Attempt(on_failure=lambda: loop.call_later(_LAST_WORDS_S, _hang_up, accepted))
        ATTEMPT.set(attempt)
        loop = asyncio.get_running_loop()
        local, remote = _shown(accepted.getsockname()), _shown(address)
        gate = _Gate() if self._has_checks else None
        shaking = loop.connect_accepted_socket(
            factory if gate is None else lambda: gate,
            accepted,
            ssl=self._contexts.current(),
            ssl_handshake_timeout=timeout_s,
            ssl_shutdown_timeout=_GOODBYE_S,
        )
        names: Names | None = None
        try:
            transport, _ = await shaking  # what uvloop gives for the protocol is its own
            if gate is not None:
                names = Names.of(transport.get_extra_info("ssl_object").getpeercert())
                await self._check(names, _host(address), transport, timeout_s)
                gate.open(transport, factory)
        except (OSError, WrongName) as error:
            reason = handshake_words(attempt.failure or error, local=local, remote=remote)
            self._log_refusal(attempt.server_name, names, remote, reason)
            return False
        return True

    async def _check(self, names: Names | None, host: str, transport: asyncio.BaseTransport, timeout_s: float) -> None:
        """Raises: WrongName, TimeoutError; the connection is closed then."""
        try:
            check_allowed(names, self.info.allowed_cns, self.info.allowed_hostnames)
            if names is None:
                return
            if self._check_addresses:
                async with asyncio.timeout(timeout_s):
                    await check_address(names, host)
            if self._revoked is not None:
                self._revoked.check(names.serial)
        except BaseException:
            transport.close()
            raise

    def _log_refusal(self, server_name: str, names: Names | None, remote: str, reason: str) -> None:
        """Source: etcd server/embed/config_logging.go, logTLSHandshakeFailureFunc."""
        about: dict[str, object] = {"remote-addr": remote, "server-name": server_name}
        if names is not None:
            about |= {"ip-addresses": names.ip_addresses, "dns-names": names.dns_names}
        _logger.warning("rejected connection on %s endpoint", self._endpoint, extra=fields(about, error=reason))


class _Gate(asyncio.Protocol):
    """Holds a connection until its certificate was looked at."""

    def __init__(self) -> None:
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True

    def open(self, transport: asyncio.BaseTransport, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        """Raises: OSError - the other side went away meanwhile."""
        if self._lost:
            raise OSError("EOF")
        transport.set_protocol(protocol := factory())
        protocol.connection_made(transport)
        cast(asyncio.Transport, transport).resume_reading()


def _hang_up(accepted: socket.socket) -> None:
    try:
        accepted.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already


def _shown(address: object) -> str:
    host = _host(address)
    port = address[1] if isinstance(address, tuple) and len(address) > 1 else 0
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _host(address: object) -> str:
    return str(address[0]).removeprefix("::ffff:") if isinstance(address, tuple) and address else ""
