"""Members in containers, from texts: what `docker inspect` prints, compose files, static pods such as kubeadm's."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.services.container_facts import Container
from etcdops.services.container_start import Contained, member_start, of_container
from etcdops.services.discover import manifest_start
from etcdops.services.etcd_settings import Placed, settle
from etcdops.services.importing.container import (
    Outside,
    Published,
    as_host_sees,
    bindings,
    container_evidence,
    places,
    published_ports,
    version_of,
)
from etcdops.services.importing.evidence import Evidence
from etcdops.services.member_process import member_words

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?([-?+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*)|\$)")
SERVICE_OF_POD = "etcd"

Texts = Mapping[str, str]


async def inspected(text: str, path: str) -> list[Evidence]:
    """Of a list as `docker inspect` and `podman container inspect` print it.

    Raises: UsageError - it is no such list.
    """
    try:
        listed = json.loads(text)
        listed = listed if isinstance(listed, list) else [listed]
        containers = [Container(one) for one in listed if isinstance(one, dict) and "Config" in one]
        return [found for one in containers if (found := await _container(one, path)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} is not what docker inspect prints", cause=f"{type(error).__name__}: {error}",
            hint="save it with: docker inspect NAME > FILE",
        ) from error  # fmt: skip


async def _container(container: Container, path: str) -> Evidence | None:
    name = str(container.raw.get("Name", "")).removeprefix("/") or "etcd"
    where = f"{path}: {name}"
    start = await member_start(of_container(container.image, container.config, where), _nothing)
    if start is None:
        return None
    return container_evidence(
        start,
        None,
        where,
        manager=Manager.PODMAN if "ImageName" in container.raw else Manager.DOCKER,
        service=name,
        image=container.image,
        outside=container.outside,
        published=bindings(container.raw),
    )


async def _nothing(_: str) -> str | None:
    return None


async def composed(text: str, path: str, given: Texts) -> list[Evidence]:
    """Of the services of a compose file that start etcd. Args: given - the other files, such as its env files.

    Raises: UsageError - none of them does.
    """
    data = yaml.safe_load(text)
    services = data.get("services") if isinstance(data, dict) else None
    services = services if isinstance(services, dict) else {}
    variables = _dotenv(given)
    found: list[Evidence] = []
    for name, service in services.items():
        if isinstance(service, dict):
            one = await _service(str(name), service, path, given, variables)
            found += [one] if one is not None else []
    if not found:
        raise UsageError(
            f"no service of {path} starts etcd", cause=f"it has {', '.join(map(str, services)) or 'none'}",
            hint="is it the right file?",
        )  # fmt: skip
    return found


async def _service(
    name: str, service: Mapping[str, object], path: str, given: Texts, variables: Mapping[str, str]
) -> Evidence | None:
    where, notes = f"{path}: {name}", list[str]()

    def text(value: object) -> str:
        return _expanded(str(value), variables, notes)

    image = text(service.get("image") or "")
    env: dict[str, Placed] = {}
    for file in _list(service.get("env_file")):
        wanted = str(file.get("path") if isinstance(file, dict) else file)
        known = next((one for one in given if PurePosixPath(one).name == PurePosixPath(wanted).name), None)
        if known is None:
            notes.append(f"{name} reads {wanted}, which was not given: what it sets is missing here")
        else:
            env |= {key: Placed(value, known) for key, value in _dotenv({known: given[known]}).items()}
    env |= {key: Placed(text(value), where) for key, value in _pairs(service.get("environment")).items()}
    words = [Placed(text(word), where) for key in ("entrypoint", "command") for word in _words(service.get(key))]
    user, folder = text(service.get("user") or "root"), str(service.get("working_dir") or "/")
    start = await member_start(Contained(words, env, user, folder, image), _nothing)
    if start is None:
        return None
    volumes = [_volume(one, text) for one in _list(service.get("volumes"))]
    if not image:
        notes.append(f"{name} is built, not pulled: its image is a guess")
    return container_evidence(
        start,
        None,
        where,
        manager=Manager.DOCKER,
        service=text(service.get("container_name") or name),
        image=image or "etcd",
        outside=places(volumes, {}, "the compose file", notes),
        published=None if service.get("network_mode") == "host" else _ports(_list(service.get("ports")), text),
        notes=notes,
    )


def static_pod(text: str, path: str) -> Evidence | None:
    """Of a pod's manifest; None when it starts no etcd."""
    start = manifest_start(text.encode(), path)
    if start is None:
        return None
    image = str(_member_container(yaml.safe_load(text)).get("image") or "")
    notes = ["it is a static pod: etcdops looks at it and does not change it"]
    config, more = as_host_sees(settle(start, None), pod_places(text, notes), None)
    return Evidence(
        config,
        path,
        manager=Manager.KUBELET,
        service=SERVICE_OF_POD,
        image=image,
        user="root",
        group="root",
        folder="/",
        version=version_of(image),
        notes=(*notes, *more),
    )


