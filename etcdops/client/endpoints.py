"""Addresses of members: what users type and members advertise, brought into one form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from etcdops.errors import UsageError

DEFAULT_PORT = 2379
_SCHEMES = {"http": False, "https": True, "unix": False, "unixs": True}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One client address. `url` is its only spelling here, so equal addresses are equal values."""

    url: str
    """`http://host:port`, `https://host:port`, `unix:/path` or `unixs:/path`."""
    secure: bool
    host: str
    """Host name or address without brackets; "" for a socket file."""
    port: int
    """0 for a socket file."""
    path: str = ""
    """The socket file of a unix endpoint."""

    @property
    def target(self) -> str:
        """The address as gRPC dials it."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"dns:///{host}:{self.port}"

    def __str__(self) -> str:
        return self.url


def parse_endpoint(text: str, *, secure_default: bool = False) -> Endpoint:
    """An endpoint from `http://h:p`, `https://h:p`, `h:p`, `h`, `unix:path`, `unixs:path` (or `unix://path`).

    Args: secure_default - what a missing scheme means: TLS when certificates were given, as in etcd's client.
    Raises: UsageError naming the text and what is wrong with it.
    Source: etcd client/v3/internal/endpoint/endpoint.go, translateEndpoint.
    """
    given = text.strip()
    scheme, found, rest = given.partition(":")
    if found and scheme in ("unix", "unixs"):
        path = rest.removeprefix("//")
        if not path:
            raise UsageError(f"endpoint {text!r} names no socket file", hint="write unix:/path/to/socket")
        return Endpoint(f"{scheme}:{path}", _SCHEMES[scheme], "", 0, path)
    if "://" not in given:
        given = f"{'https' if secure_default else 'http'}://{given}"
    return _parse_url(given, text)


def _parse_url(url: str, text: str) -> Endpoint:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"endpoint {text!r}: scheme {parts.scheme!r} is not http, https, unix or unixs")
    if parts.username is not None or parts.password is not None:
        raise UsageError("an endpoint holds no user name or password", hint="give them with --user and --password-file")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise UsageError(f"endpoint {text!r} has something after the port", hint="an endpoint is scheme://host:port")
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"endpoint {text!r}: {error}", hint="an endpoint is scheme://host:port") from error
    if not host or any(character.isspace() for character in host):
        raise UsageError(f"endpoint {text!r} names no host", hint="an endpoint is scheme://host:port")
    port = DEFAULT_PORT if port is None else port
    shown = f"[{host}]" if ":" in host else host
    return Endpoint(f"{parts.scheme}://{shown}:{port}", _SCHEMES[parts.scheme], host, port)


def parse_endpoints(texts: Iterable[str], *, secure_default: bool = False) -> tuple[Endpoint, ...]:
    """Endpoints in the order given, each once. Every text may hold several, separated by commas.

    Raises: UsageError for a text that is no endpoint, and when none is left.
    """
    parts = [part for text in texts for part in text.split(",") if part.strip()]
    endpoints = tuple(dict.fromkeys(parse_endpoint(part, secure_default=secure_default) for part in parts))
    if not endpoints:
        raise UsageError("no endpoint was given", hint="--endpoints http://127.0.0.1:2379")
    return endpoints
