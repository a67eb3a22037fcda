"""The other members, as one of them deals with them: whatever the cluster has agreed on about them stops nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.clock import ManualClock
from etcdops.ids import ClusterID, MemberID
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.member.member import Member
from etcdops.node.peer.port import PeerRoutes
from etcdops.node.peer.status import SavedImages
from etcdops.node.raft.types import ConfChange, ConfChangeSingle, ConfChangeType
from etcdops.node.server.peers import Peers
from etcdops.node.server.recovered import Recovered
from etcdops.node.storage.state import StateStore
from tests.node.server.world import Turns

SELF, OTHER = MemberID(1), MemberID(2)


@pytest.mark.parametrize("url", ["unix:///run/peer", "http://127.0.0.1:99999", "http://127.0.0.1:"])
async def test_a_member_with_an_address_that_cannot_be_dialled_is_only_out_of_reach(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    """etcd takes such URLs. The change is applied on all members: an error in it would end all of them, again at every
    start. An update brings the member back."""
    state = StateStore.open(tmp_path / "state.db", create=True)
    recovered = Recovered(
        state,
        ClusterID(1),
        clock=ManualClock(),
        metrics=NodeMetrics(),
        quota_bytes=0,
        call_soon=Turns().call_soon,
        call_later=lambda delay_s, callback: pytest.fail("no timer is needed"),
        storage_failed=lambda error: pytest.fail(str(error)),
    )
    peers = Peers(
        member_id=SELF,
        cluster_id=ClusterID(1),
        advertised_urls=["http://127.0.0.1:2380"],
        members=recovered.members,
        applier=recovered.applier,
        snapshot_dir=tmp_path,
        routes=PeerRoutes(),
        clock=ManualClock(),
        saved_images=SavedImages(),
        dial_timeout_s=1.0,
        removed=lambda: pytest.fail("nobody was removed"),
        call_later=lambda *arguments: None,
    )
    change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, OTHER),))
    recovered.members.bootstrap([Member(SELF, ("http://127.0.0.1:2380",)), Member(OTHER, (url,))])
    peers.follow(change)
    assert [record.message for record in caplog.records] == ["cannot reach remote peer"]
    recovered.members.bootstrap([Member(OTHER, ("http://127.0.0.1:2381",))])
    caplog.clear()
    peers.follow(change)
    assert caplog.records == []
    state.abandon()
