"""A plan is data: it prints, hashes, saves and compares."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest

from etcdops.errors import EtcdopsError, UsageError
from etcdops.playbooks.plan import Danger, Plan, StepSpec, compare_plans
from etcdops.playbooks.step import Step, StepKinds

STEPS = (
    StepSpec("install:a", "install a", "install", host="h1", inputs={"version": "3.5.16"}, together="install"),
    StepSpec("install:b", "install b", "install", host="h2", inputs={"version": "3.5.16"}, together="install"),
    StepSpec("restart:a", "restart a", "restart", danger=Danger.MODERATE, loses="a's connections", timeout_s=30),
)
PLAN = Plan("roll", "prod", {"token": "t", "sizes": [1, 2]}, ("install", "restart"), ("nothing",), STEPS)


def changed(**changes: object) -> Plan:
    return dataclasses.replace(PLAN, **changes)  # type: ignore[arg-type]  # a test names the fields it changes


def test_a_saved_plan_is_the_same_to_the_last_digit(tmp_path: Path) -> None:
    """Only its owner reads it: names and addresses of a cluster are nobody else's business."""
    PLAN.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == PLAN
    assert Plan.load(tmp_path / "plan.json").digest == PLAN.digest
    assert stat.S_IMODE((tmp_path / "plan.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(StepSpec)])
def test_every_field_of_every_step_is_in_the_hash(field: str) -> None:
    """What was confirmed is what runs."""
    other = {"inputs": {"version": "3.6.0"}, "danger": Danger.SEVERE, "timeout_s": 31.0}.get(field, "x")
    step = dataclasses.replace(STEPS[2], **{field: other})  # type: ignore[arg-type]  # each field in turn
    assert changed(steps=(*STEPS[:2], step)).digest != PLAN.digest


def test_two_plans_are_compared_step_by_step() -> None:
    """Gone, new, changed with both values, another order."""
    newer = dataclasses.replace(STEPS[0], inputs={"version": "3.6.0"})
    added = StepSpec("verify", "verify all", "verify")
    assert compare_plans(PLAN, PLAN) == []
    assert compare_plans(PLAN, changed(inputs={"token": "u", "sizes": [1, 2]}, steps=(newer, STEPS[2], added))) == [
        '~ inputs.token: "t" → "u"',
        "- step install:b: install b",
        '~ step install:a: inputs.version: "3.5.16" → "3.6.0"',
        "+ step verify: verify all",
    ]
    assert compare_plans(PLAN, changed(steps=STEPS[::-1])) == ["~ the order of the steps"]


def test_a_plan_with_one_id_twice_is_a_defect() -> None:
    """The journal knows steps by their IDs."""
    with pytest.raises(ValueError, match="same id"):
        changed(steps=(STEPS[0], STEPS[0]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"procedure": "x"}', "\0"])
def test_a_file_that_is_no_plan_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UsageError, match=r"plan\.json"):
        Plan.load(tmp_path / "plan.json")


def test_steps_are_made_from_the_plan_alone() -> None:
    """An unknown kind is refused before anything is done: another version made that plan."""
    kinds: StepKinds[str] = StepKinds("roll")
    kinds.add("install", lambda spec, run: Step(spec))
    with pytest.raises(EtcdopsError, match="by this version") as refused:
        kinds.build(PLAN, "")
    assert "restart" in refused.value.cause
    kinds.add("restart", lambda spec, run: Step(spec))
    assert [step.spec for step in kinds.build(PLAN, "")] == list(STEPS)
    with pytest.raises(ValueError, match="two kinds"):
        kinds.add("install", lambda spec, run: Step(spec))
    for other in (changed(steps=()), changed(procedure="recover")):
        with pytest.raises(EtcdopsError, match="by this version"):
            kinds.build(other, "")
