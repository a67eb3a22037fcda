"""A plan: what will be done, to whom, and what is lost by it, as data that prints, hashes and compares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias, cast

from etcdops.errors import UsageError
from etcdops.files import replace_file

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

Result: TypeAlias = dict[str, Json]
"""What a step found out, for the journal and for the steps after it."""

STEP_TIMEOUT_S = 120.0
"""Of a step whose plan says nothing else."""


class Danger(StrEnum):
    """What may go wrong by a step. From `moderate` on it is asked again, right before, whether it is safe."""

    READ = "read"
    """Changes nothing."""
    MILD = "mild"
    """Changes something that nobody depends on yet, or that is changed back easily."""
    MODERATE = "moderate"
    """A member may be away for a while."""
    SEVERE = "severe"
    """Data or the quorum may be lost."""

    @property
    def is_asked_again(self) -> bool:
        return self in (Danger.MODERATE, Danger.SEVERE)


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step as data. Its class, found by `kind`, is made from this and the plan's inputs alone."""

    id: str
    """Unique in the plan, such as `restore:m1`."""
    title: str
    """Imperative, for people: "restore m1 from the snapshot"."""
    kind: str
    host: str = ""
    """Where it happens, as the inventory calls it; empty: from here, or everywhere."""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """What this step needs beside the inputs of its plan. Never a secret."""
    danger: Danger = Danger.READ
    loses: str = ""
    """What is lost by it, if anything."""
    together: str = ""
    """Neighbours with the same name here do not depend on each other and may run at once; empty: alone."""
    timeout_s: float = STEP_TIMEOUT_S
    """How long its check, act and verify may take together."""

    @property
    def where(self) -> str:
        """Its host, unless the title names it anyway: for whoever shows both."""
        return "" if self.host in self.title.split() else self.host

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "title": self.title,
            "kind": self.kind,
            "host": self.host,
            "inputs": dict(self.inputs),
            "danger": str(self.danger),
            "loses": self.loses,
            "together": self.together,
            "timeout_s": float(self.timeout_s),  # 30 and 30.0 are one plan
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> StepSpec:
        """Raises: KeyError, TypeError, ValueError - this is no step."""
        inputs = data["inputs"]
        if not isinstance(inputs, Mapping):
            raise TypeError("the inputs of a step have names")
        return StepSpec(
            id=str(data["id"]),
            title=str(data["title"]),
            kind=str(data["kind"]),
            host=str(data["host"]),
            inputs=inputs,
            danger=Danger(str(data["danger"])),
            loses=str(data["loses"]),
            together=str(data["together"]),
            timeout_s=float(str(data["timeout_s"])),
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of a procedure, decided. Nothing is decided again later, on a resume neither."""

    procedure: str
    """Name of the procedure that knows the kinds of its steps."""
    cluster: str
    """Name of the cluster: what has to be typed to confirm."""
    inputs: Mapping[str, Json]
    """What the steps share: names, paths, hashes, the fresh token, the revision to reach. Never a secret."""
    summary: tuple[str, ...]
    """What will happen, a sentence each."""
    losses: tuple[str, ...]
    """What is lost by it, with numbers. Never empty for a severe procedure: "nothing" is said too."""
    steps: tuple[StepSpec, ...] = ()
    """In order."""

    def __post_init__(self) -> None:
        if len({step.id for step in self.steps}) != len(self.steps):
            raise ValueError("two steps of a plan have the same id")

    def to_json(self) -> dict[str, Json]:
        return {
            "procedure": self.procedure,
            "cluster": self.cluster,
            "inputs": dict(self.inputs),
            "summary": list(self.summary),
            "losses": list(self.losses),
            "steps": [step.to_json() for step in self.steps],
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> Plan:
        """Raises: KeyError, TypeError, ValueError - this is no plan."""
        inputs, summary, losses = data["inputs"], data["summary"], data["losses"]
        steps = data.get("steps", [])
        if not isinstance(inputs, Mapping) or not all(isinstance(one, list) for one in (summary, losses, steps)):
            raise TypeError("a plan has inputs, a summary, losses and steps")
        return Plan(
            str(data["procedure"]),
            str(data["cluster"]),
            inputs,
            tuple(str(line) for line in cast("Sequence[Json]", summary)),
            tuple(str(line) for line in cast("Sequence[Json]", losses)),
            tuple(StepSpec.from_json(step) for step in cast("Sequence[Mapping[str, Json]]", steps)),
        )

    @property
    def forced(self) -> frozenset[str]:
        """Codes of verdicts that the operator overrode: the input `force_unsafe` of every procedure."""
        codes = self.inputs.get("force_unsafe", [])
        return frozenset(str(code) for code in codes) if isinstance(codes, Sequence) else frozenset()

    @property
    def digest(self) -> str:
        """A hash of the whole plan, to see that what runs is what was read."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path) -> None:
        """Write it to a file that only its owner reads, replacing the old one as a whole. Raises: OSError."""
        replace_file(path, (json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n").encode())

    @staticmethod
    def load(path: Path) -> Plan:
        """Raises: UsageError - there is no plan in this file."""
        try:
            return Plan.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{path} is not a plan", cause=f"{type(error).__name__}: {error}") from error


def compare_plans(old: Plan, new: Plan) -> list[str]:
    """What `new` does otherwise, a line each: `-` gone, `+` new, `~` changed, with both values. Empty: nothing."""
    lines = list(_differences("", _head(old), _head(new)))
    before = {step.id: step for step in old.steps}
    after = {step.id: step for step in new.steps}
    lines += [f"- step {step.id}: {step.title}" for step in old.steps if step.id not in after]
    for step in new.steps:
        if step.id not in before:
            lines.append(f"+ step {step.id}: {step.title}")
        else:
            lines += _differences(f"step {step.id}: ", before[step.id].to_json(), step.to_json())
    stayed = [step.id for step in old.steps if step.id in after]
    if stayed != [step.id for step in new.steps if step.id in before]:
        lines.append("~ the order of the steps")
    return lines


def _head(plan: Plan) -> dict[str, Json]:
    return {name: value for name, value in plan.to_json().items() if name != "steps"}


def _differences(place: str, old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _differences(f"{place}{name}.", before, after)
        elif name not in old:
            yield f"+ {place}{name} = {json.dumps(after, ensure_ascii=False)}"
        elif name not in new:
            yield f"- {place}{name} = {json.dumps(before, ensure_ascii=False)}"
        elif before != after:
            shown = (json.dumps(value, ensure_ascii=False) for value in (before, after))
            yield f"~ {place}{name}: {' → '.join(shown)}"
