"""The labelled logs and what a right answer to each is."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from etcdops.diagnosis.diagnose import diagnose, diagnose_lines
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.reading import Source

SAMPLES = Path(__file__).parent / "samples"
HELDOUT = Path(__file__).parent / "heldout"


@dataclass(frozen=True, slots=True)
class Case:
    """One log, its true cause, and causes that are right too. A benign one has no trouble at all."""

    name: str
    text: str
    category: str
    acceptable: tuple[str, ...]
    benign: bool
    evidence: str
    path: Path | None = None

    def diagnosed(self) -> Diagnosis:
        if self.path is not None:
            return diagnose([Source(self.path.name, self.path, self.path.stat().st_size)])
        return diagnose_lines(self.text.splitlines(), self.name)

    def right(self, diagnosis: Diagnosis) -> bool:
        """A benign log: nothing to do. Any other: the first finding is the cause, or one as good."""
        if self.benign:
            return diagnosis.healthy
        return answer(diagnosis) in (self.category, *self.acceptable)


def answer(diagnosis: Diagnosis) -> str:
    """The slug that counts: that of the first finding."""
    return diagnosis.findings[0].slug if diagnosis.findings else "benign"


def posted() -> list[Case]:
    """Logs that people posted."""
    cases = tomllib.loads((SAMPLES / "cases.toml").read_text(encoding="utf-8"))["case"]
    return [
        Case(
            name=case["id"],
            text=(SAMPLES / case["file"]).read_text(encoding="utf-8", errors="replace"),
            category=case["category"],
            acceptable=tuple(case["acceptable"]),
            benign=case["benign"],
            evidence=case["evidence"],
            path=SAMPLES / case["file"],
        )
        for case in cases
    ]


def made() -> list[Case]:
    """Lines after etcd's own format strings."""
    cases = tomllib.loads((SAMPLES / "made.toml").read_text(encoding="utf-8"))["case"]
    return [
        Case(
            name=f"{case['category']}-{number}",
            text=case["log"],
            category=case["category"],
            acceptable=tuple(case.get("acceptable", ())),
            benign=case["category"] == "benign",
            evidence="",
        )
        for number, case in enumerate(cases, 1)
    ]


def held_out() -> list[Case]:
    """Excerpts of what people posted that no rule was written from; heldout/README.md."""
    cases = [
        case
        for path in sorted(HELDOUT.glob("*.toml"))
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    ]
    return [
        Case(
            name=case["source"],
            text=case["log"],
            category=case["expected"],
            acceptable=tuple(case.get("also", ())),
            benign=case["expected"] == "benign",
            evidence="",
        )
        for case in cases
    ]
