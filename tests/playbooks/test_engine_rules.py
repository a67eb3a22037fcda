"""What the engine promises beside order: steps at once, deadlines, safety asked again, stopping, taking back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from etcdops.client.quorum import Quorum
from etcdops.clock import ManualClock
from etcdops.errors import ClusterUnsafe, EtcdopsError, PartlyApplied
from etcdops.playbooks.engine import GO_ON, RunStopped, StopRequest, ask_to_stop, execute, roll_back
from etcdops.playbooks.follow import past_events
from etcdops.playbooks.journal import Journal, RunState, open_runs
from etcdops.playbooks.plan import Danger, Json, Plan, Result, StepSpec
from etcdops.playbooks.run_event import RunEvent
from etcdops.playbooks.safety import Verdict
from etcdops.playbooks.step import Step, UndoableStep


class Made(UndoableStep):
    """Notes what is done with it. `behaviour` is what happens in its act."""

    def __init__(self, world: list[str], id: str, behaviour: str = "", **spec: object) -> None:
        super().__init__(StepSpec(id, f"make {id}", "make", **{"danger": Danger.MILD, **spec}))  # type: ignore[arg-type]  # a test names the fields it wants
        self.world = world
        self.behaviour = behaviour
        self.verdict: Verdict | None = None

    async def check(self) -> bool:
        return f"+{self.id}" in self.world

    async def judge(self) -> Verdict | None:
        return self.verdict

    async def act(self) -> None:
        self.world.append(f">{self.id}")
        await asyncio.sleep(3600 if self.behaviour == "hang" else 0)
        if self.behaviour == "fail":
            raise EtcdopsError(f"no {self.id}")
        self.world.append(f"+{self.id}")

    async def undo(self, result: Result) -> None:
        self.world.append(f"-{self.id}")

    def safe_now(self) -> str:
        return f"leave {self.id} alone" if self.behaviour == "fail" else ""


class Run:
    """A run of some steps: `go` works on it, as often as it is called."""

    def __init__(self, folder: Path, *steps: Step, inputs: dict[str, Json] | None = None) -> None:
        self.steps = steps
        self.plan = Plan("p", "c", inputs or {}, (), (), tuple(step.spec for step in steps))
        self.journal = Journal.create(folder, self.plan, ManualClock(), name="r-0001")
        self.events: list[RunEvent] = []
        self.stop = StopRequest()

    @property
    def state(self) -> RunState:
        state = self.journal.load()
        assert state is not None
        return state

    def go(self, at_once: int = 8) -> dict[str, Result]:
        self.journal.resumed()
        work = execute(
            self.steps, self.journal, self.state, self.events.append, stop=self.stop, at_once=at_once,
            clock=ManualClock(),
        )  # fmt: skip
        return asyncio.run(work)

    def back(self) -> None:
        asyncio.run(roll_back(self.steps, self.journal, self.state, self.events.append, clock=ManualClock()))


def pair(world: list[str], *names: str, **behaviour: str) -> list[Made]:
    return [Made(world, name, behaviour.get(name, ""), together="pair") for name in names]


def test_only_steps_the_plan_calls_independent_run_at_once(tmp_path: Path) -> None:
    world: list[str] = []
    Run(tmp_path, Made(world, "a"), *pair(world, "b", "c"), Made(world, "d")).go()
    assert world == [">a", "+a", ">b", ">c", "+b", "+c", ">d", "+d"]


def test_no_more_than_allowed_run_at_once(tmp_path: Path) -> None:
    world: list[str] = []
    Run(tmp_path, *pair(world, "a", "b", "c", "d")).go(at_once=2)
    running = [sum(1 if note[0] == ">" else -1 for note in world[: at + 1]) for at in range(len(world))]
    assert max(running) == 2


def test_when_one_fails_those_at_work_end_and_no_other_begins(tmp_path: Path) -> None:
    """Cut off in the middle they would be in a worse state than done; the error names all."""
    world: list[str] = []
    run = Run(tmp_path, *pair(world, "a", "b", "c", a="fail"), Made(world, "d"))
    with pytest.raises(PartlyApplied, match=r"step 1 of 4 \(make a\): no a") as failed:
        run.go(at_once=2)
    assert world == [">a", ">b", "+b"]
    assert "safe now: leave a alone" in failed.value.hint
    assert "etcdops runs resume r-0001" in failed.value.hint
    assert run.state.status == "failed"
    assert set(run.state.results) == {"b"}
    run.steps[0].behaviour = ""  # type: ignore[attr-defined]  # it is a Made
    run.go()
    assert world[3:] == [">a", ">c", "+a", "+c", ">d", "+d"]


def test_a_step_that_does_not_end_is_given_up_at_its_deadline(tmp_path: Path) -> None:
    run = Run(tmp_path, Made([], "a", "hang", timeout_s=0.05))
    with pytest.raises(PartlyApplied, match="make a was not done within") as failed:
        run.go()
    assert GO_ON in failed.value.hint


def no() -> Verdict:
    return Verdict(False, Quorum(3, 2), Quorum(3, 1), "quorum-lost", "1 of 3 would be left", "bring back m1 first")


@pytest.mark.parametrize("danger", [Danger.MODERATE, Danger.SEVERE])
def test_a_dangerous_step_is_judged_again_right_before(tmp_path: Path, danger: Danger) -> None:
    """The world may have changed since the plan was made; what the operator overrode stays overridden."""
    world: list[str] = []
    step = Made(world, "a", danger=danger)
    step.verdict = no()
    with pytest.raises(ClusterUnsafe, match="not safe now: 1 of 3") as refused:
        Run(tmp_path / "one", step).go()
    assert refused.value.hint == "bring back m1 first"
    assert not world
    Run(tmp_path / "two", step, inputs={"force_unsafe": ["quorum-lost"]}).go()
    assert world == [">a", "+a"]


def test_harmless_steps_are_not_judged(tmp_path: Path) -> None:
    step = Made([], "a", danger=Danger.MILD)
    step.verdict = no()
    Run(tmp_path, step).go()


def test_it_stops_between_steps_when_asked_and_goes_on(tmp_path: Path) -> None:
    """By this process, and by a file from another one; what was asked of one process is not asked of the next."""
    world: list[str] = []
    run = Run(tmp_path, *(Made(world, name) for name in "abc"))
    listen = run.events.append

    def ask(event: RunEvent) -> None:
        listen(event)
        if event.kind == "started" and event.step_id == "a":
            ask_to_stop(run.journal)
        if event.kind == "started" and event.step_id == "b":
            run.stop.ask()

    run.events = list[RunEvent]()
    for expected in ("step 2 of 3", "step 3 of 3"):
        with pytest.raises(RunStopped, match=expected):
            asyncio.run(execute(run.steps, run.journal, run.state, ask, stop=run.stop, clock=ManualClock()))
        assert not run.journal.stop_path.exists()
    assert run.state.status == "stopped"
    run.stop = StopRequest()
    run.go()
    assert run.state.status == "finished"
    assert world == [">a", "+a", ">b", "+b", ">c", "+c"]


def test_a_run_is_taken_back_last_step_first(tmp_path: Path) -> None:
    """A step cut off half way is taken back as well; one that was never begun is left alone."""
    world: list[str] = []
    run = Run(tmp_path, Made(world, "a"), Made(world, "b", "fail"), Made(world, "c"))
    with pytest.raises(PartlyApplied):
        run.go()
    world.clear()
    run.back()
    assert world == ["-b", "-a"]
    assert run.state.status == "rolled-back"
    assert not open_runs(tmp_path, ManualClock())


def test_what_cannot_be_taken_back_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    world: list[str] = []

    class Final(Step):
        """Changes something for good."""

        def other_way_back(self) -> str:
            return "or restore b from the backup"

    run = Run(
        tmp_path,
        Made(world, "a"),
        Final(StepSpec("b", "delete b", "x", danger=Danger.SEVERE)),
        Made(world, "c", "fail"),
    )
    with pytest.raises(PartlyApplied):
        run.go()
    world.clear()
    with pytest.raises(ClusterUnsafe, match="delete b cannot be undone") as refused:
        run.back()
    assert refused.value.hint.endswith(f"etcdops runs resume {run.journal.run}; or restore b from the backup")
    assert not world
    assert not run.state.rolling_back


def test_events_are_lines_of_json_that_name_run_and_step(tmp_path: Path) -> None:
    """One shape for `--events json`, live and from the journal; it only ever gains fields."""
    run = Run(tmp_path, Made([], "a", host="h1"), Made([], "b", "fail"))
    with pytest.raises(PartlyApplied):
        run.go()
    lines = [json.loads(json.dumps(event.to_json())) for event in run.events]
    assert [line["event"] for line in lines] == ["begun", "started", "complete", "started", "failed"]
    assert all(line["schema"] == "etcdops.run-event/1" and line["run"] == "r-0001" for line in lines)
    assert {key: lines[2][key] for key in ("step", "title", "host", "danger", "number", "total", "result")} == {
        "step": "a", "title": "make a", "host": "h1", "danger": "mild", "number": 1, "total": 2, "result": {},
    }  # fmt: skip
    assert (lines[4]["error"], lines[4]["safe_now"]) == ("no b", "leave b alone")
    past = past_events(run.journal, run.plan)
    assert [event.kind for event in past] == ["begun", "resumed", "started", "complete", "started", "failed"]
    assert past[-1].to_json()["safe_now"] == "leave b alone"


@pytest.mark.slow
def test_a_journal_torn_at_every_byte_is_read_as_what_was_whole(tmp_path: Path) -> None:
    """A cut line is no line; the run goes on from there to the same end."""
    world: list[str] = []
    run = Run(tmp_path, Made(world, "a"), *pair(world, "b", "c"))
    run.go()
    raw = run.journal.path.read_bytes()
    first = raw.index(b"\n")
    for size in range(len(raw)):
        run.journal.path.write_bytes(raw[:size])
        state = run.journal.load()
        if size <= first:
            assert state is None
            continue
        assert state is not None
        whole = [json.loads(line) for line in raw[:size].split(b"\n")[:-1]]
        assert set(state.results) == {line["step"] for line in whole if line["event"] == "done"}
        assert bool(state.ended) == (whole[-1]["event"] == "finished")
        if size % 16 == 0 and not state.ended:
            run.go()
            assert run.state.status == "finished"
