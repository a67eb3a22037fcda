"""One run: a cluster, load, faults, healing, and the verdict on what was recorded."""

from __future__ import annotations

import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.client import Client
from tests.model.broken import Broken
from tests.robustness.check import Verdict, check
from tests.robustness.engines import Engine
from tests.robustness.faults import Schedule
from tests.robustness.load import WATCHERS_END_TIMEOUT_S, Settings
from tests.robustness.plan import Options
from tests.robustness.record import HISTORY, Failed, FaultSeen, Final, History, Run, keys_of, read_history, save_history
from tests.robustness.world import World
from tests.support.real_etcd import RealMember

Answer = TypeVar("Answer", bound=Message)

HEALTHY_TIMEOUT_S = 60.0
_LOAD_START_TIMEOUT_S = 30.0
_LOAD_STOP_TIMEOUT_S = 30.0
_LEASES_END_TIMEOUT_S = 30.0
_CALL_TIMEOUT_S = 10.0
_ANSWER_TIMEOUT_S = 30.0


def run(engine: Engine, options: Options, folder: Path, show: Callable[[str], None] = lambda text: None) -> Verdict:
    """Run it and judge it. The history stays in `folder`/history.jsonl, logs of members beside it."""
    history = record(engine, options, folder, show)
    return check(history)


def record(engine: Engine, options: Options, folder: Path, show: Callable[[str], None]) -> History:
    """Run it; returns what was recorded."""
    folder.mkdir(parents=True, exist_ok=True)
    notes: list[FaultSeen] = []

    def note(text: str) -> None:
        notes.append(FaultSeen(time.monotonic(), text))
        show(text)

    final: list[Final] = []
    failed: list[Failed] = []
    world = World(
        engine,
        folder,
        size=options.size,
        flags=options.flags,
        own_disks=options.own_disks,
        namespaces=options.namespaces,
        note=note,
    )
    load: list[_LoadProcess] = []
    with world:
        try:
            world.start()
            load = [
                _LoadProcess(_settings(world, options, engine, folder, n), folder) for n in range(options.processes)
            ]
            for process in load:
                process.expect("ready", _LOAD_START_TIMEOUT_S)
            Schedule(world, list(options.faults), options.seed).run(options.seconds)
            note("heal")
            world.heal()
            healed = time.monotonic()
            world.wait_healthy(HEALTHY_TIMEOUT_S)
            note(f"all members serve {time.monotonic() - healed:.1f} s after the healing")
            for process in load:
                process.say("stop")
            for process in load:
                process.expect("stopped", _LOAD_STOP_TIMEOUT_S)
            _wait_leases_end(world)
            last = _last_revision(world)
            for process in load:
                process.say(f"last {last}")
            late = [name for process in load for name in process.expect("done", WATCHERS_END_TIMEOUT_S + 10).split()]
            if late:
                failed.append(Failed("liveness", f"watchers did not come to revision {last}: {', '.join(late)}"))
            final = [_final(member, last) for member in world.members]
        except Broken as broken:
            failed.append(Failed(broken.promise, str(broken)))
        except (AssertionError, grpc.RpcError) as error:
            failed.append(Failed("liveness", f"{type(error).__name__}: {error}"))
        finally:
            for process in load:
                process.close()
    history = read_history(sorted(folder.glob("load-*.jsonl")))
    history.run = Run(options.seed, engine.name, engine.etcd.version, options.for_history())
    history.faults, history.final, history.failed = notes, final, failed
    save_history(history, folder / HISTORY)
    for part in folder.glob("load-*.jsonl"):
        part.unlink()
    for member in world.members:
        shutil.rmtree(member.data_dir, ignore_errors=True)
    return history


def _settings(world: World, options: Options, engine: Engine, folder: Path, number: int) -> Settings:
    def part(count: int) -> int:
        return count // options.processes + (number < count % options.processes)

    return Settings(
        number,
        options.seed,
        [member.url for member in world.members],
        [member.name for member in world.members],
        str(folder / "lives"),
        str(folder / f"load-{number}.jsonl"),
        part(options.clients),
        part(options.leasers),
        part(options.watchers),
        part(options.witnesses),
        options.think_s,
        compact=number == 0,
        ask_progress=engine.asks_progress,
    )


class _LoadProcess:
    """A process that runs clients; see load.py for what it is told and says."""

    def __init__(self, settings: Settings, folder: Path, launcher: Sequence[str] = ()) -> None:
        path = folder / f"load-{settings.process}.json"
        settings.save(path)
        self._log = folder / f"load-{settings.process}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*launcher, sys.executable, "-m", "tests.robustness.load", str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def expect(self, word: str, timeout_s: float) -> str:
        """Wait for a line that begins with `word`; returns the rest. Raises: AssertionError."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        line = self._process.stdout.readline() if readable else ""
        assert line.startswith(word), f"a load process said {line!r} for {word!r}: {self._log.read_text()[-2000:]}"
        return line.removeprefix(word).strip()

    def close(self) -> None:
        """It ends when its standard input does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        try:
            self._process.wait(_LOAD_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(_LOAD_STOP_TIMEOUT_S)
        self._process.stdout.close()


def _wait_leases_end(world: World) -> None:
    deadline = time.monotonic() + _LEASES_END_TIMEOUT_S
    while any(_leases(member) for member in world.members) and time.monotonic() < deadline:
        time.sleep(0.1)


def _last_revision(world: World) -> int:
    """Nobody writes any more: this is the last one, and every member has it."""
    revisions = []
    for member in world.members:
        answer = _ask(member, "KV/Range", pb.RangeRequest(key=b"any"), pb.RangeResponse)
        revisions.append(answer.header.revision)
    return max(revisions)


def _final(member: RealMember, revision: int) -> Final:
    hashed = _ask(member, "Maintenance/HashKV", pb.HashKVRequest(revision=revision), pb.HashKVResponse)
    keys = _ask(member, "KV/Range", pb.RangeRequest(key=b"\0", range_end=b"\0"), pb.RangeResponse)
    at = keys.header.revision
    return Final(member.name, at, hashed.hash, hashed.compact_revision, keys_of(keys), _leases(member))


def _leases(member: RealMember) -> list[int]:
    answer = _ask(member, "Lease/LeaseLeases", pb.LeaseLeasesRequest(), pb.LeaseLeasesResponse)
    return sorted(lease.ID for lease in answer.leases)


def _ask(member: RealMember, path: str, request: Message, answer: type[Answer]) -> Answer:
    """Asked until it is answered: on a busy machine leaders change without any fault. Raises: grpc.RpcError."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT_S
    client = Client(member.url)
    try:
        while True:
            try:
                return client.call(path, request, answer, timeout_s=_CALL_TIMEOUT_S)
            except grpc.RpcError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
    finally:
        client.close()
