"""Values that must never be printed."""

from __future__ import annotations


class Secret:
    """A password or token. It shows as `***` wherever it is printed; `reveal()` is the one way to its text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for handing to the wire, never for a message."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__
