"""Members in containers, from texts: what `docker inspect` prints, compose files, static pods such as kubeadm's."""

from __future__ import annotations

import ipaddress
import json
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import yaml

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.services.container_facts import Container
from etcdops.services.discover import manifest_start
from etcdops.services.etcd_settings import Placed, Start, settle
from etcdops.services.importing.container import Published, as_host_sees, bindings
from etcdops.services.importing.evidence import Evidence, HostFound, address_of
from etcdops.services.member_process import member_words
from etcdops.services.port import ProcessConfig
from etcdops.services.start_script import read_shell_start

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?([-?+])([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*)|\$)")
_TAG = re.compile(r":v?(\d+\.\d+(?:\.\d+)?)(?:[-.+].*)?\Z")
_BITNAMI_DATA = "/bitnami/etcd/data"
_SHELLS = ("sh", "bash", "dash")
_ONE_HOST = "docker-host"
SERVICE_OF_POD = "etcd"

Texts = Mapping[str, str]


def version_of(image: str) -> str:
    """The version in an image's tag: `quay.io/coreos/etcd:v3.5.16`, `registry.k8s.io/etcd:3.5.16-0`; else empty."""
    match = _TAG.search(image.partition("@")[0])
    return match[1] if match else ""


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
    config = container.config
    words = [Placed(word, where) for word in (*config.entrypoint, *config.command)]
    env = {key: Placed(value, where) for key, value in config.env.items()}
    start = await _started(words, env, config.user, config.folder, container.image)
    if start is None:
        return None
    seen, notes = as_host_sees(settle(start, None), container.outside, bindings(container.raw))
    engine = Manager.PODMAN if "ImageName" in container.raw else Manager.DOCKER
    host, guess = _place(seen)
    return Evidence(
        seen,
        where,
        host=host,
        manager=engine,
        service=name,
        image=container.image,
        user=_user(config.user),
        group=_user(config.user),
        folder=config.folder,
        version=version_of(container.image),
        notes=(*guess, *notes),
    )


def _place(config: ProcessConfig) -> tuple[HostFound | None, tuple[str, ...]]:
    """The host a container is on: None where its peer URL has the host's own address; else a guess, and its note."""
    try:
        address = ipaddress.ip_address(address_of(config.value("initial-advertise-peer-urls") or ""))
    except (ValueError, UsageError):
        return HostFound(_ONE_HOST, "127.0.0.1"), (_NO_HOST,)
    return (HostFound(_ONE_HOST, "127.0.0.1"), (_NO_HOST,)) if address.is_loopback else (None, ())


_NO_HOST = f"{_ONE_HOST} is a guess: which machine the container runs on is not in the file; correct its address"


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
    start = await _started(
        words, env, text(service.get("user") or "root"), str(service.get("working_dir") or "/"), image
    )
    if start is None:
        return None
    volumes = [_volume(one, text) for one in _list(service.get("volumes"))]

    def outside(inside: str) -> str | None:
        for source, target in volumes:
            if source and (inside == target or inside.startswith(f"{target.rstrip('/')}/")):
                if not source.startswith("/"):
                    kind = "is relative to the compose file" if source.startswith(".") else "is a named volume"
                    notes.append(f"{name}: {target} is {source}, which {kind}: its place on the host is not known")
                    return inside
                return posixpath.normpath(f"{source}/{inside[len(target) :]}")
        return None

    network_of_host = service.get("network_mode") == "host"
    published = None if network_of_host else _ports(_list(service.get("ports")), text)
    seen, more = as_host_sees(settle(start, None), outside, published)
    host, guess = _place(seen)
    return Evidence(
        seen,
        where,
        host=host,
        manager=Manager.DOCKER,
        service=text(service.get("container_name") or name),
        image=image or "etcd",
        user=_user(start.user),
        group=_user(start.user),
        folder=start.folder,
        version=version_of(image),
        notes=(*guess, *notes, *more, *(() if image else (f"{name} is built, not pulled: its image is a guess",))),
    )


def static_pod(text: str, path: str) -> Evidence | None:
    """Of a pod's manifest; None when it starts no etcd."""
    start = manifest_start(text.encode(), path)
    if start is None:
        return None
    image = _image(yaml.safe_load(text))
    return Evidence(
        settle(start, None),
        path,
        manager=Manager.KUBELET,
        service=SERVICE_OF_POD,
        image=image,
        user="root",
        group="root",
        folder="/",
        version=version_of(image),
        notes=("it is a static pod: etcdops looks at it and does not change it",),
    )


def _image(pod: object) -> str:
    spec = pod.get("spec") if isinstance(pod, dict) else None
    containers = spec.get("containers") if isinstance(spec, dict) else None
    for one in containers if isinstance(containers, list) else ():
        words = [str(word) for key in ("command", "args") for word in one.get(key) or ()]
        if member_words(words) is not None:
            return str(one.get("image") or "")
    return ""


async def _started(
    words: Sequence[Placed], env: Mapping[str, Placed], user: str, folder: str, image: str
) -> Start | None:
    """What a container starts; None: nothing that is seen to be etcd."""
    texts = [word.text for word in words]
    if texts and posixpath.basename(texts[0]) in _SHELLS:

        async def nothing(_: str) -> str | None:
            return None

        start = await read_shell_start(words, Start(texts[0], words[1:], env, user, folder), nothing)
        return start if member_words(start.program.split(" ")) is not None else None
    count = member_words(texts)
    if count is not None:
        return Start(" ".join([image, *texts[:count]]), words[count:], env, user, folder)
    if "etcd" not in image.rpartition("/")[2].partition(":")[0]:
        return None
    if "bitnami" in image or any("/opt/bitnami/" in text for text in texts):
        env = {"ETCD_DATA_DIR": Placed(_BITNAMI_DATA, "the image's start scripts"), **env}
        return Start(f"{image} etcd", (), env, user, folder)
    # etcd's own image begins with the program; flags alone are its arguments
    return Start(f"{image} etcd", [word for word in words if word.text.startswith("-")], env, user, folder)


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
    """`2379:2379`, `127.0.0.1:12379:2379/tcp`, or with names for its parts."""
    assert callable(text)
    found: dict[int, tuple[str, int]] = {}
    for value in values:
        if isinstance(value, dict):
            target, outside, address = value.get("target"), value.get("published"), value.get("host_ip")
        else:
            whole = str(text(value)).partition("/")[0]
            rest, _, target = whole.rpartition(":")
            address, _, outside = rest.rpartition(":")
        if str(target).isdigit() and str(outside).isdigit():
            found[int(str(target))] = (str(address or "").strip("[]") or "0.0.0.0", int(str(outside)))  # noqa: S104
    return found


def _user(text: str) -> str:
    """A name that the inventory takes; a number is no name of a user."""
    name = text.partition(":")[0]
    return name if name and not name.isdigit() else "root"
