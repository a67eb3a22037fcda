"""How the raft log's rows are checked: a CRC-32C over each single row, and a chain of them through the entries.

The chain notices what a checksum of its own could not: an entry that was exchanged for an older version of itself.
"""

from __future__ import annotations

import json
import struct

import crc32c

from etcdops.ids import MemberID
from etcdops.node.raft.types import ConfState

_ENTRY = struct.Struct("<QQB")


def entry_chain(index: int, term: int, kind: int, data: bytes, before: int) -> int:
    """The checksum of an entry, fed with the one of the entry before it (0 at the start of a log)."""
    return crc32c.crc32c(data, crc32c.crc32c(_ENTRY.pack(index, term, kind), before))


def row_crc(*columns: int | str) -> int:
    """The checksum of a row of numbers and texts."""
    return crc32c.crc32c(json.dumps(columns).encode())


def encode_conf_state(state: ConfState) -> str:
    """A configuration as JSON text: readable in the file, and any ID fits."""
    return json.dumps(state._asdict(), sort_keys=True)


def decode_conf_state(text: str) -> ConfState:
    """The inverse. Raises: ValueError - it is none."""
    try:
        found = json.loads(text)
        members = {
            name: tuple(MemberID(int(number)) for number in found[name])
            for name in ("voters", "learners", "voters_outgoing", "learners_next")
        }
        return ConfState(**members, auto_leave=found["auto_leave"] is True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration: {text[:80]!r}") from error
