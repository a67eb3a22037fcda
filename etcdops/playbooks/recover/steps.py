"""The steps of a recovery. Each may be cut off anywhere and done again."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

from etcdops.client.client import Client
from etcdops.client.quorum import Quorum
from etcdops.errors import EtcdopsError, SnapshotCorrupt
from etcdops.files import fill_directory, sync_folder, unfinished_directory
from etcdops.playbooks import safety
from etcdops.playbooks.cluster_file import FILE_NAME, ClusterSpec, EngineKind, load_cluster
from etcdops.playbooks.local_cluster import START_TIMEOUT_S, LocalCluster
from etcdops.playbooks.occupants import occupants_of
from etcdops.playbooks.plan import Danger, Plan, Result, StepSpec
from etcdops.playbooks.recover import verifying
from etcdops.playbooks.recover.recovered import SAFE_NOW
from etcdops.playbooks.recover.run import PROCEDURE, RecoveryRun
from etcdops.playbooks.recover.strangers import Stranger, refuse_strangers
from etcdops.playbooks.step import Step, StepKinds, UndoableStep
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.checksum import verify_checksum
from etcdops.snapshot.etcd_rewrite import rewrite_bumped

_WAL_SIZE = 130 << 20
"""etcd preallocates its log in files of 64 MB, one more than it writes to."""
_COPY_TIMEOUT_S = 4 * 3600.0
"""Of steps that read or write the whole snapshot: far more than a disk that works needs."""
_READ_TIMEOUT_S = 1.0
"""Of the read that tells whether the cluster works after all."""


def describe_steps(cluster: ClusterSpec, snapshot: str, revision: int, *, bumps_first: bool) -> tuple[StepSpec, ...]:
    """All steps in order. Args: bumps_first - the restore tool cannot raise the revision, so etcdops does before."""
    names = [member.name for member in cluster.members]
    return (
        StepSpec("snapshot", f"check {snapshot} again, byte by byte", "check-snapshot", timeout_s=_COPY_TIMEOUT_S),
        *_for_each(names, "stop", "stop {} and prove it", "stop-member", danger=Danger.SEVERE),
        *_for_each(names, "aside", "move {}'s old data aside", "move-aside", danger=Danger.MILD),
        *([_bump(revision)] if bumps_first else []),
        *_for_each(names, "restore", "restore {} from the snapshot", "restore-member", timeout_s=_COPY_TIMEOUT_S),
        StepSpec("identity", "note the new cluster token in cluster.json", "note-identity", danger=Danger.MILD),
        *_for_each(names, "start", "start {}", "start-member", danger=Danger.MILD),
        StepSpec("serving", "wait until all members serve", "wait-serving", timeout_s=2 * START_TIMEOUT_S),
        *(
            StepSpec(f"verify:{name}", title, "verify", inputs={"check": name}, timeout_s=_COPY_TIMEOUT_S)
            for name, title, _ in verifying.CHECKS
        ),
    )


def _bump(revision: int) -> StepSpec:
    title = f"write the snapshot with its revision raised to {revision}"
    return StepSpec("bump", title, "raise-revision", danger=Danger.MILD, timeout_s=_COPY_TIMEOUT_S)


def _for_each(
    names: Sequence[str], what: str, title: str, kind: str, *, danger: Danger = Danger.MILD, timeout_s: float = 120.0
) -> list[StepSpec]:
    return [
        StepSpec(
            f"{what}:{name}", title.format(name), kind, inputs={"member": name}, danger=danger, timeout_s=timeout_s
        )
        for name in names
    ]


def build_steps(plan: Plan, run: RecoveryRun) -> list[Step]:
    """The steps of a saved plan. Raises: EtcdopsError - another version made it."""
    return KINDS.build(plan, run)


class _RecoveryStep(Step):
    """What all steps of a recovery know."""

    def __init__(self, spec: StepSpec, run: RecoveryRun) -> None:
        super().__init__(spec)
        self.run = run

    def safe_now(self) -> str:
        return SAFE_NOW


class _MemberStep(_RecoveryStep):
    """A step about one member."""

    def __init__(self, spec: StepSpec, run: RecoveryRun) -> None:
        super().__init__(spec, run)
        name = str(spec.inputs["member"])
        self.member = run.local.member(name)
        self.place = run.cluster.member(name)
        self.undone = self.place.data_dir.with_name(f"{self.place.data_dir.name}.undone-{run.stamp}")


class CheckSnapshot(_RecoveryStep):
    """What was confirmed is what is restored, and there is room for it."""

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        await asyncio.to_thread(_require_same_snapshot, self.run)
        _require_space(self.run)
        return {"sha256": self.run.sha256}


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


class StopMember(_MemberStep, UndoableStep):
    """An old member left running splits the cluster."""

    async def check(self) -> bool:
        return not self.member.running

    async def judge(self) -> safety.Verdict:
        """The quorum may have come back since the plan was made."""
        present = sum(member.running for member in self.run.local.members)
        try:
            async with Client(self.run.settings) as client:
                await client.kv.get(b"\0", timeout=_READ_TIMEOUT_S)
        except EtcdopsError:
            works = False
        else:
            works = True
        return safety.judge_recovery(Quorum(len(self.run.local.members), present), proven=works)

    async def act(self) -> None:
        await asyncio.to_thread(self.member.stop)

    async def verify(self) -> Result:
        await asyncio.to_thread(self._prove_stopped)
        return {}

    async def undo(self, result: Result) -> None:
        """Started as it was, on its old data. Without a quorum it only waits, as before."""
        if self.place.name in self.run.was_running and self.place.data_dir.exists():
            member = LocalCluster(self.run.old_cluster).member(self.place.name)
            if not member.running:
                member.start(tethered=self.run.tethered)

    def _prove_stopped(self) -> None:
        """No process, nobody on its ports, nobody holding its files."""
        if self.member.running:
            raise EtcdopsError(f"{self.member.name} still runs", hint="stop it by hand")
        refuse_strangers([Stranger(self.member.name, occupant) for occupant in occupants_of(self.place)])


class MoveAside(_MemberStep, UndoableStep):
    """Old data is moved, never deleted."""

    def __init__(self, spec: StepSpec, run: RecoveryRun) -> None:
        super().__init__(spec, run)
        self.aside = run.aside[self.place.name]

    async def check(self) -> bool:
        return self.aside.exists() or not self.place.data_dir.exists()

    async def act(self) -> None:
        try:
            self.place.data_dir.rename(self.aside)
            sync_folder(self.aside.parent)
        except OSError as error:
            raise EtcdopsError(
                f"cannot move {self.place.data_dir} to {self.aside}: {error.strerror}",
                hint="a mount point cannot be renamed: move its content aside by hand, then go on",
            ) from error

    async def verify(self) -> Result:
        return {"moved_to": str(self.aside) if self.aside.exists() else None}

    async def undo(self, result: Result) -> None:
        if self.aside.exists():
            _keep_as(self.place.data_dir, self.undone)
            _rename(self.aside, self.place.data_dir)


def _keep_as(path: Path, other: Path) -> None:
    """Move a directory out of the way, if there is one."""
    if path.exists():
        _rename(path, other)


def _rename(path: Path, other: Path) -> None:
    try:
        path.rename(other)
        sync_folder(other.parent)
    except OSError as error:
        raise EtcdopsError(f"cannot move {path} to {other}: {error.strerror}", hint="move it by hand") from error


class RaiseRevision(_RecoveryStep, UndoableStep):
    """For restore tools that cannot raise the revision themselves."""

    async def check(self) -> bool:
        return self.run.bumped_snapshot.exists()

    async def act(self) -> None:
        await asyncio.to_thread(_require_same_snapshot, self.run)
        target = self.run.bumped_snapshot
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)
        await asyncio.to_thread(rewrite_bumped, self.run.snapshot, part, revision=self.run.revision)
        part.replace(target)
        sync_folder(target.parent)

    async def verify(self) -> Result:
        digest, _ = await asyncio.to_thread(verify_checksum, self.run.bumped_snapshot)
        return {"sha256": digest.hex()}

    async def undo(self, result: Result) -> None:
        self.run.bumped_snapshot.unlink(missing_ok=True)


class RestoreMember(_MemberStep, UndoableStep):
    """The directory gets its name when it is complete."""

    async def check(self) -> bool:
        return self.place.data_dir.exists()

    async def act(self) -> None:
        await asyncio.to_thread(_require_same_snapshot, self.run)
        await asyncio.to_thread(fill_directory, self.place.data_dir, self._restore)

    async def undo(self, result: Result) -> None:
        """What was restored is kept beside: clients may have written to it."""
        await asyncio.to_thread(shutil.rmtree, unfinished_directory(self.place.data_dir), ignore_errors=True)
        _keep_as(self.place.data_dir, self.undone)

    def _restore(self, data_dir: Path) -> None:
        run = self.run
        if run.cluster.engine.kind is EngineKind.NODE:
            self._restore_node(data_dir)
            return
        assert run.tool is not None and run.cluster.engine.binary is not None  # noqa: PT018 - a plan for etcd has both
        tool = etcd_tools.find_tool(run.cluster.engine.binary, tool=run.tool)
        target = etcd_tools.RestoreTarget(
            self.place.name, data_dir, (self.place.peer_url,), run.cluster.initial_cluster, run.cluster.token
        )
        if run.tool_bumps:
            bump = run.revision - run.snapshot_revision
            etcd_tools.restore(tool, run.snapshot, target, has_checksum=run.has_checksum, bump=bump)
        else:
            etcd_tools.restore(tool, run.bumped_snapshot, target, has_checksum=True)

    def _restore_node(self, data_dir: Path) -> None:
        from etcdops.snapshot.sqlite_restore import InitialMember, restore_node

        restore_node(
            self.run.snapshot,
            data_dir,
            name=self.place.name,
            members=[InitialMember(member.name, (member.peer_url,)) for member in self.run.cluster.members],
            token=self.run.cluster.token,
            revision=self.run.revision,
        )


class NoteIdentity(_RecoveryStep, UndoableStep):
    """The next terminal that looks for the cluster finds the new one."""

    async def check(self) -> bool:
        described = (self.run.cluster.directory / FILE_NAME).is_file()
        return described and load_cluster(self.run.cluster.directory) == self.run.cluster

    async def act(self) -> None:
        self.run.cluster.save()

    async def undo(self, result: Result) -> None:
        self.run.old_cluster.save()


class StartMember(_MemberStep, UndoableStep):
    """A process; whether it serves is the next step's question."""

    lasting = False

    async def check(self) -> bool:
        return self.member.running

    async def act(self) -> None:
        # On this thread: a tethered process is ended with the thread that started it.
        self.member.start(tethered=self.run.tethered)

    async def undo(self, result: Result) -> None:
        await asyncio.to_thread(self.member.stop)


