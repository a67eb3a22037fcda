"""The log of a static pod as the kubelet keeps it.

A folder for each time the pod was made anew, a file for each start of its container, and of a file parts that were
rotated and packed: `/var/log/pods/kube-system_etcd-h1_UID/etcd/3.log.20260131-080000.gz`. All of them are one log.
Source: Kubernetes pkg/kubelet/kuberuntime/helpers.go, BuildContainerLogsDirectory; logs/container_log_manager.go.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from etcdops.errors import EtcdopsError
from etcdops.inventory.model import ServiceSpec
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.services.discover import MANIFESTS, manifest_pod
from etcdops.services.log_file import read_parts

_FILES = r"""
for file in /var/log/pods/*_"$1"-*/"$2"/*.log*; do [ -f "$file" ] && echo "$file"; done |
    while IFS= read -r file; do printf '%s %s\n' "$(stat -L -c %Y -- "$file")" "$file"; done
"""
_LINKS = r"""
for file in /var/log/containers/"$1"-*_"$2"-*.log; do [ -f "$file" ] && echo "$file"; done |
    while IFS= read -r file; do printf '%s %s\n' "$(stat -L -c %Y -- "$file")" "$file"; done | sort -n | tail -n 1
"""
"""Of container engines that keep logs elsewhere the kubelet has links here."""
_NAME = re.compile(r"(?P<start>\d+)\.log(?:\.(?P<rotated>\d{8}-\d{6})(?:\.gz)?)?\Z")
_STARTS_AHEAD = 20
"""So many more starts of a container are waited for while its log is followed; then it is looked at anew."""


@dataclass(frozen=True, slots=True)
class PodFile:
    """A part of a pod's log."""

    path: str
    changed_at: float
    """Unix time by the host's clock."""

    @property
    def folder(self) -> str:
        return posixpath.dirname(self.path)

    @property
    def order(self) -> tuple[int, bool, str]:
        """Within a folder: by start, then what was rotated away by when, then what is written now."""
        found = _NAME.match(posixpath.basename(self.path))
        return (int(found["start"]), not found["rotated"], found["rotated"] or "") if found else (0, False, "")


def oldest_first(lines: Iterable[str]) -> tuple[PodFile, ...]:
    """`TIME PATH` of each file; what is just being packed, and other files, are left out. Pure."""
    found = []
    for line in lines:
        at, _, path = line.partition(" ")
        if at.isdigit() and _NAME.match(posixpath.basename(path)):
            found.append(PodFile(path, float(at)))
    newest: dict[str, float] = {}
    for file in found:
        newest[file.folder] = max(newest.get(file.folder, 0.0), file.changed_at)
    return tuple(sorted(found, key=lambda file: (newest[file.folder], file.folder, file.order)))


async def pod_log(
    session: Session, spec: ServiceSpec, *, lines: int, follow: bool = False, since: float | None = None
) -> AsyncIterator[bytes]:
    """The last lines of a static pod's log; with `follow` what comes, until the pod is made anew.

    Raises: EtcdopsError - the kubelet has none.
    """
    pod, container = await _names(session, spec)
    listed = (await session.run(script(_FILES, pod, container, user=ROOT))).text.splitlines()
    paths = [file.path for file in oldest_first(listed) if since is None or file.changed_at >= since]
    if not paths:
        linked = (await session.run(script(_LINKS, pod, container, user=ROOT))).text
        paths = [linked.partition(" ")[2]] if linked else [file.path for file in oldest_first(listed)][-1:]
    if not paths:
        raise EtcdopsError(
            f"{session.host}: the kubelet has no log of the static pod {pod}",
            hint="see `crictl ps -a` there; with the name of the pod: kubectl -n kube-system logs POD",
        )
    async for line in read_parts(
        session,
        paths,
        lines=lines,
        since=since,
        follow=_coming(paths[-1]) if follow else (),
        until_newer=_siblings(pod),
    ):
        yield line


def _coming(path: str) -> Sequence[str]:
    """The file that is written now, and those of the next starts: each has its own."""
    found = _NAME.match(posixpath.basename(path))
    if found is None:
        return (path,)
    folder, start = posixpath.dirname(path), int(found["start"])
    return [f"{folder}/{number}.log" for number in range(start, start + 1 + _STARTS_AHEAD)]


def _siblings(pod: str) -> str:
    return f"/var/log/pods/*_{pod}-*/"


async def _names(session: Session, spec: ServiceSpec) -> tuple[str, str]:
    """Of the pod and of the container that is the member: as the manifest says, else as they are usually called."""
    path = spec.name if spec.name.startswith("/") else f"{MANIFESTS}/{spec.name}.yaml"
    usual = pod_name(spec)
    content = await session.read_file(path, user=ROOT)
    return (manifest_pod(content) if content is not None else None) or (usual, usual)


def pod_name(spec: ServiceSpec) -> str:
    """What a static pod is called whose manifest has that name."""
    return posixpath.basename(spec.name).partition(".")[0]
