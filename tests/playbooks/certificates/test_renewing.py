"""Certificates issued anew on hosts that are only told of: what is written, what stays, what a resumed run does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etcdops.certs.facts import describe
from etcdops.client.view import ClusterView
from etcdops.errors import ClusterUnsafe, Unhealthy, UsageError
from etcdops.playbooks.certificates.leaves import read_leaf, read_operator, renew_leaf, renew_operator
from etcdops.playbooks.certificates.planning import CertificateChoices, Until, plan_rotation, signers
from etcdops.playbooks.certificates.procedure import plan_renew, plan_rotate
from etcdops.playbooks.certificates.steps import RenewLeaves, read_run
from etcdops.playbooks.certificates.trust import Wanted, all_trust_faults
from etcdops.playbooks.plan import Danger, Plan
from etcdops.playbooks.procedures import procedure_of
from etcdops.playbooks.rolling.host_fleet import HostFleet
from etcdops.playbooks.rolling.member_ports import placed
from etcdops.playbooks.rollout.desired import Signer
from tests.fakes.fleet import FakeFleet
from tests.playbooks.certificates.cluster import ToldCluster, told_cluster

CHOICES = CertificateChoices(365)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ToldCluster]:
    async with told_cluster(tmp_path) as made:
        made.roll_out()
        yield made


async def test_a_renewal_replaces_one_file_and_the_key_never_travels(cluster: ToldCluster) -> None:
    """No handshake can find a pair that does not fit."""
    host, leaf = cluster.host("m1"), cluster.leaf("m1", "server")
    before = await read_leaf(host, leaf)
    await renew_leaf(host, leaf, cluster.authorities, new_key=False, days=90)
    after = await read_leaf(host, leaf)
    assert after.key == before.key
    assert after.fingerprint != before.fingerprint
    assert after.parsed is not None
    assert cluster.authorities.problems(leaf, after.certificate, after.key) == []
    assert describe(after.parsed).covers("10.0.0.1")
    assert (describe(after.parsed).not_after - describe(after.parsed).not_before).days == 90
    assert host.ran == [], "files only"


async def test_a_new_key_comes_with_its_certificate_in_one_command(cluster: ToldCluster) -> None:
    """Asked for, or because the old one is gone."""
    host, leaf = cluster.host("m1"), cluster.leaf("m1", "peer")
    before = await read_leaf(host, leaf)
    await renew_leaf(host, leaf, cluster.authorities, new_key=True, days=90)
    after = await read_leaf(host, leaf)
    assert after.key != before.key
    assert cluster.authorities.problems(leaf, after.certificate, after.key) == []
    assert len(host.ran) == 1
    assert not [path for path in host.files if path.endswith(".new")]
    del host.files[leaf.key]
    await renew_leaf(host, leaf, cluster.authorities, new_key=False, days=90)
    again = await read_leaf(host, leaf)
    assert cluster.authorities.problems(leaf, again.certificate, again.key) == []


async def test_the_consoles_own_certificate_is_renewed_with_its_name(cluster: ToldCluster) -> None:
    """Also by a new authority, and where the pair is gone."""
    before = read_operator(cluster.run)
    cluster.authorities.of(Signer.CLIENT).begin_rotation()
    renew_operator(cluster.run, cluster.authorities, new_key=False)
    after = read_operator(cluster.run)
    assert before.parsed is not None
    assert after.parsed is not None
    assert describe(after.parsed).subject == describe(before.parsed).subject
    assert cluster.authorities.of(Signer.CLIENT).signed(after.parsed)
    assert after.key == before.key
    renew_operator(cluster.run, cluster.authorities, new_key=True)
    assert read_operator(cluster.run).key != after.key


@pytest.mark.slow
async def test_trust_is_proved_at_the_ports(cluster: ToldCluster) -> None:
    """Before a member has taken the new authority in, while it trusts both, and when the old one is gone."""
    member = placed(cluster.run, "m1")
    old = {signer: describe(cluster.authorities.of(signer).certificate).fingerprint for signer in Signer}
    for signer in Signer:
        cluster.authorities.of(signer).begin_rotation()

    def wanted(*, old_refused: bool) -> list[Wanted]:
        found = []
        for signer in Signer:
            authority = cluster.authorities.of(signer)
            found.append(Wanted(signer, authority, authority.predecessor(old[signer]) if old_refused else None))
        return found

    def hand_out() -> None:
        for bundle in cluster.member("m1").bundles:
            cluster.host("m1").files[bundle.path].content = cluster.authorities.bundle(bundle).content

    faults = await all_trust_faults(cluster.run, member, wanted(old_refused=False))
    assert [fault.partition(" (")[0] for fault in faults] == [
        "its client port does not take the new authority",
        "its peer port does not take the new authority",
    ]
    hand_out()
    assert await all_trust_faults(cluster.run, member, wanted(old_refused=False)) == []
    assert await all_trust_faults(cluster.run, member, wanted(old_refused=True)) == [
        "its client port takes the old authority still",
        "its peer port takes the old authority still",
    ]
    for signer in Signer:
        cluster.authorities.of(signer).finish_rotation()
    hand_out()
    assert await all_trust_faults(cluster.run, member, wanted(old_refused=True)) == []


async def test_a_renewal_is_planned_member_by_member_and_found_again_by_its_plan(cluster: ToldCluster) -> None:
    """Nobody is restarted; a plan that was saved makes the same steps."""
    plan = await plan_renew(cluster.run, CHOICES)
    assert [step.id for step in plan.steps] == ["renew:m1", "renew:m2", "renew:m3", "renew-operator"]
    assert {step.danger for step in plan.steps} == {Danger.MILD}
    again = Plan.from_json(plan.to_json())
    assert again.digest == plan.digest
    rebuild = procedure_of(again).on_hosts
    assert rebuild is not None
    steps = rebuild(again, cluster.run)
    assert not await steps[0].check()
    await steps[0].act()
    assert await steps[0].check()
    assert [step.id for step in (await plan_renew(cluster.run, CHOICES, ["m2"])).steps] == ["renew:m2"]
    with pytest.raises(UsageError, match="no member m9"):
        await plan_renew(cluster.run, CHOICES, ["m9"])


async def test_nothing_is_renewed_in_the_middle_of_a_rotation_or_without_the_authority(cluster: ToldCluster) -> None:
    """Who has not restarted would not believe it."""
    cluster.authorities.of(Signer.PEER).begin_rotation()
    with pytest.raises(UsageError, match="is being replaced") as caught:
        await plan_renew(cluster.run, CHOICES)
    assert "rotate-ca" in caught.value.hint
    (cluster.run.pki / "peer" / "ca.crt").unlink()
    with pytest.raises(UsageError, match="is not on this machine"):
        await plan_renew(cluster.run, CHOICES)


async def test_a_rollout_leaves_certificates_alone_while_the_authority_is_replaced(cluster: ToldCluster) -> None:
    """What the old one signed is good until the rotation replaces it: a new one, members may not believe yet."""
    leaf = cluster.leaf("m1", "peer")
    found = await read_leaf(cluster.host("m1"), leaf)
    cluster.authorities.of(Signer.PEER).begin_rotation()
    assert cluster.authorities.problems(leaf, found.certificate, found.key) == []
    cluster.authorities.of(Signer.PEER).finish_rotation()
    assert cluster.authorities.problems(leaf, found.certificate, found.key) == ["another authority signed it"]


def rotation(cluster: ToldCluster, view: ClusterView, choices: CertificateChoices = CHOICES) -> Plan:
    old = dict.fromkeys(signers(cluster.run.cluster), "ab" * 32)
    leaves = {name: {"/etc/etcd/pki/server.crt": "cd"} for name in ("m1", "m2", "m3")}
    return plan_rotation(cluster.run.cluster, view, leaves, "ef", old, choices, {})


async def test_a_rotation_hands_out_trust_first_then_leaves_then_takes_the_old_one_off(cluster: ToldCluster) -> None:
    """At every moment everybody trusts what anybody may show; the leader is last in both passes."""
    plan = rotation(cluster, FakeFleet.of(3, leader="m2").view())
    kinds = [step.kind for step in plan.steps]
    names = [step.id for step in plan.steps]
    assert kinds.index("begin-rotation") < kinds.index("write-trust") < kinds.index("restart-for-trust")
    assert names.index("await-trust:m2") < names.index("renew:m1")
    assert names.index("renew:m2") < names.index("unused") < names.index("finish") < names.index("retire:m1")
    assert [name for name in names if name.startswith("restart")] == [
        "restart-trust:m1", "restart-trust:m3", "restart-trust:m2",
        "restart-retire:m1", "restart-retire:m3", "restart-retire:m2",
    ]  # fmt: skip
    assert all(step.danger is Danger.MODERATE for step in plan.steps if step.kind == "restart-for-trust")
    assert any("--until trust" in line for line in plan.losses)
    run = read_run(plan, cluster.run)
    assert set(run.old) == {Signer.CLIENT, Signer.PEER}


async def test_a_rotation_can_stop_where_people_have_something_to_do(cluster: ToldCluster) -> None:
    """Clients elsewhere need the new authority before members show its certificates, and so on."""
    view = FakeFleet.of(3).view()
    trust = rotation(cluster, view, CertificateChoices(365, until=Until.TRUST))
    assert not any(step.kind in ("renew-leaves", "finish-rotation") for step in trust.steps)
    leaves = rotation(cluster, view, CertificateChoices(365, until=Until.LEAVES))
    assert any(step.kind == "renew-leaves" for step in leaves.steps)
    assert not any(step.kind == "finish-rotation" for step in leaves.steps)


async def test_a_rotation_is_not_begun_on_a_cluster_that_cannot_spare_a_member(cluster: ToldCluster) -> None:
    """It restarts everybody twice."""
    fleet = FakeFleet.of(3)
    fleet["m3"].up = False
    with pytest.raises(Unhealthy, match="m3 does not answer"):
        rotation(cluster, fleet.view())
    with pytest.raises(ClusterUnsafe, match="nobody can write"):
        rotation(cluster, FakeFleet.of(1).view())


async def test_certificates_of_somebody_else_are_left_alone(cluster: ToldCluster) -> None:
    """And a cluster without TLS has none."""
    plain = cluster.run.cluster.model_copy(update={"tls": None})
    with pytest.raises(UsageError, match="prod has no TLS"):
        signers(plain)


async def test_a_rotation_that_is_gone_on_with_issues_nothing_twice(
    cluster: ToldCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--until leaves` yesterday, `--until end` today: what the new authority signed stays."""

    async def look(fleet: HostFleet, *, hashes: bool = False) -> ClusterView:
        return FakeFleet.of(3).view()

    monkeypatch.setattr(HostFleet, "look", look)
    old = describe(cluster.authorities.of(Signer.PEER).certificate).fingerprint
    cluster.authorities.of(Signer.PEER).begin_rotation()
    leaf = cluster.leaf("m2", "peer")
    await renew_leaf(cluster.host("m2"), leaf, cluster.authorities, new_key=False, days=90)
    plan = await plan_rotate(cluster.run, CHOICES)
    assert plan.inputs["old"] == {
        "client": describe(cluster.authorities.of(Signer.CLIENT).certificate).fingerprint,
        "peer": old,
    }
    run = read_run(plan, cluster.run)
    steps = {step.id: RenewLeaves(step, run) for step in plan.steps if step.kind == "renew-leaves"}
    before = (await read_leaf(cluster.host("m2"), leaf)).fingerprint
    await steps["renew:m2"].act()
    assert (await read_leaf(cluster.host("m2"), leaf)).fingerprint == before
    await steps["renew:m1"].act()
    assert await steps["renew:m1"].check()
