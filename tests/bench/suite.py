"""The figures of the bundled node beside a real etcd, in one run on this machine: `make bench`.

    python -m tests.bench.suite [--quick | --full] [--size-mb N] [--sections ...] [--markdown] [--save FOLDER]

Fresh clusters of both engines run side by side with their defaults (only the quota is raised) on the same disk. Every
figure is taken of one engine, then at once of the other, several rounds in turn, and each engine's best round counts:
so other work on the machine hits both alike, and ratios can be compared where absolute figures cannot. CPU is user and
system time of the server's process. All values have 256 bytes. Large stores are filled with transactions of 50
sequential keys, and once more by single puts.

Results: a table, with what the load itself can do; .cache/bench/<time>.json and latest.json; .cache/bench/bench.svg;
.cache/bench/partial.json while it runs.
What misses its target is listed, with a profile of the node under that load.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.bench import ceilings, sections, why
from tests.bench.chart import chart
from tests.bench.figures import Better, Report, Row, save, table, write
from tests.bench.read_load import find_h2load
from tests.bench.run import FULL, QUICK, USUAL, Bench
from tests.support.real_etcd import find_etcd

OUTPUT = Path(__file__).parents[2] / ".cache" / "bench"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    much = parser.add_mutually_exclusive_group()
    much.add_argument("--quick", action="store_true", help="under three minutes")
    much.add_argument("--full", action="store_true", help="1 GB and 10 million keys; needs 20 GB of disk and an hour")
    parser.add_argument("--size-mb", type=int, help="values stored for memory, snapshot and start-up")
    parser.add_argument(
        "--sections", nargs="+", choices=sections.SECTIONS, help="all by default; --quick: all but rollout"
    )
    parser.add_argument("--etcd", default="3.5", help="the minor version to compare with (3.5)")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--save", type=Path, help="write bench.json and bench.svg into this folder as well")
    given = parser.parse_args()
    given.sections = given.sections or [one for one in sections.SECTIONS if not (given.quick and one == "rollout")]
    return given


def _report(bench: Bench, now: datetime.datetime, setting: dict[str, str]) -> Report:
    """What is measured by now, in the order of the table."""
    order = list(dict.fromkeys([*sections.TITLES, *(row.section for row in bench.rows)]))
    rows = sorted(bench.rows, key=lambda row: order.index(row.section))
    busy = f"load average {os.getloadavg()[1]:.1f} at the end, the bench's own work included"
    return Report(now.isoformat(), {**setting, "busy": busy}, rows, tuple(bench.ceilings))


def main() -> None:
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL if arguments.full else USUAL
    if arguments.size_mb:
        plan = replace(plan, bytes_stored=arguments.size_mb * 1_000_000)
    binaries = find_etcd(arguments.etcd)
    if binaries is None:
        sys.exit(f"etcd {arguments.etcd} is not in .cache/etcd: make etcd")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    setting = {
        "etcd": binaries.version,
        "mode": "quick" if arguments.quick else "full" if arguments.full else "usual",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    with tempfile.TemporaryDirectory(prefix="data-", dir=OUTPUT) as folder:
        bench = Bench(plan, Path(folder), arguments.etcd, find_h2load())
        # A run of hours that ends early leaves what it had measured.
        bench.on_row = lambda: save(_report(bench, now, setting), OUTPUT / "partial.json")
        ceilings.measure(bench)
        for section in arguments.sections:
            sections.run(bench, section)
        report = _report(bench, now, setting)
        report = replace(report, why={row.title: why.profile(bench, row) for row in report.short})
    save(report, OUTPUT / f"{now:%Y%m%dT%H%M%SZ}.json")
    (OUTPUT / "partial.json").unlink(missing_ok=True)
    for folder in filter(None, (OUTPUT, arguments.save)):
        save(report, folder / ("latest.json" if folder is OUTPUT else "bench.json"))
        write(folder / "bench.svg", chart(report))
    print("\n".join(table(report.rows, markdown=arguments.markdown)))
    print("\n".join(_about(bench, report)))


def _about(bench: Bench, report: Report) -> Iterator[str]:
    """What stands below the table: the setting, the load, and what falls short."""
    yield ""
    yield "; ".join(f"{name}: {value}" for name, value in report.setting.items())
    for ceiling in report.ceilings:
        needed = ceilings.needed(bench.rows, ceiling.kind)
        source = "h2load" if ceiling.kind == "reads" and bench.h2load else "our own"
        held_up = "; THE LOAD MAY HOLD MEMBERS UP" if needed > ceilings.NEAR * ceiling.rate else ""
        yield (
            f"load: {ceiling.kind} from {source}: {ceiling.rate:,.0f}/s against a server that stores nothing; the"
            f" fastest member took {needed:,.0f}/s ({needed / ceiling.rate:.0%}){held_up}"
        )
    yield f"load: our own took at most {bench.busiest:.0%} of a core while members were measured"
    for row in report.short:
        yield f"falls short: {row.title}: {row.judged:.2f}, wanted {_wanted(row)}"
        yield from (f"    {line}" for line in report.why.get(row.title, ()))


def _wanted(row: Row) -> str:
    return f"{'>=' if row.better is Better.HIGHER else '<='} {row.target:g}"


if __name__ == "__main__":
    main()