def pod_places(text: str, notes: list[str]) -> Outside:
    """Where paths of a pod's member lie on its host: by its volumes of kind hostPath; all others go with the pod."""
    pod = yaml.safe_load(text)
    on_host = {
        str(volume.get("name")): str(volume["hostPath"].get("path") or "")
        for volume in _mappings(_part(pod, "spec", "volumes"))
        if isinstance(volume.get("hostPath"), dict)
    }
    volumes: list[tuple[str, str]] = []
    for one in _mappings(_member_container(pod).get("volumeMounts")):
        source, part = on_host.get(str(one.get("name")), ""), str(one.get("subPath") or "")
        volumes.append((posixpath.join(source, part) if source else "", str(one.get("mountPath"))))
    return places(volumes, {}, "the pod", notes)


def _member_container(pod: object) -> Mapping[str, Any]:
    """Empty when none is a member."""
    for one in _mappings(_part(pod, "spec", "containers")):
        words = [str(word) for key in ("command", "args") for word in _list(one.get(key))]
        if member_words(words) is not None:
            return one
    return {}


def _part(data: object, *keys: str) -> object:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _mappings(value: object) -> list[dict[str, Any]]:
    return [one for one in _list(value) if isinstance(one, dict)]


def _expanded(text: str, variables: Mapping[str, str], notes: list[str]) -> str:
    """Compose's own variables: `$NAME`, `${NAME:-default}`, `$$`."""

    def one(match: re.Match[str]) -> str:
        name = match[1] or match[4]
        if not name:
            return "$"
        if name in variables:
            return variables[name]
        if match[2] == "-":
            return match[3]
        note = f"${name} is set where compose is started, and is empty here: give its .env file too"
        if note not in notes:
            notes.append(note)
        return ""

    return _VARIABLE.sub(one, text)


def _dotenv(given: Texts) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, text in given.items():
        if PurePosixPath(path).name.endswith(("env", ".conf")):
            for line in text.splitlines():
                name, equals, value = line.strip().partition("=")
                if equals and not name.startswith("#"):
                    found[name.removeprefix("export ").strip()] = value.strip().strip("\"'")
    return found


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _words(value: object) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else [str(word) for word in _list(value)]


def _pairs(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {str(key): "" if one is None else str(one).lower() if isinstance(one, bool) else str(one)
                for key, one in value.items()}  # fmt: skip
    return dict(str(one).partition("=")[::2] for one in _list(value))


def _volume(value: object, text: object) -> tuple[str, str]:
    """(source, target); the source of an anonymous volume is empty."""
    assert callable(text)
    if isinstance(value, dict):
        return text(value.get("source") or ""), text(value.get("target") or "")
    source, colon, rest = text(value).partition(":")
    return (source, rest.partition(":")[0]) if colon else ("", source)


def _ports(values: Sequence[object], text: object) -> Published:
    """As `published_ports`, or with names for the parts."""
    assert callable(text)
    return published_ports(
        f"{one.get('host_ip') or ''}:{one.get('published')}:{one.get('target')}" if isinstance(one, dict) else text(one)
        for one in values
    )