class WaitServing(_RecoveryStep):
    """All members know a leader and answer a read through the quorum."""

    lasting = False

    async def act(self) -> None:
        await verifying.wait_serving(self.run.recovered, _Local(self.run), START_TIMEOUT_S)


class _Local:
    """`Processes` of this machine."""

    def __init__(self, run: RecoveryRun) -> None:
        self._local = run.local

    async def ended(self, name: str) -> bool:
        return not self._local.member(name).running

    async def last_said(self, name: str) -> tuple[str, str]:
        member = self._local.member(name)
        return member.log_tail(3), str(member.log_path)


class Verify(_RecoveryStep):
    """One of `verifying.CHECKS`."""

    lasting = False

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        checks = {name: check for name, _, check in verifying.CHECKS}
        return await checks[str(self.spec.inputs["check"])](self.run.recovered)


KINDS: StepKinds[RecoveryRun] = StepKinds(PROCEDURE)
for _name, _kind in (
    ("check-snapshot", CheckSnapshot),
    ("stop-member", StopMember),
    ("move-aside", MoveAside),
    ("raise-revision", RaiseRevision),
    ("restore-member", RestoreMember),
    ("note-identity", NoteIdentity),
    ("start-member", StartMember),
    ("wait-serving", WaitServing),
    ("verify", Verify),
):
    KINDS.add(_name, _kind)
