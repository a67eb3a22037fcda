"""What real etcd of a version is known to break: findings of others, named by their issue.

The node has no line here: whatever it breaks is to be mended.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.robustness.engines import Engine
from tests.robustness.plan import Options


@dataclass(frozen=True)
class KnownBug:
    """A promise that some versions break when one of these faults has happened."""

    engine: str
    promise: str
    faults: frozenset[str]
    issue: str


KNOWN: tuple[KnownBug, ...] = ()


def known_bug(engine: Engine, promise: str, options: Options) -> str:
    """The issue that explains it; "" when none does."""
    had = {fault.kind for fault in options.faults}
    for bug in KNOWN:
        if bug.engine == engine.name and bug.promise == promise and bug.faults & had:
            return bug.issue
    return ""
