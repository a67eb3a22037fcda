"""What a step does: a class for each kind, found by the kind's name, made from the saved plan alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from etcdops.errors import EtcdopsError
from etcdops.playbooks.plan import Plan, Result, StepSpec
from etcdops.playbooks.safety import Verdict

RunT = TypeVar("RunT")
"""What the steps of one procedure work with: its plan as typed values, connections, sessions."""


class Step:
    """One step of a run. `act` is safe to repeat: a crash may have come at any point of it.

    A kind overrides what it needs: one that only proves something overrides `verify`.
    """

    lasting: ClassVar[bool] = True
    """Whether once done it stays done. A started process does not: a resumed run looks again."""

    def __init__(self, spec: StepSpec) -> None:
        self.spec = spec

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def title(self) -> str:
        return self.spec.title

    async def check(self) -> bool:
        """Read only: whether it is done already, by content. Asked before `act`, and after a crash in the middle."""
        return False

    async def judge(self) -> Verdict | None:
        """Read only: whether it is safe right now. Asked before `act` when its danger is moderate or severe."""
        return None

    async def act(self) -> None:
        """Do it. Raises: EtcdopsError."""

    async def verify(self) -> Result:
        """Prove that it is done. Returns what is worth remembering. Raises: VerificationFailed and others."""
        return {}

    def safe_now(self) -> str:
        """If it fails: what may be done now without harm, in a sentence. Empty: nothing special."""
        return ""

    def other_way_back(self) -> str:
        """For one that cannot be undone: how people get back from it, in a sentence. Empty: only forward."""
        return ""


class UndoableStep(Step):
    """A step that can be taken back as long as no later one that cannot be was done."""

    @abstractmethod
    async def undo(self, result: Result) -> None:
        """Take it back, safe to repeat, also where `act` came only half way. Args: result - what `verify` returned."""


class StepKinds(Generic[RunT]):
    """The kinds of steps that a procedure has: name -> class."""

    def __init__(self, procedure: str) -> None:
        self.procedure = procedure
        self._makers: dict[str, Callable[[StepSpec, RunT], Step]] = {}

    def add(self, name: str, maker: Callable[[StepSpec, RunT], Step]) -> None:
        """`maker` is the class, or anything else that makes a step of this kind."""
        if name in self._makers:
            raise ValueError(f"{self.procedure} has two kinds of steps called {name}")
        self._makers[name] = maker

    def build(self, plan: Plan, run: RunT) -> list[Step]:
        """All steps of a plan. Raises: EtcdopsError - the plan has a kind that this version does not know."""
        unknown = sorted({step.kind for step in plan.steps} - set(self._makers))
        if unknown or not plan.steps or plan.procedure != self.procedure:
            why = f"it has steps of kind {', '.join(unknown)}" if unknown else f"it is a plan of {plan.procedure}"
            raise EtcdopsError(
                "the plan cannot be carried out by this version of etcdops",
                cause=why if plan.steps else "it has no steps",
                hint="finish it with the version that began it",
            )
        return [self._makers[step.kind](step, run) for step in plan.steps]
