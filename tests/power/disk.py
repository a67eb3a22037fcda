"""A disk as POSIX promises it and no better: what is not synced may be lost, in any part and in any order.

`apply` follows the events of a recording; `crash_states` gives what may be found after a loss of power at that moment.
A write is safe once its file was synced after it; a name (made, removed, moved) once its folder was. File systems with
a journal keep more: whoever survives this survives them.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.power.recording import (
    SHARED_MEMORY,
    Create,
    Event,
    MakeFolder,
    Remove,
    Rename,
    Sent,
    Sync,
    Truncate,
    Write,
)

SECTOR_BYTES = 512
PAGE_BYTES = 4096
_NAMES_ALONE_MAX = 12
"""Of so many pending names, each alone is lost or kept; of more only the last ones."""

Change = Write | Truncate
Kept = Sequence[Change]


@dataclass(slots=True)
class _File:
    durable: bytes = b""
    pending: list[tuple[int, Change]] = field(default_factory=list)
    """With their event's number."""

    version: int = 0
    """Of `durable`."""


@dataclass(frozen=True, slots=True)
class _Names:
    """Names that change together: (folder, name, what is there now or None)."""

    number: int
    effects: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class CrashState:
    """What is found: the content of every file that has a name, and the folders. Paths are relative to the root."""

    model: str
    """What became of unsynced data."""

    files: dict[str, bytes]
    folders: tuple[str, ...]
    digest: bytes

    def write(self, root: Path) -> None:
        """Put it there. `root` must not exist, or be empty."""
        root.mkdir(mode=0o700, exist_ok=True)
        for folder in sorted(self.folders):
            (root / folder).mkdir(mode=0o700)
        for path, content in self.files.items():
            with (root / path).open("wb", buffering=0) as file:
                file.write(content)


