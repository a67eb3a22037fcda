"""The steps of a recovery on hosts. Each may be cut off anywhere and done again; most can be taken back."""

from __future__ import annotations

import asyncio
import base64
import json
import posixpath
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from etcdops.client.client import Client
from etcdops.client.quorum import Quorum
from etcdops.client.view import observe
from etcdops.errors import ClusterUnsafe, EtcdopsError, SnapshotCorrupt, VerificationFailed
from etcdops.files import sync_folder
from etcdops.playbooks import safety
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.plan import Json, Plan, Result, StepSpec
from etcdops.playbooks.recover import verifying
from etcdops.playbooks.recover.hosts.facts import FACTS_TIMEOUT_S, tool_command
from etcdops.playbooks.recover.hosts.planned import PROCEDURE, HostRecovery, read_plan
from etcdops.playbooks.rollout.desired import desired
from etcdops.playbooks.step import Step, StepKinds, UndoableStep
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Ownership, Session
from etcdops.rendering.files import RenderedFile
from etcdops.services.host_files import HostFiles
from etcdops.services.managers import service_for
from etcdops.services.member_process import find_members, running_config
from etcdops.services.port import START_TIMEOUT_S, Service, State
from etcdops.services.waiting import last_lines
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.checksum import database_size, verify_checksum
from etcdops.snapshot.etcd_rewrite import rewrite_bumped
from etcdops.snapshot.sqlite_restore import InitialMember, restore_node

_COPY_TIMEOUT_S = 3 * 3600.0
_STOPPED = (State.STOPPED, State.FAILED, State.ABSENT)
_LOG_LINES = 5
_LOG_FILES = ("wal.db", "wal.db-wal")
"""Of a node: what goes into `--wal-dir`."""

_MAKE = 'umask 077; exec mkdir -p -- "$@"'
_PARENTS = 'umask 022; exec mkdir -p -- "$(dirname -- "$1")"'
_REMOVE = 'exec rm -rf -- "$@"'
_THERE = '[ -e "$1" ]'
_DIGEST = 'head -c "$2" -- "$1" | sha256sum'
_FREE = """
near=$1
while [ ! -e "$near" ]; do near=$(dirname -- "$near"); done
df -Pk -- "$near" | awk 'NR == 2 { print $4 }'
"""


def build_steps(plan: Plan, hosts: RunHosts) -> list[Step]:
    """The steps of a saved plan. Raises: EtcdopsError - another version made it."""
    return KINDS.build(plan, read_plan(plan, hosts))


class _OnAll(Step):
    """What all steps of a recovery know."""

    def __init__(self, spec: StepSpec, run: HostRecovery) -> None:
        super().__init__(spec)
        self.run = run

    def safe_now(self) -> str:
        return (
            "reading logs and copying files; old data is kept, beside the data directories. Do not start members by"
            " hand: some may hold the old state and others the new"
        )


class _OnHost(_OnAll):
    """A step about one member on its host."""

    def __init__(self, spec: StepSpec, run: HostRecovery) -> None:
        super().__init__(spec, run)
        self.member = run.members[str(spec.inputs["member"])]
        self.host = self.member.host

    async def session(self) -> Session:
        return await self.run.hosts.session(self.host)

    async def service(self) -> Service:
        return service_for(await self.session(), self.run.cluster.service)

    async def is_there(self, path: str) -> bool:
        found = await (await self.session()).run(script(_THERE, path, user=ROOT), check=False)
        return found.ok


class CheckSnapshot(_OnAll):
    """What was confirmed is what is restored."""

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        await asyncio.to_thread(_require_same_snapshot, self.run)
        return {"sha256": self.run.sha256}


