"""From surveys to steps: a new cluster, drift, nothing to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from etcdops.playbooks.on_hosts import InventorySource
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.rollout.desired import Signer
from etcdops.playbooks.rollout.planning import Wanted, make_plan
from etcdops.playbooks.rollout.survey import Survey
from tests.playbooks.rollout.told import inventory, members

NOTHING = Survey()
TLS: Mapping[str, object] = {"tls": {}}


def plan(
    surveys: Mapping[str, Survey] | None = None,
    *,
    cluster: Mapping[str, object] = TLS,
    missing: tuple[Signer, ...] = (),
    is_new: bool = False,
) -> Plan | None:
    _, made = inventory(cluster)
    wanted = members(cluster)
    found = {member.name: NOTHING for member in wanted} | dict(surveys or {})
    return make_plan(Wanted(made, InventorySource((Path("/i.yaml"),), "0"), wanted, found, missing, is_new))


def kinds(made: Plan | None) -> list[str]:
    """The steps without their hosts, neighbours of one kind as one."""
    assert made is not None
    return list(dict.fromkeys(step.id.partition(":")[0] for step in made.steps))


def test_a_new_cluster_is_made_in_the_order_that_needs_no_way_back() -> None:
    """Nothing is started before every host has everything; the configuration says `existing` only at the end."""
    made = plan(cluster={**TLS, "firewall": {}}, missing=(Signer.CLIENT, Signer.PEER), is_new=True)
    assert kinds(made) == [
        "look", "authorities", "engine", "account", "certificates", "firewall", "service", "start", "healthy", "verify",
        "settle",
    ]  # fmt: skip
    assert made is not None
    by_id = {step.id: step for step in made.steps}
    assert by_id["service:h1"].inputs["state"] == "new"
    assert by_id["settle:h1"].inputs["state"] == "existing"
    assert {step.together for step in made.steps if step.id.startswith("start:")} == {"start"}
    assert by_id["engine:h2"].host == "h2"
    assert Plan.from_json(made.to_json()).digest == made.digest


def test_without_tls_there_are_no_certificates_and_the_plan_says_what_that_means() -> None:
    """And containers bring their engine along."""
    image = {"service": {"manager": "podman", "image": "etcd:3.5"}}
    made = plan(cluster=image, is_new=True)
    assert not {"authorities", "certificates", "engine", "firewall"} & set(kinds(made))
    assert made is not None
    assert any("no TLS: everybody on the network can read and write it" in line for line in made.summary)


def test_when_every_host_is_as_it_should_be_there_is_no_plan() -> None:
    """Not an empty one: nothing is confirmed, nothing is run."""
    assert plan() is None


def test_what_differs_is_put_right_on_its_host_and_nowhere_else() -> None:
    """A changed file, a certificate about to expire, a stopped member: and the whole cluster is proved after."""
    made = plan(
        {
            "h1": Survey(files={"/etc/default/etcd": "--- /etc/default/etcd\n-A\n+B\n"}),
            "h2": Survey(certificates={"/etc/etcd/pki/server.crt": "it expires in 3 days"}),
            "h3": Survey(stopped="failed"),
        }
    )
    assert made is not None
    assert [step.id for step in made.steps] == [
        "certificates:h2", "service:h1", "start:h3", "healthy", "verify:members", "verify:hash",
    ]  # fmt: skip
    assert "on h2: renew /etc/etcd/pki/server.crt: it expires in 3 days" in made.summary
    assert made.inputs["changes"] == {"h1": {"/etc/default/etcd": "--- /etc/default/etcd\n-A\n+B\n"}}


def test_a_member_that_only_has_to_be_restarted_is_no_business_of_this_plan() -> None:
    """That is a rolling change."""
    assert plan({"h1": Survey(restart=("it runs with snapshot-count=7",))}) is None
