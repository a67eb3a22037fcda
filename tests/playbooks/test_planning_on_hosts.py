"""Decisions of a recovery on hosts, as pure functions of what the hosts said."""

from __future__ import annotations

import dataclasses
import posixpath
from pathlib import Path

import pytest

from etcdops.errors import ClusterUnsafe, UsageError
from etcdops.inventory.model import Cluster, Host, Inventory, place
from etcdops.playbooks.on_hosts import InventorySource
from etcdops.playbooks.plan import Danger, Plan, StepSpec
from etcdops.playbooks.recover.facts import RevisionWitness
from etcdops.playbooks.recover.hosts.facts import HostFacts, MemberFacts, tool_command
from etcdops.playbooks.recover.hosts.planned import PlannedMember
from etcdops.playbooks.recover.hosts.planning import Choices, make_plan, stamp_of
from etcdops.playbooks.recover.hosts.steps import KINDS
from etcdops.playbooks.recover.hosts.trees import Tree
from etcdops.playbooks.step import UndoableStep
from etcdops.services.port import Changes, ServiceStatus, State
from etcdops.snapshot.etcd_tools import RestoreTool
from etcdops.snapshot.facts import SnapshotFormat
from tests.playbooks.test_planning import REPORT, facts
from tests.playbooks.test_snapshot_save import member, view

STAMP = stamp_of(1_700_000_000.0)
TOOL = RestoreTool(Path("/usr/local/bin/etcdutl"), (3, 5, 16), True)
OLD_TOOL = RestoreTool(Path("/usr/bin/etcdctl"), (3, 4, 23), False)
CHOICES = Choices("fresh-token", STAMP, Path("/state/raised.db"))
SOURCE = InventorySource((Path("/etc/prod.yaml"),), "digest")
ROOM = 10 << 30
CLUSTER = Cluster.model_validate({"name": "prod", "members": [{"host": f"h{n}"} for n in (1, 2, 3)]})
INVENTORY = Inventory(
    hosts={f"h{n}": Host(name=f"h{n}", address=f"10.0.0.{n}") for n in (1, 2, 3)}, clusters={"prod": CLUSTER}
)


def on_host(number: int, **changes: object) -> MemberFacts:
    base = MemberFacts(
        placed=place(INVENTORY, CLUSTER, CLUSTER.members[number - 1]),
        status=ServiceStatus(State.RUNNING, pid=7) if number == 3 else ServiceStatus(State.FAILED),
        has_data=number == 3,
        data=Tree("/var/lib/etcd", False, STAMP),
        wal=None,
        free_bytes=ROOM,
        tool=TOOL,
        changes=Changes({"/etc/default/etcd": "diff"}),
        faults=(),
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]  # a test names the fields it changes


LOST = facts(
    view(member(1, None), member(2, None), member(3, 1500), serves=False),
    RevisionWitness("h3 answers", 1500, 1500),
    without=("h1", "h2"),
)


def plan_for(*members: MemberFacts) -> Plan:
    return make_plan(CLUSTER, SOURCE, HostFacts(members, LOST), REPORT, CHOICES)


def planned(*members: MemberFacts) -> Plan:
    return plan_for(*(members or (on_host(1), on_host(2), on_host(3))))


def kinds(plan: Plan) -> list[str]:
    return list(dict.fromkeys(step.kind for step in plan.steps))


def test_the_inventory_is_written_last_and_only_if_asked() -> None:
    """From then on it says something else than the plan was made from."""
    chosen = dataclasses.replace(CHOICES, update_inventory=True)
    plan = make_plan(CLUSTER, SOURCE, HostFacts((on_host(1), on_host(2), on_host(3)), LOST), REPORT, chosen)
    assert (plan.steps[-1].kind, plan.steps[-1].host) == ("note-token", "")
    assert "note-token" not in kinds(planned())


def test_nothing_is_stopped_before_the_data_to_come_is_whole_on_every_host() -> None:
    """And no member can be started without a configuration that never forms a cluster, once data is moved."""
    plan = planned()
    assert kinds(plan) == [
        "check-snapshot", "ready-host", "prepare-member", "stop-member", "configure-member", "move-aside", "place-data",
        "start-member", "wait-serving", "verify", "clean-up",
    ]  # fmt: skip
    assert {step.together for step in plan.steps if step.kind == "prepare-member"} == {"prepare"}
    assert [step.danger for step in plan.steps if step.kind == "stop-member"] == [Danger.SEVERE] * 3
    assert [step.host for step in plan.steps if step.kind == "place-data"] == ["h1", "h2", "h3"]


