"""Does a member stay as small as it is? Load with clients that come and go, for as long as it is told: `make soak`.

    python -m tests.soak --minutes 30 [--members 3] [--engine node|etcd] [--leak memory|files|tasks]

Prints a table with the verdict on each measure (judging.py says what is let pass), saves everything under .cache/soak/.
Exit status: 0 all flat, 1 something grows or too little was done, 2 for arguments that make no sense.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from tests.soak.member import LEAKS
from tests.soak.report import save, table
from tests.soak.run import Plan, soak
from tests.support.real_etcd import EtcdBinaries, find_etcd

OUTPUT = Path(__file__).parents[2] / ".cache" / "soak"


def main() -> int:
    options = _parser().parse_args()
    binaries: EtcdBinaries | None = None
    if options.engine == "etcd":
        binaries = find_etcd("3.5") or find_etcd("3.4")
        if binaries is None:
            print("no etcd in .cache/etcd: make etcd", file=sys.stderr)
            return 2
    plan = Plan(
        seconds=options.minutes * 60,
        members=options.members,
        clients=options.clients,
        calls_a_second=options.calls,
        leak=options.leak,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="etcdops-soak-", dir=options.folder) as folder:
        outcome = soak(binaries, Path(folder), plan, lambda line: print(line, file=sys.stderr, flush=True))
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    path = OUTPUT / f"{options.engine}-{plan.members}-{now}.json"
    save(outcome, path)
    print("\n".join(table(outcome)))
    print(f"\n{path}")
    if sum(outcome.calls.values()) < plan.seconds * plan.calls_a_second / 10:
        print("too little was done for a verdict: is the machine busy?")
        return 1
    for member, finding in outcome.leaks:
        print(f"{member}: {finding.measure.title} grows")
    return 1 if outcome.leaks else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--engine", choices=("node", "etcd"), default="node")
    parser.add_argument("--clients", type=int, default=24, help="alive at any moment (default 24)")
    parser.add_argument("--calls", type=float, default=120.0, help="aimed at in a second (default 120)")
    parser.add_argument("--leak", choices=("none", *LEAKS), default="none", help="plant one in the node")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="where data is (default: the directory for temporary files)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
