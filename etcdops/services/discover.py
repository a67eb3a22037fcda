"""Which members exist on a host, whoever keeps them running, whether they run or not.

Every manager is asked in its own way; what runs and belongs to none of them is found among the host's processes.
"""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml

from etcdops.inventory.model import Manager
from etcdops.remote.command import ROOT, command, script
from etcdops.remote.session import Session
from etcdops.rendering.places import DEFINITIONS, OWN
from etcdops.services.container import ContainerService
from etcdops.services.container_command import is_engine
from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.failures import ServiceFailed
from etcdops.services.member_process import find_members, member_words, running_config, settled
from etcdops.services.port import ProcessConfig, Service, State
from etcdops.services.process import ProcessService
from etcdops.services.supervise import SCAN_FOLDERS, SuperviseService
from etcdops.services.supervisord import SupervisordService, start_of
from etcdops.services.supervisord_file import CONFIG_FOLDERS, Program, programs
from etcdops.services.systemd import SystemdService
from etcdops.services.unit_container import UnitContainer, unit_container
from etcdops.services.unit_start import unit_start

MANIFESTS = "/etc/kubernetes/manifests"
KUBELET = "kubelet"
_UNIT_FOLDERS = (
    # in the order in which one hides the other
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_HOLDS_ETCD = """
for folder; do
    cd -- "$folder" 2>/dev/null || continue
    grep -ls etcd -- ./*.service | while IFS= read -r file; do
        [ -L "$file" ] || printf "%s/%s\\n" "$folder" "${file#./}"
    done
done
:
"""
_MATCHING = """
IFS=
while [ "$#" -gt 0 ]; do
    folder=$1 pattern=$2; shift 2
    cd -- "$folder" 2>/dev/null || continue
    for file in $pattern; do [ -f "$file" ] && printf "%s/%s\\n" "$folder" "$file"; done
done
:
"""
_ENGINES = (Manager.DOCKER, Manager.PODMAN)
_OF_KUBELET = "k8s_"
"""So begin the names of docker's containers that the kubelet has made. Source: cri-dockerd core/naming.go."""


@dataclass(frozen=True, slots=True)
class Found:
    """A member of some cluster on a host."""

    keeper: Manager | str
    """Who keeps it running; `kubelet` for a static pod; empty: nobody, as far as can be seen."""
    name: str
    """Of the unit, container, program or manifest; of a process that nobody keeps, its number."""
    state: State
    pid: int | None = None
    config: ProcessConfig | None = None
    """What it runs with; of one that does not run, what it would."""
    of_unit: UnitContainer | None = None
    """Of a container: the unit that makes or starts it."""
    problem: str = ""
    """Why there is no `config`, where that is known."""


async def discover(session: Session) -> list[Found]:
    """All members on a host, by keeper and name. Who keeps one is asked; processes that are left over come last.

    A manager that the host does not have, or that does not answer, has none. Raises: as the session.
    """
    pids = await find_members(session)
    searches = (_units, _containers, _supervised, _programs, _plain_processes, _static_pods)
    some = await asyncio.gather(*(search(session) for search in searches))
    found = merged([one for found in some for one in found])
    kept = {one.pid for one in found if one.pid is not None}
    unseen = [one for one in found if one.pid is None and (one.keeper == KUBELET or one.of_unit is not None)]
    for pid in sorted(pids):
        config = await running_config(session, pid) if pid not in kept else None
        if config is None:
            continue
        known = next((one for one in unseen if _same_member(one.config, config)), None)
        if known is not None:
            found[found.index(known)] = replace(known, state=State.RUNNING, pid=pid, config=config)
            unseen.remove(known)
        else:
            found.append(Found("", str(pid), State.RUNNING, pid, config))
    order = [*Manager, KUBELET, ""]
    return sorted(found, key=lambda one: (order.index(one.keeper), one.name))


def merged(found: Sequence[Found]) -> list[Found]:
    """A container that a unit makes, or the kubelet, is one member, though its engine tells of it as well."""
    once = [one for one in found if one.keeper != KUBELET and one.of_unit is None]
    for one in found:
        if one.of_unit is not None:
            same = next((other for other in once if _is_of_unit(other, one.of_unit)), None)
            # nobody knows more of one that runs than its engine; one that does not will be made as the unit says
            runs = same is not None and (same.pid is not None or one.config is None)
            shown = replace(same, of_unit=one.of_unit) if same is not None and runs else one
            if same is not None:
                once.remove(same)
            elif one.config is None and (not one.problem or any(other.keeper in _ENGINES for other in once)):
                continue
            once.append(shown)
        elif one.keeper == KUBELET:
            same = next((other for other in once if other.name.startswith(_OF_KUBELET) and
                         _same_member(one.config, other.config)), None)  # fmt: skip
            if same is not None:
                once.remove(same)
            once.append(one if same is None else replace(one, state=same.state, pid=same.pid, config=same.config))
    return once


def _is_of_unit(container: Found, made: UnitContainer) -> bool:
    if container.keeper != made.keeper:
        return False
    return container.name == made.name if made.name else _same_member(made.config, container.config)


def _same_member(one: ProcessConfig | None, other: ProcessConfig | None) -> bool:
    if one is None or other is None:
        return False
    return all(one.value(flag) == other.value(flag) for flag in ("name", "data-dir"))


async def _of(service: Service, keeper: Manager) -> Found | None:
    """A service as it was found; None: it is no member, or cannot be asked."""
    try:
        status, config = await asyncio.gather(service.status(), service.effective_config())
    except ServiceFailed:
        return None  # its manager does not answer
    shown = config.running or config.next_start
    return Found(keeper, service.name, status.state, status.pid, shown) if shown is not None else None


async def _units(session: Session) -> list[Found]:
    listed = await session.run(script(_HOLDS_ETCD, *_UNIT_FOLDERS, user=ROOT))
    found: dict[str, Found] = {}
    for path in listed.text.splitlines():
        name = posixpath.basename(path)
        if name in found or "@." in name:
            continue  # hidden by another file; or a template, which is no service by itself
        start = await unit_start(session, name, [path])
        one = None
        if start is not None and is_engine(start.program):
            one = await _of_unit(session, name)
        elif start is not None and _starts_member(start):
            one = await _of(SystemdService(session, name), Manager.SYSTEMD)
        if one is not None:
            found[name] = one
    return list(found.values())


async def _of_unit(session: Session, unit: str) -> Found | None:
    """The container of a unit as the unit tells of it."""
    try:
        made = await unit_container(session, unit)
    except ServiceFailed:
        return None  # systemd does not answer
    if made is None:
        return None
    if made.problem:
        return Found(Manager.SYSTEMD, unit, made.state, None, None, made, made.problem)
    return Found(made.keeper, made.service, made.state, None, made.config, made)


async def _containers(session: Session) -> list[Found]:
    found: list[Found] = []
    for engine in _ENGINES:
        listed = await session.run(command(engine, "ps", "--all", "--format={{.Names}}", user=ROOT), check=False)
        for name in listed.text.split() if listed.ok else ():
            one = await _of(ContainerService(session, name, engine), engine)
            if one is not None and one.config is not None and _is_member_image(one.config):
                found.append(one)
    return found


async def _supervised(session: Session) -> list[Found]:
    paths = await _files(session, [(folder, "*/run") for folder in (DEFINITIONS, *SCAN_FOLDERS)])
    names = sorted({posixpath.basename(posixpath.dirname(path)) for path in paths})
    found = await asyncio.gather(*(_of(SuperviseService(session, name), Manager.SUPERVISE) for name in names))
    return [one for one in found if one is not None and one.config is not None and _told(one.config)]


async def _programs(session: Session) -> list[Found]:
    found: list[Found] = []
    for path in await _files(session, CONFIG_FOLDERS):
        content = await session.read_file(path, user=ROOT) or b""
        try:
            defined = programs(content.decode(errors="replace"), path)
        except ValueError:
            continue
        for program in defined:
            found += await _program(session, program, path)
    return found


async def _program(session: Session, program: Program, path: str) -> list[Found]:
    async def read(name: str) -> str | None:
        content = await session.read_file(name, user=ROOT)
        return content.decode(errors="replace") if content is not None else None

    if not program.argv or not _starts_member(start := await start_of(program, read)):
        return []
    service = SupervisordService(session, program.name, path=path)
    one = await _of(service, Manager.SUPERVISORD)
    return [one or Found(Manager.SUPERVISORD, program.name, State.UNKNOWN, None, await settled(session, start))]


async def _plain_processes(session: Session) -> list[Found]:
    paths = await _files(session, [(OWN, "*.run")])
    names = [posixpath.basename(path).removesuffix(".run") for path in paths]
    found = await asyncio.gather(*(_of(ProcessService(session, name), Manager.PROCESS) for name in names))
    return [one for one in found if one is not None]


async def _static_pods(session: Session) -> list[Found]:
    found: list[Found] = []
    for path in await _files(session, [(MANIFESTS, "*.yaml"), (MANIFESTS, "*.json")]):
        start = manifest_start(await session.read_file(path, user=ROOT) or b"", path)
        if start is not None:
            found.append(Found(KUBELET, path, State.STOPPED, None, await settled(session, start)))
    return found


def manifest_start(content: bytes, path: str) -> Start | None:
    """The member that a pod's manifest, such as kubeadm's etcd.yaml, starts; None when it is of something else."""
    container = _member_container(_manifest(content))
    words = _words(container, path)
    count = member_words([word.text for word in words])
    if count is None:
        return None
    variables = ((_at(item, "name"), _at(item, "value")) for item in _items(_at(container, "env")))
    env = {
        str(name.value): Placed(str(value.value), f"{path}:{value.start_mark.line + 1}")
        for name, value in variables
        if name is not None and value is not None
    }
    return Start(" ".join(word.text for word in words[:count]), words[count:], env, ROOT)


def manifest_pod(content: bytes) -> tuple[str, str] | None:
    """What a manifest calls the pod and its container that is a member; None when it has none, or no names."""
    root = _manifest(content)
    pod, container = _at(root, "metadata", "name"), _at(_member_container(root), "name")
    return (str(pod.value), str(container.value)) if pod is not None and container is not None else None


def _manifest(content: bytes) -> yaml.Node | None:
    try:
        return yaml.compose(content, yaml.SafeLoader)
    except yaml.YAMLError:
        return None


def _member_container(root: yaml.Node | None) -> yaml.Node | None:
    for container in _items(_at(root, "spec", "containers")):
        if member_words([word.text for word in _words(container, "")]) is not None:
            return container
    return None


def _words(container: yaml.Node | None, path: str) -> list[Placed]:
    """The command line of a container."""
    return [
        Placed(str(node.value), f"{path}:{node.start_mark.line + 1}")
        for key in ("command", "args")
        for node in _items(_at(container, key))
    ]


def _at(node: yaml.Node | None, *keys: str) -> yaml.Node | None:
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in pairs if name.value == key), None)
    return node


def _items(node: yaml.Node | None) -> Sequence[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else []


async def _files(session: Session, patterns: Sequence[tuple[str, str]]) -> list[str]:
    words = [word for pair in patterns for word in pair]
    return (await session.run(script(_MATCHING, *words, user=ROOT))).text.splitlines()


def _starts_member(start: Start) -> bool:
    return member_words(start.program.split(" ")) is not None


def _told(config: ProcessConfig) -> bool:
    return member_words(config.program.split(" ")) is not None


def _is_member_image(config: ProcessConfig) -> bool:
    """`image program ...`, or an image whose start scripts end in etcd."""
    return member_words(config.program.split(" ")[1:]) is not None or "data-dir" in config.flags
