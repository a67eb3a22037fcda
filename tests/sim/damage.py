"""Damage to a raft log that its member must notice."""

from __future__ import annotations

import random
import struct

from tests.sim.member import SimMember

_FRAME = struct.Struct(">6I")
_HEADER_BYTES = 32
_FRAME_BYTES = 24 + 4096


def damage_tail(member: SimMember, draw: random.Random) -> bool:
    """Change a bit near the end of the raft log, but not in its very last transaction: the loss of that one cannot be
    told from a crash (see etcdops/node/storage/log_damage.py). False when there is too little to damage.
    """
    path = member.root / "member" / "wal.db-wal"
    log = bytearray(path.read_bytes()) if path.exists() else bytearray()
    ends = _transactions(log)
    if len(ends) < 2:
        return False
    at = draw.randrange(max(_HEADER_BYTES, ends[-2] - 3 * _FRAME_BYTES), ends[-2])
    log[at] ^= 1 << draw.randrange(8)
    path.write_bytes(log)
    member.corrupted = True
    member.cluster.trace(member.name, f"its raft log is damaged at {at} of {len(log)}")
    return True


def _transactions(log: bytearray) -> list[int]:
    """Where each transaction of an SQLite write-ahead log ends, as far as it is in use."""
    ends = []
    for at in range(_HEADER_BYTES, len(log) - _FRAME_BYTES + 1, _FRAME_BYTES):
        _, commit, *salts = _FRAME.unpack_from(log, at)[:4]
        if bytes(log[16:24]) != struct.pack(">2I", *salts):
            break
        if commit:
            ends.append(at + _FRAME_BYTES)
    return ends