def _require_same_snapshot(run: HostRecovery) -> None:
    path = run.recovered.snapshot
    try:
        digest, _ = verify_checksum(path)
    except OSError as error:
        raise EtcdopsError(
            f"{path} cannot be read: {error.strerror}", hint="put the planned file back there, then go on"
        ) from error
    if digest.hex() != run.sha256:
        raise SnapshotCorrupt(
            f"{path} changed since the plan was made",
            cause=f"its sha256 is {digest.hex()}, the plan says {run.sha256}",
            hint="put the planned file back, or make a new plan with --new-run",
        )


class ReadyHost(_OnHost):
    """Old data stays, so the new data needs room of its own. Known before anything is changed."""

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        if await self.is_there(self.member.data.work):
            return {}  # its room is taken already, by an earlier attempt
        session = await self.session()
        said = await session.run(script(_FREE, self.member.data.path, user=ROOT))
        free = int(said.text) * 1024
        if free < self.member.need_bytes:
            raise EtcdopsError(
                f"{self.host}: not enough room beside {self.member.data.path}: {self.member.need_bytes >> 20} MiB are"
                f" needed, {free >> 20} are free",
                hint="old data is kept, not overwritten: free some space there",
            )
        return {"free_bytes": free}


class RaiseRevision(_OnAll, UndoableStep):
    """For restore tools that cannot raise the revision themselves: written here, once, the same for all."""

    async def check(self) -> bool:
        return self._raised.exists()

    async def act(self) -> None:
        await asyncio.to_thread(_require_same_snapshot, self.run)
        part = self._raised.with_suffix(".part")
        part.unlink(missing_ok=True)
        recovered = self.run.recovered
        await asyncio.to_thread(rewrite_bumped, recovered.snapshot, part, revision=recovered.revision)
        part.replace(self._raised)
        sync_folder(self._raised.parent)

    async def verify(self) -> Result:
        digest, _ = await asyncio.to_thread(verify_checksum, self._raised)
        return {"sha256": digest.hex()}

    async def undo(self, result: Result) -> None:
        self._raised.unlink(missing_ok=True)

    @property
    def _raised(self) -> Path:
        assert self.run.raised is not None
        return self.run.raised

    def safe_now(self) -> str:
        return _UNTOUCHED


_UNTOUCHED = "everything: the members are as they were, only copies were made beside their data"


