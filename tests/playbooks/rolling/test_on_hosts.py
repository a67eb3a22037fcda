"""A cluster on real hosts, changed under a client that writes all the time: versions, settings, certificates."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.errors import ClusterUnsafe, EtcdopsError
from etcdops.playbooks.certificates.listing import Listed, Urgency, list_certificates
from etcdops.playbooks.certificates.planning import CertificateChoices
from etcdops.playbooks.certificates.procedure import plan_renew, plan_rotate
from etcdops.playbooks.journal import RunState
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.procedures import carry_out
from etcdops.playbooks.rolling.procedure import plan_change
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.runs import KnownRun, begin_run, runs_on_hosts
from tests.hosts.hosts import Hosts
from tests.playbooks.rolling.host_bench import ChangingBench, process_of
from tests.playbooks.rolling.writer import Writer, writing
from tests.playbooks.rollout.on_hosts import HostsAccess
from tests.support.real_etcd import find_etcd

pytestmark = pytest.mark.timeout(600)

STALL_MAX_S = 20.0
"""Of one write. An election takes two seconds; a member that restarts is not waited for."""


def engine(minor: str) -> dict[str, object]:
    """Programs that lie on this machine. Skips by name where they were not fetched."""
    found = find_etcd(minor)
    if found is None:
        pytest.skip(f"no etcd {minor} in .cache/etcd: `make etcd` fetches it")
    return {"version": found.version, "source": {"directory": str(found.etcd.parent)}}


@pytest.fixture(scope="module")
def bench(hosts_session: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChangingBench]:
    """Three members of etcd 3.4 with TLS everywhere. Tests go on where the one before left it."""
    folder = tmp_path_factory.mktemp("changing")
    made = ChangingBench(hosts_session, folder, {"engine": engine("3.4"), "tls": {}})
    engine("3.5")
    hosts_session.reset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ETCDOPS_HOME", str(folder / "state"))
        asyncio.run(made.apply())
        yield made


@pytest.fixture(autouse=True)
def own_state(bench: ChangingBench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All tests of this module have one state folder: that of the cluster they share."""
    monkeypatch.setenv("ETCDOPS_HOME", str(bench.folder / "state"))
    return bench.folder


async def require_unharmed(writer: Writer, restarts: int) -> None:
    """No acknowledged write is lost, none failed for good, and few had to be sent again."""
    assert writer.failed == {}
    assert await writer.lost() == []
    assert writer.repeated <= restarts, "a member that is stopped cuts off what it is at, once"
    assert writer.longest_s < STALL_MAX_S


def rotate() -> Callable[[RunHosts], Awaitable[Plan]]:
    return lambda run: plan_rotate(run, CertificateChoices(365))


async def listed(bench: ChangingBench, days: int = 30) -> Listed:
    return await bench.reach(lambda run: list_certificates(run, soon=datetime.timedelta(days=days)))


async def test_a_minor_version_up_under_a_writing_client(bench: ChangingBench) -> None:
    """3.4 to 3.5: followers first, a snapshot before, the cluster's version seen to rise; then nothing is left to do,
    and there is no way down."""
    bench.cluster = {**bench.cluster, "engine": engine("3.5")}
    async with writing(bench.settings()) as writer:
        outcome = await bench.change(plan_change)
    assert outcome is not None
    assert outcome.results["cluster-version"] == {"cluster_version": "3.5.0"}
    assert Path(str(outcome.results["snapshot"]["snapshot"])).exists()
    assert outcome.results["after"]["versions"] == [str(engine("3.5")["version"])]
    assert outcome.results["after"]["hashes_agree"] is True
    await require_unharmed(writer, restarts=3)
    assert await bench.change(plan_change) is None
    bench.cluster = {**bench.cluster, "engine": engine("3.4")}
    with pytest.raises(ClusterUnsafe, match=r"only in 3\.6"):
        await bench.change(plan_change)
    bench.cluster = {**bench.cluster, "engine": engine("3.5")}


