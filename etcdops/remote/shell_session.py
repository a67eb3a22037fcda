"""Everything a session can do, by means of one primitive: start a line in a POSIX shell and talk to it.

Files travel through the shell too, not through SFTP: that is the one way that also works as another user. What the host
must have is in `NEEDED`: coreutils or busybox.

The deadline of a command is kept by the host itself (`timeout`), so that nothing goes on there after we gave up or the
connection broke. What is streamed without a deadline ends when its standard input does.
"""

from __future__ import annotations

import abc
import asyncio
import base64
import hashlib
import math
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from etcdops.errors import EtcdopsError, Unreachable
from etcdops.files import sync_folder
from etcdops.remote.become import Become, refusal, sudo_argv, sudo_stdin
from etcdops.remote.command import Argument, Command, script, shell_line
from etcdops.remote.running import CHUNK_BYTES, Ended, Running
from etcdops.remote.session import (
    COMMAND_TIMEOUT_S,
    FILE_MAX_BYTES,
    OUTPUT_MAX_BYTES,
    CommandFailed,
    CommandTimedOut,
    FileKind,
    FileStat,
    FileToWrite,
    Ownership,
    Progress,
    Result,
    SeenFile,
    Tunnel,
)

NEEDED = (
    "timeout",
    "base64",
    "cat",
    "head",
    "tail",
    "stat",
    "cut",
    "sha256sum",
    "mv",
    "chmod",
    "chown",
    "sync",
    "dirname",
    "tr",
)
_ENVIRONMENT = {"LC_ALL": "C"}
"""Messages of programs in English, since some are understood here; a command may set another."""
_GRACE_S = 10.0
"""What the way there and back may take beyond the time a command has on the host."""
_KILL_AFTER_S = 5
_LINE_MAX_BYTES = 1 << 16
_TIMED_OUT = (124, 137)
"""Exit status of `timeout` when it ended the program, and when it had to kill it."""
_ABSENT = 66
"""Exit status of our scripts for "no such file": sysexits' EX_NOINPUT, which none of the programs in them uses."""

_READ = f'[ -e "$1" ] || [ -L "$1" ] || exit {_ABSENT}; exec head -c "$2" -- "$1"'
_STAT = f'[ -e "$1" ] || [ -L "$1" ] || exit {_ABSENT}; exec stat -c "%s %a %Y %U %u %G %g %F" -- "$1"'
_SIZE = f'[ -f "$1" ] || exit {_ABSENT}; exec stat -c %s -- "$1"'
_LOOK = """
for path; do
    if [ -e "$path" ] || [ -L "$path" ]; then
        stat -c "%s %a %Y %U %u %G %g %F" -- "$path" || exit 1
        if [ -f "$path" ]; then
            [ -r "$path" ] || { echo "cannot read $path: Permission denied" >&2; exit 1; }
            base64 < "$path" | tr -d "\\n"
        else
            printf -- -
        fi
    else
        echo
    fi
    echo
done
"""
"""Two lines for each path: what `stat` says, and the content in base64 (`-`: it has none); both empty: nothing."""
_APPEND = 'umask 077; exec cat >> "$1"'
_GIVE = 'exec tail -c "+$2" -- "$1"'
_HASH = f'[ -f "$1" ] || exit {_ABSENT}; sha256sum < "$1"'
_PLACE = """
fail() { echo "$1" >&2; rm -f -- "$part"; exit 1; }
part=$1 target=$2 sum=$3 mode=$4 owner=$5
[ ! -d "$target" ] || fail "$target is a folder"
[ "$(sha256sum < "$part" | cut -d " " -f 1)" = "$sum" ] || fail "the content did not arrive whole"
[ -z "$owner" ] || chown -- "$owner" "$part" || fail "cannot give the file to $owner"
chmod -- "$mode" "$part" || fail "cannot set its permissions"
sync -- "$part" 2>/dev/null || sync
mv -f -- "$part" "$target" || fail "cannot rename it to $target"
sync -- "$(dirname -- "$target")" 2>/dev/null || sync
"""
_WRITE = f'umask 077; cat > "$1" || {{ rm -f -- "$1"; exit 1; }}\n{_PLACE}'
_WRITE_MANY = """
umask 077
fail() { echo "$1" >&2; rm -f -- "$part"; exit 1; }
while [ "$#" -gt 0 ]; do
    target=$1 part=$2 sum=$3 mode=$4 owner=$5; shift 5
    IFS= read -r line || fail "the content did not arrive whole"
    printf %s "$line" | base64 -d > "$part" || fail "cannot write $part"
    [ ! -d "$target" ] || fail "$target is a folder"
    [ "$(sha256sum < "$part" | cut -d " " -f 1)" = "$sum" ] || fail "the content did not arrive whole"
    [ -z "$owner" ] || chown -- "$owner" "$part" || fail "cannot give $target to $owner"
    chmod -- "$mode" "$part" || fail "cannot set the permissions of $target"
    sync -- "$part" 2>/dev/null || sync
    mv -f -- "$part" "$target" || fail "cannot rename it to $target"
    sync -- "$(dirname -- "$target")" 2>/dev/null || sync
done
"""
"""Contents come as lines of base64: what reads a line takes not a byte more, as tools that count bytes may."""
_WATCHED = """
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ cat <&3; kill "$child"; } >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$child"; status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"""
"""Runs "$@" until our end of its standard input is closed, which a broken connection does as well."""

