"""A rolling change on a cluster that is only told of: order, what stops it, what a resumed one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from etcdops.client.view import Alarm
from etcdops.clock import SystemClock
from etcdops.errors import ClusterUnsafe, EtcdopsError, PartlyApplied, Unhealthy, UsageError, VerificationFailed
from etcdops.ids import MemberID
from etcdops.playbooks.engine import execute, roll_back
from etcdops.playbooks.journal import Journal, RunState
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.rolling.planning import PROCEDURE, Choices, RollingFacts, make_plan
from etcdops.playbooks.rolling.steps import RollingRun, add_kinds, read_plan
from etcdops.playbooks.step import Step, StepKinds
from etcdops.rendering.flags import Version
from tests.fakes.fleet import FakeFleet, FakeMember


async def facts(fleet: FakeFleet) -> RollingFacts:
    names = [member.name for member in fleet.members]
    return RollingFacts(
        "prod",
        {name: f"h{name[1:]}" for name in names},
        fleet.view(),
        {name: await fleet.unwritten(name) for name in names},
        {name: await fleet.outdated(name) for name in names},
        Version.parse(fleet.wanted),
    )


async def planned(fleet: FakeFleet, folder: Path, *, accept_downtime: bool = False) -> Plan | None:
    return make_plan(await facts(fleet), Choices({}, folder / "before.db", accept_downtime))


class Run:
    """A run of a plan that can be gone on with."""

    def __init__(self, fleet: FakeFleet, plan: Plan, folder: Path) -> None:
        self.fleet, self.plan = fleet, plan
        self.patience_s: float | None = None
        self.journal = Journal.create(folder / "runs", plan, SystemClock())

    async def go(self) -> RunState:
        state = self.state
        await execute(self._steps, self.journal, state, lambda event: None)
        return state

    async def take_back(self) -> None:
        await roll_back(self._steps, self.journal, self.state, lambda event: None)

    @property
    def state(self) -> RunState:
        state = self.journal.load()
        assert state is not None
        return state

    @property
    def _steps(self) -> list[Step]:
        run = dataclasses.replace(
            read_plan(self.plan, self.fleet), poll_s=0.0, calm_timeout_s=0.0, back_timeout_s=self.patience_s
        )
        kinds: StepKinds[RollingRun] = add_kinds(StepKinds(PROCEDURE))
        return kinds.build(self.plan, run)


async def begin(fleet: FakeFleet, folder: Path, *, accept_downtime: bool = False) -> Run:
    plan = await planned(fleet, folder, accept_downtime=accept_downtime)
    assert plan is not None
    return Run(fleet, plan, folder)


async def test_followers_first_one_after_the_other_and_the_leader_last(tmp_path: Path) -> None:
    """Each is written, restarted and waited for before the next; leadership moves once, to one that is done."""
    fleet = FakeFleet.of(3, running="3.4.23", wanted="3.5.16", leader="m1")
    state = await (await begin(fleet, tmp_path)).go()
    assert fleet.done == [
        "snapshot",
        "write m2", "restart m2",
        "write m3", "restart m3",
        "write m1", "lead m3", "restart m1",
    ]  # fmt: skip
    assert state.ended == "finished"
    assert state.results["cluster-version"] == {"cluster_version": "3.5.0"}
    assert state.results["await:m1"]["version"] == "3.5.16"


async def test_a_second_change_has_nothing_to_do(tmp_path: Path) -> None:
    """Idempotence is by content: what runs is what is wanted."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")
    await (await begin(fleet, tmp_path)).go()
    assert await planned(fleet, tmp_path) is None
    assert "snapshot" not in fleet.done, "a patch can be taken back by its program alone"


