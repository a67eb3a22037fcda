"""The engine and its journal: cut off anywhere, a run goes on and ends in the same world."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from etcdops.clock import ManualClock
from etcdops.errors import ClusterUnsafe, EtcdopsError, PartlyApplied, VerificationFailed
from etcdops.playbooks.engine import execute
from etcdops.playbooks.journal import Journal, RunState, open_runs, run_lock
from etcdops.playbooks.plan import Plan, Result, StepSpec
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.step import Step

PLAN = Plan("paint", "house", {"colour": "blue", "walls": [1, 2]}, ("paint it",), ("the old colour",))


class Crash(BaseException):
    """SIGKILL, as far as a test in one process can have it: nobody may catch it."""


@dataclass
class World:
    """What steps change. `crash_at` names the moment at which everything ends."""

    done: list[str] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)
    crash_at: str = ""

    def moment(self, name: str) -> None:
        if name == self.crash_at:
            self.crash_at = ""
            raise Crash(name)


class Paint(Step):
    """A step that is done once its name is in the world. `refusal` comes before its act, `error` in it."""

    def __init__(
        self,
        world: World,
        id: str,
        *,
        error: EtcdopsError | None = None,
        refusal: EtcdopsError | None = None,
        spec: StepSpec | None = None,
    ) -> None:
        super().__init__(spec or StepSpec(id, f"paint {id}", "paint"))
        self.world = world
        self.error = error
        self.refusal = refusal

    async def check(self) -> bool:
        self.world.moment(f"check {self.id}")
        if self.refusal is not None:
            raise self.refusal
        return self.id in self.world.done

    async def act(self) -> None:
        self.world.moment(f"before act {self.id}")
        if self.error is not None:
            raise self.error
        self.world.acts.append(self.id)
        if self.id not in self.world.done:
            self.world.done.append(self.id)
        self.world.moment(f"after act {self.id}")

    async def verify(self) -> Result:
        self.world.moment(f"verify {self.id}")
        if self.id not in self.world.done:
            raise VerificationFailed(f"{self.id} is not painted")
        return {"painted": self.id}


class Fleeting(Paint):
    lasting = False


NAMES = ("a", "b", "c")
MOMENTS = [f"{moment} {name}" for name in NAMES for moment in ("check", "before act", "after act", "verify")]


def begin(folder: Path) -> Journal:
    return Journal.create(folder, PLAN, ManualClock(), name="run-1")


def go_on(folder: Path) -> tuple[Journal, RunState]:
    ((journal, state),) = open_runs(folder, ManualClock())
    return journal, state


def run(world: World, folder: Path, *, listener: list[RunEvent] | None = None) -> dict[str, Result]:
    steps: list[Step] = [Paint(world, name) for name in NAMES]
    runs = open_runs(folder, ManualClock())
    journal, state = runs[0] if runs else (begin(folder), RunState(PLAN, 0.0))
    return asyncio.run(execute(steps, journal, state, (listener if listener is not None else []).append))


def test_steps_run_in_order_and_the_journal_ends(tmp_path: Path) -> None:
    """Goal: intent before, outcome after, results returned."""
    world = World()
    events: list[RunEvent] = []
    results = run(world, tmp_path, listener=events)
    assert world.done == list(NAMES)
    assert results["b"] == {"painted": "b"}
    assert [(event.kind, event.step_id) for event in events] == [
        ("begun", ""),
        *((kind, name) for name in NAMES for kind in ("started", "complete")),
        ("finished", ""),
    ]
    lines = [json.loads(line) for line in (tmp_path / "run-1.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["planned", *["intent", "done"] * 3, "finished"]
    assert not open_runs(tmp_path, ManualClock())


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_cut_off_anywhere_goes_on_and_ends_the_same(tmp_path: Path, moment: str) -> None:
    """Goal: every step boundary, before and after. Source: patroni tests/test_quorum.py."""
    world = World(crash_at=moment)
    with pytest.raises(Crash):
        run(world, tmp_path)
    results = run(world, tmp_path)
    assert world.done == list(NAMES)
    assert set(results) == set(NAMES)
    assert len(world.acts) == len(NAMES), "a step that was done is recognised, not done again"


@pytest.mark.parametrize("first", MOMENTS[::3])
@pytest.mark.parametrize("second", MOMENTS[1::4])
def test_two_crashes_are_no_worse_than_one(tmp_path: Path, first: str, second: str) -> None:
    """Goal: resuming may be cut off as well."""
    world = World(crash_at=first)
    with pytest.raises(Crash):
        run(world, tmp_path)
    world.crash_at = second
    try:
        run(world, tmp_path)
    except Crash:
        run(world, tmp_path)
    assert world.done == list(NAMES)


def test_every_cut_of_the_journal_itself_can_be_resumed(tmp_path: Path) -> None:
    """Goal: a line torn by a power loss is no line; what it would have said happens again."""
    world = World()
    run(world, tmp_path)
    path = tmp_path / "run-1.jsonl"
    raw = path.read_bytes()
    end = raw.rindex(b'{"event":"finished"')
    for size in range(1, end, 7):
        path.write_bytes(raw[:size])
        if size < raw.index(b"\n"):
            assert not open_runs(tmp_path, ManualClock()), "without a plan nothing was done"
            continue
        run(world, tmp_path)
        assert world.done == list(NAMES)


def test_a_line_whose_beginning_is_lost_is_no_line(tmp_path: Path) -> None:
    """Goal: a loss of power may keep the end of an unsynced line, with zeros before it (tests/power found it)."""
    world = World()
    run(world, tmp_path)
    path = tmp_path / "run-1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    for count in range(len(lines)):
        torn = bytes(len(lines[count]) // 2) + lines[count][len(lines[count]) // 2 :]
        path.write_bytes(b"".join([*lines[:count], torn]))
        if count == 0:
            assert not open_runs(tmp_path, ManualClock()), "without a plan nothing was done"
            continue
        run(world, tmp_path)
        assert world.done == list(NAMES)


def test_a_step_that_does_not_last_is_looked_at_again(tmp_path: Path) -> None:
    """Goal: a process that was started may have ended since."""
    world = World()
    steps: list[Step] = [Paint(world, "a"), Fleeting(world, "b"), Paint(world, "c")]
    journal = begin(tmp_path)
    world.crash_at = "check c"
    with pytest.raises(Crash):
        asyncio.run(execute(steps, journal, RunState(PLAN, 0.0), lambda event: None))
    world.done.remove("b")
    world.done.remove("a")
    journal, state = go_on(tmp_path)
    asyncio.run(execute(steps, journal, state, lambda event: None))
    assert world.done == ["b", "c"], "what lasts is believed, what does not is done again"


def test_a_failed_step_says_what_is_done_and_how_to_go_on(tmp_path: Path) -> None:
    """Goal: exit 9 with the step, the cause and the journal; the same command goes on."""
    world = World()
    steps: list[Step] = [Paint(world, "a"), Paint(world, "b", error=EtcdopsError("no paint", hint="buy some"))]
    journal = begin(tmp_path)
    with pytest.raises(PartlyApplied, match=r"step 2 of 2 \(paint b\): no paint") as failed:
        asyncio.run(execute(steps, journal, RunState(PLAN, 0.0), lambda event: None))
    assert "buy some" in failed.value.hint
    assert str(journal.path) in failed.value.hint
    steps[1] = Paint(world, "b")
    journal, state = go_on(tmp_path)
    asyncio.run(execute(steps, journal, state, lambda event: None))
    assert world.acts == ["a", "b"]


def test_a_failure_before_anything_was_done_keeps_its_own_error(tmp_path: Path) -> None:
    """Goal: "partly applied" is never said of a run that changed nothing."""
    steps: list[Step] = [Paint(World(), "a", refusal=ClusterUnsafe("no"))]
    with pytest.raises(ClusterUnsafe, match="no"):
        asyncio.run(execute(steps, begin(tmp_path), RunState(PLAN, 0.0), lambda event: None))


def test_steps_that_had_nothing_to_do_are_not_called_applied(tmp_path: Path) -> None:
    """Goal: exit 9 only when something was changed; then there is nothing to go on with either."""
    world = World(done=["a"])
    steps: list[Step] = [Paint(world, "a"), Paint(world, "b", refusal=ClusterUnsafe("no"))]
    with pytest.raises(ClusterUnsafe, match="no"):
        asyncio.run(execute(steps, begin(tmp_path), RunState(PLAN, 0.0), lambda event: None))
    assert not world.acts
    assert not open_runs(tmp_path, ManualClock())


def test_a_run_cut_off_in_an_act_counts_as_applied(tmp_path: Path) -> None:
    """Goal: nobody knows how far the act came, so a resumed run that fails says how to go on."""
    world = World(crash_at="before act a")
    with pytest.raises(Crash):
        run(world, tmp_path)
    journal, state = go_on(tmp_path)
    steps: list[Step] = [Paint(world, "a", error=ClusterUnsafe("no"))]
    with pytest.raises(PartlyApplied, match="no"):
        asyncio.run(execute(steps, journal, state, lambda event: None))


def test_a_wrong_outcome_is_a_verification_failure(tmp_path: Path) -> None:
    """Goal: exit 10, not 9: everything was done, and it is wrong."""
    world = World()

    class Liar(Paint):
        async def act(self) -> None:
            """Does nothing."""

    steps: list[Step] = [Paint(world, "a"), Liar(world, "b")]
    with pytest.raises(VerificationFailed, match="not painted"):
        asyncio.run(execute(steps, begin(tmp_path), RunState(PLAN, 0.0), lambda event: None))


def test_a_run_given_up_is_not_resumed(tmp_path: Path) -> None:
    """Goal: `--new-run` ends the old one for good."""
    begin(tmp_path).abandoned()
    assert not open_runs(tmp_path, ManualClock())


def test_a_plan_survives_the_journal(tmp_path: Path) -> None:
    """Goal: what runs on a resume is what was confirmed, to the last digit."""
    begin(tmp_path)
    _, state = go_on(tmp_path)
    assert state.plan == PLAN
    assert state.plan.digest == PLAN.digest


@pytest.mark.parametrize("text", ["nonsense\n", "[]\n", '{"event":"intent","step":"a"}\n', '{"event":"planned"}\n'])
def test_a_file_that_is_no_journal_is_named(tmp_path: Path, text: str) -> None:
    """Goal: damage is said, not guessed around."""
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(EtcdopsError, match=r"x\.jsonl"):
        open_runs(tmp_path, ManualClock())


def test_only_one_run_at_a_time(tmp_path: Path) -> None:
    """Goal: two operators cannot recover one cluster at once."""
    with run_lock(tmp_path), pytest.raises(ClusterUnsafe, match="another run"), run_lock(tmp_path):
        pass
    with run_lock(tmp_path):
        pass
