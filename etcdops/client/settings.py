"""Where to connect and who we are: one frozen value, taken whole from one source.

Endpoints of one source are never joined with the certificates of another: so do secrets reach the wrong cluster.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from etcdops.client.endpoints import Endpoint, parse_endpoints
from etcdops.errors import UsageError
from etcdops.secret import Secret

DEFAULT_ENDPOINT = "http://127.0.0.1:2379"
LOCAL_DEFAULT = "local default"


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Everything a `Client` needs to know. Times are seconds, paths are PEM files."""

    endpoints: tuple[str, ...] = (DEFAULT_ENDPOINT,)
    cacert: str = ""
    """Trust only these certificate authorities; "" = those of this machine."""
    cert: str = ""
    """Our own certificate, for members that ask clients for one. Goes with `key`."""
    key: str = ""
    insecure_skip_tls_verify: bool = False
    """Accept whatever certificate a member presents first, and only that one from then on."""
    server_name: str = ""
    """The name the members' certificates must carry instead of the endpoint's host."""
    username: str = ""
    password: Secret | None = None
    dial_timeout_s: float = 2.0
    """How long one connection may take, TLS included. etcdctl: --dial-timeout."""
    command_timeout_s: float = 5.0
    """How long one request may take, retries included. etcdctl: --command-timeout."""
    source: str = LOCAL_DEFAULT
    """Where these settings came from, for the note on stderr."""
    routes: Mapping[str, str] = field(default_factory=dict)
    """Endpoint -> what of this machine leads to it, such as a tunnel: a socket file's absolute path, or an IPv4
    `address:port`; the others are dialled."""

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            given, missing = ("cert", "key") if self.cert else ("key", "cert")
            raise UsageError(f"--{given} is given without --{missing}", hint=f"give both --{given} and --{missing}")
        if self.password is not None and not self.username:
            raise UsageError("a password is given without a user name", hint="add --user NAME")
        for name, value in (("dial timeout", self.dial_timeout_s), ("command timeout", self.command_timeout_s)):
            if not 0 < value < math.inf:
                raise UsageError(f"the {name} must be more than 0 s and finite, not {value:g} s")
        self.parsed_endpoints()

    @property
    def uses_tls(self) -> bool:
        """Whether certificates were named, which makes https the scheme of endpoints without one."""
        return bool(self.cacert or self.cert or self.insecure_skip_tls_verify)

    def parsed_endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints in one form. Raises: UsageError (never after construction)."""
        return parse_endpoints(self.endpoints, secure_default=self.uses_tls)


@dataclass(frozen=True, slots=True)
class ConnectionFlags:
    """What was typed: None = not given."""

    endpoints: str | None = None
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure_skip_tls_verify: bool | None = None
    server_name: str | None = None
    user: str | None = None
    """`name`, or `name:password` for etcdctl's users."""
    password: str | None = None
    password_file: str | None = None
    dial_timeout: str | None = None
    command_timeout: str | None = None


PLACE = ("endpoints", "cacert", "cert", "key", "insecure_skip_tls_verify", "server_name")
"""The settings that say which cluster is meant: always together from one source."""
IDENTITY = ("user", "password", "password_file")
TIMES = ("dial_timeout", "command_timeout")
_PREFIXES = ("ETCDOPS_", "ETCDCTL_")
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false", "")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings, and what the user should know about how they came to be."""

    settings: ConnectionSettings
    notes: tuple[str, ...]
    needs_password: bool
    """A user name was given and nothing says the password: ask for it, or say how to give it."""


def resolve(flags: ConnectionFlags, environment: Mapping[str, str]) -> Resolved:
    """Choose the one source: flags > ETCDOPS_* > ETCDCTL_* > local default.

    `--user` alone keeps the place the environment names, since that takes nothing from one cluster to another; but the
    environment's user and password never go to a place named by flags. Timeouts carry no such risk: each comes from
    the first source that has it.

    Raises: UsageError naming the flag or variable.
    """
    sources = [
        ("flags", _given(flags)),
        *((f"{prefix}* environment", _read(prefix, environment)) for prefix in _PREFIXES),
    ]
    source, place = next(
        ((name, values) for name, values in sources if any(key in values for key in PLACE)),
        (LOCAL_DEFAULT, {}),
    )
    identity = _identity(source, place, [values for _, values in sources])
    chosen = {key: place[key] for key in PLACE if key in place}
    chosen |= {key: identity[key] for key in IDENTITY if key in identity}
    for key in TIMES:
        chosen |= next(({key: values[key]} for _, values in sources if key in values), {})
    ignored = [
        name
        for name, values in sources
        if values is not place and values is not identity and any(key in values for key in PLACE + IDENTITY)
    ]
    typed = flags.password is not None or ":" in (flags.user or "")
    return _build(chosen, source, ignored, password_typed=typed)


