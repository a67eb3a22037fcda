"""What a member promised during a recording, and what may therefore be found in its files after a loss of power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import NamedTuple

from google.protobuf.message import Message

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.mvcc_model import Delete, MvccModel, Operation, Put
from tests.power.client import Call


class Content(NamedTuple):
    """All a client can see of a store."""

    revision: int
    compacted: int
    hash_kv: int
    leases: frozenset[int]
    members: frozenset[int]


@dataclass
class Story:
    """What the store holds after each answer: `after[0]` before the first one. Answers come one after the other, and
    every request changes the store at once and as a whole."""

    after: list[Content]
    _model: MvccModel = field(default_factory=MvccModel)

    @classmethod
    def begin(cls, members: Sequence[int]) -> Story:
        """An empty store of a cluster with these members."""
        story = cls([])
        story._note(frozenset(), frozenset(members))
        return story

    def add(self, call: Call) -> None:
        """The next request that was answered."""
        before = self.after[-1]
        leases, members = set(before.leases), set(before.members)
        match call.request:
            case pb.CompactionRequest():
                self._model.compact(call.request.revision)
            case pb.LeaseGrantRequest():
                assert isinstance(call.answer, pb.LeaseGrantResponse)
                leases.add(call.answer.ID)
            case pb.LeaseRevokeRequest(ID=lease):
                leases.discard(lease)
                held = [key for key, owner in self._model.leases() if owner == lease]
                self._model.apply([Delete(key) for key in held])
            case pb.MemberAddRequest():
                assert isinstance(call.answer, pb.MemberAddResponse)
                members.add(call.answer.member.ID)
            case pb.MemberRemoveRequest(ID=member):
                members.discard(member)
            case _:
                self._model.apply(_operations(call.request))
        self._note(frozenset(leases), frozenset(members))

    def alone(self, member: int) -> Story:
        """The same contents, in a cluster that was forced to have one member only."""
        return Story([content._replace(members=frozenset((member,))) for content in self.after])

    def _note(self, leases: frozenset[int], members: frozenset[int]) -> None:
        hash_kv, compacted, revision = self._model.hash_kv(0)
        self.after.append(Content(revision, compacted, hash_kv, leases, members))


def _operations(request: Message) -> list[Operation]:
    match request:
        case pb.PutRequest():
            return [Put(request.key, request.value, request.lease)]
        case pb.DeleteRangeRequest():
            return [Delete(request.key, request.range_end)]
        case pb.TxnRequest():
            operations: list[Operation] = []
            for one in request.success:
                operations += _operations(getattr(one, one.WhichOneof("request") or ""))
            return operations
        case _:
            return []  # it changes nothing


@dataclass(frozen=True, slots=True)
class Promise:
    """What must be found at the least, at some moment."""

    answers: int = 0
    """How many answers had left: `Story.after[answers]` is the least, one more may have been on its way."""

    entries: int = 0
    """The last entry that the member told a leader to have."""

    term: int = 0
    """The newest it told anybody."""

    vote: tuple[int, int] = (0, 0)
    """The newest term in which it gave its vote away, and to whom."""

    def __or__(self, other: Promise) -> Promise:
        """Both."""
        return Promise(*map(max, astuple(self), astuple(other)))
