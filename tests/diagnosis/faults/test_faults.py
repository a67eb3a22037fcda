"""Faults made for real on real hosts, diagnosed from the hosts' own journals: the first finding is the cause."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.diagnose import diagnose
from etcdops.diagnosis.finding import Diagnosis, Severity
from etcdops.diagnosis.reading import find_sources
from tests.diagnosis.faults.cluster import FaultCluster
from tests.diagnosis.faults.fault import ALL, Fault
from tests.diagnosis.faults.table import FAULTS
from tests.hosts.hosts import Hosts

SHOWN_S = 40.0
"""How long a fault may take until journals show it: etcd dials for 5 s and waits 10 s for a lock."""

T = TypeVar("T")

LOOKED_S = 60.0
"""How long members may take until they are as the fault leaves them: one that hangs answers for a while."""

QUIET_S = 40.0
HEARD_S = 0.5
REPEATED_S = 6.0
"""How long members must have written nothing of a fault. What peers say of one is repeated by the prober, mended or
not, up to 5 s later (rafthttp/probing_status.go, statusErrorInterval), and would be taken for the next fault's."""
BUSY = frozenset(
    {
        "apply-slow",
        "disk-slow",
        "heartbeat-slow",
        "leader-flapping",
        "read-index-timeout",
        "request-timeout",
        "server-overloaded",
        "slow-range",
    }
)
"""What three members on one busy machine may truly say beside any fault."""


def _runs() -> Iterator[object]:
    for engine in ALL:
        for fault in FAULTS:
            if engine in fault.engines:
                marks = () if engine in fault.quick else (pytest.mark.exhaustive,)
                yield pytest.param(engine, fault, id=f"{engine}-{fault.title}", marks=marks)


@dataclass
class Clusters:
    """One cluster of an engine for all its faults; of one engine at a time."""

    hosts: Hosts
    folders: pytest.TempPathFactory
    current: FaultCluster | None = None

    def of(self, engine: str) -> FaultCluster:
        if self.current is None or self.current.engine != engine:
            self.end()
            self.hosts.reset()
            self.current = FaultCluster(self.hosts, self.folders.mktemp("faults"), engine)
            self.current.install()
        return self.current

    def end(self) -> None:
        if self.current is not None:
            self.current.end()
        self.current = None


@pytest.fixture(scope="module")
def clusters(hosts_session: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    """Made once: a parametrized fixture would make a cluster for each fault."""
    made = Clusters(hosts_session, tmp_path_factory)
    yield made
    made.end()


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("engine", "fault"), list(_runs()))
def test_the_first_finding_is_the_cause(clusters: Clusters, engine: str, fault: Fault) -> None:
    """Healthy: nothing is found. Broken: the cause is. Mended: nothing new is."""
    cluster = clusters.of(engine)
    if cluster.ready(tls=fault.tls):
        assert _troubles(_diagnosed(cluster, fault)) == [], "a new cluster has no findings"
    cluster.mark()
    cluster.broken()
    fault.make(cluster)
    seen = _poll(lambda: _diagnosed(cluster, fault), lambda found: _is_right(found, fault), SHOWN_S)
    assert _is_right(seen, fault), _told(seen)
    # A member that was restarted for the fault was out of reach for a moment: no cause any more when it is back.
    said = _poll(lambda: _first_said(cluster, fault), lambda slug: slug in fault.first, SHOWN_S)
    assert said in fault.first
    if fault.live and engine == fault.engines[0]:
        _require_one_finding(cluster, fault)
    if fault.spares_data:
        cluster.restore()
        quiet = _poll(
            lambda: _written_since(cluster, REPEATED_S if _is_probed(fault) else HEARD_S),
            lambda found: not _troubles(found),
            QUIET_S,
        )
        assert _troubles(quiet) == [], _told(quiet)


def _is_probed(fault: Fault) -> bool:
    return fault.tls or fault.slug.startswith("peer-")


def test_thirty_causes_are_made() -> None:
    """Each names a cause of the catalogue, and no two faults have one title."""
    titles = [fault.title for fault in FAULTS]
    assert len(titles) == len(set(titles))
    slugs = {fault.slug for fault in FAULTS}
    assert slugs <= set(catalogue())
    assert len(slugs) >= 30


