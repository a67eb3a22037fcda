"""A member in a container as its host sees it: where volumes put its data, which ports are published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from etcdops.services.port import ProcessConfig

_LISTENING = ("listen-client-urls", "listen-peer-urls", "listen-metrics-urls")
_PATHS = ("data-dir", "wal-dir")
_ANYWHERE = "0.0.0.0"  # noqa: S104  # where engines publish ports when nobody says

Published = Mapping[int, tuple[str, int]]
"""Port in the container -> (address, port) on the host."""


def as_host_sees(
    config: ProcessConfig, outside: Callable[[str], str | None], published: Published | None
) -> tuple[ProcessConfig, list[str]]:
    """Directories and listening URLs of a member in a container, in the host's terms; notes where they have none.

    Args: outside - a path of the container on the host, None when it is on no volume. published - None: the container
        uses the host's network, so that its ports are the host's.
    """
    flags, notes = dict(config.flags), []
    for name in _PATHS:
        setting = flags.get(name)
        if setting is None or not setting.value.startswith("/"):
            continue
        found = outside(setting.value)
        if found is None:
            notes.append(
                f"{name} {setting.value} is on no volume: it is the path inside the container, and goes with it"
            )
        elif found != setting.value:
            notes.append(f"{name} is {setting.value} inside the container")
            flags[name] = replace(setting, value=found)
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