def override(base: ConnectionSettings, flags: ConnectionFlags, environment: Mapping[str, str]) -> Resolved:
    """Settings that another source gave, such as an inventory, with what was typed in their place.

    Of the environment only the timeouts count. Raises: UsageError naming the flag or variable.
    """
    typed = _given(flags)
    sources = [typed, *(_read(prefix, environment) for prefix in _PREFIXES)]
    chosen = {key: str(getattr(base, key)) for key in PLACE if key != "endpoints"}
    chosen["endpoints"] = ",".join(base.endpoints)
    for key in TIMES:
        chosen |= next(({key: values[key]} for values in sources if key in values), {})
    if {"cert", "key"} & {*typed}:
        chosen |= {"cert": "", "key": ""}  # a pair of two sources would never fit
    chosen |= typed
    made = _build(chosen, base.source, [], password_typed=flags.password is not None or ":" in (flags.user or ""))
    settings, needs_password = replace(made.settings, routes=base.routes), made.needs_password
    if settings.password is None and settings.username in ("", base.username):
        settings = replace(settings, username=base.username, password=base.password)
        needs_password = bool(base.username) and base.password is None
    instead = [f"--{key.replace('_', '-')}" for key in (*PLACE, *IDENTITY) if key in typed]
    others = [
        f"{prefix}* environment"
        for prefix, found in zip(_PREFIXES, sources[1:], strict=True)
        if {*found} & {*PLACE, *IDENTITY}
    ]
    note = f"using {base.source}"
    note += f", with {', '.join(instead)} as typed" if instead else ""
    note += f"; {' and '.join(others)} ignored" if others else ""
    return Resolved(settings, (note, *made.notes), needs_password)


def _identity(source: str, place: Mapping[str, str], sources: list[dict[str, str]]) -> Mapping[str, str]:
    """The values whose user and password go with a place: typed ones always, else only those of the same source."""
    typed = sources[0]
    if source == "flags" or any(key in typed for key in IDENTITY):
        return typed
    if source == LOCAL_DEFAULT:
        return next((values for values in sources if "user" in values), {})
    return place


def _build(chosen: Mapping[str, str], source: str, ignored: list[str], *, password_typed: bool) -> Resolved:
    notes = []
    if ignored:
        notes.append(f"using {'the ' if source != 'flags' else ''}{source}; {' and '.join(ignored)} ignored")
    elif source.endswith("environment"):
        notes.append(f"using {source}")
    if source == "flags" and "endpoints" not in chosen:
        notes.append(f"no --endpoints given: connecting to {DEFAULT_ENDPOINT}")
    username, colon, inline = chosen.get("user", "").partition(":")
    password = inline if colon else chosen.get("password")
    if password_typed:
        notes.append("a password on the command line is visible to other users; --password-file is safer")
    if "password_file" in chosen:
        password = read_password_file(chosen["password_file"])
    secret = Secret(password) if password is not None else None
    settings = ConnectionSettings(
        endpoints=tuple(part.strip() for part in chosen.get("endpoints", DEFAULT_ENDPOINT).split(",") if part.strip()),
        cacert=chosen.get("cacert", ""),
        cert=chosen.get("cert", ""),
        key=chosen.get("key", ""),
        insecure_skip_tls_verify=parse_bool(chosen.get("insecure_skip_tls_verify", ""), "insecure-skip-tls-verify"),
        server_name=chosen.get("server_name", ""),
        username=username,
        password=secret,
        dial_timeout_s=parse_seconds(chosen.get("dial_timeout", "2s"), "dial timeout"),
        command_timeout_s=parse_seconds(chosen.get("command_timeout", "5s"), "command timeout"),
        source=source,
    )
    return Resolved(settings, tuple(notes), needs_password=bool(username) and secret is None)


def _given(flags: ConnectionFlags) -> dict[str, str]:
    values = {key: getattr(flags, key) for key in PLACE + IDENTITY + TIMES}
    return {key: str(value) for key, value in values.items() if value is not None}


def _read(prefix: str, environment: Mapping[str, str]) -> dict[str, str]:
    names = {key: prefix + key.upper() for key in PLACE + IDENTITY + TIMES}
    # An empty variable is a variable that is not set, as for etcdctl.
    return {key: environment[name] for key, name in names.items() if environment.get(name)}


def read_password_file(path: str) -> str:
    """The password in a file: its first line, so that a final line break does no harm. Raises: UsageError."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the password file {path}", cause=str(error)) from error
    return text.split("\n", 1)[0].rstrip("\r")


def parse_bool(text: str, name: str) -> bool:
    """Go's spelling of a boolean, as etcdctl takes it. Raises: UsageError."""
    if text.lower() in _TRUE or text.lower() in _FALSE:
        return text.lower() in _TRUE
    raise UsageError(f"{name}: {text!r} is neither true nor false")


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)")


def parse_seconds(text: str, name: str) -> float:
    """Seconds from Go's durations (`1m30s`, `500ms`) or a plain number of seconds. Raises: UsageError."""
    given = text.strip()
    try:
        return float(given)
    except ValueError:
        pass
    parts = _DURATION.findall(given)
    if not parts or "".join(parts) != given:
        raise UsageError(f"{name}: {text!r} is no duration", hint="write 5s, 500ms or 1m30s")
    return sum(float(part.rstrip("nuµsmh")) * _UNITS[part.lstrip("0123456789.")] for part in parts)
