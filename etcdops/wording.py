"""Words: those that depend on a number, and those that stand in two languages."""

from __future__ import annotations

from dataclasses import dataclass


def counted(number: int, noun: str) -> str:
    """`1 key`, `2 keys`. Only for nouns whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@dataclass(frozen=True, slots=True)
class Texts:
    """One sentence in each language; where nobody asks for one, it is English."""

    en: str
    zh: str

    def __getitem__(self, language: str) -> str:
        return str(getattr(self, language))

    def __str__(self) -> str:
        return self.en
