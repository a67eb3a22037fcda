"""Why a connection fails, asked of the socket itself: gRPC often knows no more than "socket closed"."""

from __future__ import annotations

import asyncio
import socket
import ssl

from etcdops.client import tls
from etcdops.client.endpoints import Endpoint
from etcdops.client.settings import ConnectionSettings
from etcdops.client.sockets import dial, hang_up
from etcdops.client.view import Silence

PROBE_TIMEOUT_S = 2.0

_ALERTS = {
    "CERTIFICATE_REQUIRED": "the member wants a client certificate: give --cert and --key",
    "BAD_CERTIFICATE": "the member does not accept our client certificate: check --cert and --key",
    "UNKNOWN_CA": "the member does not trust the authority of our client certificate: check --cert",
    "CERTIFICATE_EXPIRED": "our client certificate has expired: renew --cert",
    "WRONG_VERSION_NUMBER": "the port speaks plain text: use http:// for it",
    "RECORD_LAYER_FAILURE": "the port speaks plain text: use http:// for it",
    "HTTP_REQUEST": "the port speaks plain text: use http:// for it",
    "UNEXPECTED_EOF": "it closes TLS connections: it probably speaks plain text (http://)",
}
_CLIENT_HELLO_REFUSED = b"\x15\x03"  # the start of a TLS alert record

# The HTTP/2 preface and an empty SETTINGS frame: every etcd answers it with its own SETTINGS.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)


async def explain(
    endpoint: Endpoint, settings: ConnectionSettings, *, timeout_s: float = PROBE_TIMEOUT_S
) -> tuple[Silence, str] | None:
    """Connect once more, by hand, and say what is wrong; None when nothing is found. Never raises."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _handshake(endpoint, settings)
    except TimeoutError:
        return Silence.TIMED_OUT, f"connected, but it says nothing within {timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        return Silence.TLS, f"TLS: its certificate is not accepted: {error.verify_message}"
    except ssl.SSLError as error:
        return Silence.TLS, f"TLS: {_alert(error, settings)}"
    except ConnectionRefusedError:
        return Silence.REFUSED, "connection refused"
    except ConnectionResetError:
        if endpoint.secure:
            return Silence.TLS, _ALERTS["UNEXPECTED_EOF"]
        return Silence.UNREACHABLE, "it closes the connection at once"
    except socket.gaierror as error:
        return Silence.NAME, f"the host name is not known: {error.strerror}"
    except OSError as error:
        return Silence.UNREACHABLE, error.strerror or str(error)


def _alert(error: ssl.SSLError, settings: ConnectionSettings) -> str:
    reason = error.reason or str(error)
    if "BAD_CERTIFICATE" in reason and not settings.cert:
        return _ALERTS["CERTIFICATE_REQUIRED"]  # Go 1.19, of which etcd 3.4 is made, has one alert for all of it
    return next((text for name, text in _ALERTS.items() if name in reason), reason.lower().replace("_", " "))


async def _handshake(endpoint: Endpoint, settings: ConnectionSettings) -> tuple[Silence, str] | None:
    context = tls.context(settings, verify=not settings.insecure_skip_tls_verify) if endpoint.secure else None
    reader, writer = await dial(endpoint, settings, context)
    try:
        writer.write(_PREFACE)
        await writer.drain()
        # With TLS 1.3 a member refuses our certificate only now.
        answer = await reader.read(24)
    finally:
        await hang_up(writer)
    return _judge(answer, endpoint)


def _judge(answer: bytes, endpoint: Endpoint) -> tuple[Silence, str] | None:
    if not endpoint.secure and (not answer or answer.startswith(_CLIENT_HELLO_REFUSED)):
        return Silence.TLS, "it closes plain connections: it probably wants TLS (https://)"
    if not answer:
        return Silence.UNREACHABLE, "it closes the connection at once"
    if answer.startswith(b"HTTP/1.0 400 Bad Request") and not endpoint.secure:
        return Silence.TLS, "it wants TLS: use https:// for it"
    if answer.startswith(b"HTTP/"):
        return Silence.NOT_ETCD, "a web server answers, not etcd"
    # A SETTINGS frame (type 4) on stream 0.
    return None if answer[3:4] == b"\x04" else (Silence.NOT_ETCD, "something answers that is not etcd")