async def test_only_members_that_differ_are_touched(tmp_path: Path) -> None:
    """One that was changed by hand already is left alone, the leader too."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")
    fleet["m1"].written = fleet["m1"].running = "3.5.16"
    await (await begin(fleet, tmp_path)).go()
    assert fleet.done == ["write m2", "restart m2", "write m3", "restart m3"]


async def test_a_leader_that_runs_with_everything_already_keeps_leading(tmp_path: Path) -> None:
    """It was restarted meanwhile, by hand or by its host: nothing is left but to see that."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")
    run = await begin(fleet, tmp_path)
    fleet.brought = {member.name: ["3.5.16"] for member in fleet.members}
    fleet["m1"].written = fleet["m1"].running = "3.5.16"
    await run.go()
    assert fleet.leader == "m1"
    assert "restart m1" not in fleet.done


@pytest.mark.parametrize("trouble", ["down", "alarm", "lag", "learner", "hash"])
async def test_a_cluster_that_is_not_well_is_not_begun_with(trouble: str, tmp_path: Path) -> None:
    """Each of them alone is a reason, and named."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")
    if trouble == "learner":
        fleet.members.append(FakeMember("m4", MemberID(4), "3.5.9", "3.5.9", learner=True, lag=5000))
    make_unwell(fleet, trouble)
    with pytest.raises(EtcdopsError) as caught:
        await planned(fleet, tmp_path)
    assert isinstance(caught.value, Unhealthy)
    words = {
        "down": "m3 does not answer", "alarm": "alarm NOSPACE of m3", "lag": "m3 is 5000 log entries behind",
        "learner": "the learner m4 is 5000", "hash": "differs",
    }  # fmt: skip
    assert words[trouble] in caught.value.message


async def test_members_are_neither_added_nor_removed_on_the_way(tmp_path: Path) -> None:
    """An inventory that names others is about another change."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")
    found = await facts(fleet)
    fleet["m3"].name = "elsewhere"
    with pytest.raises(UsageError, match="same members") as caught:
        make_plan(dataclasses.replace(found, view=fleet.view()), Choices({}, tmp_path / "x.db"))
    assert caught.value.cause == "m3 is no member of the cluster; elsewhere is not in the inventory"


def make_unwell(fleet: FakeFleet, trouble: str) -> None:
    match trouble:
        case "down":
            fleet["m3"].up = False
        case "alarm":
            fleet.alarms.append(Alarm(MemberID(3), "NOSPACE"))
        case "lag":
            fleet["m3"].lag = 5000
        case "hash":
            fleet["m3"].hash = 8


@pytest.mark.parametrize("trouble", ["down", "alarm", "lag", "hash"])
async def test_trouble_in_the_middle_stops_before_the_next_restart(trouble: str, tmp_path: Path) -> None:
    """Something else breaks after the first member: nothing more is restarted; mended, the run goes on."""
    fleet = FakeFleet.of(5, running="3.5.9", wanted="3.5.16")
    fleet.on_restart = lambda member: make_unwell(fleet, trouble) if member.name == "m2" else None
    run = await begin(fleet, tmp_path)
    run.patience_s = 0.0
    with pytest.raises((PartlyApplied, VerificationFailed)) as caught:
        await run.go()
    assert fleet.done == ["write m2", "restart m2"]
    assert "leave every other member alone" in caught.value.hint
    fleet["m3"].up, fleet["m3"].lag, fleet["m3"].hash, fleet.alarms = True, 0, 7, []
    fleet.on_restart = lambda member: None
    state = await run.go()
    assert state.ended == "finished"
    assert fleet.done.count("restart m2") == 1
    assert all(member.running == "3.5.16" for member in fleet.members)


