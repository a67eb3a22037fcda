"""The command line: one seed with its plan and trace, or many seeds with their failures, speed and coverage."""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.sim.bugs import BUGS, planted
from tests.sim.faults import KINDS, NO_ROOM
from tests.sim.plan import draw_plan
from tests.sim.run import Verdict, run_seed
from tests.sim.shrink import shrink

FAILURES_SHOWN_MAX = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 when every promise was kept, 1 when one was broken, 2 for arguments that make no sense."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        return _one(_Run(options.plant, options.short), options.seed, _numbers(options.only), options)
    return _many(_Run(options.plant, options.short), options.seeds, options.jobs, fingerprints=options.fingerprints)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seed", type=int, help="run one seed, after printing what it draws")
    what.add_argument("--seeds", type=_range, metavar="A..B", help="run all of them, A up to and without B; N is 0..N")
    parser.add_argument("--jobs", type=int, default=1, help="processes for --seeds (default 1)")
    parser.add_argument("--trace", action="store_true", help="with --seed: print everything that happens")
    parser.add_argument("--only", metavar="N,N", help="with --seed: keep only these faults of the plan (or 'none')")
    parser.add_argument("--short", action="store_true", help="a third of the time for faults and clients")
    parser.add_argument("--shrink", action="store_true", help="with --seed: find the faults that a failure needs")
    parser.add_argument(
        "--fingerprints", action="store_true", help="with --seeds: print what each run's trace comes to"
    )
    parser.add_argument("--plant", choices=sorted(BUGS), default="", help="put this mistake into the production code")
    return parser


def _range(text: str) -> range:
    first, separator, last = text.partition("..")
    return range(int(first), int(last)) if separator else range(int(text))


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    return [] if text == "none" else [int(number) for number in text.split(",")]


@dataclass(frozen=True, slots=True)
class _Run:
    """How to run a seed; it travels to other processes."""

    plant: str
    short: bool

    def __call__(self, seed: int) -> Verdict:
        with self.mistake():
            return run_seed(seed, short=self.short)

    @contextlib.contextmanager
    def mistake(self) -> Iterator[None]:
        """The code as it is, or with the mistake that was asked for."""
        if self.plant:
            with planted(self.plant):
                yield
        else:
            yield

    def command(self, seed: int) -> str:
        """What runs this seed again."""
        short = " --short" if self.short else ""
        return f"python -m tests.sim --seed {seed}{short}" + (f" --plant {self.plant}" if self.plant else "")


def _one(run: _Run, seed: int, only: list[int] | None, arguments: argparse.Namespace) -> int:
    options, faults = draw_plan(seed, short=run.short)
    print(f"seed {seed} at {_commit()}")
    for line in options.lines():
        print(f"  {line}")
    for fault in faults:
        print(f"  {'' if only is None or fault.number in only else '(left out) '}{fault.line()}")
    sys.stdout.flush()
    with run.mistake():
        verdict = run_seed(seed, short=run.short, only=only, show=print if arguments.trace else None)
        print(
            f"{verdict.simulated_s:.1f} s simulated in {verdict.took_s:.2f} s, trace {verdict.fingerprint}, "
            f"{verdict.counts['calls']} calls, {verdict.counts['entries']} entries"
        )
        print(verdict.failure or "every promise was kept")
        if verdict.failure and arguments.shrink:
            needed = shrink(verdict, print, short=run.short)
            print(f"needed: {run.command(seed)} --only {','.join(map(str, needed)) or 'none'}")
    return 1 if verdict.failure else 0


def _many(run: _Run, seeds: range, jobs: int, *, fingerprints: bool) -> int:
    started = last_shown = time.monotonic()
    total: Counter[str] = Counter()
    simulated_s = 0.0
    count = failed = 0
    for verdict in _run_all(run, seeds, jobs):
        count += 1
        total += verdict.counts
        simulated_s += verdict.simulated_s
        if fingerprints:
            print(f"seed {verdict.seed} trace {verdict.fingerprint}")
        if verdict.failure:
            failed += 1
            if failed <= FAILURES_SHOWN_MAX:
                print(f"{verdict.failure}\n    {run.command(verdict.seed)}", flush=True)
        if time.monotonic() - last_shown > 30:
            last_shown = time.monotonic()
            print(f"... {count} of {len(seeds)} seeds, {count / (last_shown - started):.1f} a second", flush=True)
    took_s = time.monotonic() - started
    print(f"commit {_commit()}: {count} seeds, {failed} failed, {count / took_s:.1f} seeds/s")
    speed = simulated_s / took_s
    print(f"{simulated_s / 3600:.2f} hours simulated in {took_s / 60:.1f} minutes, {speed:.0f} times as fast")
    _print_coverage(total)
    return 1 if failed else 0


def _print_coverage(total: Counter[str]) -> None:
    print("what happened:")
    for name in sorted(set(total) - set(KINDS)):
        if not name.startswith(NO_ROOM):
            print(f"  {total[name]:>10}  {name}")
    print("faults that happened (and those that had no room, as in a cluster without a leader):")
    for kind in KINDS:
        print(f"  {total[kind]:>10}  {kind} ({total[NO_ROOM + kind]})")


def _run_all(run: _Run, seeds: range, jobs: int) -> Iterator[Verdict]:
    if jobs == 1:
        yield from map(run, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=500) as pool:
        yield from pool.imap_unordered(run, seeds, chunksize=4)


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=os.path.dirname(__file__),
    )
    return found.stdout.strip() or "an unknown commit"
