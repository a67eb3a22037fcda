"""How every check says that a promise was not kept."""

from __future__ import annotations


class Broken(BaseException):
    """A promise was not kept. `promise` names it.

    No Exception: a member that guards itself against its own errors must not take it for one of them.
    """

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise
