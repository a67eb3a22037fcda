"""Decisions of a recovery, as pure functions of what is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from etcdops.client.view import ClusterView
from etcdops.errors import ClusterUnsafe, UsageError
from etcdops.ids import ClusterID, LogIndex, MemberID, Term
from etcdops.playbooks.cluster_file import ClusterSpec, Engine, EngineKind, MemberSpec
from etcdops.playbooks.occupants import Occupant
from etcdops.playbooks.recover.facts import RecoveryFacts, RevisionWitness
from etcdops.playbooks.recover.planning import Choices, make_plan, target_revision
from etcdops.playbooks.recover.strangers import Stranger
from etcdops.snapshot.etcd_tools import RestoreTool
from etcdops.snapshot.facts import SnapshotAlarm, SnapshotFacts, SnapshotFormat
from etcdops.snapshot.hashkv import OfflineHashKV
from etcdops.snapshot.inspect import SnapshotReport
from tests.playbooks.test_snapshot_save import member, view

CLUSTER = ClusterSpec(
    "prod",
    Path("/c"),
    Engine(EngineKind.ETCD, Path("/usr/bin/etcd")),
    "old-token",
    tuple(MemberSpec(f"m{n}", Path(f"/data/m{n}"), f"http://h{n}:2379", f"http://h{n}:2380") for n in (1, 2, 3)),
)
TOOL = RestoreTool(Path("/usr/bin/etcdutl"), (3, 5, 16), True)
CHOICES = Choices("fresh-token", 1_700_000_000.0, TOOL)
FACTS = SnapshotFacts(LogIndex(9), Term(2))
REPORT = SnapshotReport(
    path=Path("/b/backup.db"),
    format=SnapshotFormat.ETCD,
    hash=1,
    revision=1000,
    total_key=900,
    total_size_bytes=4096,
    current_revision=1000,
    live_keys=800,
    leased_keys=0,
    hash_kv=OfflineHashKV(1, 1000, -1),
    sha256="ab" * 32,
    has_checksum=True,
    facts=FACTS,
)
LOST = view(member(1, None), member(2, None), member(3, 1500), serves=False)


def facts(looked: ClusterView = LOST, *witnesses: RevisionWitness, without: tuple[str, ...] = ()) -> RecoveryFacts:
    return RecoveryFacts(looked, ("m3",), without, witnesses, ClusterID(0xABC), ())


@pytest.mark.parametrize(
    ("snapshot", "known", "expected"),
    [
        (1000, None, 1_000_001_000),
        (1000, 1000, 2000),
        (1000, 900, 2000),
        (1000, 100_000, 120_000),
        (7, 5_000_000, 6_000_000),
    ],
)
def test_the_revision_jumps_beyond_everything_anybody_saw(snapshot: int, known: int | None, expected: int) -> None:
    """Goal: last known x 1.2, at least a thousand more, a billion when nobody knows."""
    assert target_revision(snapshot, known) == expected


def test_losses_are_numbers_with_their_witness() -> None:
    """Goal: an honest statement before the confirmation, a range where the log of a dead member is a maybe."""
    exact = make_plan(CLUSTER, facts(LOST, RevisionWitness("m3 answers", 1500, 1500)), REPORT, CHOICES)
    assert exact.losses[0].startswith("500 revisions: 1001 to 1500")
    assert "m3 answers" in exact.losses[0]
    ranged = make_plan(CLUSTER, facts(LOST, RevisionWitness("the data directory of m1", 1400, 1520)), REPORT, CHOICES)
    assert ranged.losses[0].startswith("400 to 520 revisions: 1001 to 1520")
    none = make_plan(CLUSTER, facts(LOST, RevisionWitness("m3 answers", 1000, 1000)), REPORT, CHOICES)
    assert none.losses[0].startswith("no revision")
    blind = make_plan(CLUSTER, facts(LOST, without=("m1", "m2", "m3")), REPORT, CHOICES)
    assert "unknown" in blind.losses[0]


def test_members_that_somebody_else_runs_are_named_before_the_confirmation() -> None:
    """Goal: what only their own supervisor can stop is known before the first step, not found at it."""
    stranger = Stranger("m3", Occupant(("listens on http://h3:2379",), 4711))
    plan = make_plan(CLUSTER, dataclasses.replace(facts(), running=(), strangers=(stranger,)), REPORT, CHOICES)
    assert "m3 is run by others (pid 4711): stop it first" in plan.summary[0]
    nobody = make_plan(CLUSTER, dataclasses.replace(facts(), running=()), REPORT, CHOICES)
    assert "none of them runs" in nobody.summary[0]


def test_identity_is_always_fresh_and_shown() -> None:
    """Goal: an old member can never be taken for one of the new cluster."""
    plan = make_plan(CLUSTER, facts(), REPORT, CHOICES)
    assert plan.inputs["old_cluster_id"] == "0000000000000abc"
    assert plan.inputs["new_cluster_id"] not in (None, "0000000000000abc")
    assert "fresh-token" in "".join(plan.summary)
    other = make_plan(CLUSTER, facts(), REPORT, dataclasses.replace(CHOICES, token="another"))
    assert other.inputs["new_cluster_id"] != plan.inputs["new_cluster_id"]
    assert other.digest != plan.digest
    assert make_plan(CLUSTER, facts(), REPORT, CHOICES) == plan


def test_what_comes_along_is_said_before() -> None:
    """Goal: alarms and leases survive a restore."""
    loaded = dataclasses.replace(
        REPORT, leased_keys=12, facts=dataclasses.replace(FACTS, alarms=(SnapshotAlarm(MemberID(1), "NOSPACE"),))
    )
    losses = "\n".join(make_plan(CLUSTER, facts(), loaded, CHOICES).losses)
    assert "hanging on leases: 12 keys" in losses
    assert "NOSPACE" in losses


def test_a_working_cluster_is_refused_unless_the_check_is_named() -> None:
    """Goal: exit 6, and only its own code overrides it."""
    working = facts(view(member(1, 1500), member(2, 1500), member(3, None)))
    with pytest.raises(ClusterUnsafe, match="2 of 3 voters answer"):
        make_plan(CLUSTER, working, REPORT, CHOICES)
    wrong = dataclasses.replace(CHOICES, force_unsafe=frozenset({"something-else"}))
    with pytest.raises(ClusterUnsafe):
        make_plan(CLUSTER, working, REPORT, wrong)
    assert make_plan(CLUSTER, working, REPORT, dataclasses.replace(CHOICES, force_unsafe=frozenset({"quorum-holds"})))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": SnapshotFormat.NODE}, "engine node"),
        ({"facts": dataclasses.replace(FACTS, storage_version="3.6.0")}, "version 3.6.0"),
        ({"facts": dataclasses.replace(FACTS, cluster_version="3.6.0")}, "version 3.6.0"),
    ],
)
def test_a_snapshot_that_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    """Goal: before anything is stopped."""
    with pytest.raises(UsageError, match=message):
        make_plan(CLUSTER, facts(), dataclasses.replace(REPORT, **changes), CHOICES)  # type: ignore[arg-type]  # table


def test_the_cluster_survives_its_file(tmp_path: Path) -> None:
    """Goal: another terminal sees the same cluster."""
    from etcdops.playbooks.cluster_file import load_cluster

    spec = dataclasses.replace(CLUSTER, directory=tmp_path)
    spec.save()
    assert load_cluster(tmp_path) == spec
    assert spec.initial_cluster == "m1=http://h1:2380,m2=http://h2:2380,m3=http://h3:2380"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "x"}', '{"schema": "etcdops.cluster/1", "members": []}'])
def test_a_file_that_describes_no_cluster_is_named(tmp_path: Path, text: str) -> None:
    """Goal: usage error with the path, never a traceback."""
    from etcdops.playbooks.cluster_file import load_cluster

    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(UsageError, match=r"cluster\.json"):
        load_cluster(tmp_path)
    with pytest.raises(UsageError, match="not the directory"):
        load_cluster(tmp_path / "gone")
