"""What a member shows on its port, and whether it takes what is shown to it: asked of the port itself.

A certificate on a disk proves nothing about the process that read it, or did not. Nothing is verified here: what is
shown is looked at, not trusted, and nothing but `GET /version` is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from etcdops.certs.authority import Issued
from etcdops.errors import Unreachable

DIAL_TIMEOUT_S = 5.0
_ANSWER_MAX_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Presented:
    """One handshake."""

    certificate: x509.Certificate | None
    """The member's; None: the port is not a TLS one."""
    accepted: bool
    """It answered a request: it takes our certificate, or wants none."""
    refusal: str = ""
    """Why it did not, as TLS says it."""
    versions: tuple[str, str] = ("", "")
    """Of the server and of the cluster, as `/version` says; empty when it was not accepted."""


async def dial(
    host: str,
    port: int,
    *,
    shown: Issued | None = None,
    tls: bool = True,
    route: str = "",
    timeout_s: float = DIAL_TIMEOUT_S,
) -> Presented:
    """Connect, look at the certificate, ask for `/version`.

    Args: shown - our own certificate; None: none; route - a socket file that leads there, such as a tunnel's.
    Raises: Unreachable - no connection, or no TLS handshake at all.
    """
    context = _context(shown) if tls else None
    try:
        async with asyncio.timeout(timeout_s):
            name = host if tls else None
            if route:
                reader, writer = await asyncio.open_unix_connection(route, ssl=context, server_hostname=name)
            else:
                reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
            try:
                return await _ask(reader, writer)
            finally:
                await _hang_up(writer)
    except TimeoutError as error:
        raise Unreachable(f"{host}:{port} says nothing within {timeout_s:g} s") from error
    except ssl.SSLError as error:
        raise Unreachable(
            f"{host}:{port} ends the TLS handshake", cause=_reason(error), hint="is it a TLS port?"
        ) from error
    except OSError as error:
        raise Unreachable(f"{host}:{port} cannot be connected to", cause=error.strerror or str(error)) from error


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Presented:
    """With TLS 1.3 a server refuses our certificate only after our side is done: the answer to a request decides."""
    connection = writer.get_extra_info("ssl_object")
    der = connection.getpeercert(binary_form=True) if connection is not None else None
    certificate = x509.load_der_x509_certificate(der) if der else None
    try:
        writer.write(b"GET /version HTTP/1.0\r\nHost: member\r\n\r\n")
        await writer.drain()
        answer = b""
        # Not to the end of the connection: a peer port of 3.4 keeps it open.
        while not _is_whole(answer) and (more := await reader.read(_ANSWER_MAX_BYTES)):
            answer += more
    except ssl.SSLError as error:
        return Presented(certificate, False, _reason(error))
    except ConnectionError as error:
        return Presented(certificate, False, error.strerror or "it closes the connection")
    if not answer.startswith(b"HTTP/"):
        return Presented(certificate, False, "it closes the connection")
    return Presented(certificate, True, versions=_versions(answer))


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
    return len(answer) >= _ANSWER_MAX_BYTES or bool(end and length and len(body) >= int(length[1]))


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """At once, without the goodbye of TLS."""
    writer.transport.abort()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()


def _versions(answer: bytes) -> tuple[str, str]:
    try:
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
        return str(said["etcdserver"]), str(said["etcdcluster"])
    except (ValueError, KeyError, TypeError):
        return "", ""


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")


def _context(shown: Issued | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if shown is not None:
        with _as_file(shown) as path:
            context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def _as_file(pair: Issued) -> Iterator[Path]:
    """OpenSSL takes a key from a file only; it is gone before the connection begins."""
    descriptor, name = tempfile.mkstemp(prefix="etcdops-")  # mode 0600
    try:
        os.write(descriptor, pair.certificate + pair.key.reveal().encode())
        os.close(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