def test_the_plan_tells_losses_in_numbers_and_holds_everything_that_is_random() -> None:
    """A resume that drew a second token would build half of one cluster and half of another."""
    plan = planned()
    assert "500 revisions: 1001 to 1500" in plan.losses[0]
    assert "2 members without readable data" in plan.losses[1]
    assert plan.inputs["token"] == "fresh-token"
    assert plan.inputs["revision"] == 2500
    assert any(
        "h3:/var/lib/etcd.before-recover-20231114T221320Z; h1, h2: nothing is left" in one for one in plan.summary
    )
    assert Plan.from_json(plan.to_json()) == plan
    members = plan.inputs["members"]
    assert isinstance(members, dict)
    again = PlannedMember.from_json("h3", members["h3"], STAMP)
    assert (again.was_running, again.tool, again.snapshot) == (
        True, ("/usr/local/bin/etcdutl",), "/var/lib/etcd.recover-20231114T221320Z/snapshot.db",
    )  # fmt: skip


def test_where_one_tool_cannot_raise_the_revision_it_is_raised_once_for_all() -> None:
    """Trap 5: members from different files are different clusters."""
    plan = planned(on_host(1, tool=OLD_TOOL), on_host(2), on_host(3))
    assert plan.inputs["raised"] == "/state/raised.db"
    assert kinds(plan)[2] == "raise-revision"


def test_every_fault_of_every_host_is_told_at_once() -> None:
    """One trip to each host, not one for each fault."""
    faults = ("h1: there is no user etcd", "h1: the program /usr/local/bin/etcd is not there")
    with pytest.raises(ClusterUnsafe, match="h1: there is no user etcd") as refused:
        planned(on_host(1, faults=faults), on_host(2, free_bytes=1 << 20), on_host(3))
    assert "h1: the program" in refused.value.cause
    assert "h2: not enough room beside /var/lib/etcd: 130 MiB are needed, 1 are free" in refused.value.cause
    assert "Nothing was changed" in refused.value.hint


def test_a_cluster_that_works_and_a_snapshot_of_the_other_engine_are_refused() -> None:
    working = dataclasses.replace(LOST, view=view(member(1, 1500), member(2, 1500), member(3, 1500), serves=True))
    three = (on_host(1), on_host(2), on_host(3))
    with pytest.raises(ClusterUnsafe, match="throw away a working cluster"):
        make_plan(CLUSTER, SOURCE, HostFacts(three, working), REPORT, CHOICES)
    other = dataclasses.replace(REPORT, format=SnapshotFormat.NODE)
    with pytest.raises(UsageError, match="the members run etcd"):
        make_plan(CLUSTER, SOURCE, HostFacts(three, LOST), other, CHOICES)


def test_what_is_made_for_a_mount_point_is_inside_it() -> None:
    """It cannot be renamed, and what is beside it is another file system."""
    inside, beside = Tree("/var/lib/etcd", True, STAMP), Tree("/var/lib/etcd", False, STAMP)
    for path in (inside.work, inside.aside, inside.undone):
        assert posixpath.dirname(path) == "/var/lib/etcd"
    for path in (beside.work, beside.aside, beside.undone):
        assert posixpath.dirname(path) == "/var/lib"


def test_what_changes_something_can_be_taken_back_until_the_copies_are_removed() -> None:
    """The engine refuses to go back over a step that cannot; there must be none before the end."""
    plan = planned(on_host(1, tool=OLD_TOOL), on_host(2), on_host(3))
    stuck = [
        step.kind
        for step in plan.steps
        if step.danger is not Danger.READ and not issubclass(_class_of(step), UndoableStep)
    ]
    assert set(stuck) == {"clean-up"}


def _class_of(step: StepSpec) -> type:
    maker = KINDS._makers[step.kind]
    assert isinstance(maker, type)
    return maker


def test_a_tool_in_a_container_sees_nothing_but_the_copies() -> None:
    """No network, no variables of the host, and only the folders that are worked in."""
    service = {"manager": "podman", "image": "quay.io/coreos/etcd:v3.5.16"}
    cluster = Cluster.model_validate({"name": "prod", "service": service, "members": [{"host": "h1"}]})
    command = tool_command(cluster, "etcdutl", ("snapshot", "restore", "x"), volumes=("/var/lib/etcd.recover-1",))
    assert command.argv == (
        "podman", "run", "--rm", "--network=none", "--user=0", "--env=ETCDCTL_API=3", "--entrypoint=etcdutl",
        "--volume=/var/lib/etcd.recover-1:/var/lib/etcd.recover-1:Z", "quay.io/coreos/etcd:v3.5.16",
        "snapshot", "restore", "x",
    )  # fmt: skip
