"""Handshakes that say why they failed, to both sides.

asyncio and uvloop drop what OpenSSL has to say when a handshake fails: the alert is never sent, so the other side sees
a closed connection instead of "certificate required". Here a failed handshake first lets the alert go; then the other
side closes, or is closed after a moment.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextvars import ContextVar

from etcdops.node.tls.names import Names, WrongName, check_allowed

_NO_TLS = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"})
"""What the other side sent is no TLS: it would not understand an alert."""


class Attempt:
    """What became of one handshake."""

    __slots__ = ("_on_failure", "failure", "server_name")

    def __init__(self, on_failure: Callable[[], object] = lambda: None) -> None:
        """Args: on_failure is called once, when this side refuses: an alert is on its way, and who ends it?"""
        self._on_failure = on_failure
        self.failure: ssl.SSLError | None = None
        """Why this side refused; not set when the other side did, or went away."""

        self.server_name = ""
        """Which name the other side asked for (SNI)."""

    def fail(self, failure: ssl.SSLError) -> None:
        self.failure = failure
        self._on_failure()


ATTEMPT: ContextVar[Attempt | None] = ContextVar("ATTEMPT", default=None)
"""Whose handshake this is: set by whoever begins one, inherited by the loop's callbacks that carry it out."""


class _Handshake(ssl.SSLObject):
    """Reports to the attempt it was begun for."""

    _attempt: Attempt | None = None
    _failing = False

    def do_handshake(self) -> None:
        if self._attempt is None:
            self._attempt = ATTEMPT.get()
        if self._failing:
            # More has come than the alert needed. Reading on would be endless.
            assert self._attempt is not None
            raise self._attempt.failure or ssl.SSLError("handshake failure")
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLSyscallError):
            raise
        except ssl.SSLError as error:
            if self._attempt is None:
                raise
            self._attempt.fail(error)
            if error.reason in _NO_TLS or isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
                raise
            self._failing = True
            # "Needs more" makes the caller send what there is: the alert.
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the alert is on its way") from error
        try:
            self._check()
        except WrongName as error:
            refused = ssl.SSLCertVerificationError(str(error))
            if self._attempt is not None:
                self._attempt.fail(refused)
            raise refused from error

    def _check(self) -> None:
        """Called when the handshake is done. Raises: WrongName; the connection is closed without an alert then."""


class ServerHandshake(_Handshake):
    """Of a port."""


class ClientHandshake(_Handshake):
    """Of a dial."""

    allowed_cns: tuple[str, ...] = ()
    allowed_hostnames: tuple[str, ...] = ()

    def _check(self) -> None:
        check_allowed(Names.of(self.getpeercert()), self.allowed_cns, self.allowed_hostnames)


def note_server_name(handshake: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    """The `sni_callback` of a port's context."""
    attempt = ATTEMPT.get()
    if attempt is not None:
        attempt.server_name = name or ""
