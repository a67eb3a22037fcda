"""Backups as they lie in a folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etcdops.doctor.gather.backups import find_backups
from etcdops.errors import UsageError


def test_backups_are_found_newest_first(tmp_path: Path) -> None:
    """Parts that are just being written, and folders, are none."""
    for name, at in (("old.db", 1000.0), ("new.db.gz", 2000.0), ("next.db.part", 3000.0)):
        (tmp_path / name).write_bytes(b"x" * 7)
        os.utime(tmp_path / name, (at, at))
    (tmp_path / "folder.db").mkdir()
    found, _ = find_backups([tmp_path])
    assert [(Path(one.where).name, one.taken_at, one.size_bytes) for one in found] == [
        ("new.db.gz", 2000.0, 7),
        ("old.db", 1000.0, 7),
    ]


def test_a_folder_that_is_not_there_is_a_fault_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        find_backups([tmp_path / "nowhere"])
