"""The last step of a recovery writes its token into the inventory: cut off anywhere in it, the file ends the same."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.clock import SystemClock
from etcdops.errors import UsageError
from etcdops.inventory import edit
from etcdops.inventory.load import load_inventory
from etcdops.playbooks.journal import Journal, open_runs
from etcdops.playbooks.on_hosts import source_of
from etcdops.playbooks.plan import Plan, Result
from etcdops.playbooks.procedures import resume_run
from etcdops.playbooks.recover.hosts.facts import HostFacts
from etcdops.playbooks.recover.hosts.planning import make_plan
from etcdops.playbooks.recover.hosts.procedure import PreparedOnHosts, begin, work
from etcdops.playbooks.runs import KnownRun, runs_on_hosts
from tests.playbooks.test_engine import Crash
from tests.playbooks.test_on_hosts import FakeAccess
from tests.playbooks.test_planning import REPORT
from tests.playbooks.test_planning_on_hosts import CHOICES, LOST, on_host

TOKEN = f"prod-{'5c1f' * 4}"
KEPT = f"etcdops.yaml.before-{'5c1f' * 4}"
INVENTORY = """\
# Ours. Ask before you touch it.
hosts:
  h3: {address: 10.0.0.3}   # the old one
  h1: {address: 10.0.0.1}
  h2: {address: 10.0.0.2}
clusters:
  prod:
    engine: {version: '3.5'}   # not 3.6 yet
    token: prod-1    # of the first day
    members: [{host: h1}, {host: h2}, {host: h3}]
"""
WRITTEN = INVENTORY.replace("token: prod-1 ", f"token: {TOKEN} ")


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "home"))
    (tmp_path / "ours").mkdir()
    path = tmp_path / "ours/etcdops.yaml"
    path.write_text(INVENTORY)
    return path


def plan_of(path: Path) -> Plan:
    """A recovery of which nothing is left to do but its last step."""
    read = load_inventory([path])
    cluster = read.clusters["prod"]
    source = source_of([path], read, cluster, renewed=cluster.model_copy(update={"token": TOKEN}))
    choices = dataclasses.replace(CHOICES, token=TOKEN, update_inventory=True)
    plan = make_plan(cluster, source, HostFacts((on_host(1), on_host(2), on_host(3)), LOST), REPORT, choices)
    return dataclasses.replace(plan, steps=plan.steps[-1:])


def go_on() -> KnownRun:
    """As the next process does, from what is on the disk."""
    ((journal, state),) = open_runs(runs_on_hosts("prod"), SystemClock())
    known = KnownRun(journal, state)
    asyncio.run(resume_run(known, FakeAccess(), lambda event: None))
    return known


def crash_at(patched: pytest.MonkeyPatch, moment: str) -> None:
    """Args: moment - of the step, or the name of a file in whose place nothing new, or all of it, is."""
    intent, done, put = Journal.intent, Journal.done, edit._put

    def around(name: str, act: Callable[[], None]) -> None:
        if moment == f"before {name}":
            raise Crash(moment)
        act()
        if moment == f"after {name}":
            raise Crash(moment)

    def told(journal: Journal, step: str, result: Result, took_s: float = 0.0) -> None:
        around("outcome", lambda: done(journal, step, result, took_s))

    patched.setattr(Journal, "intent", lambda journal, step: around("intent", lambda: intent(journal, step)))
    patched.setattr(Journal, "done", told)
    patched.setattr(edit, "_put", lambda path, text, like: around(path.name, lambda: put(path, text, like)))


MOMENTS = ("before intent", "after intent", f"before {KEPT}", f"after {KEPT}", "before etcdops.yaml",
           "after etcdops.yaml", "before outcome", "after outcome")  # fmt: skip
UNWRITTEN = MOMENTS[: MOMENTS.index("after etcdops.yaml")]
TWICE = [
    *((first, second) for first in UNWRITTEN for second in MOMENTS[-4:-1]),
    *((first, "before outcome") for first in MOMENTS if first not in UNWRITTEN and first != MOMENTS[-1]),
]
"""What is written, or known to be, is not written again."""


@pytest.mark.parametrize(("first", "second"), [*((first, "") for first in MOMENTS), *TWICE])
def test_cut_off_anywhere_in_it_the_token_is_there_once(inventory: Path, first: str, second: str) -> None:
    """Goal: the old file or the new one, never a third; comments and order stay; kept as it was, once."""
    known = begin(PreparedOnHosts(plan_of(inventory), None, None))
    with pytest.MonkeyPatch.context() as patched:
        crash_at(patched, first)
        with pytest.raises(Crash, match=first):
            asyncio.run(work(known, FakeAccess(), lambda event: None))
    assert inventory.read_text() == (INVENTORY if first in UNWRITTEN else WRITTEN)
    if second:
        with pytest.MonkeyPatch.context() as patched:
            crash_at(patched, second)
            with pytest.raises(Crash, match=second):
                go_on()
    known = go_on()
    assert known.state.ended == "finished"
    assert inventory.read_text() == WRITTEN
    assert (inventory.parent / KEPT).read_text() == INVENTORY
    assert sorted(path.name for path in inventory.parent.iterdir()) == ["etcdops.yaml", KEPT]
    assert known.state.results["inventory"] == {"file": str(inventory), "kept": str(inventory.parent / KEPT)}


def test_what_somebody_wrote_meanwhile_stays_and_the_run_says_how_to_go_on(inventory: Path) -> None:
    """Between two attempts the inventory was edited: a comment is nobody's business, another token is."""
    known = begin(PreparedOnHosts(plan_of(inventory), None, None))
    with pytest.MonkeyPatch.context() as patched:
        crash_at(patched, "before etcdops.yaml")
        with pytest.raises(Crash):
            asyncio.run(work(known, FakeAccess(), lambda event: None))
    inventory.write_text(INVENTORY.replace("prod-1 ", "prod-2 "))
    with pytest.raises(UsageError, match="says something else of prod") as refused:
        go_on()
    assert "put it back as it was" in refused.value.hint
    inventory.write_text(f"{INVENTORY}# and mine\n")
    assert go_on().state.ended == "finished"
    assert inventory.read_text() == f"{WRITTEN}# and mine\n"
