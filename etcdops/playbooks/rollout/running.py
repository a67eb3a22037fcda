"""Whether a running member is what its host would start now: its program, and what it reads at its start only."""

from __future__ import annotations

import asyncio
import hashlib
import json

from etcdops.inventory.model import EngineKind, Manager
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Ownership, Session
from etcdops.rendering import places
from etcdops.services.host_files import KEPT
from etcdops.services.member_process import identity_of, started_at
from etcdops.services.port import ProcessConfig

_REAL_PATH = 'exec readlink -f -- "$1"'
_DELETED = " (deleted)"


async def outdated(session: Session, wanted: DesiredMember, running: ProcessConfig, pid: int | None) -> list[str]:
    """What a restart would change beside its settings, once files are as wanted: a sentence each; empty: nothing."""
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
    paths = _read_at_start(wanted)
    if wanted.engine.kind is EngineKind.NODE and not in_container(wanted):
        paths.append(wanted.config.program)
    started = await started_at(session, pid)
    stats = await asyncio.gather(*(session.stat(path, user=ROOT) for path in paths))
    if started is None:
        return []
    # times of files are whole seconds, cut off
    newer = [path for path, stat in zip(paths, stats, strict=True) if stat is not None and stat.modified_at > started]
    same = await _put_back(session, wanted, pid) if newer else frozenset()
    return [f"{path} was written after it started" for path in newer if path not in same]


def _read_at_start(wanted: DesiredMember) -> list[str]:
    """Files of text that a process has as they were when it started."""
    paths = [file.path for file in wanted.files if _shows_nowhere(file.path, wanted)]
    if wanted.engine.kind is EngineKind.ETCD:
        paths += [bundle.path for bundle in wanted.bundles]  # the node reads them at every handshake
    return paths


async def note_start(session: Session, wanted: DesiredMember, pid: int | None) -> None:
    """Remember on the host what a process that has just been started was started with.

    Without it a file that somebody edited and a rollout put back would look as if the process had never seen it.
    """
    if pid is None or not _read_at_start(wanted):
        return
    identity, digests = await asyncio.gather(identity_of(session, pid), _digests(session, wanted))
    if identity and not await _newer_files(session, wanted, pid):
        content = json.dumps({"process": identity, "files": digests}, indent=2).encode()
        await session.write_file(_noted_at(wanted), content, Ownership(0o600), user=ROOT)


async def _put_back(session: Session, wanted: DesiredMember, pid: int) -> frozenset[str]:
    """Files of which this very process was started with what they are to be, whenever they were written."""
    noted, identity, there = await asyncio.gather(
        session.read_file(_noted_at(wanted), user=ROOT), identity_of(session, pid), _digests(session, wanted)
    )
    rendered = {file.path: _digest(file.content) for file in wanted.files}
    digests = {path: rendered.get(path, digest) for path, digest in there.items()}
    try:
        said = json.loads(noted or b"{}")
        known = said["files"] if said["process"] == identity else {}
        return frozenset(path for path, digest in digests.items() if known.get(path) == digest)
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()  # nothing is known, and a restart is always right


async def _digests(session: Session, wanted: DesiredMember) -> dict[str, str]:
    """Of what is on the host now."""
    seen = await session.look(_read_at_start(wanted), user=ROOT)
    return {
        path: _digest(found.content) for path, found in seen.items() if found is not None and found.content is not None
    }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _noted_at(wanted: DesiredMember) -> str:
    """Beside what else is known of the service there; it goes when the service is uninstalled."""
    return f"{KEPT}/{wanted.service.manager}-{wanted.service.name}/started.json"


def _shows_nowhere(path: str, wanted: DesiredMember) -> bool:
    if wanted.service.manager is not Manager.SYSTEMD:
        return False  # there the file with the settings is the one with everything else
    unit = places.unit(wanted.service.name)
    return path == unit or path.startswith(f"{unit}.d/")
