"""Backups as they lie in a folder: when they were taken, and whether the newest can be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etcdops.clock import rfc3339
from etcdops.doctor.gather import backups
from etcdops.doctor.gather.backups import find_backups
from etcdops.doctor.observation import BackupProof, BackupSeen
from etcdops.doctor.words import in_words
from etcdops.errors import UsageError
from etcdops.snapshot.checksum import sha256_of
from etcdops.snapshot.sidecar import sidecar_path, write_sidecar
from tests.cli.test_snapshot import small_snapshot

DAY = 86_400.0


def saved(folder: Path, name: str, day: int, *, checksum: bool = True) -> Path:
    """A whole snapshot, written on that day."""
    path = small_snapshot(folder / name, checksum=checksum)
    os.utime(path, (day * DAY, day * DAY))
    return path


def note(path: Path, day: int, **changes: object) -> None:
    """What `snapshot save` leaves beside the file."""
    size = path.stat().st_size
    body: dict[str, object] = {
        "file": path.name,
        "sha256": sha256_of(path, size_bytes=size - size % 512).hex(),
        "cluster_id": "00000000000000ff",
        "taken_at": rfc3339(day * DAY),
        "revision": 42,
    }
    write_sidecar(sidecar_path(path), {**body, **changes})


def damage(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(status.st_size // 2)
        file.write(b"\xff" * 64)
    os.utime(path, (status.st_atime, status.st_mtime))


def shown(found: tuple[BackupSeen, ...]) -> list[tuple[str, float, BackupProof]]:
    return [(Path(one.where).name, one.taken_at / DAY, one.proof) for one in found]


def test_backups_are_found_newest_first(tmp_path: Path) -> None:
    """Parts that are just being written, and folders, are none. Packed ones are not opened, which is said."""
    for name, at in (("old.db", 1000.0), ("new.db.gz", 2000.0), ("next.db.part", 3000.0)):
        (tmp_path / name).write_bytes(b"x" * 7)
        os.utime(tmp_path / name, (at, at))
    (tmp_path / "folder.db").mkdir()
    found, unread = find_backups([tmp_path])
    assert [(Path(one.where).name, one.taken_at, one.size_bytes) for one in found] == [
        ("new.db.gz", 2000.0, 7),
        ("old.db", 1000.0, 7),
    ]
    assert [in_words(one.why, "en") for one in unread] == ["it is packed, and packed files are not opened here"]
    assert unread[0].next_step == f"etcdops snapshot status {tmp_path / 'new.db.gz'}"


def test_only_the_newest_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """Reading takes time; what a file says of itself is its revision."""
    saved(tmp_path, "monday.db", 1)
    saved(tmp_path, "tuesday.db", 2)
    found, unread = find_backups([tmp_path])
    assert shown(found) == [("tuesday.db", 2, BackupProof.WHOLE), ("monday.db", 1, BackupProof.UNREAD)]
    assert found[0].revision is not None
    assert unread == ()


def test_a_file_without_checksum_is_not_called_whole(tmp_path: Path) -> None:
    saved(tmp_path, "copied.db", 1, checksum=False)
    found, _ = find_backups([tmp_path])
    assert shown(found) == [("copied.db", 1, BackupProof.STRUCTURE)]


def test_behind_a_damaged_backup_the_next_one_is_read(tmp_path: Path) -> None:
    saved(tmp_path, "monday.db", 1)
    damage(saved(tmp_path, "tuesday.db", 2))
    (tmp_path / "wednesday.db").write_bytes(b"")
    os.utime(tmp_path / "wednesday.db", (3 * DAY, 3 * DAY))
    found, _ = find_backups([tmp_path])
    assert [proof for _, _, proof in shown(found)] == [BackupProof.DAMAGED, BackupProof.DAMAGED, BackupProof.WHOLE]
    assert found[0].damage == "is empty"
    assert "cut short or changed" in found[1].damage


def test_when_it_was_saved_counts_not_when_it_was_copied(tmp_path: Path) -> None:
    """A copy without its dates looks new; what was noted beside it knows better, and its cluster."""
    path = saved(tmp_path, "prod.db", 9)
    note(path, 2)
    found, _ = find_backups([tmp_path])
    assert shown(found) == [("prod.db", 2, BackupProof.WHOLE)]
    assert found[0].cluster == "00000000000000ff"
    note(path, 2, file="another.db")
    assert shown(find_backups([tmp_path])[0]) == [("prod.db", 9, BackupProof.WHOLE)]


def test_a_large_one_is_held_against_its_checksum_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was not looked at is said."""
    monkeypatch.setattr(backups, "INSPECTED_MAX_BYTES", 1)
    path = saved(tmp_path, "prod.db", 1)
    found, unread = find_backups([tmp_path])
    assert shown(found) == [("prod.db", 1, BackupProof.CHECKSUM)]
    assert "its records were not read" in in_words(unread[0].why, "en")
    damage(path)
    assert shown(find_backups([tmp_path])[0]) == [("prod.db", 1, BackupProof.DAMAGED)]


def test_a_huge_one_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "SUMMED_MAX_BYTES", 1)
    saved(tmp_path, "prod.db", 1)
    found, unread = find_backups([tmp_path])
    assert shown(found) == [("prod.db", 1, BackupProof.UNREAD)]
    assert len(unread) == 1


def test_text_in_the_place_of_a_backup_is_no_backup(tmp_path: Path) -> None:
    """What a failed download left there is told as what it looks like."""
    (tmp_path / "prod.db").write_text("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>")
    found, _ = find_backups([tmp_path])
    assert found[0].proof is BackupProof.DAMAGED
    assert found[0].damage.startswith("it looks like what a web server answered")


@pytest.mark.parametrize("asked", ["nowhere", "file.db", "nowhere/deeper"])
def test_a_folder_that_is_not_there_is_a_fault_of_the_command(tmp_path: Path, asked: str) -> None:
    """It says which folder, why, and what to give."""
    (tmp_path / "file.db").touch()
    with pytest.raises(UsageError) as told:
        find_backups([tmp_path / asked])
    assert told.value.message == f"the backups in {tmp_path / asked} cannot be read"
    assert told.value.cause in ("No such file or directory", "Not a directory")
    assert told.value.hint == "give the folder in which the snapshots lie on this machine"
