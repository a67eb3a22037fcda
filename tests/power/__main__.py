"""Loss of power at every moment of recorded runs: `make power`.

    python -m tests.power [--scenario NAME]... [--states N] [--random N] [--jobs N] [--bug NAME]

Prints for each scenario how many moments and states there were and from how many different ones a member was started;
then every state in which a promise was not kept. Exit status: 0 none, 1 some, 2 there is no strace.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.power.bugs import BUGS
from tests.power.recording import find_strace
from tests.power.replay import Result, replay
from tests.power.scenario import PLAYS, play

_SHOWN_MAX = 20


def main() -> int:
    options = _parser().parse_args()
    if find_strace() is None:
        print("there is no strace: apt-get install strace", file=sys.stderr)
        return 2
    found = [_one(name, options) for name in options.scenario or PLAYS]
    print(f"\n{'':14}{'cuts':>8}{'seen':>9}{'states':>9}{'started':>9}{'failed':>8}{'seconds':>9}")
    for result in found:
        print(
            f"{result.scenario:14}{result.cuts:8}{result.seen:9}{result.states:9}{result.started:9}"
            f"{len(result.failures):8}{result.took_s:9.0f}"
        )
    print(f"{'all':14}{'':17}{sum(r.states for r in found):9}{sum(r.started for r in found):9}")
    return 1 if any(result.failures for result in found) else 0


def _one(name: str, options: argparse.Namespace) -> Result:
    with tempfile.TemporaryDirectory(prefix="etcdops-power-") as folder:
        recorded = play(name, Path(folder) / "run", bug=options.bug)
    print(f"{name}: {len(recorded.recording.events)} events recorded, {len(recorded.calls)} answers", flush=True)
    result = replay(
        recorded,
        jobs=options.jobs,
        random_states=options.random,
        states_max=options.states,
        processes=options.processes if recorded.serves else 0,
        seed=options.seed,
    )
    for failure in result.failures[:_SHOWN_MAX]:
        print(f"  {failure}")
    if len(result.failures) > _SHOWN_MAX:
        print(f"  ... and {len(result.failures) - _SHOWN_MAX} more")
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.power", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--scenario", action="append", choices=sorted(PLAYS), help="only this one; may be repeated")
    parser.add_argument("--states", type=int, help="start from so many states of each scenario only")
    parser.add_argument("--random", type=int, default=0, help="random states at each cut, beyond the named ones")
    parser.add_argument("--processes", type=int, default=20, help="so many states are started as real processes too")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", choices=("none", *BUGS), default="none", help="put this mistake into the member")
    return parser


if __name__ == "__main__":
    sys.exit(main())
