"""Which rules an entry matches, remembered by the shape of its text."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.rules import RULES
from etcdops.diagnosis.rules.network import PEER_TALK
from etcdops.diagnosis.rules.rule import Rule

_REMEMBERED = 20_000
"""Shapes kept in mind. A log repeats few; one that does not repeat at all is forgotten and begun anew."""

SHAPE: dict[int, str | None] = {ord(digit): None for digit in "0123456789"} | {ord(letter): "a" for letter in "bcdef"}
"""What makes a text its shape: numbers go, letters of hexadecimal numbers are one. IDs, addresses, ports, durations and
counts differ no more, words stay apart ("failed" and "file" too)."""


def _numbered(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in words if any(character.isdigit() for character in word))


_NUMBERED_TALK = _numbered(PEER_TALK)


class Matcher:
    """Finds the rules of an entry. Keeps no state that changes an answer, only answers."""

    def __init__(self, rules: tuple[Rule, ...] = RULES) -> None:
        self._rules = rules
        self._numbered = [
            (tuple((word, word.translate(SHAPE)) for word in words), _shapes(rule.any), _shapes(rule.all))
            for rule in rules
            if (words := _numbered((*rule.any, *rule.all, *rule.none)))
        ]
        self._known: dict[tuple[str, str], tuple[Rule, ...]] = {}
        self._doubts: dict[str, tuple[str, ...]] = {}

    def match(self, entry: Entry) -> tuple[Rule, ...]:
        """The rules whose words the entry holds, at most one of each group, in the order of the rules.

        None for debug lines: they tell of each step, also of those that are meant to fail.
        """
        if entry.level == "debug":
            return ()
        shape = entry.text.translate(SHAPE)
        doubts = self._doubts_of(shape)
        if doubts:
            shape += "".join("+" if word in entry.text else "-" for word in doubts)
        found = self._known.get((entry.program, shape))
        if found is None:
            found = self._look(entry)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[entry.program, shape] = found
        return found

    def doubts(self, entry: Entry) -> tuple[str, ...]:
        """Words with numbers in them on which it depends what lines of this entry's shape mean: `exit status 137`."""
        doubts = self._doubts_of(entry.text.translate(SHAPE))
        reach = any(rule.group == "reach" for rule in self.match(entry))
        return doubts + _NUMBERED_TALK if reach else doubts

    def _doubts_of(self, shape: str) -> tuple[str, ...]:
        found = self._doubts.get(shape)
        if found is None:
            found = tuple(
                word
                for words, any_of, all_of in self._numbered
                if any(part in shape for part in any_of) and all(part in shape for part in all_of)
                for word, form in words
                if form in shape
            )
            if len(self._doubts) >= _REMEMBERED:
                self._doubts.clear()
            self._doubts[shape] = found
        return found

    def _look(self, entry: Entry) -> tuple[Rule, ...]:
        groups: set[str] = set()
        found: list[Rule] = []
        for rule in self._rules:
            if rule.group not in groups and matches(rule, entry):
                groups.add(rule.group)
                found.append(rule)
        return tuple(found)


def _shapes(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.translate(SHAPE) for word in words)


def matches(rule: Rule, entry: Entry) -> bool:
    """Whether one rule's words are in the entry's text."""
    text = entry.text
    if not any(word in text for word in rule.any):
        return False
    if rule.programs and entry.program and not entry.program.startswith(rule.programs):
        return False
    return all(word in text for word in rule.all) and not any(word in text for word in rule.none)
