"""One run at a time on the hosts of a cluster, whoever's machine it is begun from: a file on each host says whose.

The lock of this machine (`journal.run_lock`) ends with its process. That on a host stays: after a crash, and after a
run that stopped or failed half way, it tells the next operator which run is unfinished and where its journal is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar
from urllib.parse import quote

from etcdops.clock import Clock, SystemClock, rfc3339
from etcdops.errors import ClusterUnsafe, EtcdopsError
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.plan import Json
from etcdops.playbooks.worker import Worker
from etcdops.remote.command import ROOT, Command, script
from etcdops.remote.session import Session

FOLDER = "/var/lib/etcdops/locks"
"""Not under /run: a host that lost its power in the middle of a run must still say so."""
BEAT_S = 15.0
STALE_S = 90.0
"""Without a sign of life for so long, by the host's own clock, the process that holds a lock is taken for gone."""
_HELD = 3
_LOST = 4
_ATTEMPTS = 2
_HINTS = (
    ("No space left", "its disk is full: free some room there, then try again"),
    ("Read-only file system", "its file system is read-only: see the kernel's log there, and mount it writable again"),
    ("Permission denied", "log in as somebody who may become root there (ssh.become in the inventory)"),
    ("Not a directory", "something there that is no folder stands in the way: move it"),
)

_TAKE = """
umask 077
mkdir -p -- "$1" || exit 1
new="$1/.$2.$$"
trap 'rm -f -- "$new"' EXIT
cat > "$new" && grep -q "}$" -- "$new" && sync "$new" || exit 1
ln -- "$new" "$1/$2" 2> /dev/null && sync "$1" && exit 0
if grep -q -F -e "$3" -- "$1/$2"; then mv -- "$new" "$1/$2" && sync "$1" && exit 0; fi
echo $(( $(date +%s) - $(stat -c %Y -- "$1/$2") ))
cat -- "$1/$2" || exit 1
exit 3
"""
"""A file that is made whole under another name gets its name only if nobody has it: `ln` decides, atomically. The lock
of the same run, left by a process that was cut off, is taken over. One that was cut off while it told what to write
leaves nothing: what has no end is no lock."""

_RENEW = """
umask 077
grep -q -F -e "$3" -- "$1/$2" 2> /dev/null || exit 4
new="$1/.$2.$$"
trap 'rm -f -- "$new"' EXIT
cat > "$new" && grep -q "}$" -- "$new" && mv -- "$new" "$1/$2"
"""
_RELEASE = """
grep -q -F -e "$3" -- "$1/$2" 2> /dev/null || exit 4
rm -f -- "$1/$2" && sync "$1"
"""
_LOOK = """
[ -e "$1/$2" ] || exit 4
echo $(( $(date +%s) - $(stat -c %Y -- "$1/$2") ))
cat -- "$1/$2"
"""
_BREAK = """
grep -q -F -e "$3" -- "$1/$2" 2> /dev/null || exit 4
mv -- "$1/$2" "$1/$2.broken-$(date +%s)" && sync "$1"
"""


@dataclass(frozen=True, slots=True)
class HostLock:
    """What a host says of the run that holds a cluster."""

    host: str
    cluster: str
    run: str
    owner: str
    """`user@machine`."""
    journal: str
    """Where its journal is, on the owner's machine."""
    since: str
    """When its process took the lock, as that said; empty: not known."""
    at_work: bool
    """False: it stopped or failed half way, and said so itself."""
    silent_s: float
    """Since its last sign of life, by the host's clock."""

    @property
    def stale(self) -> bool:
        return self.at_work and self.silent_s > STALE_S

    def __str__(self) -> str:
        if not self.at_work:
            return f"{self.host}: run {self.run} of {self.owner} on {self.cluster} is unfinished"
        gone = ", so its process seems to be gone" if self.stale else ""
        since = f" since {self.since}" if self.since else ""
        return (
            f"{self.host}: run {self.run} of {self.owner} holds {self.cluster}{since},"
            f" last heard of {self.silent_s:.0f} s ago{gone}"
        )

    @property
    def is_over(self) -> bool:
        """Whether its journal, when it is on this machine, proves that it needs no lock any more.

        It came to its end and was cut off before it removed the file; or it is worked on by nobody, and did nothing.
        """
        if self.owner != Worker.this().owner or not self.journal:
            return False
        journal = Journal(Path(self.journal), SystemClock())
        try:
            state = journal.load()
        except (EtcdopsError, OSError):
            return False
        if state is None or journal.run != self.run:
            return False
        return bool(state.ended) or not (state.acted or (state.by is not None and state.by.alive))


