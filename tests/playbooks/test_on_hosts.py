"""Runs on hosts: which inventory they go on with, how hosts are held, what fails before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from etcdops.client.settings import ConnectionSettings
from etcdops.clock import SystemClock
from etcdops.errors import Unreachable, UsageError
from etcdops.inventory.edit import token_edit
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Inventory
from etcdops.inventory.protection import Protection
from etcdops.playbooks.journal import RunState
from etcdops.playbooks.member_access import member_settings
from etcdops.playbooks.on_hosts import (
    INPUT,
    RunHosts,
    find_cluster,
    open_passages,
    planned_inventory,
    planned_protection,
    reaching,
    source_of,
)
from etcdops.playbooks.plan import Danger, Plan, StepSpec
from etcdops.playbooks.procedures import Procedure, _procedures, carry_out
from etcdops.playbooks.runs import KnownRun, begin_run, runs_on_hosts
from etcdops.playbooks.step import Step
from etcdops.remote.pool import Open
from etcdops.remote.session import Ownership, Session
from tests.fakes.session import FakeSession, said

YAML = """\
hosts:
  h1: {address: 10.0.0.1, ssh: {user: ops}}
  h2: {address: 10.0.0.2}
  h3: {address: 10.0.0.3}
clusters:
  prod:
    members: [{host: h1}, {host: h2}, {host: h3}]
"""


@dataclass
class FakeAccess:
    """Hosts that are only told of; those in `dead` do not answer."""

    dead: Sequence[str] = ()
    sessions: dict[str, FakeSession] = field(default_factory=dict)

    def settings(self, endpoints: Sequence[str], cluster: str) -> ConnectionSettings:
        return ConnectionSettings(tuple(endpoints))

    @contextmanager
    def connecting(self, inventory: Inventory) -> Iterator[Open]:
        async def open_host(name: str) -> Session:
            if name in self.dead:
                raise Unreachable(f"{name}: no answer", cause="timed out")
            session = self.sessions.setdefault(name, FakeSession(name))
            session.answer("/bin/sh", result=said())
            return session

        yield open_host


@dataclass
class ToldTunnel:
    """Leads nowhere."""

    address: tuple[str, int]

    async def close(self) -> None: ...


class ThroughSession(FakeSession):
    """A host that lets others pass."""

    async def tunnel(self, host: str, port: int) -> ToldTunnel:
        return ToldTunnel((host, port))


class Touch(Step):
    """Says that it was on a host."""

    def __init__(self, spec: StepSpec, run: RunHosts) -> None:
        super().__init__(spec)
        self.run = run

    async def act(self) -> None:
        session = await self.run.session(self.spec.host)
        await session.write_file("/touched", b"", Ownership())


@pytest.fixture
def inventory_file(tmp_path: Path) -> Path:
    path = tmp_path / "prod.yaml"
    path.write_text(YAML)
    return path


def make_plan(path: Path) -> Plan:
    inventory = load_inventory([path])
    cluster = find_cluster(inventory)
    steps = tuple(
        StepSpec(f"touch:{name}", f"touch {name}", "touch", name, danger=Danger.MILD) for name in ("h1", "h2")
    )
    source = source_of([path], inventory, cluster)
    return Plan("touch", "prod", {INPUT: source.to_json()}, ("touch",), ("nothing",), steps)


@pytest.fixture
def begun(inventory_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KnownRun:
    """A run of a procedure that is known for this test only."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(
        _procedures, "touch", Procedure(on_hosts=lambda plan, run: [Touch(spec, run) for spec in plan.steps])
    )
    plan = make_plan(inventory_file)
    journal = begin_run(runs_on_hosts("prod"), plan, SystemClock())
    return KnownRun(journal, RunState(plan, 0.0, journal.run))


def test_a_login_may_change_between_planning_and_going_on_but_members_may_not(inventory_file: Path) -> None:
    """A run that goes on must work on the members it began with."""
    plan = make_plan(inventory_file)
    inventory_file.write_text(YAML.replace("user: ops", "user: root, port: 2222"))
    inventory, cluster, source = planned_inventory(plan)
    assert (inventory.hosts["h1"].ssh.user, cluster.name, source.paths) == ("root", "prod", (inventory_file,))
    inventory_file.write_text(YAML.replace("10.0.0.2", "10.0.0.9"))
    with pytest.raises(UsageError, match="says something else of prod"):
        planned_inventory(plan)


