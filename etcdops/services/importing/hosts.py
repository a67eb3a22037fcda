"""Every member on a host, as the host itself shows it. Nothing is changed there, and no key is read."""

from __future__ import annotations

import asyncio
import json
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from etcdops.inventory.model import EngineKind, Manager
from etcdops.remote.command import ROOT, command, script
from etcdops.remote.session import Session
from etcdops.rendering.member import CERTIFICATES
from etcdops.services.container_facts import Container
from etcdops.services.container_start import volumes
from etcdops.services.discover import KUBELET, Found, discover
from etcdops.services.host_certificates import certificate_problems
from etcdops.services.importing.access import client_files
from etcdops.services.importing.commands import kept_by, ports, told
from etcdops.services.importing.container import as_host_sees, bindings, places, user_name, version_of
from etcdops.services.importing.evidence import Evidence, HostFound, engine_of
from etcdops.services.importing.pods import SERVICE_OF_POD, pod_places, static_pod
from etcdops.services.port import ProcessConfig, State
from etcdops.services.unit_container import UnitContainer, named_volumes

_VERSION = re.compile(r"etcd Version: (\d+\.\d+\.\d+)")
_ENGINES = (Manager.DOCKER, Manager.PODMAN)
_ETCDCTL = """
exe=$(readlink "/proc/$1/exe") || exit 0
tool=$(dirname "$exe")/etcdctl
[ -x "$tool" ] || tool=$(command -v etcdctl) || tool=/proc/$1/root$(dirname "$exe")/etcdctl
[ -x "$tool" ] || exit 0
shift
ETCDCTL_API=3 exec "$tool" --command-timeout=5s -w json "$@" endpoint status
"""


@dataclass(frozen=True, slots=True)
class HostEvidence:
    """What was found on one host."""

    members: tuple[Evidence, ...]
    notes: tuple[str, ...] = ()
    """What could not be found out there."""


async def on_host(session: Session, host: HostFound) -> HostEvidence:
    """All members on the host of `session`. Raises: as the session."""
    found = await discover(session)
    made = await asyncio.gather(*(_evidence(session, host, one) for one in found))
    silent = [
        f"{host.name}: {one.name} could not be read: {one.problem or 'nothing says how it is started'}"
        for one in found
        if not one.config
    ]
    none = () if found else (f"{host.name}: no etcd was found",)
    return HostEvidence(tuple(one for one in made if one is not None), (*none, *silent))


async def _evidence(session: Session, host: HostFound, found: Found) -> Evidence | None:
    config = found.config
    if config is None:
        return None
    source = f"{host.name}: {found.name}"
    root = f"/proc/{found.pid}/root" if found.pid is not None else ""
    # of a container that does not run, they are the paths of a world that is not there
    told = () if found.keeper in _ENGINES and found.pid is None else CERTIFICATES
    paths = {flag: path for flag in told if (path := config.value(flag))}
    notes = [f"{source}: {problem}" for problem in await certificate_problems(session, paths, root=root)]
    if config.outdated:
        notes.append(f"{source}: its config file was written after it started: it runs with what was there before")
    if found.state is not State.RUNNING:
        notes.append(f"{source}: it does not run now ({found.state})")
    made = Evidence(
        config,
        source,
        host=host,
        user=config.user,
        group=await _group(session, config.user),
        folder=await _folder(session, found.pid),
        version=await _version(session, found.pid, config.program),
        cluster_id=await _cluster_id(session, found.pid, config, root),
        kind=engine_of(config.program),
        client_files=await client_files(session, config),
    )
    return await _kept(session, made, found, notes)


async def _kept(session: Session, made: Evidence, found: Found, notes: list[str]) -> Evidence:
    """With who keeps it running."""
    if found.keeper in _ENGINES:
        return await _in_container(session, made, found, notes)
    if found.keeper == KUBELET:
        text = (await session.read_file(found.name, user=ROOT) or b"").decode(errors="replace")
        pod = static_pod(text, found.name)
        if pod is None:
            return replace(made, manager=Manager.KUBELET, service=SERVICE_OF_POD, notes=tuple(notes))
        config, _ = as_host_sees(made.config, pod_places(text, []), None)
        return replace(
            pod, config=config, source=made.source, host=made.host, version=made.version or pod.version,
            cluster_id=made.cluster_id, client_files=made.client_files, notes=(*notes, *pod.notes),
        )  # fmt: skip
    if not found.keeper:
        notes.append(f"{made.source}: nobody keeps process {found.pid} running: it does not come back by itself")
        return replace(made, manager=Manager.PROCESS, service="etcd", notes=tuple(notes))
    return replace(made, manager=Manager(found.keeper), service=found.name.removesuffix(".service"), notes=tuple(notes))


