"""The files of one service on a host: written where they differ, remembered, and taken away again.

A list of what was written is kept on the host, so that a file which is no longer wanted goes with the next install,
and uninstalling leaves nothing behind. What was there before is kept and comes back.
"""

from __future__ import annotations

import asyncio
import json
import posixpath
from collections.abc import Iterable, Sequence

from etcdops.errors import EtcdopsError
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import FileKind, FileStat, Ownership, Session
from etcdops.rendering.files import RenderedFile, difference

KEPT = "/var/lib/etcdops/services"

_MAKE_FOLDERS = 'umask 022; exec mkdir -p -- "$@"'
_KEEP = """
umask 077
[ -e "$1" ] || exit 0
[ ! -e "$2" ] || exit 0
mkdir -p -- "$(dirname -- "$2")" && cp -p -- "$1" "$2.part" && mv -- "$2.part" "$2"
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
        gone = await self._gone(files)
        diffs = await asyncio.gather(*(self._difference(file) for file in files), *(map(self._removal, gone)))
        paths = [*(file.path for file in files), *gone]
        return {path: diff for path, diff in zip(paths, diffs, strict=True) if diff}

    async def write(self, files: Sequence[RenderedFile]) -> dict[str, str]:
        """Make the host as `files` say, and forget what is not among them. Safe to repeat. Returns what changed."""
        diffs = await self.compare(files)
        ours = await self.ours()
        wanted = [file for file in files if file.path in diffs]
        if diffs or set(ours) != {file.path for file in files}:
            folders = sorted({posixpath.dirname(file.path) for file in files} | {self._folder})
            await self._session.run(script(_MAKE_FOLDERS, *folders, user=self._user))
            for file in wanted:
                if file.path not in ours:
                    await self._session.run(script(_KEEP, file.path, self._saved(file.path), user=self._user))
            # Before the files: whatever is cut off in between is known to be ours.
            await self._remember({*ours, *(file.path for file in files)})
        for file in wanted:
            await self._session.write_file(file.path, file.content, file.ownership, user=self._user)
        gone = await self._gone(files)
        await self._bring_back(gone)
        if gone:
            await self._remember(file.path for file in files)
        return diffs

    async def remove(self) -> dict[str, str]:
        """Take away everything written, and put back what was there before. Returns what changed."""
        ours = await self.ours()
        diffs = dict(zip(ours, await asyncio.gather(*map(self._removal, ours)), strict=True))
        await self._bring_back(ours)
        if ours:
            await self._session.run(script('exec rm -rf -- "$1"', self._folder, user=self._user))
        return {path: diff for path, diff in diffs.items() if diff}

    async def ours(self) -> tuple[str, ...]:
        """Paths of the files that were written, in their order."""
        content = await self._session.read_file(self._list, user=self._user)
        if content is None:
            return ()
        try:
            return tuple(str(path) for path in json.loads(content)["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise EtcdopsError(
                f"{self._session.host}: {self._list} cannot be understood",
                cause=str(error),
                hint="remove it; files of this service that are no longer wanted have to be removed by hand then",
            ) from error

    async def _gone(self, files: Sequence[RenderedFile]) -> list[str]:
        wanted = {file.path for file in files}
        return [path for path in await self.ours() if path not in wanted]

    async def _difference(self, file: RenderedFile) -> str:
        there, found = await asyncio.gather(self._session.stat(file.path, user=self._user), self._read(file.path))
        diff = difference(file.path, found, file.content, secret=file.secret)
        permissions = "" if there is None else _permissions(there, file.ownership)
        return diff + (f"permissions of {file.path}: {permissions}\n" if permissions else "")

    async def _removal(self, path: str) -> str:
        there, before = await asyncio.gather(self._read(path), self._read(self._saved(path)))
        # Whether it was a secret is not remembered: what only root may read is treated as one.
        stat = await self._session.stat(path, user=self._user)
        return difference(path, there, before, secret=stat is not None and not stat.mode & 0o044)

    async def _read(self, path: str) -> bytes | None:
        stat = await self._session.stat(path, user=self._user)
        if stat is not None and stat.kind not in (FileKind.FILE, FileKind.LINK):
            raise EtcdopsError(
                f"{self._session.host}: {path} is no file", hint="move away what is there, then try again"
            )
        return await self._session.read_file(path, user=self._user) if stat is not None else None

    async def _bring_back(self, paths: Iterable[str]) -> None:
        for path in paths:
            await self._session.run(script(_BRING_BACK, path, self._saved(path), user=self._user))

    async def _remember(self, paths: Iterable[str]) -> None:
        content = json.dumps({"files": sorted(set(paths))}, indent=2).encode() + b"\n"
        await self._session.write_file(self._list, content, Ownership(0o600), user=self._user)

    def _saved(self, path: str) -> str:
        return f"{self._folder}/before{path}"


def _permissions(there: FileStat, wanted: Ownership) -> str:
    """`0644 root:root -> 0600 etcd:etcd`; empty when they are as wanted. Names that are not asked for do not count."""
    if there.kind is FileKind.LINK:
        return "a link -> a file"
    owner, group = wanted.owner or there.owner, wanted.group or there.group
    if (there.mode, there.owner, there.group) == (wanted.mode, owner, group):
        return ""
    return f"{there.mode:04o} {there.owner}:{there.group} -> {wanted.mode:04o} {owner}:{group}"
