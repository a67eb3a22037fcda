"""A file as it should be on a host, and how it differs from the one that is there."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from etcdops.remote.session import Ownership

_NOT_SHOWN = "(a secret: its content is not shown)"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """Content and permissions of one file of a host."""

    path: str
    content: bytes
    ownership: Ownership = field(default_factory=lambda: Ownership(0o644, "root", "root"))
    secret: bool = False
    """A key or password: no diff ever shows it."""


def difference(path: str, there: bytes | None, wanted: bytes | None, *, secret: bool = False) -> str:
    """A unified diff from what is there to what is wanted; None means no file. Empty when they are the same."""
    if there == wanted:
        return ""
    if secret:
        return f"--- {path}\n+++ {path}\n{_NOT_SHOWN}\n"
    old, new = (
        content.decode(errors="replace").splitlines() if content is not None else [] for content in (there, wanted)
    )
    names = ("/dev/null" if there is None else path, "/dev/null" if wanted is None else path)
    return "".join(f"{line}\n" for line in difflib.unified_diff(old, new, *names, lineterm=""))