async def _in_container(session: Session, made: Evidence, found: Found, notes: list[str]) -> Evidence:
    """As the engine tells of one that is there; else as the unit that makes it does."""
    asked = await session.run(command(found.keeper, "container", "inspect", found.name, user=ROOT), check=False)
    unit = found.of_unit
    said = [kept_by(unit.unit, unit.keeper)] if unit is not None else []
    if unit is not None and unit.command is not None and (found.pid is None or not asked.ok):
        return await _of_unit(session, made, unit, (*notes, *said))
    container = Container.parse(asked.stdout)
    config, more = as_host_sees(made.config, container.outside, bindings(container.raw), container.config.folder)
    return replace(
        made,
        config=config,
        manager=Manager(found.keeper),
        service=found.name,
        image=container.image,
        folder="/",
        version=made.version or version_of(container.image),
        notes=(*notes, *said, *(f"{made.source}: {note}" for note in more)),
    )


async def _of_unit(session: Session, made: Evidence, unit: UnitContainer, notes: Sequence[str]) -> Evidence:
    assert unit.command is not None
    named = await named_volumes(session, unit.command)
    said = [*told(unit.command), *unit.notes]
    outside = places(volumes(unit.command.arguments), named, "where the unit runs it", said)
    config, more = as_host_sees(made.config, outside, ports(unit.command), unit.folder)
    user = user_name(made.user)
    return replace(
        made,
        config=config,
        manager=unit.keeper,
        service=unit.service,
        image=unit.command.arguments.image,
        user=user,
        group=made.group or user,
        folder=unit.folder,
        version=made.version or version_of(unit.command.arguments.image),
        notes=(*notes, *(f"{made.source}: {note}" for note in (*said, *more))),
    )


async def _group(session: Session, user: str) -> str:
    if not user:
        return ""
    found = await session.run(command("id", "-gn", user), check=False)
    return found.text if found.ok else ""


async def _folder(session: Session, pid: int | None) -> str:
    if pid is None:
        return ""
    found = await session.run(command("readlink", f"/proc/{pid}/cwd", user=ROOT), check=False)
    return found.text if found.ok else ""


async def _version(session: Session, pid: int | None, program: str) -> str:
    """Of the binary that runs, wherever it came from; of one that does not run, of the file that would."""
    path = f"/proc/{pid}/exe" if pid is not None else program
    if not path.startswith("/") or engine_of(program) is EngineKind.NODE or posixpath.basename(program) != "etcd":
        return ""
    asked = await session.run(command(path, "--version", user=ROOT), check=False, timeout_s=10.0)
    match = _VERSION.search(asked.text)
    return match[1] if match else ""


async def _cluster_id(session: Session, pid: int | None, config: ProcessConfig, root: str) -> str:
    """As the member says it, asked with its own certificate by the host's etcdctl or its container's; or empty."""
    urls = [url.strip() for url in (config.value("listen-client-urls") or "http://localhost:2379").split(",")]
    url = next((url for url in urls if url.startswith("http")), "")
    if pid is None or not url:
        return ""
    dialled = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    tls = (("cacert", "trusted-ca-file"), ("cert", "cert-file"), ("key", "key-file"))
    paths = {option: config.value(flag) or "" for option, flag in tls}
    options = [f"--{option}={root}{path}" for option, path in paths.items() if path.startswith("/")]
    asked = await session.run(
        script(_ETCDCTL, str(pid), f"--endpoints={dialled}", *(options if url.startswith("https") else ()), user=ROOT),
        check=False,
        timeout_s=15.0,
    )
    try:
        return f"{json.loads(asked.text)[0]['Status']['header']['cluster_id']:x}"
    except (ValueError, LookupError, TypeError):
        return ""
