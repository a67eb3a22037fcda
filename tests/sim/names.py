"""What a simulated disk does with file names: until their directory is synced, a loss of power may take changes back.

A name that was made is gone again, a file that was moved is where it was, one that was deleted or replaced is back. As
in POSIX each directory is on its own, and changes of different files are lost independently of each other; a move is
never lost by half. Directories themselves are durable at once.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

_rename, _unlink = os.rename, os.unlink  # os's own are replaced while a simulation runs


@dataclass(slots=True)
class _Change:
    """One change that was not synced."""

    name: str
    """Made, moved to, or deleted."""
    source: str | None
    """Where it was moved from."""
    buried: str | None
    """Where the file that had the name before is kept."""
    made: bool

    @property
    def names(self) -> set[str]:
        return {self.name} if self.source is None else {self.name, self.source}


class Names:
    """The names below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._graves = root.with_name(root.name + "-deleted")
        self._known: set[str] = set()
        self._changes: list[_Change] = []
        self._number = 0

    def move(self, source: str, target: str) -> None:
        """See os.replace."""
        self._look()
        buried = self._bury(target)
        _rename(source, target)
        self._known.discard(source)
        self._known.add(target)
        self._changes.append(_Change(target, source, buried, made=False))

    def delete(self, name: str) -> None:
        """Before a file is deleted: keep it for the case that this gets lost."""
        self._look()
        buried = self._bury(name)
        if buried is not None:
            self._known.discard(name)
            self._changes.append(_Change(name, None, buried, made=False))

    def sync(self, directory: str) -> None:
        """An fsync of a directory: what happened in it stays."""
        self._look()
        for change in self._changes:
            if _folder(change.name) == directory or (change.source and _folder(change.source) == directory):
                self._settle(change)
        self._changes = [change for change in self._changes if change.buried != ""]

    def lose(self, draw: random.Random, lose: str) -> int:
        """A loss of power. Returns how many changes it took back; see SimDisk.cut_power."""
        self._look()
        changes = self._changes
        gone = _gone(len(changes), draw, lose)
        kept: set[str] = set()
        lost = 0
        for number in reversed(range(len(changes))):
            change = changes[number]
            if number not in gone or change.names & kept:
                # What builds on it was kept, so it is there too.
                kept |= change.names
            else:
                self._take_back(change)
                lost += 1
        self._known = self._there()
        self.settle()
        return lost

    def settle(self) -> None:
        """All changes so far stay."""
        self._look()
        for change in self._changes:
            self._settle(change)
        self._changes = []

    def _take_back(self, change: _Change) -> None:
        if change.made:
            _unlink(change.name)
        elif change.source is not None:
            _rename(change.name, change.source)
        if change.buried:
            _rename(change.buried, change.name)
            change.buried = None

    def _settle(self, change: _Change) -> None:
        if change.buried:
            _unlink(change.buried)
        change.buried = ""

    def _bury(self, name: str) -> str | None:
        if not os.path.exists(name):
            return None
        self._graves.mkdir(exist_ok=True)
        self._number += 1
        grave = str(self._graves / str(self._number))
        os.link(name, grave)
        return grave

    def _look(self) -> None:
        """Files that were made since the last look."""
        there = self._there()
        for name in sorted(there - self._known):
            self._changes.append(_Change(name, None, None, made=True))
        self._known = there

    def _there(self) -> set[str]:
        found: set[str] = set()
        folders = [os.fspath(self._root)]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders.append(entry.path)
                    elif not entry.name.endswith("-shm"):
                        found.add(entry.path)
        return found


def _gone(count: int, draw: random.Random, lose: str) -> set[int]:
    if lose == "all":
        return set(range(count))
    if lose == "tail":
        return set(range(draw.randrange(count + 1), count))
    return {number for number in range(count) if draw.random() < 0.5}


def _folder(name: str) -> str:
    return os.path.dirname(name)
