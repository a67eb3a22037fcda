"""etcd's two lists of members: what 3.6 would make of a cluster of 3.5, and that real ones agree."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, observe
from etcdops.ids import LogIndex, MemberID, Term, padded_id
from etcdops.playbooks.rolling.member_lists import differences
from etcdops.playbooks.snapshot_save import save_snapshot
from etcdops.snapshot.buckets import read_facts
from etcdops.snapshot.facts import SnapshotFacts, SnapshotMember
from etcdops.snapshot.file import open_snapshot
from tests.conftest import MakeCluster
from tests.fakes.fleet import FakeFleet
from tests.support.real_etcd import RealCluster


def stored(*, removed: tuple[int, ...] = (), **changed: SnapshotMember) -> SnapshotFacts:
    members = {f"m{n}": SnapshotMember(MemberID(n), f"m{n}", (), (), False) for n in (1, 2, 3)} | changed
    return SnapshotFacts(
        LogIndex(1), Term(1), members=tuple(members.values()), removed_members=tuple(map(MemberID, removed))
    )


def test_what_3_6_would_make_of_each_member() -> None:
    """Every way in which the lists can differ, and none where only names and client addresses do."""
    view = FakeFleet.of(3).view()
    one = SnapshotMember(MemberID(1), "m1", (), (), False)
    assert differences(view, stored(m1=dataclasses.replace(one, name="", client_urls=("http://x:2379",)))) == []
    assert differences(view, stored(m1=dataclasses.replace(one, is_learner=True))) == [
        "m1 would be a learner again, without a vote"
    ]
    assert differences(view, stored(m1=dataclasses.replace(one, peer_urls=("http://x:2380",)))) == [
        "m1 would be looked for at http://x:2380"
    ]
    assert differences(view, stored(m4=SnapshotMember(MemberID(0xAB), "", (), (), False))) == [
        "ab, which is no member now, would come back"
    ]
    assert differences(view, stored(removed=(2,))) == ["m2 counts as removed"]
    gone = stored()
    assert differences(view, dataclasses.replace(gone, members=gone.members[:2])) == ["m3 would be no member any more"]
    both = stored(removed=(9,), m9=SnapshotMember(MemberID(9), "m9", (), (), False))
    assert differences(view, both) == ["m9, which is no member now, would come back"]


@pytest.mark.slow
@pytest.mark.real
async def test_real_lists_agree_unless_a_member_was_updated_by_an_etcd_that_forgets_it(
    real_etcd: MakeCluster, tmp_path: Path
) -> None:
    """3.5.16 writes an update, or a promotion, into the list it answers with only; 3.4 into both.

    Source: etcd CHANGELOG-3.5: "promoted learner" and "member update" before 3.5.31.
    """
    cluster = real_etcd()
    for line in (
        ["member", "add", "gone", "--peer-urls=http://127.0.0.1:9", "--learner"],
        ["member", "remove", "ID"],
        ["member", "add", "later", "--peer-urls=http://127.0.0.1:10", "--learner"],
    ):
        cluster.ctl(*(learner_of(cluster) if word == "ID" else word for word in line))
    learner = learner_of(cluster)
    view, stored = await both_lists(cluster, tmp_path / "agree.db")
    assert len(view.members) == len(stored.members) == 2
    assert stored.removed_members
    assert differences(view, stored) == []
    shown = padded_id(int(learner, 16))
    cluster.ctl("member", "update", learner, "--peer-urls=http://127.0.0.1:19")
    told = {
        "3.4": [],
        "3.5": [
            f"{shown} would be a learner again, without a vote",
            f"{shown} would be looked for at http://127.0.0.1:10",
        ],
    }
    assert differences(*await both_lists(cluster, tmp_path / "differ.db")) == told[cluster.binaries.minor]


def learner_of(cluster: RealCluster) -> str:
    listed = [one.split(", ") for one in cluster.ctl("member", "list").splitlines()]
    return next((one[0] for one in listed if one[-1] == "true"), "")


async def both_lists(cluster: RealCluster, path: Path) -> tuple[ClusterView, SnapshotFacts]:
    async with Client(ConnectionSettings(tuple(cluster.endpoints))) as client:
        await save_snapshot(client, path)
        view = await observe(client, timeout_s=20)
    with open_snapshot(path) as file:
        return view, read_facts(file)
