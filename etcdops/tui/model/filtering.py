"""The filter grammar of every table: `text`, `!text` (without it), `~regex`, `!~regex`; case does not matter."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter. `error` says why an expression is none; such a filter lets everything pass."""

    text: str = ""
    error: str = ""
    matches: Callable[[str], bool] = lambda _: True

    def __bool__(self) -> bool:
        return bool(self.text)


def parse_filter(text: str) -> Filter:
    """What `text` asks for. Never raises."""
    inverse = text.startswith("!")
    pattern = text.removeprefix("!")
    if not pattern:
        return Filter()
    if pattern.startswith("~"):
        try:
            expression = re.compile(pattern[1:], re.IGNORECASE)
        except re.error as problem:
            return Filter(text, f"no regular expression: {problem}")
        return Filter(text, matches=lambda row: (expression.search(row) is not None) != inverse)
    wanted = pattern.casefold()
    return Filter(text, matches=lambda row: (wanted in row.casefold()) != inverse)
