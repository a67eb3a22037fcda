"""The Cluster service: who the members are, and changing that one at a time.

Source: etcd server/etcdserver/api/v3rpc/member.go; server/etcdserver/server.go, AddMember to UpdateMember.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from etcdops.ids import MemberID, format_id, member_id
from etcdops.node.api.answer import Answer, Handler, Headers, decode
from etcdops.node.api.errors import (
    MEMBER_BAD_URLS,
    NOT_ENOUGH_STARTED_MEMBERS,
    TOO_MANY_LEARNERS,
    UNHEALTHY,
    EtcdError,
)
from etcdops.node.api.port import ServerPort
from etcdops.node.apply.wire import delimited, repeated
from etcdops.node.config.urls import parse_url
from etcdops.node.member.member import Member, promotion_json
from etcdops.node.member.reconfig import learner_ready, may_add, may_promote, may_remove
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb

log = logging.getLogger(__name__)

_MEMBERS_TAG = b"\x12"
_ADDED_TAG, _MEMBERS_AFTER_ADDED_TAG = b"\x12", b"\x1a"


class ClusterService:
    """Handlers of etcdserverpb.Cluster, and the leader's half of a promotion that a follower was asked for."""

    def __init__(self, server: ServerPort, headers: Headers) -> None:
        self._server = server
        self._headers = headers

    def handlers(self) -> dict[str, Handler]:
        return {
            "/etcdserverpb.Cluster/MemberAdd": self.add,
            "/etcdserverpb.Cluster/MemberRemove": self.remove,
            "/etcdserverpb.Cluster/MemberUpdate": self.update,
            "/etcdserverpb.Cluster/MemberList": self.list,
            "/etcdserverpb.Cluster/MemberPromote": self.promote,
        }

    def list(self, message: bytes, answer: Answer) -> None:
        if decode(pb.MemberListRequest, message).linearizable:
            self._server.linearize(partial(self._answer_members, answer))
        else:
            self._answer_members(answer, None)

    def add(self, message: bytes, answer: Answer) -> None:
        request = decode(pb.MemberAddRequest, message)
        urls = parse_peer_urls(request.peerURLs)
        if urls is None:
            answer.fail(MEMBER_BAD_URLS)
            return
        added_at = int(self._server.clock.wall())
        added = Member(member_id(urls, "", added_at=added_at), urls, is_learner=request.isLearner)
        kind = ConfChangeType.ADD_LEARNER_NODE if added.is_learner else ConfChangeType.ADD_NODE
        change = ConfChange(changes=(ConfChangeSingle(kind, added.id),), context=added.to_json())
        error = self._may_add(added, change)
        if error is not None:
            self._reject("add", added.id, error)
            answer.fail(error)
            return
        self._server.configure(change, partial(self._answer_added, added, answer))

    def _may_add(self, added: Member, change: ConfChange) -> EtcdError | None:
        server = self._server
        if added.is_learner and len(server.members.learners()) >= server.limits.max_learners:
            # Who asks twice hears that the member is there already, as from etcd, which counts learners last.
            return server.members.validate(change) or TOO_MANY_LEARNERS
        if not server.limits.strict_reconfig_check:
            return None
        return may_add(
            server.members.voters(),
            added,
            local=server.member_id,
            active_since=server.peer_active_since,
            now=server.clock.monotonic(),
        )

    def _answer_added(self, added: Member, answer: Answer, error: EtcdError | None) -> None:
        if error is not None:
            answer.fail(error)
            return
        members = repeated(_MEMBERS_AFTER_ADDED_TAG, map(encode_member, self._server.members.members()))
        answer.raw(self._headers.without_revision() + delimited(_ADDED_TAG, encode_member(added)) + members)

    def remove(self, message: bytes, answer: Answer) -> None:
        removed = MemberID(decode(pb.MemberRemoveRequest, message).ID)
        error = self._may_remove(removed)
        if error is not None:
            self._reject("remove", removed, error)
            answer.fail(error)
            return
        self._configure(ConfChangeType.REMOVE_NODE, removed, b"", partial(self._answer_members, answer))

    def _may_remove(self, removed: MemberID) -> EtcdError | None:
        server = self._server
        known = server.members.get(removed)
        if not server.limits.strict_reconfig_check or (known is not None and known.is_learner):
            return None
        return may_remove(
            server.members.voters(),
            removed,
            local=server.member_id,
            active_since=server.peer_active_since,
            now=server.clock.monotonic(),
        )

    def update(self, message: bytes, answer: Answer) -> None:
        """etcd takes any text for a URL here and then fails on other members; we ask for URLs as in `add`."""
        request = decode(pb.MemberUpdateRequest, message)
        urls = parse_peer_urls(request.peerURLs)
        if urls is None:
            answer.fail(MEMBER_BAD_URLS)
            return
        target = MemberID(request.ID)
        known = self._server.members.get(target)
        # etcd members apply all of the context, so it must say again whether this is a learner.
        updated = replace(known, peer_urls=urls, name="", client_urls=()) if known else Member(target, urls)
        self._configure(ConfChangeType.UPDATE_NODE, target, updated.to_json(), partial(self._answer_members, answer))

    def promote(self, message: bytes, answer: Answer) -> None:
        target = MemberID(decode(pb.MemberPromoteRequest, message).ID)
        done = partial(self._answer_members, answer)
        if self._server.is_leader:
            self.local_promote(target, done)
        else:
            self._server.forward_promote(target, answer.metadata, done)

    def local_promote(self, target: MemberID, done: Callable[[EtcdError | None], None]) -> None:
        """The leader's half: only it knows how far the learner is."""
        server = self._server
        error = learner_ready(server.members.get(target), server.learner_progress(target))
        if error is None and server.limits.strict_reconfig_check:
            error = may_promote(server.members.voters())
        if error is not None:
            self._reject("promote", target, error)
            self._promoted(done, error)
            return
        self._configure(ConfChangeType.ADD_NODE, target, promotion_json(target), partial(self._promoted, done))

    def _promoted(self, done: Callable[[EtcdError | None], None], error: EtcdError | None) -> None:
        """Counted by the leader only. Source: etcd server/etcdserver/server.go, PromoteMember."""
        metrics = self._server.metrics
        if error is None:
            metrics.learner_promotions += 1
        else:
            failed = metrics.learner_promotions_failed
            failed[error.text] = failed.get(error.text, 0) + 1
        done(error)

    def _configure(
        self, kind: ConfChangeType, target: MemberID, context: bytes, done: Callable[[EtcdError | None], None]
    ) -> None:
        change = ConfChange(changes=(ConfChangeSingle(kind, target),), context=context)
        self._server.configure(change, done)

    def _answer_members(self, answer: Answer, error: EtcdError | None) -> None:
        if error is not None:
            answer.fail(error)
            return
        members = repeated(_MEMBERS_TAG, map(encode_member, self._server.members.members()))
        answer.raw(self._headers.without_revision() + members)

    def _reject(self, what: str, target: MemberID, error: EtcdError) -> None:
        log.warning(
            "rejecting member %s request%s",
            what,
            _REASONS.get(error, ""),
            extra=fields(
                {
                    "local-member-id": format_id(self._server.member_id),
                    f"requested-member-{what}": format_id(target),
                    "error": error.text,
                }
            ),
        )


_REASONS = {
    NOT_ENOUGH_STARTED_MEMBERS: "; not enough healthy members",
    UNHEALTHY: "; local member has not been connected to all peers, reconfigure breaks active quorum",
}
"""The rest of etcd's log messages."""


def parse_peer_urls(urls: Sequence[str]) -> tuple[str, ...] | None:
    """The URLs sorted by their text, or None when there is none or one is not usable.

    Source: etcd client/pkg/types/urls.go, NewURLs.
    """
    try:
        return tuple(sorted(map(parse_url, urls))) or None
    except ValueError:
        return None


def encode_member(member: Member) -> bytes:
    """An encoded etcdserverpb.Member."""
    return pb.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    ).SerializeToString()
