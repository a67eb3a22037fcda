"""What a file is that is no snapshot: who gave it wants to know what it is instead, and what to do with it.

A damaged snapshot is one all the same: as long as one of its two first pages says what it is, or has the head of such a
page, this module has nothing to say of it.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final, NamedTuple

from etcdops.errors import NotASnapshot
from etcdops.snapshot import bbolt_layout as layout

READ_BYTES: Final = layout.PAGE_SIZE_MAX + layout.PAGE_SIZE_MIN
"""The second page of a bbolt file begins somewhere in there."""
_SHOWN_MAX = 40
"""Characters of a text that are quoted."""
_MAGIC = layout.MAGIC.to_bytes(4, "little")
_WEB = ("<?xml", "<!doctype", "<html", "<error")


class Strange(NamedTuple):
    """A kind of file: by which bytes it is known at which place, and what to do with one."""

    at: int
    magic: bytes
    what: str
    hint: str


_UNPACK = "unpack it first: {program} {path}; the snapshot is inside"
_DECRYPT = "decrypt it first, with the key it was encrypted for"
_KINDS: Final = (
    Strange(257, b"ustar", "a tar archive", _UNPACK.replace("{program}", "tar -xf")),
    Strange(0, b"PK\x03\x04", "a zip archive", _UNPACK.replace("{program}", "unzip")),
    Strange(0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK.replace("{program}", "7z x")),
    Strange(0, b"Salted__", "a file that openssl encrypted", _DECRYPT),
    Strange(0, b"age-encryption.org", "a file that age encrypted", _DECRYPT),
    Strange(0, b"-----BEGIN AGE", "a file that age encrypted", _DECRYPT),
    Strange(0, b"-----BEGIN PGP", "a file that PGP encrypted", _DECRYPT),
    Strange(0, b"\x7fELF", "a program", "name a file written by `etcdops snapshot save`, or a member's snap/db"),
)
_OTHER_HINT = "name a file written by `etcdops snapshot save`, or the member/snap/db of a stopped member"


def require_snapshot(path: Path, start: bytes) -> None:
    """Args: start - the first READ_BYTES of the file, not empty. Raises: NotASnapshot - it says so by itself."""
    if _is_bbolts(start):
        return
    what, hint = _looks_like(path, start)
    raise NotASnapshot(f"{path} is not a snapshot", cause=f"it looks like {what}", hint=hint)


def _is_bbolts(start: bytes) -> bool:
    """Whether one of the two meta pages is left, or the head of one. The second one is at the size of a page."""
    places = [0, *(1 << power for power in range(10, 17))]
    return any(
        start[at + layout.PAGE_HEADER.size :].startswith(_MAGIC) or _is_meta_head(start, at, number=bool(at))
        for at in places
    )


def _is_meta_head(start: bytes, at: int, *, number: int) -> bool:
    head = start[at : at + layout.PAGE_HEADER.size]
    if len(head) < layout.PAGE_HEADER.size:
        return False
    page, kind, _, _ = layout.PAGE_HEADER.unpack(head)
    return (page, kind) == (number, layout.KIND_META)


def _looks_like(path: Path, start: bytes) -> tuple[str, str]:
    """What it is, and what to do next."""
    quoted = shlex.quote(str(path))
    for kind in _KINDS:
        if start.startswith(kind.magic, kind.at):
            return kind.what, kind.hint.replace("{path}", quoted)
    if path.suffix == ".wal":
        return "a file of a write-ahead log", "name the database beside it: member/snap/db"
    if path.suffix == ".snap" and start[0] == 0x08:
        return "a snapshot of raft's, which holds no keys", "name the database beside it: member/snap/db"
    if not start.strip(b"\0"):
        return "nothing: it begins with zeros", "its copy did not arrive; use another copy or another snapshot"
    text = _text(start)
    if text is None:
        return "data of an unknown kind, or it is encrypted", _OTHER_HINT
    if text.lower().startswith(_WEB):
        return (
            f"what a web server answered: {_shown(text)}",
            f"see what it says and fetch it again: head -c 500 {quoted}",
        )
    return f"text: {_shown(text)}", _OTHER_HINT


def _text(start: bytes) -> str | None:
    """The text it is, None when it is none. A character may be cut at the end of what was read."""
    text = start.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
    if len(text.encode()) < len(start) * 0.95 - 4:
        return None
    return text if all(one.isprintable() or one in "\t\r\n" for one in text) else None


def _shown(text: str) -> str:
    line = text.splitlines()[0].replace("\t", " ") if text else ""
    return repr(line if len(line) <= _SHOWN_MAX else line[:_SHOWN_MAX] + "...")
