"""The data directory: private, used by one process, and never anybody else's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from etcdops.errors import StartRefused
from etcdops.ids import LogIndex
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.server import data_dir
from etcdops.node.server.data_dir import DataDir


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """CVE-2020-15113: data that others can read or write (K13, T-3)."""
    before = os.umask(0)
    try:
        made = DataDir.open(tmp_path / "deep" / "data", tmp_path / "wal")
    finally:
        os.umask(before)
    assert made.is_new()
    assert {_mode(path) for path in (made.root, made.member, made.snapshots, tmp_path / "wal")} == {0o700}
    assert _mode(made.member / "LOCK") == 0o600
    assert made.wal == tmp_path / "wal" / "wal.db"
    made.close()


def test_a_start_that_is_refused_leaves_no_directory_behind(tmp_path: Path) -> None:
    """It would look like a member's; what was there before stays."""
    there = tmp_path / "there"
    there.mkdir(mode=0o700)
    DataDir.open(there / "deep" / "data", there / "wal").discard()
    assert list(there.iterdir()) == []
    again = DataDir.open(there / "data")
    (again.member / "notes.txt").write_text("somebody's")
    again.discard()
    assert [path for path in there.rglob("*") if path.is_file()] == [again.member / "notes.txt"]


def test_a_directory_with_data_is_never_discarded(tmp_path: Path) -> None:
    """Only its lock is given back."""
    made = DataDir.open(tmp_path / "data")
    made.state.write_bytes(b"data")
    made.discard()
    assert (made.member / "LOCK").exists()
    DataDir.open(tmp_path / "data").close()


def test_half_made_directories_go_when_they_cannot_be_completed(tmp_path: Path) -> None:
    """The log's directory is refused after the data directory was made."""
    (tmp_path / "wal").write_text("a file")
    with pytest.raises(StartRefused):
        DataDir.open(tmp_path / "data", tmp_path / "wal")
    assert [path.name for path in tmp_path.iterdir()] == ["wal"]


def test_a_lock_that_was_removed_under_our_feet_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever held it was refused and removed it: a lock without a name would keep nobody out."""
    DataDir.open(tmp_path / "data").close()
    lock, real = tmp_path / "data" / "member" / "LOCK", os.open
    opened: list[int] = []

    def open_then_removed(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        if path == lock and not opened:
            opened.append(descriptor)
            lock.unlink()
        return descriptor

    monkeypatch.setattr(os, "open", open_then_removed)
    held = DataDir.open(tmp_path / "data")
    monkeypatch.undo()
    with pytest.raises(StartRefused, match="another process"):
        DataDir.open(tmp_path / "data")
    held.close()


def test_a_new_directory_survives_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one is on the disk before anything is put into it: a synced file in a lost directory is lost."""
    synced: list[tuple[Path, list[Path]]] = []

    def noted(directory: Path) -> None:
        synced.append((directory, sorted(directory.iterdir())))

    monkeypatch.setattr(data_dir, "sync_folder", noted)
    root = tmp_path / "deep" / "data"
    DataDir.open(root).close()
    member = root / "member"
    assert synced == [
        (tmp_path, [tmp_path / "deep"]),
        (tmp_path / "deep", [root]),
        (root, [member]),
        (member, [member / "snap"]),
        (member, [member / "images", member / "snap"]),
    ]


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777])
def test_a_directory_that_others_may_use_is_warned_of_in_etcds_words(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Not refused, and not changed behind the operator's back (fileutil.go, TouchDirAll); what is in it is private."""
    root = tmp_path / "data"
    root.mkdir()
    root.chmod(mode)
    DataDir.open(root).close()
    (warning,) = caplog.records
    assert warning.message == "check file permission"
    assert f'directory "{root}" exist, but the permission is "{stat.filemode(0o040000 | mode)}"' in str(vars(warning))
    assert stat.S_IMODE(root.stat().st_mode) == mode
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()} == {0o700}


def test_a_second_user_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    """Until the first lets go (K14)."""
    first = DataDir.open(tmp_path / "data")
    with pytest.raises(StartRefused) as refused:
        DataDir.open(tmp_path / "data")
    assert f"another process (pid {os.getpid()}) is using the data directory" in refused.value.message
    first.close()
    first.close()
    DataDir.open(tmp_path / "data").close()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    """And left alone."""
    (tmp_path / "data").write_text("mine")
    with pytest.raises(StartRefused) as refused:
        DataDir.open(tmp_path / "data")
    assert refused.value.message.endswith("is not a directory")
    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.parametrize("foreign", ["wal", "snap/db"])
def test_the_directory_of_an_etcd_is_refused(tmp_path: Path, foreign: str) -> None:
    """Beside its files a second, empty member would begin a life of its own."""
    root = tmp_path / "data"
    (root / "member" / foreign).mkdir(parents=True)
    for folder in (root, root / "member", root / "member" / "snap"):
        if folder.exists():
            folder.chmod(0o700)
    with pytest.raises(StartRefused) as refused:
        DataDir.open(root)
    assert "is the data directory of an etcd member" in refused.value.message
    assert str(root / "member" / foreign) in refused.value.cause


@pytest.mark.parametrize("left", [b"", b"\0" * 60, b"This is the data dir\0\0\0\0", b"\0\0\0\0 etcdops\n"])
def test_a_note_for_etcd_that_the_disk_lost_is_written_again(tmp_path: Path, left: bytes) -> None:
    """It is not synced: a loss of power may leave any part of it, and no database of etcd's is that small."""
    DataDir.open(tmp_path / "data").close()
    note = tmp_path / "data" / "member" / "snap" / "db"
    said = note.read_bytes()
    note.write_bytes(left)
    DataDir.open(tmp_path / "data").close()
    assert note.read_bytes() == said


def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """With what to do about it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused) as refused:
        DataDir.open(tmp_path / "file" / "data")
    assert str(tmp_path / "file") in refused.value.message
    assert refused.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_refused(tmp_path: Path) -> None:
    """As the owner of it, or give it away."""
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(StartRefused) as refused:
        DataDir.open(tmp_path / "theirs" / "data")
    assert "run the member as the owner" in refused.value.hint


def test_leftovers_of_transfers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    """Images that no start can need; the store and the log are not among them."""
    made = DataDir.open(tmp_path / "data")
    made.state.write_bytes(b"state")
    kept = received_path(made.snapshots, LogIndex(7))
    for path in (kept, made.snapshots / "tmpabc", made.snapshots / "outgoing-1.tmp.part"):
        path.write_bytes(b"image")
    assert len(made.remove_leftovers(keep=kept)) == 2
    assert list(made.snapshots.iterdir()) == [kept]
    assert made.state.exists()
    made.close()
