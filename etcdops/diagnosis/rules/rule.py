"""The shape of a rule, and the few numbers that say how much a match is worth."""

from __future__ import annotations

from typing import NamedTuple

CERTAIN = 0.95
"""The line names the cause itself."""
LIKELY = 0.75
"""The usual cause of the line."""
POSSIBLE = 0.5
"""One cause of several."""
HINT = 0.3
"""Tells something only beside other lines; never a finding by itself."""


class Rule(NamedTuple):
    """`sign` is a cause's slug, or the name of a fact the judges count (`facts.py`).

    The entry matches when its text holds one of `any`, all of `all` and none of `none`. A rule for `programs` (prefixes
    of names in the journal) matches only their lines, or lines whose program is not known.
    """

    sign: str
    any: tuple[str, ...]
    confidence: float = CERTAIN
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    group: str = ""
    programs: tuple[str, ...] = ()
    measure: str = ""
    """Which number the line carries: `took`, `drift`. The worst of a cause's lines is shown and judged."""
    deadly: bool = False
    """Whether the process ends with such a line, whatever its level says."""
