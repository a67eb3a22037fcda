"""Asking the leader, whoever it is by then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etcdops.ids import MemberID
from etcdops.node.peer import forward
from etcdops.node.peer.forward import ForwardTimeout, ask_leader
from etcdops.node.peer.port import Answer, PeerRoutes
from tests.node.peer.support import ALICE, BOB, dialing, running

pytestmark = pytest.mark.slow


class Leader:
    """Answers lease renewals with what it is told to, in order; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []

    async def renew(self, body: bytes) -> Answer:
        self.asked.append(body)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def promote(self, member: MemberID, authorization: str) -> Answer:
        self.asked.append(f"{member} {authorization}".encode())
        return self.answers[0]

    @property
    def routes(self) -> PeerRoutes:
        return PeerRoutes(leases=self.renew, promote=self.promote)


async def test_a_leader_that_is_not_ready_is_asked_again(tmp_path: Path) -> None:
    """408, 500 and a dead URL are no answers; the first 200 is."""
    leader = Leader(Answer(408, b"waiting"), Answer(500, b"not primary"), Answer(200, b"ttl"))
    async with running(tmp_path, ALICE, routes=leader.routes) as alice, dialing() as dialer:
        urls = ["http://127.0.0.1:1", alice.url]
        answer = await ask_leader(dialer, forward.LEASE_RENEW, b"lease", lambda: urls, timeout_s=20)
        assert answer == Answer(200, b"ttl")
        assert leader.asked == [b"lease"] * 3


async def test_a_lease_that_is_gone_is_final(tmp_path: Path) -> None:
    """404 is the leader's word, not a failure."""
    leader = Leader(Answer(404, b"lease not found"))
    async with running(tmp_path, ALICE, routes=leader.routes) as alice, dialing() as dialer:
        answer = await ask_leader(dialer, forward.LEASE_RENEW, b"lease", lambda: [alice.url], timeout_s=20)
        assert answer == Answer(404, b"lease not found\n")
        assert len(leader.asked) == 1


async def test_the_leader_is_looked_up_anew_each_round(tmp_path: Path) -> None:
    """No leader first, then the old one, then the new one."""
    old, new = Leader(Answer(500, b"not primary")), Leader(Answer(200, b"ttl"))
    async with (
        running(tmp_path, ALICE, routes=old.routes) as alice,
        running(tmp_path, BOB, routes=new.routes) as bob,
    ):
        rounds: list[list[str]] = [[], [alice.url], [bob.url]]
        answer = await alice.transport.ask_leader(forward.LEASE_RENEW, b"lease", lambda: rounds.pop(0), timeout_s=20)
        assert answer == Answer(200, b"ttl")
        assert len(old.asked) == len(new.asked) == 1


async def test_promotion_stops_at_the_leaders_refusal(tmp_path: Path) -> None:
    """A learner that is not ready will not be in 50 ms either; the caller's token goes along."""
    leader = Leader(Answer(412, b"not in sync"))
    async with running(tmp_path, ALICE, routes=leader.routes) as alice, dialing() as dialer:
        answer = await ask_leader(
            dialer, forward.promote(BOB), b"", lambda: [alice.url], timeout_s=20, authorization="token"
        )
        assert answer.status == 412
        assert leader.asked == [f"{int(BOB)} token".encode()]


async def test_without_a_leader_the_deadline_ends_it(tmp_path: Path) -> None:
    """Also when the leader takes the question and never answers."""

    async def never(_: bytes) -> Answer:
        await asyncio.Event().wait()
        return Answer(200, b"")

    async with (
        running(tmp_path, ALICE, routes=PeerRoutes(leases=never)) as alice,
        dialing() as dialer,
    ):
        with pytest.raises(ForwardTimeout):
            await ask_leader(dialer, forward.LEASE_RENEW, b"", list, timeout_s=0.2)
        with pytest.raises(ForwardTimeout):
            await ask_leader(dialer, forward.LEASE_RENEW, b"", lambda: [alice.url], timeout_s=0.2)


async def test_a_stopped_transport_has_no_leader_to_ask(tmp_path: Path) -> None:
    """Requests that come while the member stops end."""
    async with running(tmp_path, ALICE) as alice:
        pass
    with pytest.raises(ForwardTimeout):
        await alice.transport.ask_leader(forward.LEASE_RENEW, b"", list, timeout_s=20)