def test_an_inventory_that_has_the_outcome_of_the_run_already_is_the_planned_one(inventory_file: Path) -> None:
    """A recovery that writes its new token there, or whose operator does, can still go on; any other token stops it."""
    inventory = load_inventory([inventory_file])
    cluster = find_cluster(inventory)
    source = source_of([inventory_file], inventory, cluster, renewed=cluster.model_copy(update={"token": "prod-new"}))
    saved = Plan("recover-on-hosts", "prod", {INPUT: source.to_json()}, (), ())
    token_edit([inventory_file], "prod", "prod-new").write("before")
    assert planned_inventory(saved)[1].token == "prod-new"
    token_edit([inventory_file], "prod", "prod-other").write("before")
    with pytest.raises(UsageError, match="says something else of prod"):
        planned_inventory(saved)


def test_how_much_it_takes_to_go_on_is_what_the_inventory_says_now(inventory_file: Path) -> None:
    """Not what it said when the run was begun; what cannot be read is no reason to ask less."""
    plan = make_plan(inventory_file)
    for level in Protection:
        inventory_file.write_text(f"{YAML}    protection: {level}\n")
        assert planned_protection(plan) is level
    inventory_file.write_text(YAML.replace("prod:", "other:"))
    assert planned_protection(plan) is Protection.NORMAL
    inventory_file.unlink()
    assert planned_protection(plan) is Protection.NORMAL
    assert planned_protection(Plan("recover-from-snapshot", "lab", {}, (), ())) is Protection.NORMAL


async def test_a_run_holds_every_host_and_lets_go_of_them_at_its_end(begun: KnownRun) -> None:
    """The lock is taken on hosts without a step too: all of a cluster's."""
    access = FakeAccess()
    await carry_out(begun, access, lambda event: None)
    assert begun.state.ended == "finished"
    assert begun.journal.path.parent == runs_on_hosts("prod")
    assert "/touched" in access.sessions["h2"].files
    for name in ("h1", "h2", "h3"):
        texts = [str(command) for command in access.sessions[name].ran]
        assert any("ln --" in text for text in texts), "the lock was taken"
        assert any('rm -f -- "$1/$2"' in text for text in texts), "and given back"


async def test_a_host_that_does_not_answer_is_known_before_anything_is_done(begun: KnownRun) -> None:
    """All hosts that fail are named, and the run is no unfinished one."""
    access = FakeAccess(dead=("h2", "h3"))
    with pytest.raises(Unreachable, match="h2: no answer") as caught:
        await carry_out(begun, access, lambda event: None)
    assert "also h3: no answer" in caught.value.cause
    assert begun.state.ended == "abandoned"
    assert access.sessions["h1"].ran == []


def test_the_cluster_is_named_when_there_is_more_than_one(inventory_file: Path) -> None:
    """Nothing is guessed."""
    inventory = load_inventory([inventory_file])
    two = Inventory(hosts=inventory.hosts, clusters={**inventory.clusters, "test": inventory.clusters["prod"]})
    with pytest.raises(UsageError, match=r"which cluster\? the inventory has prod, test"):
        find_cluster(two)
    with pytest.raises(UsageError, match="no cluster dev"):
        find_cluster(two, "dev")


async def test_members_are_reached_as_their_inventory_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password, read once, and a way through SSH where it has one; what was typed comes first."""
    monkeypatch.setenv("PROD_PASSWORD", "s3cret")
    path = tmp_path / "prod.yaml"
    path.write_text(
        f"{YAML}    access: {{user: root, password: {{env: PROD_PASSWORD}}, via: ssh, server_name: prod}}\n"
    )
    inventory = load_inventory([path])
    cluster = find_cluster(inventory)
    access = FakeAccess(sessions={"h1": ThroughSession("h1"), "h2": ThroughSession("h2")})
    async with reaching(inventory, cluster, source_of([path], inventory, cluster), access) as run:
        await open_passages(run, ["h1", "h2"])
        settings = member_settings(run, ("http://10.0.0.1:2379",))
        monkeypatch.delenv("PROD_PASSWORD")
        assert member_settings(run, settings.endpoints) == settings
    assert settings.username == "root"
    assert settings.password is not None
    assert settings.password.reveal() == "s3cret"
    assert settings.server_name == "prod"
    assert settings.routes == {"http://10.0.0.1:2379": "127.0.0.1:2379", "http://10.0.0.2:2379": "127.0.0.1:2379"}