async def test_a_member_that_needs_a_moment_is_waited_for(tmp_path: Path) -> None:
    """It comes back behind the others, and the next restart waits until it is not."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")

    def fall_behind(member: FakeMember) -> None:
        member.lag, fleet.heals_after = 4000, 3

    fleet.on_restart = fall_behind
    assert (await (await begin(fleet, tmp_path)).go()).ended == "finished"


async def test_a_restart_that_was_cut_off_goes_on_with_the_member_down(tmp_path: Path) -> None:
    """It was stopped and not started: it is the one that may be restarted now, and the only one."""
    fleet = FakeFleet.of(3, running="3.5.9", wanted="3.5.16")

    def die(member: FakeMember) -> None:
        member.up = False
        raise EtcdopsError("m2 did not start", hint="see its log")

    fleet.on_restart = die
    run = await begin(fleet, tmp_path)
    with pytest.raises(PartlyApplied, match="m2 did not start"):
        await run.go()
    fleet.on_restart = lambda member: None
    assert (await run.go()).ended == "finished"
    assert fleet.done.count("restart m2") == 2


async def test_a_voter_that_turned_into_a_learner_stops_everything(tmp_path: Path) -> None:
    """As the change to 3.6 did before 3.5.26."""
    fleet = FakeFleet.of(3, running="3.5.32", wanted="3.6.14")

    def demote(member: FakeMember) -> None:
        member.learner = True

    fleet.on_restart = demote
    run = await begin(fleet, tmp_path)
    run.patience_s = 0.0
    with pytest.raises(PartlyApplied, match="no longer voters: m2"):
        await run.go()
    assert fleet.done == ["snapshot", "write m2", "restart m2"]


async def test_data_of_v2_is_found_before_anything_is_changed(tmp_path: Path) -> None:
    """3.6 would not start."""
    fleet = FakeFleet.of(3, running="3.5.32", wanted="3.6.14")
    fleet.v2_data = "custom data in /v2"
    with pytest.raises(EtcdopsError, match=r"m2 cannot become 3\.6"):
        await (await begin(fleet, tmp_path)).go()
    assert fleet.done == ["snapshot"]


async def test_members_that_3_6_would_see_otherwise_stop_it_before_anything_is_changed(tmp_path: Path) -> None:
    """Removed ones come back, promoted ones lose their vote; the run can be ended, and the snapshot stays."""
    fleet = FakeFleet.of(3, running="3.5.32", wanted="3.6.14")
    fleet.stored_learners = (MemberID(2),)
    fleet.zombies = [FakeMember("m9", MemberID(9))]
    run = await begin(fleet, tmp_path)
    with pytest.raises(EtcdopsError, match="m2 would be a learner again, without a vote") as told:
        await run.go()
    assert "m9, which is no member now, would come back" in told.value.cause
    assert "bring all members to the newest 3.5" in told.value.hint
    assert fleet.done == ["snapshot"]
    await run.take_back()
    assert (tmp_path / "before.db").exists()


async def test_clusters_of_one_and_two_need_the_word_that_service_stops(tmp_path: Path) -> None:
    """There is no way without downtime; with the word it is taken."""
    for count in (1, 2):
        fleet = FakeFleet.of(count, running="3.5.9", wanted="3.5.16")
        with pytest.raises(ClusterUnsafe, match="nobody can write") as caught:
            await planned(fleet, tmp_path)
        assert "--force-unsafe downtime" in caught.value.hint
        run = await begin(fleet, tmp_path / str(count), accept_downtime=True)
        assert (await run.go()).ended == "finished"


async def test_a_change_of_version_that_is_not_allowed_is_refused_with_the_reason(tmp_path: Path) -> None:
    """Before anything else."""
    with pytest.raises(ClusterUnsafe, match=r"from 3\.5\.16 down to 3\.4\.23") as caught:
        await planned(FakeFleet.of(3, running="3.5.16", wanted="3.4.23"), tmp_path)
    assert "only in 3.6" in caught.value.message


async def test_what_makes_a_member_who_it_is_cannot_be_rolled_out(tmp_path: Path) -> None:
    """Another data directory would be another member."""
    found = dataclasses.replace(await facts(FakeFleet.of(3, running="3.5.9")), fixed={"m1": ["data-dir"]})
    with pytest.raises(ClusterUnsafe, match="m1: data-dir would change"):
        make_plan(found, Choices({}, tmp_path / "x.db"))