class PrepareMember(_OnHost, UndoableStep):
    """The data as it will be, whole, beside the data that is there. Nothing is stopped for it."""

    async def check(self) -> bool:
        there = [await self.is_there(tree.new) for tree in self.member.trees]
        return all(there)

    async def act(self) -> None:
        await asyncio.to_thread(_require_same_snapshot, self.run)
        session = await self.session()
        for tree in self.member.trees:
            await session.run(script(_PARENTS, tree.path, user=ROOT))
            await session.run(script(_MAKE, tree.work, user=ROOT))
            await session.run(script(_REMOVE, tree.unfinished, tree.new, user=ROOT), timeout_s=_COPY_TIMEOUT_S)
        if self.run.is_node:
            await self._bring_node(session)
        else:
            await self._restore_etcd(session)
        for tree in reversed(self.member.trees):
            await session.run(tree.finish(self.run.owner), timeout_s=_COPY_TIMEOUT_S)

    async def _restore_etcd(self, session: Session) -> None:
        run, member = self.run, self.member
        source = run.raised or run.recovered.snapshot
        await session.upload(
            source, member.snapshot, Ownership(0o600, "root", "root"), user=ROOT, timeout_s=_COPY_TIMEOUT_S
        )
        if run.raised is None:
            await self._require_same(session, database_size(source))
        placed = run.placed(member.name)
        target = etcd_tools.RestoreTarget(
            placed.name,
            Path(member.data.unfinished),
            placed.initial_advertise_peer_urls,
            run.initial_cluster,
            run.recovered.token,
            Path(member.wal.unfinished) if member.wal is not None else None,
        )
        bump = 0 if run.raised is not None else run.recovered.revision - run.recovered.snapshot_revision
        arguments = etcd_tools.restore_arguments(
            member.snapshot, target, has_checksum=run.has_checksum or run.raised is not None, bump=bump
        )
        volumes = tuple(tree.work for tree in member.trees)
        await session.run(
            tool_command(run.cluster, member.tool[0], tuple(arguments), volumes=volumes), timeout_s=_COPY_TIMEOUT_S
        )

    async def _require_same(self, session: Session, size: int) -> None:
        """Every host restores the same bytes: those that were confirmed."""
        said = await session.run(script(_DIGEST, self.member.snapshot, str(size), user=ROOT), timeout_s=_COPY_TIMEOUT_S)
        if said.text.split()[:1] != [self.run.sha256]:
            raise SnapshotCorrupt(
                f"{self.run.recovered.snapshot} changed while it was copied to {self.host}",
                hint="put the planned file back, then go on",
            )

    async def _bring_node(self, session: Session) -> None:
        """Made here and copied: a host needs nothing but its member for it."""
        with tempfile.TemporaryDirectory(prefix="etcdops-restore-") as folder:
            made = Path(folder) / "data"
            await asyncio.to_thread(self._restore_node, made)
            for file in sorted(made.rglob("*")):
                if not file.is_file():
                    continue
                tree, inside = self._node_place(file, made)
                target = posixpath.join(tree, inside)
                await session.run(script(_MAKE, posixpath.dirname(target), user=ROOT))
                await session.upload(
                    file, target, Ownership(0o600, "root", "root"), user=ROOT, timeout_s=_COPY_TIMEOUT_S
                )

    def _node_place(self, file: Path, made: Path) -> tuple[str, str]:
        if self.member.wal is not None and file.name in _LOG_FILES:
            return self.member.wal.unfinished, file.name
        return self.member.data.unfinished, str(file.relative_to(made))

    def _restore_node(self, folder: Path) -> None:
        recovered = self.run.recovered
        restore_node(
            recovered.snapshot,
            folder,
            name=self.member.name,
            members=[InitialMember(member.name, member.peer_urls) for member in recovered.members],
            token=recovered.token,
            revision=recovered.revision,
        )

    async def verify(self) -> Result:
        if not await self.is_there(posixpath.join(self.member.data.new, "member")):
            raise VerificationFailed(
                f"{self.host}: nothing was restored into {self.member.data.new}", hint="look at it there, then go on"
            )
        return {"restored_into": self.member.data.new}

    async def undo(self, result: Result) -> None:
        await _remove_work(self)

    def safe_now(self) -> str:
        return _UNTOUCHED


async def _remove_work(step: _OnHost) -> None:
    session = await step.session()
    trees = [tree.work for tree in step.member.trees]
    await session.run(script(_REMOVE, *trees, user=ROOT), timeout_s=_COPY_TIMEOUT_S)


class StopMember(_OnHost, UndoableStep):
    """An old member left running splits the cluster."""

    async def check(self) -> bool:
        status = await (await self.service()).status()
        return status.pid is None and status.state in (State.STOPPED, State.ABSENT)

    async def judge(self) -> safety.Verdict:
        """The quorum may have come back since the plan was made."""
        async with Client(self.run.recovered.settings) as client:
            view = await observe(client, timeout_s=FACTS_TIMEOUT_S)
        now = view.quorum if view.quorum.voters else Quorum(len(self.run.members), 0)
        return safety.judge_recovery(now, proven=view.serves_linearizable)

    async def act(self) -> None:
        await (await self.service()).stop()

    async def verify(self) -> Result:
        await require_stopped(self)
        return {"was_running": self.member.was_running}

    async def undo(self, result: Result) -> None:
        """Started as it was. It may wait for members that are gone: whether it serves is not the question."""
        if not self.member.was_running:
            return
        service = await self.service()
        try:
            await service.start(timeout_s=_STARTED_AGAIN_S)
        except EtcdopsError:
            if (await service.status()).state not in (State.RUNNING, State.STARTING):
                raise


