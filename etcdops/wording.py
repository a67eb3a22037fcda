"""English that depends on a number."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 key`, `2 keys`. Only for nouns whose plural takes an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
