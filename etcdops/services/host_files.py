"""The files of one service on a host: written where they differ, remembered, and taken away again.

A list of what was written is kept on the host, so that a file which is no longer wanted goes with the next install,
and uninstalling leaves nothing behind. What was there before is kept and comes back.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping, Sequence

from etcdops.errors import EtcdopsError
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import FileKind, FileStat, FileToWrite, Ownership, SeenFile, Session
from etcdops.rendering.files import RenderedFile, difference

KEPT = "/var/lib/etcdops/services"

_PREPARE = """
count=$1; shift
umask 022
while [ "$count" -gt 0 ]; do mkdir -p -- "$1" || exit 1; shift; count=$(( count - 1 )); done
umask 077
while [ "$#" -gt 0 ]; do
    if [ -e "$1" ] && [ ! -e "$2" ]; then
        mkdir -p -- "$(dirname -- "$2")" && cp -p -- "$1" "$2.part" && mv -- "$2.part" "$2" || exit 1
    fi
    shift 2
done
"""
_BRING_BACK = """
if [ -e "$2" ]; then exec mv -- "$2" "$1"; fi
exec rm -f -- "$1"
"""


class HostFiles:
    """The files of the service `name`, kept running by `manager`, on the host of `session`."""

    def __init__(self, session: Session, manager: str, name: str, *, kept: str = KEPT, user: str = ROOT) -> None:
        self._session = session
        self._user = user
        self._folder = f"{kept}/{manager}-{name}"
        self._list = f"{self._folder}/files.json"

    async def compare(self, files: Sequence[RenderedFile]) -> dict[str, str]:
        """Path -> diff of every file that `write` would change or remove."""
        return (await self._compare(files))[0]

    async def _compare(self, files: Sequence[RenderedFile]) -> tuple[dict[str, str], tuple[str, ...]]:
        """(diffs, paths that were written before)."""
        seen = await self._look([self._list, *(file.path for file in files)])
        ours = self._listed(seen[self._list])
        diffs = {file.path: _difference(file, seen[file.path]) for file in files}
        gone = _gone(files, ours)
        if gone:
            seen = await self._look([*gone, *map(self._saved, gone)])
            diffs |= {path: _removal(path, seen[path], seen[self._saved(path)]) for path in gone}
        return {path: diff for path, diff in diffs.items() if diff}, ours

    async def write(self, files: Sequence[RenderedFile]) -> dict[str, str]:
        """Make the host as `files` say, and forget what is not among them. Safe to repeat. Returns what changed."""
        diffs, ours = await self._compare(files)
        wanted = [file for file in files if file.path in diffs]
        if diffs or set(ours) != {file.path for file in files}:
            folders = sorted({posixpath.dirname(file.path) for file in files} | {self._folder})
            kept = [word for file in wanted if file.path not in ours for word in (file.path, self._saved(file.path))]
            await self._session.run(script(_PREPARE, str(len(folders)), *folders, *kept, user=self._user))
        # The list comes before the files: whatever is cut off in between is known to be ours.
        known = {*ours, *(file.path for file in files)}
        listed = [self._list_of(known)] if known != set(ours) else []
        contents = [FileToWrite(file.path, file.content, file.ownership) for file in wanted]
        await self._session.write_files([*listed, *contents], user=self._user)
        gone = _gone(files, ours)
        await self._bring_back(gone)
        if gone:
            await self._session.write_files([self._list_of(file.path for file in files)], user=self._user)
        return diffs

    async def remove(self) -> dict[str, str]:
        """Take away everything written, and put back what was there before. Returns what changed."""
        ours = await self.ours()
        seen = await self._look([*ours, *map(self._saved, ours)])
        diffs = {path: _removal(path, seen[path], seen[self._saved(path)]) for path in ours}
        await self._bring_back(ours)
        if ours:
            await self._session.run(script('exec rm -rf -- "$1"', self._folder, user=self._user))
        return {path: diff for path, diff in diffs.items() if diff}

    async def ours(self) -> tuple[str, ...]:
        """Paths of the files that were written, in their order."""
        return self._listed((await self._look([self._list]))[self._list])

    def _listed(self, seen: SeenFile | None) -> tuple[str, ...]:
        if seen is None or seen.content is None:
            return ()
        try:
            return tuple(str(path) for path in json.loads(seen.content)["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise EtcdopsError(
                f"{self._session.host}: {self._list} cannot be understood",
                cause=str(error),
                hint="remove it; files of this service that are no longer wanted have to be removed by hand then",
            ) from error

    async def _look(self, paths: Sequence[str]) -> Mapping[str, SeenFile | None]:
        seen = await self._session.look(paths, user=self._user)
        for path, found in seen.items():
            if found is not None and found.stat.kind not in (FileKind.FILE, FileKind.LINK):
                raise EtcdopsError(
                    f"{self._session.host}: {path} is no file", hint="move away what is there, then try again"
                )
        return seen

    async def _bring_back(self, paths: Iterable[str]) -> None:
        for path in paths:
            await self._session.run(script(_BRING_BACK, path, self._saved(path), user=self._user))

    def _list_of(self, paths: Iterable[str]) -> FileToWrite:
        content = json.dumps({"files": sorted(set(paths))}, indent=2).encode() + b"\n"
        return FileToWrite(self._list, content, Ownership(0o600))

    def _saved(self, path: str) -> str:
        return f"{self._folder}/before{path}"


def _gone(files: Sequence[RenderedFile], ours: Sequence[str]) -> list[str]:
    wanted = {file.path for file in files}
    return [path for path in ours if path not in wanted]


def _difference(file: RenderedFile, seen: SeenFile | None) -> str:
    found = seen.content if seen is not None else None
    diff = difference(file.path, found, file.content, secret=file.secret)
    permissions = "" if seen is None else _permissions(seen.stat, file.ownership)
    return diff + (f"permissions of {file.path}: {permissions}\n" if permissions else "")


def _removal(path: str, there: SeenFile | None, before: SeenFile | None) -> str:
    # Whether it was a secret is not remembered: what only root may read is treated as one.
    secret = there is not None and not there.stat.mode & 0o044
    return difference(path, _content(there), _content(before), secret=secret)


def _content(seen: SeenFile | None) -> bytes | None:
    return seen.content if seen is not None else None


def _permissions(there: FileStat, wanted: Ownership) -> str:
    """`0644 root:root -> 0600 etcd:etcd`; empty when they are as wanted. Names that are not asked for do not count."""
    if there.kind is FileKind.LINK:
        return "a link -> a file"
    owner, group = wanted.owner or there.owner, wanted.group or there.group
    if (there.mode, there.owner, there.group) == (wanted.mode, owner, group):
        return ""
    return f"{there.mode:04o} {there.owner}:{there.group} -> {wanted.mode:04o} {owner}:{group}"
