"""The two kinds of stream between members, and the ways to begin one."""

from __future__ import annotations

import enum

from etcdops.ids import MemberID
from etcdops.node.peer.framing import Decoder, Encoder, MessageDecoder, MessageEncoder, MsgAppDecoder, MsgAppEncoder

IO_TIMEOUT_S = 5.0
"""How long a stream may be silent, or a write may not move. Source: etcd rafthttp/peer.go, DefaultConnReadTimeout."""

HEARTBEAT_INTERVAL_S = IO_TIMEOUT_S / 3
"""How often a writer with nothing to say shows that it is there."""


class StreamKind(enum.Enum):
    """What a stream carries; `path` is where it is dialled, `label` its name in logs."""

    MESSAGE = ("/raft/stream/message/", "stream Message", "streamMsg")
    MSGAPP = ("/raft/stream/msgapp/", "stream MsgApp v2", "streamMsgAppV2")

    def __init__(self, path: str, label: str, queue_name: str) -> None:
        self.path = path
        self.label = label
        self.queue_name = queue_name

    def encoder(self) -> Encoder:
        """For a new connection that is written to."""
        return MsgAppEncoder() if self is StreamKind.MSGAPP else MessageEncoder()

    def decoder(self, local: MemberID, remote: MemberID) -> Decoder:
        """For a new connection that is read from."""
        return MsgAppDecoder(local, remote) if self is StreamKind.MSGAPP else MessageDecoder()
