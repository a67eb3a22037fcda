"""Snapshot files where backups are kept on this machine: how old they are, and whether the newest can be used.

Reading a backup takes time. So the newest is checked, and older ones only until one is sound; a large one is held
against its checksum, and one that is packed or huge is left to `etcdops snapshot status`. What was not read is said.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from etcdops.diagnosis.times import parse_clock
from etcdops.doctor.observation import BackupProof, BackupSeen, Unseen
from etcdops.doctor.words import Said, say
from etcdops.errors import SnapshotCorrupt, UsageError
from etcdops.snapshot.checksum import verify_checksum
from etcdops.snapshot.file import open_snapshot
from etcdops.snapshot.inspect import inspect_snapshot
from etcdops.snapshot.sidecar import Noted, read_sidecar

SNAPSHOTS = (".db", ".snapshot", ".snap")
PACKED = (".zst", ".gz", ".xz")
"""What names of backups usually end with; parts of one that is just being written do not."""
INSPECTED_MAX_BYTES = 32 << 20
"""Ours: every record of it is read in a few seconds."""
SUMMED_MAX_BYTES = 2 << 30
"""Ours: what a disk reads in some ten seconds."""
TRIED_MAX = 3
"""Damaged ones in a row before we stop looking for one that is whole."""


def find_backups(folders: Iterable[Path]) -> tuple[tuple[BackupSeen, ...], tuple[Unseen, ...]]:
    """The newest first, and what was not read of the newest. Raises: UsageError - a folder cannot be read."""
    found = sorted(_files(folders), key=lambda one: (-one.taken_at, one.where))
    for number, backup in enumerate(found[:TRIED_MAX]):
        found[number] = check_backup(backup)
        if not found[number].damage:
            break
    unread = [_unread(one) for one in found[:1] if one.proof in (BackupProof.UNREAD, BackupProof.CHECKSUM)]
    return tuple(found), tuple(unread)


def _files(folders: Iterable[Path]) -> Iterable[BackupSeen]:
    for folder in folders:
        try:
            paths = [path for path in folder.iterdir() if path.name.endswith((*SNAPSHOTS, *PACKED))]
            told = [(path, path.stat()) for path in paths]
        except OSError as error:
            raise UsageError(
                f"the backups in {folder} cannot be read",
                cause=error.strerror or str(error),
                hint="give the folder in which the snapshots lie on this machine",
            ) from error
        for path, status in told:
            if stat.S_ISREG(status.st_mode):
                noted = read_sidecar(path)
                backup = BackupSeen(str(path), status.st_mtime, status.st_size)
                yield _as_noted(backup, noted) if noted is not None and noted.file == path.name else backup


def _as_noted(backup: BackupSeen, noted: Noted) -> BackupSeen:
    """When it was saved is older than a copy's date."""
    taken_at, _ = parse_clock(noted.taken_at)
    return dataclasses.replace(
        backup, taken_at=taken_at or backup.taken_at, revision=noted.revision, cluster=noted.cluster_id
    )


def check_backup(backup: BackupSeen) -> BackupSeen:
    """The same with what a look into it shows, as far as that is cheap."""
    path = Path(backup.where)
    if path.name.endswith(PACKED) or backup.size_bytes > SUMMED_MAX_BYTES:
        return backup
    try:
        if backup.size_bytes > INSPECTED_MAX_BYTES:
            return _summed(backup, path)
        report = inspect_snapshot(path)
    except SnapshotCorrupt as error:
        reason = error.cause or error.message.removeprefix(f"{path} ").removeprefix("is damaged: ")
        return dataclasses.replace(backup, proof=BackupProof.DAMAGED, damage=reason)
    except UsageError:
        return backup  # not ours to read, or gone meanwhile
    proof = BackupProof.WHOLE if report.has_checksum else BackupProof.STRUCTURE
    return dataclasses.replace(backup, proof=proof, revision=report.current_revision)


def _summed(backup: BackupSeen, path: Path) -> BackupSeen:
    """Raises: SnapshotCorrupt."""
    with open_snapshot(path):
        digest, carried = verify_checksum(path)
    noted = read_sidecar(path)
    same = noted is not None and noted.sha256 == digest.hex()
    return dataclasses.replace(backup, proof=BackupProof.CHECKSUM if carried or same else BackupProof.UNREAD)


def _unread(backup: BackupSeen) -> Unseen:
    return Unseen(say("unseen.backup", where=backup.where), _why(backup), f"etcdops snapshot status {backup.where}")


def _why(backup: BackupSeen) -> Said:
    if backup.where.endswith(PACKED):
        return say("unseen.packed")
    if not os.access(backup.where, os.R_OK):
        return say("unseen.closed")
    if backup.proof is BackupProof.CHECKSUM:
        return say("unseen.records", size_bytes=backup.size_bytes)
    return say("unseen.large", size_bytes=backup.size_bytes)