_STARTED_AGAIN_S = 5.0


async def require_stopped(step: _OnHost) -> None:
    """No process of the service, and no other one that is this member. Raises: ClusterUnsafe, EtcdopsError."""
    session, service = await step.session(), await step.service()
    status = await service.status()
    if status.pid is not None or status.state not in _STOPPED:
        raise EtcdopsError(
            f"{step.host}: {service.name} is {status.state} again, process {status.pid or 'unknown'}",
            hint="see who starts it, and stop that first",
        )
    placed = step.run.placed(step.member.name)
    for pid in await find_members(session):
        config = await running_config(session, pid)
        if config is None:
            continue
        theirs = {posixpath.normpath(config.value("data-dir") or ""), config.value("initial-advertise-peer-urls")}
        ours = {placed.data_dir, step.member.data.path, ",".join(placed.initial_advertise_peer_urls)}
        if theirs & ours:
            raise ClusterUnsafe(
                f"{step.host}: process {pid} is {placed.name} too, and {service.name} did not start it",
                cause="started again by others, old members would split the recovered cluster",
                hint=f"end it for good on {step.host}, then go on",
            )


class ConfigureMember(_OnHost, UndoableStep):
    """The new token, and a state that never forms a cluster: with its data gone again a member waits for the others."""

    async def check(self) -> bool:
        return not await (await self.service()).compare(self._files())

    async def act(self) -> None:
        session = await self.session()
        if not await self.is_there(self.member.config_before):
            content = json.dumps(await self._before(session)).encode()
            await session.write_file(self.member.config_before, content, Ownership(0o600, "root", "root"), user=ROOT)
        await (await self.service()).install(self._files())

    async def verify(self) -> Result:
        left = await (await self.service()).compare(self._files())
        if left:
            raise VerificationFailed(
                f"{self.host}: {', '.join(left.diffs) or ', '.join(left.actions)} is not as it was written",
                hint="somebody else writes it too: stop that, then go on",
            )
        return {"files": [file.path for file in self._files()]}

    async def undo(self, result: Result) -> None:
        session, service = await self.session(), await self.service()
        kept = await session.read_file(self.member.config_before, user=ROOT)
        if kept is None:
            return
        before = cast("Mapping[str, Mapping[str, Json] | None]", json.loads(kept))
        files = [_kept_file(path, said) for path, said in before.items() if said is not None]
        if files:
            await service.install(files)
        else:
            await service.uninstall()

    def _files(self) -> tuple[RenderedFile, ...]:
        run = self.run
        member = run.hosts.member(self.member.name)
        return desired(run.hosts.inventory, run.cluster, member, state="existing").files

    async def _before(self, session: Session) -> dict[str, Json]:
        """Every file of the service as it is now; null: there is none."""
        ours = HostFiles(session, str(self.run.cluster.service.manager), self.run.cluster.service.name)
        found: dict[str, Json] = {}
        for path in dict.fromkeys((*(file.path for file in self._files()), *await ours.ours())):
            stat = await session.stat(path, user=ROOT)
            content = await session.read_file(path, user=ROOT) if stat is not None else None
            if stat is None or content is None:
                found[path] = None
                continue
            found[path] = {
                "content": base64.b64encode(content).decode(),
                "mode": stat.mode,
                "owner": stat.owner,
                "group": stat.group,
            }
        return found


def _kept_file(path: str, said: Mapping[str, Json]) -> RenderedFile:
    ownership = Ownership(int(str(said["mode"])), str(said["owner"]), str(said["group"]))
    return RenderedFile(path, base64.b64decode(str(said["content"])), ownership, secret=True)


