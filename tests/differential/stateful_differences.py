"""What a version of etcd is known to answer otherwise than the node, in random lives: by call, and by both answers."""

from __future__ import annotations

import re
from typing import NamedTuple


class Known(NamedTuple):
    """One difference: regular expressions for the call's path, and for what only one of the two says."""

    what: str
    theirs: str
    ours: str
    reason: str

    def explains(self, what: str, theirs: str, ours: str) -> bool:
        """The answers are equal but for that."""
        if not re.search(self.what, what):
            return False
        without = (re.sub(pattern, "", text, count=1) for pattern, text in ((self.theirs, theirs), (self.ours, ours)))
        return len(set(without)) == 1


VERSIONS: dict[str, tuple[Known, ...]] = {
    "etcd-3.4": (
        Known("Maintenance/Alarm", r"\Aheader {\n}\n", r"\Aheader {\n.*\n}\n", "H09: its alarm answers have no header"),
        Known(
            "Maintenance/HashKV",
            r"(?s)\AOUT_OF_RANGE: .*compacted\Z",
            r"(?s)\Aheader.*\Z",
            "C18: the hash of the compaction itself is kept from 3.5.5 on",
        ),
    ),
    "etcd-3.5": (),
}
