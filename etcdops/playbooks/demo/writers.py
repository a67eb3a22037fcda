"""Writers that go on through a leader's death and remember exactly what they were told."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from etcdops.client.client import Client
from etcdops.errors import EtcdopsError, ResultUnknown, VerificationFailed

PREFIX = b"/writes/"
WRITE_TIMEOUT_S = 3.0
_PAUSE_AFTER_ERROR_S = 0.05
_PAGE_SIZE = 1000


@dataclass(slots=True)
class WriteRecord:
    """What happened to every write. Each key is written once, so one look tells whether it is there."""

    acknowledged: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    """Key -> (value, revision in the answer)."""
    unknown: dict[bytes, bytes] = field(default_factory=dict)
    """Sent, and no answer came: each may be there or not, but not be anything else."""
    refused: dict[bytes, str] = field(default_factory=dict)
    """Certainly not done: never sent, or refused."""
    acknowledged_at: list[float] = field(default_factory=list)
    """Monotonic times."""

    @property
    def longest_pause_s(self) -> float:
        """The longest time in which no write was acknowledged."""
        return max((later - earlier for earlier, later in itertools.pairwise(self.acknowledged_at)), default=0.0)


@dataclass(frozen=True, slots=True)
class WriteVerdict:
    """The record compared with the cluster."""

    acknowledged: int
    unknown_present: int
    unknown_absent: int
    refused: int


class Writers:
    """Some writers at once, each writing new keys until told to stop."""

    def __init__(self, client: Client, *, count: int, name: str) -> None:
        self._client = client
        self._count = count
        self._name = name
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.record = WriteRecord()

    @property
    def prefix(self) -> bytes:
        return PREFIX + self._name.encode() + b"/"

    async def __aenter__(self) -> Writers:
        self._tasks = [asyncio.create_task(self._write(number)) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Let every writer end its write, and wait for that. Raises: what ended a writer for another reason."""
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def wait_acknowledged(self, more: int, timeout_s: float) -> None:
        """Wait for `more` acknowledged writes. Raises: VerificationFailed - not in time."""
        wanted = len(self.record.acknowledged) + more
        deadline = time.monotonic() + timeout_s
        while len(self.record.acknowledged) < wanted:
            if time.monotonic() > deadline:
                raise VerificationFailed(f"{more} writes were not acknowledged within {timeout_s:.0f} s")
            await asyncio.sleep(0.02)

    async def _write(self, number: int) -> None:
        serial = 0
        while not self._stop.is_set():
            serial += 1
            key = self.prefix + b"%d/%06d" % (number, serial)
            value = b"%s written by %d" % (key, number)
            try:
                answer = await self._client.kv.put(key, value, timeout=WRITE_TIMEOUT_S)
            except ResultUnknown:
                self.record.unknown[key] = value
            except EtcdopsError as error:
                self.record.refused[key] = error.message
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
            else:
                self.record.acknowledged[key] = (value, answer.header.revision)
                self.record.acknowledged_at.append(time.monotonic())


async def compare(
    client: Client, prefix: bytes, record: WriteRecord, progress: Callable[[int], None], *, timeout_s: float
) -> WriteVerdict:
    """Read all keys of the writers and judge each.

    Raises: VerificationFailed - an acknowledged write is lost or changed, a refused one is there, or a key appeared
        that nobody wrote.
    """
    found: dict[bytes, tuple[bytes, int]] = {}
    async for page in client.kv.pages(prefix, page_size=_PAGE_SIZE, timeout=timeout_s):
        found.update((kv.key, (kv.value, kv.mod_revision)) for kv in page.kvs)
        progress(len(found))
    wrong = [
        f"{key!r} was acknowledged at revision {revision} and is {_told(found.get(key))}"
        for key, (value, revision) in record.acknowledged.items()
        if found.get(key) != (value, revision)
    ]
    wrong += [f"{key!r} was refused and is there" for key in record.refused if key in found]
    wrong += [
        f"{key!r} has a value nobody wrote"
        for key, value in record.unknown.items()
        if found.get(key, (value,))[0] != value
    ]
    known = record.acknowledged.keys() | record.unknown.keys() | record.refused.keys()
    wrong += [f"{key!r} was written by nobody" for key in found.keys() - known]
    if wrong:
        raise VerificationFailed(f"{len(wrong)} writes are not what their writers were told: {'; '.join(wrong[:3])}")
    present = sum(key in found for key in record.unknown)
    return WriteVerdict(len(record.acknowledged), present, len(record.unknown) - present, len(record.refused))


def _told(found: tuple[bytes, int] | None) -> str:
    return "gone" if found is None else f"there with another value or at revision {found[1]}"