def test_the_table_beside_this_file_is_this_one() -> None:
    """Every fault stands in README.md with its engines."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    rows = [f"| `{fault.slug}` | {fault.told} | {', '.join(fault.engines)} |" for fault in FAULTS]
    missing = [row for row in rows if row not in text]
    assert not missing, "\n".join(["missing in README.md:", *missing])


def _diagnosed(cluster: FaultCluster, fault: Fault) -> Diagnosis:
    return diagnose(find_sources([str(path) for path in cluster.journals(fault.logs, fault.unit)]))


def _written_since(cluster: FaultCluster, seconds: float) -> Diagnosis:
    """What members write for so long, while a client writes and reads."""
    cluster.mark()
    cluster.ctl("put", "mended", "yes")
    time.sleep(seconds)
    cluster.ctl("get", "mended")
    return diagnose(find_sources([str(path) for path in cluster.journals()]))


def _is_right(found: Diagnosis, fault: Fault) -> bool:
    first = next((one for one in found.findings if one.slug in fault.first or one.slug not in BUSY), None)
    if first is None or first.slug not in fault.first:
        return False
    under = {symptom.slug for symptom in first.explains}
    if first.slug in fault.above and fault.slug not in under:
        return False
    return not fault.explains or fault.explains in under


def _troubles(found: Diagnosis) -> list[str]:
    """Causes that a healthy cluster does not have."""
    return [finding.slug for finding in found.findings if finding.severity > Severity.INFO and finding.slug not in BUSY]


def _first_said(cluster: FaultCluster, fault: Fault) -> str:
    """The first finding of `etcdops diagnose` on the hosts' logs as files, but for those of a busy machine, or ""."""
    journals = cluster.journals(fault.logs, fault.unit)
    said = _slugs([str(path) for path in journals], journals[0].parent)
    return next((slug for slug in said if slug in fault.first or slug not in BUSY), "")


def _require_one_finding(cluster: FaultCluster, fault: Fault) -> None:
    """Log and look are told as one: the cause first, with the live finding, and nothing that hurts beside it."""
    since = cluster.marked.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    named = ["--cluster=faults", f"--inventory={cluster.inventory()}", "--accept-new", f"--since={since}"]
    deadline = time.monotonic() + LOOKED_S
    while (wrong := _beside(document := _asked(named, cluster.folder), fault)) and time.monotonic() < deadline:
        time.sleep(1.0)
    assert not wrong, f"{wrong}\n{json.dumps(document, indent=1)[:20_000]}"


def _beside(document: dict[str, Any], fault: Fault) -> list[str]:
    """What is not as it should be."""
    if not document["findings"]:
        return ["nothing is found in the logs"]
    first, *others = document["findings"]
    live = [*document["live"]["findings"], *first["explains_live"]]
    told = [first["proved_live"], *(f"{one['code']} {one['subject']}" for one in first["explains_live"])]
    wrong = [] if first["slug"] in fault.first else [f"{first['slug']} is first"]
    wrong += [] if fault.live in told else [f"it is told with {told}"]
    hurts = [f"{one['code']} {one['subject']}" for one in live if one["severity"] in ("error", "critical")]
    wrong += [f"{one} beside it" for one in hurts if one not in told]
    hurts = [one["slug"] for one in others if one["severity"] in ("error", "critical") and not one["proved_live"]]
    return wrong + [f"{slug} beside it" for slug in hurts if slug not in BUSY]


def _slugs(arguments: list[str], home: Path) -> list[str]:
    return [str(one["slug"]) for one in _asked(arguments, home)["findings"]]


def _asked(arguments: list[str], home: Path) -> dict[str, Any]:
    """The document of `etcdops diagnose --json`, whose exit code must say the same."""
    command = [sys.executable, "-m", "etcdops", "diagnose", "--json", *arguments]
    environment = {**os.environ, "HOME": str(home), "ETCDOPS_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if document["healthy"] else 5), done.stderr
    return document


def _poll(look: Callable[[], T], right: Callable[[T], bool], timeout_s: float) -> T:
    deadline = time.monotonic() + timeout_s
    while not right(found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _told(found: Diagnosis) -> str:
    """What was found instead, with its proof."""
    lines = [line.text for line in found.unexplained]
    for finding in found.findings:
        under = ", ".join(symptom.slug for symptom in finding.explains)
        lines.append(f"{finding.slug} ({finding.confidence}) explains [{under}]")
        lines += [f"    {line.text[:300]}" for line in finding.evidence[:3]]
    return "\n".join(lines)