class MoveAside(_OnHost, UndoableStep):
    """Old data is moved, never deleted."""

    async def act(self) -> None:
        session = await self.session()
        # A host that was switched on meanwhile has started it again.
        await (await self.service()).stop()
        await require_stopped(self)
        for tree in self.member.trees:
            await session.run(tree.move_aside(), timeout_s=_COPY_TIMEOUT_S)

    async def verify(self) -> Result:
        moved: list[Json] = [tree.aside for tree in self.member.trees if await self.is_there(tree.aside)]
        return {"moved_to": moved}

    async def undo(self, result: Result) -> None:
        session = await self.session()
        for tree in reversed(self.member.trees):
            await session.run(tree.move_back(), timeout_s=_COPY_TIMEOUT_S)


class PlaceData(_OnHost, UndoableStep):
    """A directory gets its name when it is complete; the data directory last."""

    async def act(self) -> None:
        session = await self.session()
        if await self.is_there(self.member.data.new):
            await (await self.service()).stop()
        for tree in reversed(self.member.trees):
            await session.run(tree.place(), timeout_s=_COPY_TIMEOUT_S)

    async def verify(self) -> Result:
        if not await self.is_there(posixpath.join(self.member.data.path, "member")):
            raise VerificationFailed(
                f"{self.host}: the restored data is not in {self.member.data.path}",
                hint=f"look for it in {self.member.data.work}",
            )
        return {"data_dir": self.member.data.path}

    async def undo(self, result: Result) -> None:
        session = await self.session()
        await (await self.service()).stop()
        for tree in self.member.trees:
            await session.run(tree.take_out(), timeout_s=_COPY_TIMEOUT_S)


class StartMember(_OnHost, UndoableStep):
    """All at once: each waits for the others."""

    lasting = False

    async def check(self) -> bool:
        return (await (await self.service()).status()).state is State.RUNNING

    async def act(self) -> None:
        await (await self.service()).start(timeout_s=START_TIMEOUT_S)

    async def undo(self, result: Result) -> None:
        await (await self.service()).stop()


class _Services:
    """`Processes` of the hosts."""

    def __init__(self, run: HostRecovery) -> None:
        self._run = run

    async def _service(self, name: str) -> Service:
        session = await self._run.hosts.session(self._run.members[name].host)
        return service_for(session, self._run.cluster.service)

    async def ended(self, name: str) -> bool:
        return (await (await self._service(name)).status()).state in _STOPPED

    async def last_said(self, name: str) -> tuple[str, str]:
        service = await self._service(name)
        lines = await last_lines(service)  # type: ignore[arg-type]  # every service has a host
        return "\n".join(lines[-_LOG_LINES:]), f"that of {service.name} on {self._run.members[name].host}"


class WaitServing(_OnAll):
    """All members know a leader and answer a read through the quorum."""

    lasting = False

    async def act(self) -> None:
        await verifying.wait_serving(self.run.recovered, _Services(self.run), START_TIMEOUT_S)


class Verify(_OnAll):
    """One of `verifying.CHECKS`."""

    lasting = False

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        checks = {name: check for name, _, check in verifying.CHECKS}
        return await checks[str(self.spec.inputs["check"])](self.run.recovered)


class CleanUp(_OnHost):
    """The copies go; old data stays until somebody removes it. All is proved by now, and there is no way back."""

    async def check(self) -> bool:
        return not any([await self.is_there(tree.work) for tree in self.member.trees])

    async def act(self) -> None:
        await _remove_work(self)
        if self.run.raised is not None:
            self.run.raised.unlink(missing_ok=True)


KINDS: StepKinds[HostRecovery] = StepKinds(PROCEDURE)
for _name, _kind in (
    ("check-snapshot", CheckSnapshot),
    ("ready-host", ReadyHost),
    ("raise-revision", RaiseRevision),
    ("prepare-member", PrepareMember),
    ("stop-member", StopMember),
    ("configure-member", ConfigureMember),
    ("move-aside", MoveAside),
    ("place-data", PlaceData),
    ("start-member", StartMember),
    ("wait-serving", WaitServing),
    ("verify", Verify),
    ("clean-up", CleanUp),
):
    KINDS.add(_name, _kind)
