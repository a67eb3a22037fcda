"""What a member that wants to join learns from the others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from etcdops.ids import ClusterID, MemberID
from etcdops.node.member.member import Member
from etcdops.node.peer import remote
from etcdops.node.peer.remote import FetchFailed, Versions, fetch_cluster, fetch_versions
from tests.support.ports import free_ports

MEMBERS = [
    {"id": 0xA11CE, "peerURLs": ["http://a:1"], "name": "alice", "clientURLs": ["http://a:2"]},
    {"id": 0xB0B, "peerURLs": ["http://b:1", "http://b:3"], "isLearner": True},
]
PARSED = (
    Member(MemberID(0xA11CE), ("http://a:1",), "alice", ("http://a:2",)),
    Member(MemberID(0xB0B), ("http://b:1", "http://b:3"), is_learner=True),
)


@asynccontextmanager
async def serving(body: object, cluster: str = "c1", status: int = 200) -> AsyncIterator[str]:
    """A member that gives one answer to everything."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=data, status=status, headers={"X-Etcd-Cluster-ID": cluster})

    async with listening(answer) as url:
        yield url


@asynccontextmanager
async def listening(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_the_first_answer_describes_the_cluster() -> None:
    """A dead URL, no JSON and no cluster ID are passed over."""
    async with serving(MEMBERS) as good, serving(b"<html>") as web_page, serving(MEMBERS, "") as no_id:
        found = await fetch_cluster(["http://127.0.0.1:1", web_page, no_id, good])
    assert found == remote.RemoteCluster(ClusterID(0xC1), PARSED, good)


async def test_members_that_disagree_are_named() -> None:
    """One of another cluster, one that is behind."""
    async with serving(MEMBERS) as one, serving(MEMBERS, "c2") as other, serving(MEMBERS[:1]) as behind:
        found = await fetch_cluster([one, other, behind])
        said = {one: "c1", other: "c2", behind: "c1"}
        assert len(found.disagreements) == 2
        foreign = [text for text in found.disagreements if "belongs to cluster" in text]
        assert foreign
        assert all("cluster c1" in text or "cluster c2" in text for text in foreign)
        assert found.source in said


async def test_nobody_answering_says_what_each_one_did() -> None:
    """The message etcd gives, and why."""
    async with serving([]) as empty:
        with pytest.raises(FetchFailed, match="could not retrieve cluster information") as caught:
            await fetch_cluster(["http://127.0.0.1:1", empty])
    assert "http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused" in str(caught.value)
    assert f"{empty}: it lists no members" in str(caught.value)
    with pytest.raises(FetchFailed, match="no URLs were given"):
        await fetch_cluster([])


async def test_versions_are_asked_of_every_member_at_its_urls_in_turn() -> None:
    """None for a member that does not answer."""
    async with serving({"etcdserver": "3.5.16", "etcdcluster": "3.5.0"}) as good, serving({"etcdserver": 3}) as bad:
        alice = Member(MemberID(1), ("http://127.0.0.1:1", good), "alice")
        bob = Member(MemberID(2), (bad,), "bob")
        carol = Member(MemberID(3), (), "carol")
        versions = await fetch_versions([alice, bob, carol])
    assert versions == {1: Versions("3.5.16", "3.5.0"), 2: None, 3: None}
