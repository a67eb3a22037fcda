"""Writing keys: what is asked before and said after. What somebody else changed meanwhile is never overwritten."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Coroutine
from typing import Any

from etcdops.errors import EtcdopsError
from etcdops.ids import Revision
from etcdops.numbers import show_bytes
from etcdops.tui.feed import NO_LEASE, NOW, KeyEntry
from etcdops.tui.gate import WriteGate
from etcdops.tui.model.text import Tone, cut, parse_printable, printable_bytes
from etcdops.tui.screens.dialogs import Confirm, Editor, Prompt

CONFIRM_CELLS_MAX = 32
PREVIEW_CELLS = 160

Write = Coroutine[Any, Any, Revision | None]


class KeyEdits:
    """Leads from a key to a guarded write: name, text, confirmation, answer.

    Args: push - shows a dialog and hands its result to a function; start - runs a coroutine; say - tells the user;
        written - called after a write that was done.
    """

    def __init__(
        self,
        *,
        push: Callable[..., object],
        start: Callable[[Coroutine[Any, Any, None]], None],
        say: Callable[[str, Tone], None],
        written: Callable[[], None],
        gate: WriteGate,
        cluster: str,
    ) -> None:
        self._push = push
        self._start = start
        self._say = say
        self._written = written
        self._gate = gate
        self._cluster = cluster

    def new(self, prefix: bytes) -> None:
        """Ask for a name, then for a value."""

        def named(text: str | None) -> None:
            if text:
                key = parse_printable(text)
                title = f"New key {printable_bytes(key)}"
                self._push(Editor(title, ""), lambda value: self._confirm_put(key, None, value))

        self._push(Prompt("new key", printable_bytes(prefix), "\\xNN for any byte; it must not exist yet"), named)

    def edit(self, entry: KeyEntry) -> None:
        """Let the user change a value that is text."""
        text = editable_text(entry.value)
        if text is None:
            self._say("this value is no plain text: it cannot be edited here", Tone.WARN)
            return
        title = f"Edit {printable_bytes(entry.key)}  (version {entry.version}, mod revision {entry.mod_revision})"
        self._push(Editor(title, text), lambda value: self._confirm_put(entry.key, entry, value))

    def delete(self, entry: KeyEntry) -> None:
        facts = [
            ("Cluster", self._cluster),
            ("Key", printable_bytes(entry.key)),
            ("Will delete", f"version {entry.version}, {_preview(entry.value)}"),
            ("Guard", f"only if its mod revision is still {entry.mod_revision}"),
            ("Undo", f"its history keeps revision {entry.mod_revision} until a compaction"),
            ("Same as", f"etcdctl del {_quoted(entry.key)} (without the guard)"),
        ]

        def confirmed(yes: bool | None) -> None:
            if yes:
                write = self._gate.delete(entry.key, expected=entry.mod_revision)
                self._start(self._write("deleted", entry.key, write))

        self._push(Confirm("Delete a key", facts, confirm_name(entry.key)), confirmed)

    def _confirm_put(self, key: bytes, entry: KeyEntry | None, text: str | None) -> None:
        if text is None or (entry and text.encode() == entry.value):
            self._say("nothing was changed", Tone.PLAIN)
            return
        value = text.encode()
        old = f"{show_bytes(len(entry.value))} → " if entry else ""
        guard = f"only if its mod revision is still {entry.mod_revision}" if entry else "only if it does not exist yet"
        facts = [
            ("Cluster", self._cluster),
            ("Key", printable_bytes(key)),
            ("Will write", f"{old}{_preview(value)}"),
            ("Guard", guard),
            *([("Lease", f"{entry.lease:x} is kept")] if entry and entry.lease else []),
            ("Same as", f"etcdctl put {_quoted(key)} ... (without the guard)"),
        ]

        def confirmed(yes: bool | None) -> None:
            if yes:
                expected, lease = (entry.mod_revision, entry.lease) if entry else (NOW, NO_LEASE)
                write = self._gate.put(key, value, expected=expected, lease=lease)
                self._start(self._write("wrote", key, write))

        self._push(Confirm("Change a key" if entry else "Write a new key", facts, confirm_name(key)), confirmed)

    async def _write(self, done: str, key: bytes, write: Write) -> None:
        """Wait for a write and say what became of it: the screen changes only by what the cluster answered."""
        name = printable_bytes(key)
        try:
            revision = await write
        except EtcdopsError as error:
            self._say(f"{error.message}; {error.hint}" if error.hint else error.message, Tone.FAIL)
            return
        if revision is None:
            self._say(f"{name} is not what it was: nothing was written; r reads it again", Tone.WARN)
            return
        self._say(f"{done} {name} at revision {revision}", Tone.OK)
        self._written()


def editable_text(value: bytes) -> str | None:
    """The value as text an editor gives back unchanged; None when it is no such text."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\t" for char in text) else None


def confirm_name(key: bytes) -> str:
    """What must be typed to confirm a write: the last part of the key's name."""
    parts = [part.strip() for part in printable_bytes(key).split("/") if part.strip()]
    return cut(parts[-1], CONFIRM_CELLS_MAX).strip() if parts else "yes"


def _preview(value: bytes) -> str:
    return f"{show_bytes(len(value))}: {cut(printable_bytes(value[:PREVIEW_CELLS]), PREVIEW_CELLS)}"


def _quoted(key: bytes) -> str:
    return shlex.quote(cut(printable_bytes(key), 60))
