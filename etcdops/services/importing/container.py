"""A member in a container as its host sees it: where volumes put its data, which ports are published."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.rendering.member import CERTIFICATES
from etcdops.services.container_start import below
from etcdops.services.etcd_settings import Start, settle
from etcdops.services.importing.evidence import Evidence, HostFound, address_of
from etcdops.services.port import Origin, ProcessConfig, Setting

_LISTENING = ("listen-client-urls", "listen-peer-urls", "listen-metrics-urls")
_TAG = re.compile(r":v?(\d+\.\d+(?:\.\d+)?)(?:[-.+].*)?\Z")
_PORTS_MAX = 1000
_ONE_HOST = "docker-host"
_NO_HOST = f"{_ONE_HOST} is a guess: which machine the container runs on is not in the file; correct its address"
_ANYWHERE = "0.0.0.0"  # noqa: S104  # where engines publish ports when nobody says

Published = Mapping[int, tuple[str, int]]
"""Port in the container -> (address, port) on the host."""
Outside = Callable[[str], str | None]
"""A path of the container -> where it lies on the host; None: on no volume."""


def version_of(image: str) -> str:
    """The version in an image's tag, such as `etcd:v3.5.16` or `etcd:3.5.16-0`; else empty."""
    match = _TAG.search(image.partition("@")[0])
    return match[1] if match else ""


def container_evidence(
    start: Start,
    content: bytes | None,
    where: str,
    *,
    manager: Manager,
    service: str,
    image: str,
    outside: Outside,
    published: Published | None,
    notes: Sequence[str] = (),
) -> Evidence:
    """A member that some text says runs in a container. Args: content - of its config file; others as `as_host_sees`.

    `notes` may be a list that `outside` adds to.
    """
    config = settle(replace(start, notes=()), content)
    seen, more = as_host_sees(config, outside, published, start.folder)
    host, guess = _place(seen)
    user = user_name(start.user)
    return Evidence(
        seen,
        where,
        host=host,
        manager=manager,
        service=service,
        image=image,
        user=user,
        group=user,
        folder=start.folder,
        version=version_of(image),
        notes=(*guess, *start.notes, *notes, *more),
    )


def _place(config: ProcessConfig) -> tuple[HostFound | None, tuple[str, ...]]:
    """The host a container is on: None where its peer URL has the host's own address; else a guess, and its note."""
    guess = HostFound(_ONE_HOST, "127.0.0.1"), (_NO_HOST,)
    try:
        address = ipaddress.ip_address(address_of(config.value("initial-advertise-peer-urls") or ""))
    except (ValueError, UsageError):
        return guess
    return guess if address.is_loopback or address.is_unspecified else (None, ())


def user_name(text: str) -> str:
    """A name that the inventory takes; a number is no name of a user."""
    name = text.partition(":")[0]
    return name if name and not name.isdigit() else "root"


def places(volumes: Iterable[tuple[str, str]], named: Mapping[str, str], base: str, notes: list[str]) -> Outside:
    """Where paths of a container lie on its host: the innermost volume decides, the first one given of equals.

    Args: volumes - (source, where the container sees it), the source of one that goes with the container is empty;
        named - volume -> its folder on the host; base - what relative sources are relative to, for notes.
    """
    innermost = sorted(volumes, key=lambda one: -len(one[1].rstrip("/")))

    def outside(inside: str) -> str | None:
        for source, target in innermost:
            if (rest := below(inside, target)) is None:
                continue
            folder = named.get(source, source)
            if not folder or folder.startswith("/"):
                return posixpath.normpath(f"{folder}/{rest}") if folder else None
            kind = f"is relative to {base}" if folder.startswith((".", "~")) else "is a named volume"
            note = f"{target} is {source}, which {kind}: its place on the host is not known"
            notes.extend([note] if note not in notes else ())
            return inside
        return None

    return outside


def as_host_sees(
    config: ProcessConfig, outside: Outside, published: Published | None, folder: str = "/"
) -> tuple[ProcessConfig, list[str]]:
    """Files, directories and listening URLs of a member in a container, in the host's terms; notes where it has none.

    Args: outside - a path of the container on the host, None when it is on no volume. published - None: the container
        uses the host's network, so that its ports are the host's. folder - where it is started.
    """
    flags, notes = _paths(config, outside, folder)
    for name in _LISTENING if published is not None else ():
        setting = flags.get(name)
        if setting is None:
            continue
        urls = [_published(url.strip(), published or {}) for url in setting.value.split(",") if url.strip()]
        there = [url for url in dict.fromkeys(urls) if url]
        if there and there != setting.value.split(","):
            notes.append(f"{name} is {setting.value} inside the container; published as {', '.join(there)}")
            flags[name] = replace(setting, value=",".join(there))
        elif not there:
            notes.append(
                f"{name} {setting.value} is not published: it can be reached inside the container's network only"
            )
    return replace(config, flags=flags), notes


def _paths(config: ProcessConfig, outside: Outside, folder: str) -> tuple[dict[str, Setting], list[str]]:
    default = Setting(f"{config.value('name') or 'default'}.etcd", Origin.DEFAULT)
    flags, notes = {"data-dir": default, **config.flags}, list[str]()
    for name in ("data-dir", "wal-dir", *CERTIFICATES):
        setting = flags.get(name)
        if setting is None or not setting.value:
            continue
        inside = posixpath.join(folder or "/", setting.value)
        found = outside(inside)
        if found is None and name not in CERTIFICATES:
            notes.append(f"{name} {inside} is on no volume: it is the path inside the container, and goes with it")
        elif found not in (None, inside):
            notes.append(f"{name} is {inside} inside the container")
        flags[name] = replace(setting, value=found or inside)
    return flags, notes


def _published(url: str, published: Published) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if port is None or port not in published or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return ""
    address, outside = published[port]
    return f"{parts.scheme}://{f'[{address}]' if ':' in address else address}:{outside}"


def bindings(raw: Mapping[str, object]) -> Published | None:
    """Of what `container inspect` prints. None: the host's network."""
    host_config = raw.get("HostConfig")
    host_config = host_config if isinstance(host_config, Mapping) else {}
    if host_config.get("NetworkMode") == "host":
        return None
    settings = raw.get("NetworkSettings")
    ports = settings.get("Ports") if isinstance(settings, Mapping) else None
    found: dict[int, tuple[str, int]] = {}
    for inside, outside in {**(host_config.get("PortBindings") or {}), **(ports or {})}.items():
        port, _, protocol = str(inside).partition("/")
        first = outside[0] if isinstance(outside, list) and outside else None
        if protocol in ("", "tcp") and port.isdigit() and isinstance(first, Mapping) and first.get("HostPort"):
            found[int(port)] = (str(first.get("HostIp") or _ANYWHERE), int(str(first["HostPort"])))
    return found


def published_ports(mappings: Iterable[str]) -> Published:
    """`2379:2379`, `127.0.0.1:12379:2379/tcp`, `2379-2380:2379-2380`; those without a port of the host are left out."""
    found: dict[int, tuple[str, int]] = {}
    for mapping in mappings:
        whole, _, protocol = mapping.partition("/")
        rest, _, inside = whole.rpartition(":")
        address, _, outside = rest.rpartition(":")
        ports = zip(_range(inside), _range(outside), strict=False)
        found |= {one: (address.strip("[]") or _ANYWHERE, other) for one, other in ports if protocol in ("", "tcp")}
    return found


def _range(text: str) -> Sequence[int]:
    first, _, last = text.partition("-")
    last = last or first
    return range(int(first), min(int(last), int(first) + _PORTS_MAX) + 1) if first.isdigit() and last.isdigit() else ()
