"""`make robustness`: runs of real processes under faults, one after the other, until the time is over.

    python -m tests.robustness run [--engine node|etcd-3.5|etcd-3.4|node+MISTAKE] [--minutes 2] [--seed N]
                                   [--seconds 40] [--size 3] [--faults kill,pause] [--keep]
    python -m tests.robustness check FILE        judge a saved history again; tells what is around what is broken
    python -m tests.robustness list              all faults

Exit status: 0 all promises were kept, 1 one was broken, 2 for arguments that make no sense.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.robustness.check import Verdict, check
from tests.robustness.engines import WHY_NO_CLOCK, Engine, find_engine
from tests.robustness.faults import BY_NAME
from tests.robustness.holder import why_no_namespaces
from tests.robustness.known import known_bug
from tests.robustness.namespaces import NETWORK, OUTSIDE, in_own_network
from tests.robustness.plan import Options, draw_options
from tests.robustness.record import HISTORY, read_history
from tests.robustness.run import run
from tests.robustness.story import around

OUTPUT = Path(__file__).parents[2] / ".cache" / "robustness"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.what == "list":
        for name, fault in BY_NAME.items():
            print(f"{name:14} {(fault.__doc__ or '').splitlines()[0]}")
        return 0
    if options.what == "check":
        return _check_again(options.file)
    return _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.robustness", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    commands = parser.add_subparsers(dest="what", required=True)
    running = commands.add_parser("run", help="run clusters under faults")
    running.add_argument("--engine", default="node")
    running.add_argument("--minutes", type=float, default=2.0, help="for all runs together")
    running.add_argument("--seconds", type=float, default=40.0, help="of load in each run")
    running.add_argument("--seed", type=int, default=None, help="of the first run; the next ones count on")
    running.add_argument("--size", type=int, default=None, help="of the clusters; by default drawn from the seed")
    running.add_argument("--faults", default=None, help="only these, with commas between")
    running.add_argument("--namespaces", action="store_true", help="links are cut by the kernel, not by proxies")
    running.add_argument("--keep", action="store_true", help="keep histories of good runs too")
    checking = commands.add_parser("check", help="judge a saved history again")
    checking.add_argument("file", type=Path)
    commands.add_parser("list", help="show all faults")
    return parser


def _run(options: argparse.Namespace) -> int:
    try:
        engine = find_engine(options.engine)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if engine is None:
        print(f"no {options.engine} in .cache/etcd: make etcd", file=sys.stderr)
        return 2
    kinds = options.faults.split(",") if options.faults else None
    unknown = set(kinds or ()) - BY_NAME.keys()
    if unknown:
        print(f"no faults {', '.join(sorted(unknown))}: see `list`", file=sys.stderr)
        return 2
    if options.namespaces:
        reason = why_no_namespaces()
        if reason:
            print(f"--namespaces: {reason}", file=sys.stderr)
            return 2
        _enter_own_network()
    _say_what_is_missing(engine)
    own_disks = not why_no_namespaces()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    begin, total, failures = time.monotonic(), Totals(), 0
    while not total.runs or time.monotonic() - begin < options.minutes * 60:
        drawn = draw_options(
            seed,
            engine,
            seconds=options.seconds,
            own_disks=own_disks,
            namespaces=options.namespaces,
            size=options.size,
            kinds=kinds,
        )
        verdict, failed = _one(engine, drawn, options)
        failures += failed
        total.add(drawn, verdict)
        seed += 1
    print(f"\n{engine.name} {engine.etcd.version}: {total}, {(time.monotonic() - begin) / 60:.1f} minutes")
    print(f"{failures} runs broke a promise" if failures else "every promise was kept")
    return 1 if failures else 0


def _enter_own_network() -> None:
    """Become a process in a network namespace of its own, unless this one is."""
    if not in_own_network():
        os.environ[OUTSIDE] = os.readlink(NETWORK)
        os.execvp("unshare", ["unshare", "--net", "--", sys.executable, "-m", "tests.robustness", *sys.argv[1:]])


def _say_what_is_missing(engine: Engine) -> None:
    reason = why_no_namespaces()
    if reason:
        print(f"full-disk limits file sizes instead of filling a disk: {reason}")
    if not engine.clock_steps:
        print(f"clock-step is skipped for {engine.name}: {WHY_NO_CLOCK}")


def _one(engine: Engine, drawn: Options, options: argparse.Namespace) -> tuple[Verdict, bool]:
    """One run. Returns: its verdict, and whether that is a failure."""
    print(
        f"seed {drawn.seed}: {engine.name}, {drawn.size} members, {drawn.clients} clients, {' '.join(drawn.flags)}\n"
        f"  faults: {' '.join(map(str, drawn.faults))}",
        flush=True,
    )
    folder = Path(tempfile.mkdtemp(prefix="etcdops-robustness-"))
    try:
        verdict = run(engine, drawn, folder)
        known = [known_bug(engine, promise, [fault.kind for fault in drawn.faults]) for promise in verdict.promises]
        failed = not all(known)
        print(f"  {'BROKEN' if failed else 'known bug' if known else 'ok'}: {verdict}", flush=True)
        for error, count in verdict.errors.most_common(5):
            print(f"    {count:6} {error}")
        for line, reason in zip(verdict.broken, known, strict=True):
            print(f"  {line}" + (f"\n    known: {reason}" if reason else ""))
        if verdict.broken or options.keep:
            _keep(engine, drawn, folder)
        return verdict, failed
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(engine: Engine, drawn: Options, folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = OUTPUT / f"{engine.name}-{drawn.seed}-{now}"
    kept.mkdir(parents=True)
    for path in (*folder.glob("*.log"), folder / HISTORY):
        shutil.copy(path, kept)
    print(f"  history and logs: {kept}\n  check again:      {_COMMAND} check {kept / HISTORY}", flush=True)


_COMMAND = "python -m tests.robustness"


def _check_again(path: Path) -> int:
    history = read_history([path])
    verdict = check(history)
    print(f"seed {history.run.seed}, {history.run.engine} {history.run.version}: {verdict}")
    for line in verdict.broken:
        print(f"\nBROKEN {line}")
        print("\n".join(f"  {told}" for told in around(history, line)))
    if not verdict.broken:
        print("every promise was kept")
    return 1 if verdict.broken else 0


class Totals:
    """Of all runs of one command."""

    def __init__(self) -> None:
        self.runs = self.calls = self.unknown = self.revisions = self.events = self.leases = 0
        self.seconds = 0.0
        self.faults: Counter[str] = Counter()

    def add(self, drawn: Options, verdict: Verdict) -> None:
        self.runs += 1
        self.calls += verdict.calls
        self.unknown += verdict.unknown
        self.revisions += verdict.revisions
        self.events += verdict.events
        self.leases += verdict.leases_ended
        self.seconds += verdict.seconds
        self.faults.update(fault.kind for fault in drawn.faults)

    def __str__(self) -> str:
        rate = (self.calls - self.unknown) / self.seconds if self.seconds else 0
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"{self.runs} runs, {self.calls} calls ({rate:.0f} ops/s), {self.unknown} without an answer, "
            f"{self.revisions} revisions, {self.events} events, {self.leases} leases ended, "
            f"{self.faults.total()} faults ({faults})"
        )
