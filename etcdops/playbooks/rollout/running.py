"""Whether a running member is what its host would start now: its program, and what it reads at its start only."""

from __future__ import annotations

import asyncio

from etcdops.inventory.model import EngineKind, Manager
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.rendering import places
from etcdops.services.member_process import started_at
from etcdops.services.port import ProcessConfig

_REAL_PATH = 'exec readlink -f -- "$1"'
_DELETED = " (deleted)"


async def outdated(session: Session, wanted: DesiredMember, running: ProcessConfig, pid: int | None) -> list[str]:
    """What a restart would change beside its settings, a sentence each; empty: nothing."""
    found = await _old_program(session, wanted, running)
    return found if pid is None else [*found, *await _newer_files(session, wanted, pid)]


def in_container(wanted: DesiredMember) -> bool:
    """Its program comes with the image."""
    return wanted.service.manager in (Manager.DOCKER, Manager.PODMAN)


async def _old_program(session: Session, wanted: DesiredMember, running: ProcessConfig) -> list[str]:
    """Whether it was started from another file than the next start would be."""
    if in_container(wanted) or not running.program.startswith("/") or " " in running.program.removesuffix(_DELETED):
        return []
    asked = await session.run(script(_REAL_PATH, wanted.config.program, user=ROOT), check=False)
    program = running.program.removesuffix(_DELETED)
    differs = running.program != program or asked.text.strip() != program
    return [f"it runs {program}, which is not what is installed now"] if asked.ok and differs else []


async def _newer_files(session: Session, wanted: DesiredMember, pid: int) -> list[str]:
    """What shows in no setting: units, whom to trust, the node's program. By times of the host's own clock."""
    paths = [file.path for file in wanted.files if _shows_nowhere(file.path, wanted)]
    if wanted.engine.kind is EngineKind.ETCD:
        paths += [bundle.path for bundle in wanted.bundles]  # the node reads them at every handshake
    elif not in_container(wanted):
        paths.append(wanted.config.program)
    started = await started_at(session, pid)
    stats = await asyncio.gather(*(session.stat(path, user=ROOT) for path in paths))
    if started is None:
        return []
    # times of files are whole seconds, cut off
    return [
        f"{path} was written after it started"
        for path, stat in zip(paths, stats, strict=True)
        if stat is not None and stat.modified_at > started
    ]


def _shows_nowhere(path: str, wanted: DesiredMember) -> bool:
    if wanted.service.manager is not Manager.SYSTEMD:
        return False  # there the file with the settings is the one with everything else
    unit = places.unit(wanted.service.name)
    return path == unit or path.startswith(f"{unit}.d/")