_KINDS = {"directory": FileKind.FOLDER, "symbolic link": FileKind.LINK}

Sink = Callable[[bytes], None]


class _Kept:
    """The beginning of what a command printed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.data = bytearray()
        self.cut = False

    def take(self, chunk: bytes) -> None:
        room = self._limit - len(self.data)
        self.cut = self.cut or len(chunk) > room
        self.data += chunk[:room]


class ShellSession(abc.ABC):
    """A session made of `_spawn`; `session.Session` says what each method promises."""

    def __init__(self, host: str, login_user: str, become: Become) -> None:
        self._host = host
        self._login_user = login_user
        self._become = become

    @property
    def host(self) -> str:
        return self._host

    @abc.abstractmethod
    async def _spawn(self, line: str) -> Running:
        """Start a line in the login shell. Raises: Unreachable."""

    @abc.abstractmethod
    async def tunnel(self, host: str, port: int) -> Tunnel: ...

    @abc.abstractmethod
    async def close(self) -> None: ...

    async def prepare(self) -> None:
        """See that the host's shell understands us and has what is needed; once, after connecting.

        Raises: EtcdopsError - naming what is wrong or missing.
        """
        hostile = "a 'b' \"c\" $(d) \\ !e"
        asked = script(
            'printf "%s\\n" "$1"; shift; for p; do command -v "$p" >/dev/null || echo "$p"; done', hostile, *NEEDED
        )
        out, err = _Kept(OUTPUT_MAX_BYTES), _Kept(OUTPUT_MAX_BYTES)
        await self._converse(shell_line(asked.argv), iter(()), out.take, err.take, COMMAND_TIMEOUT_S)
        echoed, *missing = out.data.decode(errors="replace").splitlines() or [""]
        if echoed != hostile:
            raise EtcdopsError(
                f"{self.host}: the login shell of {self._login_user} does not take commands as a POSIX shell does",
                cause=(out.data + err.data).decode(errors="replace").strip()[:200],
                hint="give the user such a shell (chsh -s /bin/sh), and a profile that prints nothing",
            )
        if missing:
            raise EtcdopsError(f"{self.host} lacks {', '.join(missing)}", hint="install coreutils or busybox there")

    async def run(
        self,
        command: Command,
        *,
        timeout_s: float = COMMAND_TIMEOUT_S,
        check: bool = True,
        output_max: int = OUTPUT_MAX_BYTES,
    ) -> Result:
        out = _Kept(output_max)
        result = await self._run(command, iter((command.stdin,)), out, timeout_s)
        if check and not result.ok:
            raise CommandFailed(self.host, command, result)
        return result

    async def _run(
        self,
        command: Command,
        stdin: Iterator[bytes],
        out: _Kept,
        timeout_s: float,
        sink: Sink | None = None,
    ) -> Result:
        """Run it within its time; stdout goes to `sink` or into `out`. Raises for what is not the program's failure."""
        err = _Kept(OUTPUT_MAX_BYTES)
        line, secret = self._line(command, _limit(timeout_s))
        started = time.monotonic()
        fed = _joined(secret, stdin)
        ended = await self._converse(line, fed, sink or out.take, err.take, timeout_s + _GRACE_S)
        took_s = time.monotonic() - started
        result = Result(ended.exit_status, bytes(out.data), bytes(err.data), took_s, ended.signal, out.cut or err.cut)
        if ended.exit_status in _TIMED_OUT and took_s >= timeout_s:
            raise CommandTimedOut(self.host, command, timeout_s)
        self._refuse(command, result)
        return result

    def _refuse(self, command: Command, result: Result) -> None:
        if command.user and not result.ok and (refused := refusal(self.host, command.user, result.stderr)):
            raise refused

    def _line(self, command: Command, before: tuple[str, ...]) -> tuple[str, bytes]:
        """The line that runs `before` and the command as its user, and what sudo wants to read first."""
        env: dict[str, Argument] = {**_ENVIRONMENT, **command.env}
        line = shell_line((*before, *command.argv), env=env, cwd=command.cwd)
        if not command.user or command.user == self._login_user or not self._become.needed:
            return line, b""
        # sudo resets the environment, and the login user may not be let into the folder: both are set behind it
        argv = sudo_argv(("/bin/sh", "-c", line), command.user, self._become)
        return shell_line(argv, env=_ENVIRONMENT), sudo_stdin(b"", self._become)

    async def _converse(self, line: str, stdin: Iterator[bytes], out: Sink, err: Sink, deadline_s: float) -> Ended:
        """Run a line: feed it, hand on what it prints, wait for its end. Raises: Unreachable - not within the time."""
        running: Running | None = None
        try:
            async with asyncio.timeout(deadline_s):
                running = await self._spawn(line)
                feeder = asyncio.create_task(_feed(running, stdin))
                try:
                    async for data, is_error in running.printed():
                        (err if is_error else out)(data)
                    return await running.ended()
                finally:
                    feeder.cancel()
                    await asyncio.gather(feeder, return_exceptions=True)
        except TimeoutError as error:
            raise Unreachable(
                f"{self.host} did not answer within {deadline_s:.0f} s",
                cause="the command may have run there" if running else "the command was not started",
                hint="see whether the host is up and the way to it open",
            ) from error
        finally:
            if running is not None:
                running.abandon()

    async def stream(self, command: Command, *, timeout_s: float | None = None) -> AsyncIterator[bytes]:
        limited = () if timeout_s is None else _limit(timeout_s)
        line, secret = self._line(command, ("/bin/sh", "-c", _WATCHED, "sh", *limited))
        err, rest, started = _Kept(OUTPUT_MAX_BYTES), bytearray(), time.monotonic()
        async with asyncio.timeout(COMMAND_TIMEOUT_S):
            running = await self._spawn(line)
        try:
            await running.feed(secret)
            async for data, is_error in running.printed():
                if is_error:
                    err.take(data)
                    continue
                rest += data
                for complete in _take_lines(rest):
                    yield complete
            if rest:
                yield bytes(rest)
            ended = await running.ended()
        finally:
            running.abandon()
        took_s = time.monotonic() - started
        if timeout_s is not None and ended.exit_status in _TIMED_OUT and took_s >= timeout_s:
            raise CommandTimedOut(self.host, command, timeout_s)
        result = Result(ended.exit_status, b"", bytes(err.data), took_s, ended.signal, err.cut)
        self._refuse(command, result)
        if not result.ok:
            raise CommandFailed(self.host, command, result)

    async def read_file(self, path: str, *, user: str = "", max_bytes: int = FILE_MAX_BYTES) -> bytes | None:
        asked = script(_READ, path, str(max_bytes + 1), user=user)
        result = await self._asked(asked, output_max=max_bytes + 1)
        if result is None:
            return None
        if len(result.stdout) > max_bytes:
            raise EtcdopsError(f"{self.host}: {path} is bigger than {max_bytes} bytes", hint="download it instead")
        return result.stdout

    async def stat(self, path: str, *, user: str = "") -> FileStat | None:
        result = await self._asked(script(_STAT, path, user=user))
        return _stat_of(result.text) if result is not None else None

    async def look(self, paths: Sequence[str], *, user: str = "") -> Mapping[str, SeenFile | None]:
        if not paths:
            return {}
        asked = script(_LOOK, *paths, user=user)
        result = await self.run(asked, output_max=2 * FILE_MAX_BYTES)
        lines = result.stdout.decode(errors="replace").split("\n")
        if result.cut or len(lines) < 2 * len(paths):
            raise EtcdopsError(f"{self.host}: {', '.join(paths)} are too big together", hint="download them instead")
        found: dict[str, SeenFile | None] = {}
        for path, said, content in zip(paths, lines[0::2], lines[1::2], strict=False):
            raw = None if content == "-" else base64.b64decode(content)
            found[path] = SeenFile(_stat_of(said), raw) if said else None
        return found

    async def write_files(self, files: Sequence[FileToWrite], *, user: str = "") -> None:
        if not files:
            return
        arguments: list[str] = []
        for file in files:
            owner, digest = _owner(file.ownership), hashlib.sha256(file.content).hexdigest()
            part = f"{file.path}.{os.urandom(4).hex()}.part"
            arguments += [file.path, part, digest, f"{file.ownership.mode:o}", owner]
        lines = b"".join(base64.b64encode(file.content) + b"\n" for file in files)
        await self.run(script(_WRITE_MANY, *arguments, user=user, stdin=lines))

    async def write_file(self, path: str, content: bytes, ownership: Ownership, *, user: str = "") -> None:
        part = f"{path}.{os.urandom(4).hex()}.part"
        digest = hashlib.sha256(content).hexdigest()
        await self.run(_placing(_WRITE, part, path, digest, ownership, user, stdin=content))

    async def upload(
        self,
        source: Path,
        target: str,
        ownership: Ownership,
        *,
        user: str = "",
        progress: Progress | None = None,
        timeout_s: float,
    ) -> str:
        digest, total = await asyncio.to_thread(_measure, source)
        part = f"{target}.{digest[:16]}.part"  # the same on every try, and another for another content
        there = await self._asked(script(_SIZE, part, user=user))
        offset = int(there.text) if there is not None and int(there.text) <= total else 0
        if there is not None and offset == 0:
            await self.run(script('rm -f -- "$1"', part, user=user))
        if offset < total or there is None:
            feeding = _file_chunks(source, offset, total, progress)
            sent = script(_APPEND, part, user=user)
            result = await self._run(sent, feeding, _Kept(OUTPUT_MAX_BYTES), timeout_s)
            if not result.ok:
                raise CommandFailed(self.host, sent, result)
        await self.run(_placing(_PLACE, part, target, digest, ownership, user), timeout_s=timeout_s)
        return digest

    async def download(
        self, source: str, target: Path, *, user: str = "", progress: Progress | None = None, timeout_s: float
    ) -> str:
        asked = await self._asked(script(_HASH, source, user=user), timeout_s=timeout_s)
        size = await self._asked(script(_SIZE, source, user=user))
        if asked is None or size is None:
            raise EtcdopsError(f"{self.host}: there is no file {source}")
        digest, total = asked.text.split()[0], int(size.text)
        part = target.with_name(f"{target.name}.{digest[:16]}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            if file.tell() < total:
                taking = _Writer(file.write, file.tell(), total, progress)
                sent = script(_GIVE, source, str(file.tell() + 1), user=user)
                result = await self._run(sent, iter(()), _Kept(0), timeout_s, taking.take)
                if not result.ok:
                    raise CommandFailed(self.host, sent, result)
            file.flush()
            os.fsync(file.fileno())
        arrived = await asyncio.to_thread(_sha256, part)
        if arrived != digest:
            part.unlink()
            raise EtcdopsError(
                f"{self.host}: {source} did not arrive whole",
                cause=f"its SHA-256 is {digest}, that of what arrived {arrived}",
                hint="try again; if it happens again, the file is being written to",
            )
        part.replace(target)
        await asyncio.to_thread(sync_folder, target.parent)
        return digest

    async def _asked(
        self, command: Command, *, timeout_s: float = COMMAND_TIMEOUT_S, output_max: int = OUTPUT_MAX_BYTES
    ) -> Result | None:
        """Run one of our scripts about a path: None when it says that the path is not there."""
        result = await self.run(command, timeout_s=timeout_s, output_max=output_max, check=False)
        if result.exit_status == _ABSENT:
            return None
        if not result.ok:
            raise CommandFailed(self.host, command, result)
        return result


class _Writer:
    """Writes what arrives, and tells how far it is."""

    def __init__(self, write: Callable[[bytes], object], done: int, total: int, progress: Progress | None) -> None:
        self._write = write
        self._done = done
        self._total = total
        self._progress = progress

    def take(self, chunk: bytes) -> None:
        self._write(chunk)
        self._done += len(chunk)
        if self._progress is not None:
            self._progress(self._done, self._total)


def _placing(
    text: str, part: str, target: str, digest: str, ownership: Ownership, user: str, *, stdin: bytes = b""
) -> Command:
    return script(text, part, target, digest, f"{ownership.mode:o}", _owner(ownership), user=user, stdin=stdin)


def _owner(ownership: Ownership) -> str:
    """As `chown` takes it; empty: as it is."""
    return f"{ownership.owner}:{ownership.group}" if ownership.group else ownership.owner


def _stat_of(said: str) -> FileStat:
    """One line of `stat`, in the format of `_STAT`."""
    size, mode, modified, owner, owner_id, group, group_id, kind = said.split(" ", 7)
    return FileStat(
        kind=FileKind.FILE if kind.startswith("regular") else _KINDS.get(kind, FileKind.OTHER),
        size=int(size),
        mode=int(mode, 8),
        owner=owner_id if owner == "UNKNOWN" else owner,
        group=group_id if group == "UNKNOWN" else group,
        modified_at=float(modified),
    )


def _limit(timeout_s: float) -> tuple[str, ...]:
    return ("timeout", "-k", str(_KILL_AFTER_S), str(math.ceil(timeout_s)))


async def _feed(running: Running, stdin: Iterator[bytes]) -> None:
    for data in stdin:
        for start in range(0, len(data), CHUNK_BYTES):
            await running.feed(data[start : start + CHUNK_BYTES])
    await running.close_stdin()


def _joined(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _take_lines(rest: bytearray) -> Iterator[bytes]:
    """Remove the complete lines from `rest`; one that grows too long is given in pieces."""
    *lines, last = rest.split(b"\n")
    rest[:] = last[len(last) // _LINE_MAX_BYTES * _LINE_MAX_BYTES :]
    for line in lines:
        yield from _pieces(line) if line else (b"",)
    yield from _pieces(last[: len(last) - len(rest)])


def _pieces(line: bytearray | bytes) -> Iterator[bytes]:
    for start in range(0, len(line), _LINE_MAX_BYTES):
        yield bytes(line[start : start + _LINE_MAX_BYTES])


def _file_chunks(path: Path, offset: int, total: int, progress: Progress | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
            if progress is not None:
                progress(min(file.tell(), total), total)


def _measure(path: Path) -> tuple[str, int]:
    """(SHA-256 in hex, bytes)."""
    return _sha256(path), path.stat().st_size


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