class HostLocks:
    """Holds a cluster on its hosts while a run is at work.

        async with HostLocks(sessions, state, journal.path): await execute(...)

    Left with the run at its end, the files are removed. Otherwise they stay, marked as unfinished.
    Args: on_lost - called with a reason when somebody took the lock away meanwhile: the run has to stop.
    Raises, when entered: ClusterUnsafe - another run has one of the hosts; those taken before are given back. What
        `Session.run` raises.
    """

    beat_s: ClassVar[float] = BEAT_S

    def __init__(
        self,
        sessions: Sequence[Session],
        state: RunState,
        journal: object,
        *,
        on_lost: Callable[[str], None] = lambda reason: None,
        folder: str = FOLDER,
        user: str = ROOT,
        clock: Clock | None = None,
    ) -> None:
        # Everybody takes hosts in the same order, so that of two who begin at once one gets them all.
        self._sessions = sorted(sessions, key=lambda session: session.host)
        self._state = state
        self._journal = str(journal)
        self._on_lost = on_lost
        self._folder = folder
        self._user = user
        self._clock = clock or SystemClock()
        self._since = rfc3339(self._clock.wall())
        self._held: list[Session] = []
        self._beating: asyncio.Task[None] | None = None
        self.left: dict[str, str] = {}
        """Hosts whose file could not be removed or marked at the end, and why."""

    async def __aenter__(self) -> HostLocks:
        await self.take()
        self._beating = asyncio.create_task(self._beat())
        return self

    async def take(self) -> None:
        """All of them or none, without signs of life afterwards."""
        try:
            for session in self._sessions:
                await self._take(session)
                self._held.append(session)
        except BaseException:
            await self._give_back(remove=True)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self._give_back(remove=bool(self._state.ended))

    async def _take(self, session: Session) -> None:
        for attempt in range(_ATTEMPTS):
            result = await session.run(self._script(_TAKE, at_work=True), check=False)
            if result.ok:
                return
            lock = _parse(session.host, result.text) if result.exit_status == _HELD else None
            if lock is None:
                break
            if not lock.is_over or attempt == _ATTEMPTS - 1:
                raise _held(lock)
            await break_lock(session, lock, folder=self._folder, user=self._user)
        cause = result.stderr.decode(errors="replace").strip() or result.text
        raise EtcdopsError(
            f"{session.host}: cannot take the lock of {self._state.plan.cluster} in {self._folder}",
            cause=cause,
            hint=next((hint for said, hint in _HINTS if said in cause), f"look at {self._folder} there"),
        )

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.beat_s)
            for session in self._held:
                try:
                    result = await session.run(self._script(_RENEW, at_work=True), check=False)
                except EtcdopsError:
                    continue  # the steps on that host will say so themselves
                if result.exit_status == _LOST:
                    self._on_lost(f"{session.host}: the lock of this run was taken away")

    async def _give_back(self, *, remove: bool) -> None:
        held, self._held = self._held, []
        text = _RELEASE if remove else _RENEW
        for session in held:
            try:
                result = await session.run(self._script(text, at_work=False), check=False)
            except EtcdopsError as error:
                self.left[session.host] = error.message
                continue
            if not result.ok and result.exit_status != _LOST:
                self.left[session.host] = result.stderr.decode(errors="replace").strip()

    def _script(self, text: str, *, at_work: bool) -> Command:
        worker, plan = Worker.this(), self._state.plan
        content: dict[str, Json] = {
            "cluster": plan.cluster,
            "run": self._state.run,
            "procedure": plan.procedure,
            "plan_digest": plan.digest,
            "owner": worker.owner,
            "pid": worker.process.pid,
            "journal": self._journal,
            "since": self._since,
            "at_work": at_work,
            "at": rfc3339(self._clock.wall()),
        }
        line = json.dumps(content, separators=(",", ":")).encode() + b"\n"
        return script(text, self._folder, _name(plan.cluster), _mark(self._state.run), user=self._user, stdin=line)


async def look(session: Session, cluster: str, *, folder: str = FOLDER, user: str = ROOT) -> HostLock | None:
    """Who holds a cluster on a host; None: nobody. Raises: EtcdopsError - the file there is no lock."""
    result = await session.run(script(_LOOK, folder, _name(cluster), user=user), check=False)
    if result.exit_status == _LOST:
        return None
    lock = _parse(session.host, result.text) if result.ok else None
    if lock is None:
        raise EtcdopsError(
            f"{session.host}: {folder}/{_name(cluster)} is not a lock of etcdops", hint="look at it there"
        )
    return lock


async def break_lock(session: Session, lock: HostLock, *, folder: str = FOLDER, user: str = ROOT) -> bool:
    """Take a lock away from the run that was looked at, keeping its file beside; False: another one has it by now.

    Only for locks that are stale or unfinished, and after the operator was told what that run left half done.
    """
    command = script(_BREAK, folder, _name(lock.cluster), _mark(lock.run), user=user)
    result = await session.run(command, check=False)
    if not result.ok and result.exit_status != _LOST:
        raise EtcdopsError(f"{session.host}: cannot move the lock of {lock.cluster} aside", cause=result.text)
    return result.ok


def _held(lock: HostLock) -> ClusterUnsafe:
    if lock.at_work and not lock.stale:
        hint = f"wait for it, or ask {lock.owner}: etcdops runs stop {lock.run}"
    else:
        hint = (
            f"go on with it as {lock.owner}: etcdops runs resume {lock.run} (journal {lock.journal}). Only if that is"
            f" gone for good: etcdops runs unlock {lock.cluster}"
        )
    return ClusterUnsafe(str(lock), cause="two runs on one cluster at once would undo each other's work", hint=hint)


def _name(cluster: str) -> str:
    """A file name for any cluster name."""
    return f"{quote(cluster, safe='')}.lock"


def _mark(run: str) -> str:
    """What the file of a run's lock holds, and no other does."""
    return f'"run":{json.dumps(run)}'


def _parse(host: str, text: str) -> HostLock | None:
    age, _, content = text.partition("\n")
    try:
        data: Mapping[str, Json] = json.loads(content)
        return HostLock(
            host,
            str(data["cluster"]),
            str(data["run"]),
            str(data["owner"]),
            str(data["journal"]),
            str(data.get("since") or ""),
            data["at_work"] is True,
            max(0.0, float(age)),
        )
    except (ValueError, KeyError, TypeError):
        return None
