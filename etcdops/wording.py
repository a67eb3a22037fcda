"""Words: those that depend on a number, and those that stand in two languages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = re.compile(r"( *)([（「]*(?:[\u2e80-\uffef]|[^ \u2e80-\uffef]+)[，。；：、）」]*)")


def counted(number: int, noun: str) -> str:
    """`1 key`, `2 keys`. Only for nouns whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def words_of(text: str) -> Iterator[tuple[str, str]]:
    """What a line may be broken between: each word, with the blanks before it.

    Chinese has no blanks to break at: its characters are words, and take the punctuation round them along.
    """
    return ((match[1], match[2]) for match in _WORD.finditer(text))


@dataclass(frozen=True, slots=True)
class Texts:
    """One sentence in each language; where nobody asks for one, it is English."""

    en: str
    zh: str

    def __getitem__(self, language: str) -> str:
        return str(getattr(self, language))

    def __str__(self) -> str:
        return self.en
