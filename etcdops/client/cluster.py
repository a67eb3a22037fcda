"""Membership: who belongs to the cluster, and changing that."""

from __future__ import annotations

from collections.abc import Sequence

from etcdops.client import methods
from etcdops.client.caller import Caller
from etcdops.ids import MemberID
from etcdops.proto import etcdserverpb_pb2 as pb


class Cluster:
    """The Cluster service. All calls: `timeout` in seconds, `endpoint` to ask one member; errors as `Caller.unary`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def member_list(
        self, *, linearizable: bool = True, timeout: float | None = None, endpoint: str | None = None
    ) -> pb.MemberListResponse:
        """The members. Not linearizable = what the asked member knows, also without quorum (3.4 always answers so)."""
        request = pb.MemberListRequest(linearizable=linearizable)
        return await self._caller.unary(methods.MEMBER_LIST, request, timeout=timeout, endpoint=endpoint)

    async def member_add(
        self,
        peer_urls: Sequence[str],
        *,
        learner: bool = False,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.MemberAddResponse:
        """Announce a member that will be started with these peer URLs. As a voter it counts for the quorum at once."""
        request = pb.MemberAddRequest(peerURLs=peer_urls, isLearner=learner)
        return await self._caller.unary(methods.MEMBER_ADD, request, timeout=timeout, endpoint=endpoint)

    async def member_remove(
        self, member: MemberID, *, timeout: float | None = None, endpoint: str | None = None
    ) -> pb.MemberRemoveResponse:
        request = pb.MemberRemoveRequest(ID=member)
        return await self._caller.unary(methods.MEMBER_REMOVE, request, timeout=timeout, endpoint=endpoint)

    async def member_update(
        self,
        member: MemberID,
        peer_urls: Sequence[str],
        *,
        timeout: float | None = None,
        endpoint: str | None = None,
    ) -> pb.MemberUpdateResponse:
        """Change a member's peer URLs. Never for a learner before 3.5.31 / 3.6.12: it would become a voter."""
        request = pb.MemberUpdateRequest(ID=member, peerURLs=peer_urls)
        return await self._caller.unary(methods.MEMBER_UPDATE, request, timeout=timeout, endpoint=endpoint)

    async def member_promote(
        self, member: MemberID, *, timeout: float | None = None, endpoint: str | None = None
    ) -> pb.MemberPromoteResponse:
        """Make a learner a voter. Raises: Refused while it has not caught up with the leader."""
        request = pb.MemberPromoteRequest(ID=member)
        return await self._caller.unary(methods.MEMBER_PROMOTE, request, timeout=timeout, endpoint=endpoint)
