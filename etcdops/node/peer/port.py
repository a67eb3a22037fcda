"""What the peer transport needs from the member around it. The driver (node/server) is the real one, tests use a fake.

Everything here is called on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from etcdops.ids import MemberID
from etcdops.node.raft.types import Message


class PeerHandler(Protocol):
    """The member's raft side. None of these may block, wait or raise."""

    def process(self, message: Message) -> None:
        """A message from a peer for raft to step. It was checked: meant for this member, from no removed member, of a
        kind that travels between members, its entries dense and its numbers within reason.

        For MessageType.SNAP the database is saved at `snapshot_file.received_path(snapshot_dir, index)` already.
        Messages of one network read come in one loop turn: collect, and handle raft's Ready once per turn.
        """

    def report_unreachable(self, member: MemberID) -> None:
        """A message to `member` was lost here: RaftCore.report_unreachable."""

    def report_snapshot(self, member: MemberID, ok: bool) -> None:
        """A `Transport.send_snapshot` ended; its file is no longer needed: RaftCore.report_snapshot."""

    def is_removed(self, member: MemberID) -> bool:
        """Whether `member` once belonged to the cluster and was removed. Asked for every message: must be quick."""

    def removed_from_cluster(self) -> None:
        """A peer says that *this* member was removed. etcd stops then; its data directory is of no more use."""

    def members_json(self) -> bytes:
        """The answer to GET /members: a JSON list of members as etcd's membership.Member encodes itself."""

    def version_json(self) -> bytes:
        """The answer to GET /version: {"etcdserver":"3.5.16","etcdcluster":"3.5.0"}."""


class Answer(NamedTuple):
    """An HTTP answer: a status, and the body. The body of an error is its text, to which a line end is added."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class PeerRoutes:
    """Questions of other members that are not raft's: request body in, answer out. None answers 404.

    An answer may take its time (a lease waits for the state machine for up to 1 s), but must come.
    """

    leases: Callable[[bytes], Awaitable[Answer]] | None = None
    """POST /leases: LeaseKeepAliveRequest to LeaseKeepAliveResponse; 404 `lease not found`, 408, 400."""

    leases_internal: Callable[[bytes], Awaitable[Answer]] | None = None
    """POST /leases/internal: leasepb.LeaseInternalRequest to LeaseInternalResponse; 404, 408, 500."""

    promote: Callable[[MemberID, str], Awaitable[Answer]] | None = None
    """POST /members/promote/<decimal id>: (member, Authorization header or "") to the JSON member list; 404, 412."""

    hash_kv: Callable[[bytes], Awaitable[Answer]] | None = None
    """GET /members/hashkv: JSON {"revision": n} to JSON HashKVResponse; 400 with etcd's error text."""

    downgrade_enabled: Callable[[], Awaitable[Answer]] | None = None
    """GET /downgrade/enabled: `true` or `false`. Real etcd asks it before it joins."""
