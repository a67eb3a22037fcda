"""Whose snapshot is taken, and that a name on disk means a whole, verified file."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import stat
from pathlib import Path

import pytest

from etcdops.client.client import Client
from etcdops.client.maintenance import SnapshotProgress
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, MemberStatus, MemberView, Silence
from etcdops.errors import AccessDenied, EtcdopsError, Unreachable, UsageError
from etcdops.ids import ClusterID, LogIndex, MemberID, Revision, Term
from etcdops.playbooks.cluster_file import ClusterSpec
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.playbooks.plan import Json
from etcdops.playbooks.snapshot_save import choose_member, save_snapshot
from etcdops.snapshot.inspect import inspect_snapshot
from etcdops.snapshot.sidecar import noted_client_urls, sidecar_path, write_sidecar
from tests.playbooks.clusters import fill


def member(
    number: int, revision: int | None, *, leader: int = 1, learner: bool = False, errors: tuple[str, ...] = ()
) -> MemberView:
    status = None
    if revision is not None:
        status = MemberStatus(
            "3.5.16", 1, 1, 0, MemberID(leader), Term(2), LogIndex(9), LogIndex(9), Revision(revision), errors, learner
        )
    url = f"http://m{number}:2379"
    silence = "" if status else "connection refused"
    return MemberView(MemberID(number), f"m{number}", (), (url,), learner, True, url, status, error=silence)


def view(*members: MemberView, serves: bool = True) -> ClusterView:
    return ClusterView(ClusterID(7), members, serves_linearizable=serves)


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ([member(1, 50), member(2, 50), member(3, 50)], {"m2", "m3"}),  # a follower: the leader has more to do
        ([member(1, 50), member(2, 49), member(3, 48)], {"m1"}),  # what it knows counts more than who it is
        ([member(1, 50), member(2, 60, learner=True), member(3, 40)], {"m1"}),  # voters before learners
        ([member(1, 50), member(2, 60, errors=("NOSPACE",)), member(3, None)], {"m1"}),  # healthy ones first
        ([member(1, None), member(2, None), member(3, 4)], {"m3"}),
    ],
)
def test_the_snapshot_is_taken_from_who_knows_most(members: list[MemberView], chosen: set[str]) -> None:
    """Goal: never silently old."""
    found, _ = choose_member(view(*members))
    assert found.name in chosen


def test_an_old_or_doubtful_source_is_warned_about() -> None:
    """Goal: a chosen member is taken as it is, and its lag is said."""
    _, warnings = choose_member(view(member(1, 5000), member(2, 100)), "m2")
    assert any("4900 revisions behind" in text for text in warnings)
    _, warnings = choose_member(view(member(1, 5000), serves=False))
    assert any("no quorum" in text for text in warnings)
    assert choose_member(view(member(1, 5000), member(2, 4999)))[1] == ()


def test_nobody_and_strangers_are_different_errors() -> None:
    """Goal: exit 3 where trying again may help, 2 for a wrong name."""
    denied = dataclasses.replace(member(1, None), silence=Silence.ACCESS_DENIED, error="permission denied")
    with pytest.raises(AccessDenied, match="no member lets us in") as refused:
        choose_member(view(denied))
    assert "whose roles grant this" in refused.value.hint
    with pytest.raises(Unreachable, match="nobody answers"):
        choose_member(view(member(1, None)))
    with pytest.raises(UsageError, match="no member 'm9'"):
        choose_member(view(member(1, 5)), "m9")
    assert choose_member(view(member(1, 5), member(2, 6)), "1")[0].name == "m1", "an ID in hex is a name too"


def test_an_existing_file_is_kept_before_anything_is_asked(tmp_path: Path) -> None:
    """Goal: yesterday's backup is not replaced by a slip of the finger."""
    path = tmp_path / "backup.db"
    path.write_text("precious")

    async def work() -> None:
        async with Client(ConnectionSettings(("http://127.0.0.1:1",))) as client:
            with pytest.raises(UsageError, match="exists"):
                await save_snapshot(client, path)
            with pytest.raises(Unreachable):
                await save_snapshot(client, path, force=True)

    asyncio.run(work())
    assert path.read_text() == "precious", "a failed transfer leaves the old file"
    assert [one.name for one in tmp_path.iterdir()] == ["backup.db"]


@pytest.mark.slow
@pytest.mark.real
def test_a_saved_snapshot_is_whole_private_and_says_where_it_is_from(local_cluster: ClusterSpec) -> None:
    """Goal: .part until verified, mode 0600, origin beside it, progress that ends at the total."""
    local = LocalCluster(local_cluster)
    local.start(tethered=True)
    path = local_cluster.directory / "backup.db"
    seen: list[SnapshotProgress] = []

    async def work() -> None:
        await local.wait_healthy(timeout_s=90)
        async with Client(local_cluster.connection()) as client:
            revision = await fill(client, 40, "x")
            saved = await save_snapshot(client, path, progress=seen.append)
            assert saved.report.current_revision == revision
            assert saved.warnings == ()
            assert seen[-1].received_bytes == seen[-1].total_bytes == _size(path)
            with pytest.raises(EtcdopsError, match="cannot write"):
                await save_snapshot(client, Path("/proc/nowhere/backup.db"))
            again = await save_snapshot(client, path, member="m2", force=True)
            assert again.member == "m2"

    asyncio.run(work())
    report = inspect_snapshot(path)
    assert report.has_checksum
    assert report.live_keys == 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sidecar = json.loads(path.with_name("backup.db.json").read_text())
    assert (sidecar["sha256"], sidecar["revision"], sidecar["member"]) == (report.sha256, report.current_revision, "m2")
    assert int(sidecar["cluster_id"], 16) > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", sidecar["taken_at"]), "a time as everywhere"
    assert not list(local_cluster.directory.glob("*.part"))


def _size(path: Path) -> int:
    return path.stat().st_size


def test_what_is_noted_beside_a_snapshot_is_only_a_hint(tmp_path: Path) -> None:
    """Goal: client URLs of the same member of the same snapshot, and nothing at all from a file that does not fit."""
    snapshot = tmp_path / "backup.db"
    peers = ("http://h1:2380",)
    note: dict[str, Json] = {
        "sha256": "ab",
        "members": [{"name": "m1", "peer_urls": list(peers), "client_urls": ["http://h1:2379"]}],
    }
    assert noted_client_urls(snapshot, "ab", "m1", peers) == ()
    write_sidecar(sidecar_path(snapshot), note)
    assert stat.S_IMODE(sidecar_path(snapshot).stat().st_mode) == 0o600
    assert noted_client_urls(snapshot, "ab", "m1", peers) == ("http://h1:2379",)
    assert noted_client_urls(snapshot, "cd", "m1", peers) == (), "of another snapshot"
    assert noted_client_urls(snapshot, "ab", "m2", peers) == (), "of another member"
    assert noted_client_urls(snapshot, "ab", "m1", ("http://h9:2380",)) == (), "it moves"
    for text in ("", "[]", "{}", '{"schema": "etcdops.snapshot/1", "sha256": "ab"}'):
        sidecar_path(snapshot).write_text(text)
        assert noted_client_urls(snapshot, "ab", "m1", peers) == ()