class Disk:
    """See the module. Starts with an empty root folder that is durable."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._files: dict[int, _File] = {}
        self._folders: dict[int, dict[str, int]] = {0: {}}
        self._durable: dict[int, dict[str, int]] = {0: {}}
        self._names: list[_Names] = []
        self._numbers = 0
        self._digests: dict[tuple[int, int], bytes] = {}
        self.events = 0

    def preload(self, found: Mapping[str, bytes | None]) -> None:
        """All of this is there, and durable: by path below the root, what is in files, None for folders."""
        for path in sorted(found):
            content, place, number = found[path], self._place(f"{self._root}/{path}"), self._new()
            if content is None:
                self._folders[number], self._durable[number] = {}, {}
            else:
                self._files[number] = _File(content)
            for names in (self._folders, self._durable):
                _put_names(names, [(*place, number)])

    def apply(self, event: Event) -> bool:
        """Follow one event; False when no file changed."""
        number = self.events
        self.events += 1
        match event:
            case Sent():
                return False
            case Write(path) | Truncate(path):
                self._files[self._find(path)].pending.append((number, event))
            case Sync(path, began):
                self._sync(self._find(path), began)
            case Create(path):
                self._files[self._new()] = _File()
                self._name(number, (*self._place(path), self._numbers))
            case MakeFolder(path):
                self._folders[self._new()] = {}
                self._durable[self._numbers] = {}
                self._name(number, (*self._place(path), self._numbers))
            case Remove(path):
                self._name(number, (*self._place(path), None))
            case Rename(source, target):
                what = self._find(source)
                self._name(number, (*self._place(source), None), (*self._place(target), what))
        return True

    def _new(self) -> int:
        self._numbers += 1
        return self._numbers

    def _find(self, path: str) -> int:
        found = 0
        for part in self._parts(path):
            found = self._folders[found][part]
        return found

    def _place(self, path: str) -> tuple[int, str]:
        folder, name = os.path.split(path)
        return self._find(folder), name

    def _parts(self, path: str) -> list[str]:
        assert path == self._root or path.startswith(self._root + "/"), path
        return [part for part in path[len(self._root) :].split("/") if part]

    def _name(self, number: int, *effects: tuple[int, str, int | None]) -> None:
        _put_names(self._folders, effects)
        self._names.append(_Names(number, effects))

    def _sync(self, what: int, began: int) -> None:
        if what in self._folders:
            safe = [one for one in self._names if one.number < began and one.effects[-1][0] == what]
            for names in safe:
                _put_names(self._durable, names.effects)
                self._names.remove(names)
            return
        file = self._files[what]
        safe_changes = [change for number, change in file.pending if number < began]
        file.durable = _changed(file.durable, safe_changes)
        file.version += 1
        file.pending = [(number, change) for number, change in file.pending if number >= began]

    # Looking at it.

    def differences(self, folder: Path) -> list[str]:
        """Where this disk, with nothing lost, is not what `folder` holds."""
        state = self._state("kept", lambda file: [change for _, change in file.pending], self._names)
        found = {path: content for path, content in content_of(folder).items() if content is not None}
        return sorted(path for path in {*state.files, *found} if state.files.get(path, None) != found.get(path))

    def crash_states(self, draw: random.Random, *, random_states: int = 0) -> Iterator[CrashState]:
        """What may be found if the power fails now; many of them may be equal."""
        pending = [number for number, file in self._files.items() if file.pending]
        names = self._names
        yield self._state("lost", _nothing, [])
        if not pending and not names:
            return
        yield self._state("kept", _everything, names)
        if names:
            yield from self._name_states(names)
        if pending:
            yield from self._data_states(pending, names)
        for turn in range(random_states):
            seed = draw.random()
            kept = [one for one in names if draw.random() < 0.5]
            yield self._state(f"random {turn}", partial(_some, seed=seed), kept)

    def _name_states(self, names: list[_Names]) -> Iterator[CrashState]:
        yield self._state("names lost", _everything, [])
        yield self._state("data lost", _nothing, names)
        for one in names[-_NAMES_ALONE_MAX:]:
            rest = [other for other in names if other is not one]
            yield self._state(f"one name lost ({one.number})", _everything, rest)
            yield self._state(f"one name kept ({one.number})", _everything, [one])
            yield self._state(f"names kept up to {one.number}", _nothing, names[: names.index(one) + 1])

    def _data_states(self, pending: list[int], names: list[_Names]) -> Iterator[CrashState]:
        yield self._state("only the last write", lambda file: _changes(file)[-1:], names)
        yield self._state("without the first write", lambda file: _changes(file)[1:], names)
        yield self._state("without a middle write", _without_middle, names)
        yield self._state("first half", lambda file: _changes(file)[: len(file.pending) // 2], names)
        yield self._state("second half", lambda file: _changes(file)[len(file.pending) // 2 :], names)
        yield self._state("size without data", _zeros, names)
        for size in (SECTOR_BYTES, PAGE_BYTES):
            yield self._state(f"torn after {size}", partial(_torn, size=size, head=True), names)
            yield self._state(f"torn before {size}", partial(_torn, size=size, head=False), names)
        yield self._state("torn in the middle", partial(_torn, size=0, head=True), names)
        if len(pending) > 1:
            for number in pending:
                yield self._state(f"only file {number}", partial(_of_one, self._files[number]), names)
                yield self._state(f"all but file {number}", partial(_of_others, self._files[number]), names)

    def _state(self, model: str, keep: Callable[[_File], Kept], names: Iterable[_Names]) -> CrashState:
        folders = {number: dict(entries) for number, entries in self._durable.items()}
        for one in names:
            _put_names(folders, one.effects)
        files: dict[str, bytes] = {}
        made: list[str] = []
        whole = hashlib.blake2b(digest_size=16)
        self._walk(folders, 0, "", keep, files, made, whole)
        return CrashState(model, files, tuple(made), whole.digest())

    def _walk(
        self,
        folders: dict[int, dict[str, int]],
        folder: int,
        prefix: str,
        keep: Callable[[_File], Kept],
        files: dict[str, bytes],
        made: list[str],
        whole: hashlib.blake2b,
    ) -> None:
        for name, number in sorted(folders[folder].items()):
            path = prefix + name
            if number in folders:
                made.append(path)
                whole.update(f"{path}/\n".encode())
                self._walk(folders, number, path + "/", keep, files, made, whole)
                continue
            file = self._files[number]
            kept = keep(file) if file.pending else []
            files[path] = content = _changed(file.durable, kept)
            whole.update(f"{path}\n".encode() + self._digest(number, file, content, changed=bool(kept)))

    def _digest(self, number: int, file: _File, content: bytes, *, changed: bool) -> bytes:
        """Of a file's content; what is durable is remembered, for it is asked for again and again."""
        digest = None if changed else self._digests.get((number, file.version))
        if digest is None:
            digest = hashlib.blake2b(content, digest_size=16).digest()
            if not changed:
                self._digests[number, file.version] = digest
        return digest


