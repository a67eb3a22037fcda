"""The member among the others: configuration changes on their way, leadership transfers, its published name, and the
version the whole cluster agrees on.

All of it advances in `tick`, once per heartbeat interval; nothing here waits.
Source: etcd server/etcdserver/server.go (configure, moveLeader, publishV3, monitorVersions).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from etcdops.ids import MemberID, format_id
from etcdops.node.api.errors import TIMEOUT, TIMEOUT_LEADER_TRANSFER, EtcdError
from etcdops.node.apply.outcome import Outcome
from etcdops.node.apply.wire import FIELD_CLUSTER_MEMBER_ATTR_SET, FIELD_CLUSTER_VERSION_SET
from etcdops.node.peer.codec import encode_conf_change
from etcdops.node.raft.types import ConfChange
from etcdops.node.server.driver import Driver
from etcdops.node.zap_log import fields
from etcdops.proto import membershippb_pb2 as membershippb

log = logging.getLogger(__name__)

Done = Callable[[EtcdError | None], None]

_PUBLISH_RETRY_S = 0.5


@dataclass(slots=True)
class _PendingChange:
    change: ConfChange
    ends_at: float
    done: Done
    proposed: bool = False


@dataclass(slots=True)
class _PendingTransfer:
    target: MemberID
    ends_at: float
    done: Done


class Changes:
    """Configuration changes and transfers that somebody waits for. Every `done` is called exactly once."""

    def __init__(self, driver: Driver, next_id: Callable[[], int], timeout_s: float) -> None:
        self._driver = driver
        self._next_id = next_id
        self._timeout_s = timeout_s
        self._pending: dict[int, _PendingChange] = {}
        self._transfers: list[_PendingTransfer] = []

    def configure(self, change: ConfChange, now: float, done: Done) -> None:
        """Propose a change of one member; it waits for a leader as any proposal does."""
        self._pending[self._next_id()] = _PendingChange(change, now + self._timeout_s, done)
        self._propose()

    def applied(self, request_id: int, error: EtcdError | None) -> None:
        """The change is in force here, or was refused everywhere."""
        pending = self._pending.pop(request_id, None)
        if pending is not None:
            pending.done(error)

    def transfer(self, target: MemberID, now: float, done: Done) -> None:
        """Ask raft to hand over; `tick` sees whether it worked."""
        if target == self._driver.core.leader:
            done(None)
            return
        log.info(
            "leadership transfer starting",
            extra=fields(
                local_member_id=format_id(self._driver.core.id),
                current_leader_member_id=format_id(self._driver.core.leader),
                transferee_member_id=format_id(target),
            ),
        )
        self._transfers.append(_PendingTransfer(target, now + self._timeout_s, done))
        self._driver.transfer_leader(target)

    def tick(self, now: float) -> None:
        """Propose what found no leader before, and give up on what took too long."""
        self._propose()
        for request_id in [key for key, pending in self._pending.items() if pending.ends_at <= now]:
            self._pending.pop(request_id).done(TIMEOUT)
        waiting, self._transfers = self._transfers, []
        for transfer in waiting:
            if self._driver.core.leader == transfer.target:
                log.info("leadership transfer finished", extra=fields(transferee_member_id=format_id(transfer.target)))
                transfer.done(None)
            elif transfer.ends_at <= now:
                transfer.done(TIMEOUT_LEADER_TRANSFER)
            else:
                self._transfers.append(transfer)

    def fail_all(self, error: EtcdError) -> None:
        """Answer everybody: the member stops."""
        pending, self._pending = self._pending, {}
        transfers, self._transfers = self._transfers, []
        for change in pending.values():
            change.done(error)
        for transfer in transfers:
            transfer.done(error)

    def _propose(self) -> None:
        for request_id, pending in self._pending.items():
            if not pending.proposed:
                data = encode_conf_change(request_id, pending.change)
                pending.proposed = self._driver.propose_conf_change(data, pending.change)


Propose = Callable[[int, bytes, Callable[[Outcome], None]], None]


class Publisher:
    """Tells the cluster this member's name and client URLs, again and again until it is agreed on."""

    def __init__(
        self,
        propose: Propose,
        member: MemberID,
        name: str,
        client_urls: tuple[str, ...],
        published: Callable[[], None],
    ) -> None:
        """Args: published is called once, when the cluster knows this member's name and URLs."""
        self._propose = propose
        self._tell = published
        attributes = membershippb.Attributes(name=name, client_urls=client_urls)
        self._request = membershippb.ClusterMemberAttrSetRequest(
            member_ID=member, member_attributes=attributes
        ).SerializeToString()
        self._member = member
        self._name = name
        self._next_try = 0.0
        self._under_way = False
        self.published = False

    def tick(self, now: float, has_leader: bool) -> None:
        """Try when there is a leader to take it."""
        if self.published or self._under_way or not has_leader or now < self._next_try:
            return
        self._under_way = True
        self._next_try = now + _PUBLISH_RETRY_S
        self._propose(FIELD_CLUSTER_MEMBER_ATTR_SET, self._request, self._finished)

    def _finished(self, outcome: Outcome) -> None:
        self._under_way = False
        if outcome.error is not None:
            log.warning(
                "failed to publish local member to cluster through raft", extra=fields(error=outcome.error.text)
            )
            return
        self.published = True
        log.info(
            "published local member to cluster through raft",
            extra=fields(local_member_id=format_id(self._member), local_member_name=self._name),
        )
        self._tell()


class ClusterVersion:
    """The leader's part in agreeing on the cluster version: the lowest version of all members, never lowered."""

    def __init__(self, propose: Propose, current: Callable[[], str]) -> None:
        self._propose = propose
        self._current = current
        self._under_way = False

    def decide(self, versions: list[str | None], minimum: str) -> None:
        """Propose what `versions` allow: major.minor.0 of the lowest; `minimum` at first when one is not known yet.

        Source: etcd server/etcdserver/server.go, monitorVersions.
        """
        if self._under_way:
            return
        known = [version for version in versions if version is not None]
        current = self._current()
        if len(known) < len(versions):
            decided = current or minimum
        else:
            major, minor = min(_major_minor(version) for version in known)
            decided = f"{major}.{minor}.0"
        if current and _major_minor(decided) <= _major_minor(current):
            return
        self._under_way = True
        log.info(
            "updating cluster version using v3 API" if current else "setting up initial cluster version using v3 API",
            extra=fields({"from": current, "to": decided} if current else {"cluster-version": decided}),
        )
        request = membershippb.ClusterVersionSetRequest(ver=decided).SerializeToString()
        self._propose(FIELD_CLUSTER_VERSION_SET, request, partial(self._finished, decided))

    def _finished(self, decided: str, outcome: Outcome) -> None:
        self._under_way = False
        if outcome.error is None:
            major, minor = _major_minor(decided)
            log.info("cluster version is updated", extra=fields(cluster_version=f"{major}.{minor}"))


def _major_minor(version: str) -> tuple[int, int]:
    major, minor, *_ = version.split(".")
    return int(major), int(minor)
