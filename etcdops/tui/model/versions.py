"""The history of one key: its versions, newest first, walked back by mod_revision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from etcdops.ids import Revision
from etcdops.numbers import show_bytes_short
from etcdops.tui.feed import KeyEntry
from etcdops.tui.model.text import Line, Span, Tone, fit, line, printable_bytes

STEP = 20
"""Versions read at once; the next ones when the cursor gets there."""

PREVIEW_BYTES = 200


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version: the entry with only the beginning of its value, and the value's size."""

    entry: KeyEntry
    size_bytes: int


@dataclass
class KeyHistory:
    """What is known of a key's past. Ask `get(key, before())` until `complete`; hand every answer to `take`."""

    key: bytes
    versions: list[KeyVersion] = field(default_factory=list)
    complete: bool = False
    end: str = ""
    """Why it ends where it ends."""

    def take(self, entry: KeyEntry | None) -> None:
        """The answer to a read at `before()`; None = the key did not exist then."""
        if entry is None:
            self._end("the key did not exist before")
            return
        short = dataclasses.replace(entry, value=entry.value[:PREVIEW_BYTES])
        self.versions.append(KeyVersion(short, len(entry.value)))
        if entry.version == 1:
            self._end(f"created at revision {entry.create_revision}")

    def take_compacted(self) -> None:
        """Older revisions are gone."""
        self._end("older versions were compacted away")

    def before(self) -> Revision:
        """The revision to read next: just before the oldest known version."""
        return Revision(self.versions[-1].entry.mod_revision - 1) if self.versions else Revision(0)

    def _end(self, why: str) -> None:
        self.complete = True
        self.end = why


def history_lines(history: KeyHistory, cells: int) -> list[tuple[Line, ...]]:
    """The versions as rows, and why there are no more."""
    blocks: list[tuple[Line, ...]] = []
    for version in history.versions:
        entry = version.entry
        head = f"rev {entry.mod_revision:<10} v{entry.version:<5} {show_bytes_short(version.size_bytes):>5}  "
        blocks.append((line(Span(fit(head, min(cells, 30))), Span(printable_bytes(entry.value), Tone.DIM)),))
    note = history.end if history.complete else "… more, when the cursor gets here"
    blocks.append((line(Span(note, Tone.DIM)),))
    return blocks
