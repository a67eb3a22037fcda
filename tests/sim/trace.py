"""What happened, line by line, and its fingerprint: equal seeds must give equal bytes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from etcdops.ids import format_id
from etcdops.node.raft.types import Message


class Trace:
    """Every line goes into the fingerprint; `show` sees it too."""

    def __init__(self, now: Callable[[], float], show: Callable[[str], None] | None = None) -> None:
        self._now = now
        self._show = show
        self._digest = hashlib.sha256()
        self.lines = 0

    def __call__(self, who: str, what: str) -> None:
        line = self._line(who, what)
        self._digest.update(line.encode() + b"\n")
        self.lines += 1
        if self._show is not None:
            self._show(line)

    def message(self, message: Message, data: bytes) -> None:
        """A message arrives. Its bytes go into the fingerprint: lines are made for those who look at them."""
        self._digest.update(_AT.pack(self._now()))
        self._digest.update(data)
        self.lines += 1
        if self._show is not None:
            self._show(self._line("net", _described(message, len(data))))

    def _line(self, who: str, what: str) -> str:
        return f"{self._now():10.4f} {who:8} {what}"

    @property
    def is_shown(self) -> bool:
        return self._show is not None

    @property
    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]


_AT = struct.Struct(">d")


def _described(message: Message, size: int) -> str:
    return (
        f"{format_id(message.from_)}->{format_id(message.to)} {message.type.name} term {message.term} "
        f"log {message.log_term}/{message.index} commit {message.commit} entries {len(message.entries)}"
        f"{' reject' if message.reject else ''} {size} B"
    )
