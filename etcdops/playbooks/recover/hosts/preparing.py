"""Before anything is stopped: the snapshot, room for it, and the data as it will be, beside the data that is there."""

from __future__ import annotations

import asyncio
import posixpath
import tempfile
from pathlib import Path

from etcdops.errors import EtcdopsError, SnapshotCorrupt, VerificationFailed
from etcdops.files import sync_folder
from etcdops.playbooks.plan import Result
from etcdops.playbooks.recover.hosts.base import COPY_TIMEOUT_S, OnAll, OnHost
from etcdops.playbooks.recover.hosts.facts import tool_command
from etcdops.playbooks.recover.hosts.planned import HostRecovery
from etcdops.playbooks.step import UndoableStep
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Ownership, Session
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.checksum import database_size, verify_checksum
from etcdops.snapshot.etcd_rewrite import rewrite_bumped
from etcdops.snapshot.sqlite_restore import InitialMember, restore_node

_LOG_FILES = ("wal.db", "wal.db-wal")
"""Of a node: what goes into `--wal-dir`."""
_MAKE = 'umask 077; exec mkdir -p -- "$@"'
_PARENTS = 'umask 022; exec mkdir -p -- "$(dirname -- "$1")"'
_REMOVE = 'exec rm -rf -- "$@"'
_DIGEST = 'head -c "$2" -- "$1" | sha256sum'
_FREE = """
near=$1
while [ ! -e "$near" ]; do near=$(dirname -- "$near"); done
df -Pk -- "$near" | awk 'NR == 2 { print $4 }'
"""
_UNTOUCHED = "everything: the members are as they were, only copies were made beside their data"


class CheckSnapshot(OnAll):
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


class ReadyHost(OnHost):
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


class RaiseRevision(OnAll, UndoableStep):
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


class PrepareMember(OnHost, UndoableStep):
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
            await session.run(script(_REMOVE, tree.unfinished, tree.new, user=ROOT), timeout_s=COPY_TIMEOUT_S)
        if self.run.is_node:
            await self._bring_node(session)
        else:
            await self._restore_etcd(session)
        for tree in reversed(self.member.trees):
            await session.run(tree.finish(self.run.owner), timeout_s=COPY_TIMEOUT_S)

    async def _restore_etcd(self, session: Session) -> None:
        run, member = self.run, self.member
        source = run.raised or run.recovered.snapshot
        await session.upload(
            source, member.snapshot, Ownership(0o600, "root", "root"), user=ROOT, timeout_s=COPY_TIMEOUT_S
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
            tool_command(run.cluster, member.tool[0], tuple(arguments), volumes=volumes), timeout_s=COPY_TIMEOUT_S
        )

    async def _require_same(self, session: Session, size: int) -> None:
        """Every host restores the same bytes: those that were confirmed."""
        said = await session.run(script(_DIGEST, self.member.snapshot, str(size), user=ROOT), timeout_s=COPY_TIMEOUT_S)
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
                    file, target, Ownership(0o600, "root", "root"), user=ROOT, timeout_s=COPY_TIMEOUT_S
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
        await self.remove_work()

    def safe_now(self) -> str:
        return _UNTOUCHED
