"""Which rules an entry matches, remembered by the shape of its text."""

from __future__ import annotations

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.rules import RULES
from etcdops.diagnosis.rules.rule import Rule

_REMEMBERED = 50_000
"""Shapes kept in mind. A log repeats few; one that does not repeat at all is forgotten and begun anew."""

_DIGITS = {ord(character): None for character in "0123456789abcdef"}
"""Taken out of a text, they leave its shape: IDs, addresses, ports, durations and counts go, words stay apart."""


class Matcher:
    """Finds the rules of an entry. Keeps no state that changes an answer, only answers."""

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = rules
        self._known: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def match(self, entry: Entry) -> tuple[Rule, ...]:
        """The rules whose words the entry holds, at most one of each group, in the order of the rules.

        None for debug lines: they tell of each step, also of those that are meant to fail.
        """
        if entry.level == "debug":
            return ()
        shape = (entry.program, entry.text.translate(_DIGITS))
        found = self._known.get(shape)
        if found is None:
            found = self._look(entry)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[shape] = found
        return found

    def _look(self, entry: Entry) -> tuple[Rule, ...]:
        groups: set[str] = set()
        found: list[Rule] = []
        for rule in self._rules:
            if rule.group not in groups and matches(rule, entry):
                groups.add(rule.group)
                found.append(rule)
        return tuple(found)


def matches(rule: Rule, entry: Entry) -> bool:
    """Whether one rule's words are in the entry's text."""
    text = entry.text
    if not any(word in text for word in rule.any):
        return False
    if rule.programs and entry.program and not entry.program.startswith(rule.programs):
        return False
    return all(word in text for word in rule.all) and not any(word in text for word in rule.none)
