"""A plan: what will be done, to whom, and what is lost by it, as data that prints and hashes before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

Result: TypeAlias = dict[str, Json]
"""What a step found out, for the journal and for the steps after it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of a procedure, decided. Nothing is decided again later, on a resume neither."""

    procedure: str
    """Name of the procedure that can rebuild the steps from `inputs`."""
    cluster: str
    """Name of the cluster: what has to be typed to confirm."""
    inputs: Mapping[str, Json]
    """Everything the steps need: names, paths, hashes, the fresh token, the revision to reach."""
    summary: tuple[str, ...]
    """What will happen, a sentence each."""
    losses: tuple[str, ...]
    """What is lost by it, with numbers. Never empty for a severe procedure: "nothing" is said too."""

    def to_json(self) -> dict[str, Json]:
        return {
            "procedure": self.procedure,
            "cluster": self.cluster,
            "inputs": dict(self.inputs),
            "summary": list(self.summary),
            "losses": list(self.losses),
        }

    @staticmethod
    def from_json(data: Mapping[str, Json]) -> Plan:
        """Raises: KeyError, TypeError - this is no plan."""
        inputs, summary, losses = data["inputs"], data["summary"], data["losses"]
        if not isinstance(inputs, Mapping) or not isinstance(summary, Sequence) or not isinstance(losses, Sequence):
            raise TypeError("a plan has inputs, a summary and losses")
        return Plan(
            str(data["procedure"]),
            str(data["cluster"]),
            inputs,
            tuple(str(line) for line in summary),
            tuple(str(line) for line in losses),
        )

    @property
    def digest(self) -> str:
        """A hash of the whole plan, to see that what runs is what was read."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Step(Protocol):
    """One thing to do. `act` is safe to repeat: a crash may have come at any point of it."""

    @property
    def id(self) -> str:
        """Unique in the plan and the same on every resume, such as `restore:m1`."""

    @property
    def title(self) -> str:
        """Imperative, for people: "restore m1 from the snapshot"."""

    @property
    def lasting(self) -> bool:
        """Whether once done it stays done. A started process does not: a resumed run looks again."""

    async def check(self) -> bool:
        """Read only: whether it is done already, by content. Asked before `act`, and after a crash in the middle."""

    async def act(self) -> None:
        """Do it. Raises: EtcdopsError."""

    async def verify(self) -> Result:
        """Prove that it is done. Returns what is worth remembering. Raises: VerificationFailed and others."""