async def test_certificates_are_all_listed_and_renewed_without_a_restart(bench: ChangingBench) -> None:
    """In files, on this machine, and on the wire; the most urgent first."""
    before = await listed(bench)
    assert before.good, [row.problems for row in before.rows]
    kinds = {row.where.partition(":")[0].partition(" on ")[0]: row for row in before.rows}
    assert {"h1", "h2", "h3", "here"} <= set(kinds)
    assert sum("on port" in row.where for row in before.rows) == 6
    soon = await listed(bench, days=400)
    assert not soon.good
    assert soon.rows[0].urgency is Urgency.SOON
    processes = [process_of(host) for host in bench.hosts]
    async with writing(bench.settings()) as writer:
        await bench.change(lambda run: plan_renew(run, CertificateChoices(200)))
    after = await listed(bench, days=199)
    assert after.good, [row.problems for row in after.rows]
    old = {row.facts.fingerprint for row in before.rows if row.facts and not row.facts.is_authority}
    new = {row.facts.fingerprint for row in after.rows if row.facts and not row.facts.is_authority}
    assert not old & new
    assert [process_of(host) for host in bench.hosts] == processes
    await require_unharmed(writer, restarts=0)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
async def test_another_authority_under_a_writing_client(bench: ChangingBench) -> None:
    """No write fails; in the end nobody takes the old one, which each step proves at the ports."""
    before = await listed(bench)
    async with writing(bench.settings()) as writer:
        outcome = await bench.change(rotate())
    assert outcome is not None
    after = await listed(bench)
    assert after.good, [row.problems for row in after.rows]
    assert after.rotating == ()
    authorities = [
        {row.facts.fingerprint for row in found.rows if row.facts and row.facts.is_authority}
        for found in (before, after)
    ]
    assert not authorities[0] & authorities[1]
    await require_unharmed(writer, restarts=6)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
async def test_a_host_that_vanishes_in_the_middle_stops_a_rolling_change_and_harms_nobody(
    bench: ChangingBench, hosts_session: Hosts
) -> None:
    """Cut off from everybody when the second member's turn begins: that one is not stopped any more, and the change
    goes on when the host is back."""
    bench.cluster = {**bench.cluster, "settings": {"snapshot-count": 23456}}
    plan = await bench.reach(plan_change)
    assert plan is not None
    turns = [step for step in plan.steps if step.id.startswith("write:")]
    gone = turns[-1].host
    journal = begin_run(runs_on_hosts(plan.cluster), plan, SystemClock())
    known = KnownRun(journal, RunState(plan, 0.0, journal.run))
    events: list[RunEvent] = []

    def cut(event: RunEvent) -> None:
        events.append(event)
        if event.kind == "started" and event.step_id == turns[1].id:
            hosts_session.isolate(gone, from_operator=True)

    before = {host.name: process_of(host) for host in hosts_session}
    with pytest.raises(EtcdopsError) as stopped:
        await carry_out(known, HostsAccess(hosts_session), cut)
    assert gone in f"{stopped.value.message} {stopped.value.cause}"
    assert events[-1].safe_now
    after = {host.name: process_of(host) for host in hosts_session}
    assert {name for name in after if after[name] != before[name]} == {turns[0].host}

    hosts_session.heal()
    outcome = await carry_out(known, HostsAccess(hosts_session), events.append, resumed=True)
    assert outcome.results["after"]["hashes_agree"] is True
    assert await bench.change(plan_change) is None


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
async def test_a_rolling_change_killed_at_every_step_goes_on_to_its_end(bench: ChangingBench) -> None:
    """A setting of every member, and its version where that is the old one still: killed at each step, at once or in
    the middle of it, and gone on with by its ID."""
    bench.cluster = {**bench.cluster, "engine": engine("3.5"), "settings": {"snapshot-count": 12345}}
    async with writing(bench.settings()) as writer:
        killed = await asyncio.to_thread(
            bench.killed_at_every_step, "rollout", "apply", "-i", str(bench.path), "--yes", *bench.force()
        )
    assert len(killed) >= 2 + 3 * 4
    for host in bench.hosts:
        environment = host.run(["sh", "-c", 'tr "\\0" "\\n" < /proc/$(pidof etcd)/environ']).stdout
        assert "ETCD_SNAPSHOT_COUNT=12345" in environment
    await require_unharmed(writer, restarts=2 * len(killed))
    assert await bench.change(plan_change) is None


@pytest.mark.exhaustive
@pytest.mark.timeout(3600)
async def test_a_rotation_killed_at_every_step_goes_on_to_its_end(bench: ChangingBench) -> None:
    """Nobody is left who distrusts somebody, whatever the step it was cut off at."""
    async with writing(bench.settings()) as writer:
        killed = await asyncio.to_thread(
            bench.killed_at_every_step, "cert", "rotate-ca", "-i", str(bench.path), "--confirm", "prod"
        )
    assert len(killed) >= 30
    after = await listed(bench)
    assert after.good, [row.problems for row in after.rows]
    await require_unharmed(writer, restarts=2 * len(killed))
