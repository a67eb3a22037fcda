"""Directories that are there as a whole or not at all. Losses of power: tests/power/test_tools.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.files import fill_directory, is_vacant, make_folder, unfinished_directory


def _fill(folder: Path) -> None:
    (folder / "member").mkdir(parents=True)
    (folder / "member" / "wal").write_bytes(b"log")


@pytest.mark.parametrize("before", ["nothing", "empty", "leftover"])
def test_a_directory_appears_with_all_that_is_in_it(tmp_path: Path, before: str) -> None:
    """Where nothing is, where an empty directory is, and after an attempt that was cut off."""
    target = tmp_path / "deep" / "m1.etcd"
    if before == "empty":
        target.mkdir(parents=True)
    if before == "leftover":
        unfinished_directory(target).mkdir(parents=True)
        (unfinished_directory(target) / "half").write_bytes(b"")
    assert is_vacant(target)
    fill_directory(target, _fill)
    assert [path.name for path in target.iterdir()] == ["member"]
    assert [path.name for path in target.parent.iterdir()] == ["m1.etcd"]
    assert not is_vacant(target)


def test_a_mount_point_is_filled_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be renamed over, and what is beside it is on another disk."""
    target = tmp_path / "mounted"
    (target / ".restoring").mkdir(parents=True)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == target)
    assert is_vacant(target), "only a leftover is in it"
    fill_directory(target, _fill)
    assert [path.name for path in target.iterdir()] == ["member"]
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """Not even under the other name."""

    def fail(folder: Path) -> None:
        _fill(folder)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill_directory(tmp_path / "m1.etcd", fail)
    assert not list(tmp_path.iterdir())


def test_folders_are_made_from_the_top(tmp_path: Path) -> None:
    """The last one is private, and making it again changes nothing."""
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
