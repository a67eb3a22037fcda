"""The steps of a recovery. Each may be cut off anywhere and done again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from etcdops.errors import EtcdopsError, SnapshotCorrupt
from etcdops.files import fill_directory
from etcdops.playbooks.cluster_file import FILE_NAME, EngineKind, MemberSpec, load_cluster
from etcdops.playbooks.local_cluster import START_TIMEOUT_S
from etcdops.playbooks.occupants import occupants_of
from etcdops.playbooks.plan import Result, Step
from etcdops.playbooks.recover import verifying
from etcdops.playbooks.recover.run import RecoveryRun
from etcdops.playbooks.recover.strangers import Stranger, refuse_strangers
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.checksum import sync_folder, verify_checksum
from etcdops.snapshot.etcd_rewrite import rewrite_bumped

_WAL_SIZE = 130 << 20
"""etcd preallocates its log in files of 64 MB, one more than it writes to."""


@dataclass(frozen=True, slots=True)
class SimpleStep:
    """A step from three functions. Without `acted` it only proves, without `checked` it always acts."""

    id: str
    title: str
    acted: Callable[[], Awaitable[None]] | None = None
    checked: Callable[[], Awaitable[bool]] | None = None
    verified: Callable[[], Awaitable[Result]] | None = None
    lasting: bool = True

    async def check(self) -> bool:
        if self.acted is None:
            return True
        return await self.checked() if self.checked is not None else False

    async def act(self) -> None:
        if self.acted is not None:
            await self.acted()

    async def verify(self) -> Result:
        return await self.verified() if self.verified is not None else {}


def build_steps(run: RecoveryRun) -> list[Step]:
    """All steps in order."""
    members = run.cluster.members
    return [
        _snapshot_step(run),
        *(_stop_step(run, member) for member in members),
        *(_aside_step(run, member) for member in members),
        *([_bump_step(run)] if run.tool is not None and not run.tool_bumps else []),
        *(_restore_step(run, member) for member in members),
        _identity_step(run),
        *(_start_step(run, member) for member in members),
        _serving_step(run),
        *(_verify_step(run, *check) for check in verifying.CHECKS),
    ]


def _snapshot_step(run: RecoveryRun) -> Step:
    async def verified() -> Result:
        await asyncio.to_thread(_require_same_snapshot, run)
        _require_space(run)
        return {"sha256": run.sha256}

    return SimpleStep("snapshot", f"check {run.snapshot.name} again, byte by byte", verified=verified)


def _require_same_snapshot(run: RecoveryRun) -> None:
    digest, _ = verify_checksum(run.snapshot)
    if digest.hex() != run.sha256:
        raise SnapshotCorrupt(
            f"{run.snapshot} changed since the plan was made",
            cause=f"its sha256 is {digest.hex()}, the plan says {run.sha256}",
            hint="put the planned file back, or make a new plan with --new-run",
        )


def _require_space(run: RecoveryRun) -> None:
    """Old data stays, so the new data needs room of its own. Known before anything is stopped."""
    each = run.snapshot.stat().st_size + _WAL_SIZE
    folders = [_existing(member.data_dir.parent) for member in run.cluster.members]
    for device in {folder.stat().st_dev for folder in folders}:
        here = [folder for folder in folders if folder.stat().st_dev == device]
        free = shutil.disk_usage(here[0]).free
        if free < each * len(here):
            raise EtcdopsError(
                f"not enough room at {here[0]}: {each * len(here)} bytes are needed, {free} are free",
                hint="old data is kept, not overwritten: free some space and run the command again",
            )


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder


def _stop_step(run: RecoveryRun, spec: MemberSpec) -> Step:
    async def checked() -> bool:
        return not run.local.member(spec.name).running

    async def acted() -> None:
        await asyncio.to_thread(run.local.member(spec.name).stop)

    async def verified() -> Result:
        await asyncio.to_thread(_prove_stopped, run, spec)
        return {}

    return SimpleStep(f"stop:{spec.name}", f"stop {spec.name} and prove it", acted, checked, verified)


def _prove_stopped(run: RecoveryRun, spec: MemberSpec) -> None:
    """No process, nobody on its ports, nobody holding its files: an old member left running splits the cluster."""
    if run.local.member(spec.name).running:
        raise EtcdopsError(f"{spec.name} still runs", hint="stop it by hand")
    refuse_strangers([Stranger(spec.name, occupant) for occupant in occupants_of(spec)])


def _aside_step(run: RecoveryRun, spec: MemberSpec) -> Step:
    aside = run.aside[spec.name]

    async def checked() -> bool:
        return aside.exists() or not spec.data_dir.exists()

    async def acted() -> None:
        try:
            spec.data_dir.rename(aside)
            sync_folder(aside.parent)
        except OSError as error:
            raise EtcdopsError(
                f"cannot move {spec.data_dir} to {aside}: {error.strerror}",
                hint="a mount point cannot be renamed: move its content aside by hand, then go on",
            ) from error

    async def verified() -> Result:
        return {"moved_to": str(aside) if aside.exists() else None}

    return SimpleStep(f"aside:{spec.name}", f"move {spec.name}'s old data aside", acted, checked, verified)


def _bump_step(run: RecoveryRun) -> Step:
    target = run.bumped_snapshot

    async def checked() -> bool:
        return target.exists()

    async def acted() -> None:
        await asyncio.to_thread(_require_same_snapshot, run)
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)
        await asyncio.to_thread(rewrite_bumped, run.snapshot, part, revision=run.revision)
        part.replace(target)
        sync_folder(target.parent)

    async def verified() -> Result:
        digest, _ = await asyncio.to_thread(verify_checksum, target)
        return {"sha256": digest.hex()}

    title = f"write the snapshot with its revision raised to {run.revision}"
    return SimpleStep("bump", title, acted, checked, verified)


def _restore_step(run: RecoveryRun, spec: MemberSpec) -> Step:
    async def checked() -> bool:
        return spec.data_dir.exists()

    async def acted() -> None:
        await asyncio.to_thread(_require_same_snapshot, run)
        await asyncio.to_thread(fill_directory, spec.data_dir, lambda data_dir: _restore(run, spec, data_dir))

    return SimpleStep(f"restore:{spec.name}", f"restore {spec.name} from the snapshot", acted, checked)


def _restore(run: RecoveryRun, spec: MemberSpec, data_dir: Path) -> None:
    if run.cluster.engine.kind is EngineKind.NODE:
        from etcdops.snapshot.sqlite_restore import InitialMember, restore_node

        restore_node(
            run.snapshot,
            data_dir,
            name=spec.name,
            members=[InitialMember(member.name, (member.peer_url,)) for member in run.cluster.members],
            token=run.cluster.token,
            revision=run.revision,
        )
        return
    assert run.tool is not None and run.cluster.engine.binary is not None  # noqa: PT018 - a plan for etcd has both
    tool = etcd_tools.find_tool(run.cluster.engine.binary, tool=run.tool)
    target = etcd_tools.RestoreTarget(
        spec.name, data_dir, (spec.peer_url,), run.cluster.initial_cluster, run.cluster.token
    )
    if run.tool_bumps:
        bump = run.revision - run.snapshot_revision
        etcd_tools.restore(tool, run.snapshot, target, has_checksum=run.has_checksum, bump=bump)
    else:
        etcd_tools.restore(tool, run.bumped_snapshot, target, has_checksum=True)


def _identity_step(run: RecoveryRun) -> Step:
    async def checked() -> bool:
        described = (run.cluster.directory / FILE_NAME).is_file()
        return described and load_cluster(run.cluster.directory) == run.cluster

    async def acted() -> None:
        run.cluster.save()

    return SimpleStep("identity", "note the new cluster token in cluster.json", acted, checked)


def _start_step(run: RecoveryRun, spec: MemberSpec) -> Step:
    member = run.local.member(spec.name)

    async def checked() -> bool:
        return member.running

    async def acted() -> None:
        # On this thread: a tethered process is ended with the thread that started it.
        member.start(tethered=run.tethered)

    return SimpleStep(f"start:{spec.name}", f"start {spec.name}", acted, checked, lasting=False)


def _serving_step(run: RecoveryRun) -> Step:
    async def acted() -> None:
        await verifying.wait_serving(run, START_TIMEOUT_S)

    return SimpleStep("serving", "wait until all members serve", acted, lasting=False)


def _verify_step(run: RecoveryRun, name: str, title: str, check: verifying.Check) -> Step:
    async def verified() -> Result:
        return await check(run)

    return SimpleStep(f"verify:{name}", title, verified=verified, lasting=False)
