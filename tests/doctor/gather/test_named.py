"""Which logs and hosts are meant by what somebody typed."""

from __future__ import annotations

import pytest

from etcdops.doctor.gather.logs import Logged
from etcdops.doctor.gather.named import HERE, Named, logs_meant, only_hosts, whole_cluster
from etcdops.errors import UsageError
from etcdops.inventory.model import Cluster, Host, Inventory, Manager, ServiceSpec
from etcdops.remote.session import Session
from tests.fakes.session import FakeSession, said

PROD = Cluster.model_validate({"name": "prod", "members": [{"host": "h1", "name": "m1"}, {"host": "h2", "name": "m2"}]})
INVENTORY = Inventory(hosts={name: Host(name=name) for name in ("h1", "h2", "h3")}, clusters={"prod": PROD})


async def nobody(host: str) -> Session:
    raise AssertionError(f"{host} need not be asked")


async def test_a_cluster_means_the_logs_of_its_members_or_of_some_of_them() -> None:
    """With the manager that the inventory names; another unit or container in its place, when it is typed."""
    whole = whole_cluster(INVENTORY, PROD, (), "", "")
    assert [one.member for one in await logs_meant(nobody, whole)] == ["m1", "m2"]
    some = whole_cluster(INVENTORY, PROD, ("h2",), "", "")
    assert [one.member for one in await logs_meant(nobody, some)] == ["m2"]
    (unit,) = await logs_meant(nobody, whole_cluster(INVENTORY, PROD, ("h1",), "etcd@7", ""))
    assert (unit.member, unit.service.manager, unit.service.name) == ("m1", Manager.SYSTEMD, "etcd@7")
    with pytest.raises(UsageError, match="no member on h3"):
        whole_cluster(INVENTORY, PROD, ("h3",), "", "")


@pytest.mark.parametrize(
    ("hosts", "cluster"),
    [(("h1",), "prod"), (("h1", "h2"), "prod"), (("h1", "h3"), None), (("root@10.0.0.9:2222",), None)],
)
def test_hosts_of_one_cluster_mean_that_cluster(hosts: tuple[str, ...], cluster: str | None) -> None:
    """So that its members are asked too; hosts nobody wrote down are reached as ssh would."""
    named = only_hosts(INVENTORY, hosts, "", "")
    assert (named.cluster.name if named.cluster is not None else None) == cluster


def test_a_host_that_nobody_wrote_down_is_reached_as_ssh_would() -> None:
    """User and port as typed; the rest is said by ~/.ssh/config. Without any host it is this machine."""
    typed = only_hosts(None, ("root@10.0.0.9:2222",), "", "").inventory.hosts["10.0.0.9"]
    assert (typed.ssh.user, typed.ssh.port, typed.local) == ("root", 2222, False)
    here = only_hosts(None, (), "etcd", "")
    assert here.hosts == (HERE,)
    assert here.inventory.hosts[HERE].local


async def test_a_container_is_found_in_the_engine_that_has_it() -> None:
    """docker is asked first; who has none of the name says so."""
    session = FakeSession("h3")
    session.answer("docker", result=said(status=1, stderr="No such container"))
    session.answer("podman", result=said("[]"))

    async def connect(_: str) -> Session:
        return session

    named = Named(INVENTORY, None, ("h3",), container="etcd-1")
    assert await logs_meant(connect, named) == (
        Logged("h3", "h3", ServiceSpec.model_construct(manager=Manager.PODMAN, name="etcd-1", image="")),
    )
    session.answer("podman", result=said(status=125))
    with pytest.raises(UsageError, match="h3 has no container etcd-1"):
        await logs_meant(connect, named)
