"""A member's directory moved aside, replaced and brought back, by the very scripts that run on hosts."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from etcdops.playbooks.recover.hosts.trees import Tree
from etcdops.remote.command import Command

pytestmark = pytest.mark.slow

STAMP = "20261121T180000Z"


@dataclass(frozen=True)
class Disk:
    """A member's directory, a mount point or not as far as the scripts are told."""

    path: Path
    tree: Tree

    def run(self, command: Command) -> None:
        argv = [str(word) for word in replace(command, user="").argv]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def write(self, text: str, where: str = "") -> None:
        """A member's data."""
        member = Path(where or self.path) / "member"
        member.mkdir(parents=True, exist_ok=True)
        (member / "db").write_text(text)
        (member.parent / ".hidden").write_text(text)

    def restore(self, text: str) -> None:
        """What a restore tool makes."""
        self.write(text, self.tree.unfinished)
        self.run(self.tree.finish(f"{os.getuid()}:{os.getgid()}"))

    def read(self, where: str = "") -> str:
        file = Path(where or self.path) / "member" / "db"
        return file.read_text() if file.exists() else ""


@pytest.fixture(params=[False, True], ids=["renamed", "mounted"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    path = tmp_path / "lib of 'etcd'" / "etcd $(x)"
    path.parent.mkdir()
    if request.param:
        (path / "lost+found").mkdir(parents=True)
    return Disk(path, Tree(str(path), request.param, STAMP))


def test_restored_data_takes_the_place_of_the_old_and_the_old_is_kept(disk: Disk) -> None:
    """Trap 28: moved, never deleted; open to its owner only."""
    disk.write("old")
    disk.restore("new")
    assert disk.read() == "old", "until the member is stopped nothing of it is touched"
    for command in (disk.tree.move_aside(), disk.tree.place()):
        disk.run(command)
        disk.run(command)
    assert disk.read() == "new"
    assert disk.read(disk.tree.aside) == "old"
    assert (Path(disk.tree.aside) / ".hidden").read_text() == "old"
    assert disk.path.stat().st_mode & 0o777 == 0o700
    if disk.tree.mounted:
        assert (disk.path / "lost+found").is_dir()


def test_taken_back_the_old_data_is_there_again_and_the_new_is_kept(disk: Disk) -> None:
    """Clients may have written to the new cluster meanwhile."""
    disk.write("old")
    disk.restore("new")
    disk.run(disk.tree.move_aside())
    disk.run(disk.tree.place())
    disk.write("new and written to")
    for command in (disk.tree.take_out(), disk.tree.move_back()):
        disk.run(command)
        disk.run(command)
    assert disk.read() == "old"
    assert (disk.path / ".hidden").read_text() == "old"
    assert disk.read(disk.tree.undone) == "new and written to"
    assert not Path(disk.tree.aside).exists()


def test_taken_back_half_way_the_old_data_is_there_again(disk: Disk) -> None:
    """A run that failed between moving aside and putting in place."""
    disk.write("old")
    disk.restore("new")
    disk.run(disk.tree.move_aside())
    disk.run(disk.tree.take_out())
    disk.run(disk.tree.move_back())
    assert disk.read() == "old"
    assert not Path(disk.tree.undone).exists(), "nothing was in place"


def test_a_member_that_had_no_data_has_none_again(disk: Disk) -> None:
    """Its disk was lost before: taking back brings that state back, not the new data."""
    disk.restore("new")
    disk.run(disk.tree.move_aside())
    assert not Path(disk.tree.aside).exists(), "nothing is left to move"
    disk.run(disk.tree.place())
    assert disk.read() == "new"
    disk.run(disk.tree.take_out())
    disk.run(disk.tree.move_back())
    assert disk.read() == ""
    assert disk.read(disk.tree.undone) == "new"


def test_what_somebody_started_in_between_has_made_is_kept_beside(disk: Disk) -> None:
    """A host that is switched on again starts its member, which makes a directory of its own."""
    disk.write("old")
    disk.restore("new")
    disk.run(disk.tree.move_aside())
    disk.write("stray")
    disk.run(disk.tree.move_aside())
    disk.run(disk.tree.place())
    assert disk.read() == "new"
    assert disk.read(disk.tree.aside) == "old"
    (stray,) = [one for one in (disk.path if disk.tree.mounted else disk.path.parent).iterdir() if "stray" in one.name]
    assert disk.read(str(stray)) == "stray"


@pytest.mark.parametrize("disk", [True], ids=["mounted"], indirect=True)
def test_a_move_out_of_a_mount_point_that_was_cut_off_goes_on(disk: Disk) -> None:
    """Entry by entry: the name says that it is complete only when it is."""
    disk.write("old")
    part = Path(f"{disk.tree.aside}.part")
    part.mkdir()
    (disk.path / ".hidden").rename(part / ".hidden")
    disk.run(disk.tree.move_aside())
    assert disk.read(disk.tree.aside) == "old"
    assert (Path(disk.tree.aside) / ".hidden").exists()
    assert not part.exists()
    disk.run(disk.tree.move_back())
    assert disk.read() == "old"
    assert (disk.path / ".hidden").exists()
