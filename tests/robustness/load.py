"""One load process: `python -m tests.robustness.load SETTINGS`, a JSON file (see `Settings`).

It says "ready", then works until it is told otherwise by lines on standard input:
"stop": no further requests ("stopped" when all have ended); "last N": watchers end at revision N ("done").
The end of its standard input ends it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.robustness.clients import Compactor, KeyClient, LeaseClient, Shared, WatchClient, connect
from tests.robustness.lives import Lives
from tests.robustness.record import Journal

WATCHERS_END_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Settings:
    """Of one load process."""

    process: int
    seed: int
    urls: list[str]
    names: list[str]
    lives: str
    journal: str
    clients: int
    leasers: int
    watchers: int
    witnesses: int
    think_s: float
    compact: bool
    ask_progress: bool

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))


async def _main(settings: Settings) -> None:
    shared = Shared(
        settings.process,
        settings.seed,
        settings.urls,
        settings.names,
        Lives(Path(settings.lives)),
        Journal(Path(settings.journal)),
        settings.think_s,
        settings.ask_progress,
    )
    connect(shared)
    work: list[Coroutine[None, None, None]] = [
        *(KeyClient(shared, number).run() for number in range(settings.clients)),
        *(LeaseClient(shared, number).run() for number in range(settings.leasers)),
    ]
    if settings.compact:
        work.append(Compactor(shared, "compactor").run())
    watching = [WatchClient(shared, number) for number in range(settings.watchers)]
    watching += [WatchClient(shared, number, witness=True) for number in range(settings.witnesses)]
    lines = await _standard_input()
    clients = [asyncio.create_task(one) for one in work]
    watchers = [asyncio.create_task(one.run()) for one in watching]
    try:
        print("ready", flush=True)
        await _until(lines, "stop")
        shared.stop.set()
        await asyncio.gather(*clients)
        print("stopped", flush=True)
        shared.last = int((await _until(lines, "last")).split()[1])
        await asyncio.wait(watchers, timeout=WATCHERS_END_TIMEOUT_S)
    finally:
        for task in (*clients, *watchers):
            task.cancel()
        await asyncio.gather(*clients, *watchers, return_exceptions=True)
        shared.journal.close()
    late = [one.name for one in watching if not one.finished]
    for task in watchers:
        if task.done() and not task.cancelled():
            task.result()
    print("done", *late, flush=True)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _until(lines: asyncio.StreamReader, word: str) -> str:
    line = (await lines.readline()).decode()
    if not line.startswith(word):
        raise SystemExit(f"expected {word!r}, was told {line!r}")
    return line


if __name__ == "__main__":
    asyncio.run(_main(Settings(**json.loads(Path(sys.argv[1]).read_text()))))
