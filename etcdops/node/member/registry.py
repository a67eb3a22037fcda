"""Who belongs to the cluster: changed by applied log entries only, the same on every member.

Source of all rules: etcd server/etcdserver/api/membership/cluster.go, RaftCluster.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

from etcdops.ids import NO_MEMBER, ClusterID, MemberID, format_id
from etcdops.node.api.errors import (
    MEMBER_EXISTS,
    MEMBER_NOT_FOUND,
    MEMBER_NOT_LEARNER,
    NOT_ENOUGH_STARTED_MEMBERS,
    PEER_URL_EXISTS,
    EtcdError,
)
from etcdops.node.member.member import BadMember, Member, parse_addition, parse_member
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from etcdops.node.storage.tables import MemberTable
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)


class MemberRegistry:
    """The members by ID, and the IDs that may never come back."""

    def __init__(self, cluster_id: ClusterID, table: MemberTable) -> None:
        self.cluster_id = cluster_id
        self._table = table
        self._members: dict[MemberID, Member] = {}
        self._removed: set[MemberID] = set()

    def recover(self, table: MemberTable) -> None:
        """Take what is stored, instead of everything known so far. Raises: BadMember - a stored row is damaged."""
        self._table = table
        self._members = {member: parse_member(text) for member, text in table.all().items()}
        self._removed = table.removed()

    def bootstrap(self, members: Iterable[Member]) -> None:
        """Forget everything and write `members`: a new cluster, or a snapshot restored under a new identity."""
        self._table.clear()
        self._members.clear()
        self._removed.clear()
        for member in members:
            self._put(member)

    def get(self, member: MemberID) -> Member | None:
        return self._members.get(member)

    def members(self) -> list[Member]:
        """All of them, by ID."""
        return sorted(self._members.values(), key=lambda member: member.id)

    def voters(self) -> list[Member]:
        """Members that count for the quorum, by ID."""
        return [member for member in self.members() if not member.is_learner]

    def learners(self) -> list[Member]:
        return [member for member in self.members() if member.is_learner]

    def is_removed(self, member: MemberID) -> bool:
        """Whether this ID was a member once; it cannot be used again."""
        return member in self._removed

    @property
    def removed(self) -> frozenset[MemberID]:
        return frozenset(self._removed)

    def validate(self, change: ConfChange) -> EtcdError | None:
        """Whether a committed change can be applied; if not, every member ignores it in the same way.

        An unreadable change is MEMBER_NOT_FOUND: etcd stops the process there, we must not.
        """
        if len(change.changes) != 1:
            return MEMBER_NOT_FOUND
        single = change.changes[0]
        if single.node_id == NO_MEMBER or self.is_removed(single.node_id):
            return MEMBER_NOT_FOUND
        try:
            return self._validate(single, change.context)
        except BadMember:
            return MEMBER_NOT_FOUND

    def _validate(self, single: ConfChangeSingle, context: bytes) -> EtcdError | None:
        known = self._members.get(single.node_id)
        if single.type is ConfChangeType.REMOVE_NODE:
            if known is None:
                return MEMBER_NOT_FOUND
            # Raft cannot be without voters: etcd panics at it ("removed all voters"), again at every start.
            return NOT_ENOUGH_STARTED_MEMBERS if self.voters() == [known] else None
        if single.type is ConfChangeType.UPDATE_NODE:
            if known is None:
                return MEMBER_NOT_FOUND
            return self._validate_urls(parse_member(context), single.node_id)
        member, promotes = parse_addition(context)
        if promotes:
            if known is None:
                return MEMBER_NOT_FOUND
            # Raft would keep as a learner whom an ADD_LEARNER_NODE promotes: both must always say the same.
            promotable = known.is_learner and single.type is ConfChangeType.ADD_NODE
            return None if promotable else MEMBER_NOT_LEARNER
        return MEMBER_EXISTS if known else self._validate_urls(member, single.node_id)

    def _validate_urls(self, changed: Member, node_id: MemberID) -> EtcdError | None:
        if changed.id != node_id:
            return MEMBER_NOT_FOUND
        taken = {url for member in self._members.values() if member.id != node_id for url in member.peer_urls}
        return PEER_URL_EXISTS if taken.intersection(changed.peer_urls) else None

    def apply(self, change: ConfChange) -> EtcdError | None:
        """Apply a committed change of one member, or say why nothing changed."""
        error = self.validate(change)
        if error is not None:
            return error
        single = change.changes[0]
        if single.type is ConfChangeType.REMOVE_NODE:
            gone = self._members.pop(single.node_id)
            self._log("removed member", "removed-remote-peer-", gone)
            self._removed.add(single.node_id)
            self._table.remove(single.node_id)
        elif single.type is ConfChangeType.UPDATE_NODE:
            # Only the URLs: an update must not turn a learner into a voter behind raft's back.
            peer_urls = parse_member(change.context).peer_urls
            updated = dataclasses.replace(self._members[single.node_id], peer_urls=peer_urls)
            self._put(updated)
            self._log("updated member", "updated-remote-peer-", updated)
        else:
            member, promotes = parse_addition(change.context)
            if promotes:
                promoted = dataclasses.replace(self._members[single.node_id], is_learner=False)
                self._put(promoted)
                self._log("promote member", "promoted-peer-", promoted)
            else:
                # What raft was told counts, not what the context says.
                added = dataclasses.replace(member, is_learner=single.type is ConfChangeType.ADD_LEARNER_NODE)
                self._put(added)
                self._log("added member", "added-peer-", added)
        return None

    def set_attributes(self, member: MemberID, name: str, client_urls: Iterable[str]) -> None:
        """A member has published its name and client URLs; unknown and removed members are ignored."""
        known = self._members.get(member)
        if known is not None:
            self._put(dataclasses.replace(known, name=name, client_urls=tuple(client_urls)))
        elif member in self._removed:
            log.warning("skipped attributes update of removed member", extra=fields(updated_peer_id=format_id(member)))

    def _log(self, message: str, prefix: str, member: Member) -> None:
        named: dict[str, object] = {
            "cluster-id": format_id(self.cluster_id),
            f"{prefix}id": format_id(member.id),
            f"{prefix}urls": list(member.peer_urls),
        }
        log.info(message, extra=fields(named))

    def _put(self, member: Member) -> None:
        self._members[member.id] = member
        self._table.put(member.id, member.to_json().decode())
