"""The messages with entries that are on their way to one follower."""

from __future__ import annotations

from collections import deque

from etcdops.node.raft.config import NO_LIMIT


class Inflights:
    """A window over sent appends, bounded in messages and in bytes.

    The bytes may go over their bound by the last message, so that one message always fits.
    Source: etcd-io/raft tracker/inflights.go.
    """

    __slots__ = ("_bytes", "_bytes_max", "_messages_max", "_sent")

    def __init__(self, messages_max: int, bytes_max: int = 0) -> None:
        """Args: bytes_max of 0 means no bound."""
        self._messages_max = messages_max
        self._bytes_max = bytes_max or NO_LIMIT
        self._bytes = 0
        # (index of the last entry in the message, bytes), oldest first; indexes never go down.
        self._sent: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def size_bytes(self) -> int:
        """The payload on the way."""
        return self._bytes

    @property
    def full(self) -> bool:
        """Whether the leader has to wait for an answer."""
        return len(self._sent) >= self._messages_max or self._bytes >= self._bytes_max

    def add(self, last_index: int, size_bytes: int) -> None:
        """A message left whose last entry has this index."""
        assert not self.full, "cannot add into full inflights"
        self._sent.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """The follower has everything up to `index`: those messages arrived, or do not matter any more."""
        sent = self._sent
        while sent and sent[0][0] <= index:
            self._bytes -= sent.popleft()[1]

    def reset(self) -> None:
        """Nothing is on the way, as far as known."""
        self._sent.clear()
        self._bytes = 0
