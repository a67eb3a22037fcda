"""A leader that stops in order gives its office away first, so that clients wait for no election.

Source: etcd server/etcdserver/server.go, TryTransferLeadershipOnShutdown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from etcdops.ids import MemberID, format_id
from etcdops.node.api.errors import EtcdError
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)


class Office(Protocol):
    """Of the member that stops: ServerPort has all of it."""

    member_id: MemberID
    members: MemberRegistry

    @property
    def leader(self) -> MemberID: ...
    @property
    def is_leader(self) -> bool: ...
    def transfer_leader(self, target: MemberID, done: Callable[[EtcdError | None], None]) -> None: ...


async def hand_over(office: Office, longest_connected: Callable[[], MemberID | None], *, timeout_s: float) -> None:
    """Transfer the leadership, if we have it and somebody can take it.

    Args: longest_connected - of the other voters; None: nobody is; timeout_s - an election timeout: one is due then.
    """
    who = fields(local_member_id=format_id(office.member_id), current_leader_member_id=format_id(office.leader))
    if not office.is_leader:
        log.info("skipped leadership transfer; local server is not leader", extra=who)
        return
    if len(office.members.voters()) == 1:
        log.info("skipped leadership transfer for single voting member cluster", extra=who)
        return
    target = longest_connected()
    if target is None:
        log.warning("leadership transfer failed", extra=fields(error="etcdserver: unhealthy cluster"))
        return
    handed_over = asyncio.Event()
    office.transfer_leader(target, lambda error: handed_over.set())
    try:
        async with asyncio.timeout(timeout_s):
            await handed_over.wait()
    except TimeoutError:
        log.warning("leadership transfer failed", extra=fields(transferee_member_id=format_id(target)))