def content_of(folder: Path) -> dict[str, bytes | None]:
    """What is in a folder now, for `Disk.preload`."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
        if not path.name.endswith(SHARED_MEMORY)
    }


def _put_names(folders: dict[int, dict[str, int]], effects: Iterable[tuple[int, str, int | None]]) -> None:
    for folder, name, what in effects:
        if what is None:
            folders[folder].pop(name, None)
        else:
            folders[folder][name] = what


def _changed(content: bytes, changes: Iterable[Change]) -> bytes:
    result: bytearray | None = None
    for change in changes:
        if result is None:
            result = bytearray(content)
        if isinstance(change, Truncate):
            del result[change.size :]
            result.extend(bytes(change.size - len(result)))
            continue
        if not change.data:
            continue
        if change.offset > len(result):
            result.extend(bytes(change.offset - len(result)))
        result[change.offset : change.offset + len(change.data)] = change.data
    return content if result is None else bytes(result)


# What is kept of a file's unsynced changes.


def _changes(file: _File) -> list[Change]:
    return [change for _, change in file.pending]


def _nothing(file: _File) -> Kept:
    return []


def _everything(file: _File) -> Kept:
    return _changes(file)


def _of_one(one: _File, file: _File) -> Kept:
    return _changes(file) if file is one else []


def _of_others(one: _File, file: _File) -> Kept:
    return [] if file is one else _changes(file)


def _without_middle(file: _File) -> Kept:
    middle = len(file.pending) // 2
    return [change for place, (_, change) in enumerate(file.pending) if place != middle]


def _zeros(file: _File) -> Kept:
    """The file has its new length, but what makes it longer did not get there."""
    grown = len(_changed(file.durable, _changes(file)))
    return [Truncate(file.pending[-1][1].path, grown)]


def _torn(file: _File, *, size: int, head: bool) -> Kept:
    """The last write only in part: so many bytes of its head, or all but those; 0 = half of its sectors."""
    *before, last = _changes(file)
    if isinstance(last, Truncate):
        return before
    end = last.offset + (size or len(last.data) // 2)
    cut = min(max(end // SECTOR_BYTES * SECTOR_BYTES - last.offset, 0), len(last.data))
    if head:
        return [*before, Write(last.path, last.offset, last.data[:cut])]
    return [*before, Write(last.path, last.offset + cut, last.data[cut:])]


def _some(file: _File, *, seed: float) -> Kept:
    """Any of them, one of them torn at any sector."""
    draw = random.Random(f"{seed}/{file.pending[0][0]}")
    kept: list[Change] = [change for _, change in file.pending if draw.random() < 0.5]
    if kept and draw.random() < 0.5:
        place = draw.randrange(len(kept))
        torn = kept[place]
        if isinstance(torn, Write):
            cut = draw.randrange(0, len(torn.data) + 1, SECTOR_BYTES)
            kept[place] = Write(torn.path, torn.offset, torn.data[:cut])
    return kept
