"""Two transports on loopback ports, as raft sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.node.raft.types import MessageType
from tests.node.peer.support import ALICE, BOB, append, eventually, heartbeat, pair


@pytest.mark.slow
async def test_messages_arrive_whole_and_in_order_on_both_streams(tmp_path: Path) -> None:
    """Entries take the msgapp stream, everything else the message stream; each keeps its order."""
    async with pair(tmp_path) as (alice, bob):
        appends = [append(ALICE, BOB, index, 3) for index in range(10, 310, 3)]
        beats = [heartbeat(ALICE, BOB, commit) for commit in range(100)]
        for one, two in zip(appends, beats, strict=True):
            alice.transport.send([one, two])
        await eventually(lambda: len(bob.raft.received) == 200)
        assert [message for message in bob.raft.received if message.type is MessageType.APP] == appends
        assert [message for message in bob.raft.received if message.type is MessageType.HEARTBEAT] == beats
        assert not alice.raft.unreachable
