"""Containers and static pods become an inventory from files as they are found in the field."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.load import read_texts
from etcdops.inventory.model import Cluster, Inventory, Manager, PlacedMember, place
from etcdops.rendering.member import member_config
from etcdops.services.importing.files import read_files
from etcdops.services.importing.made import render_import

FILES = Path(__file__).parent / "files"


async def imported(*names: str, **changed: str) -> tuple[Inventory, Cluster, str]:
    texts = {name: (FILES / name).read_text() for name in names} | changed
    text = render_import(await read_files(texts))
    inventory = read_texts({Path("made"): text}).inventory
    [cluster] = inventory.clusters.values()
    return inventory, cluster, text


def placed(inventory: Inventory, cluster: Cluster) -> list[PlacedMember]:
    return [place(inventory, cluster, member) for member in cluster.members]


async def test_kubeadms_static_pod() -> None:
    """Image, flags, the pki folder; rendered again it has the flags that kubeadm gave it."""
    inventory, cluster, text = await imported("kubeadm-etcd.yaml")
    assert inventory.hosts["cp-1"].address == "192.168.10.21"
    assert (cluster.service.manager, cluster.service.image) == (Manager.KUBELET, "registry.k8s.io/etcd:3.5.16-0")
    assert cluster.engine.version == "3.5.16"
    assert "it is a static pod" in text
    flags = dict(member_config(inventory, cluster, cluster.members[0]).flags)
    for own in ("initial-cluster-token", "initial-cluster-state", "strict-reconfig-check"):
        flags.pop(own, None)
    given = [line.strip()[4:] for line in (FILES / "kubeadm-etcd.yaml").read_text().splitlines() if "    - --" in line]
    assert flags == dict(line.split("=", 1) for line in given)


async def test_a_static_pod_whose_volumes_lie_elsewhere_is_seen_from_its_host() -> None:
    """As other tools than kubeadm write them; what is on no volume of the host goes with the pod."""
    pod = (FILES / "kubeadm-etcd.yaml").read_text()
    pod = pod.replace("      path: /var/lib/etcd\n", "      path: /mnt/disk/etcd\n")
    inventory, cluster, text = await imported(pod=pod)
    assert placed(inventory, cluster)[0].data_dir == "/mnt/disk/etcd"
    assert "data-dir is /var/lib/etcd inside the container" in text
    _, _, text = await imported(pod=pod.replace("    - mountPath: /var/lib/etcd\n      name: etcd-data\n", ""))
    assert "data-dir /var/lib/etcd is on no volume" in text


async def test_static_pods_of_three_control_planes_are_one_cluster() -> None:
    """Each that joined lists those that were there before it, as kubeadm writes it; together they are all."""
    first = (FILES / "kubeadm-etcd.yaml").read_text()
    pods, listed = {"1.yaml": first}, "cp-1=https://192.168.10.21:2380"
    for number in (2, 3):
        listed += f",cp-{number}=https://192.168.10.2{number}:2380"
        own = first.replace("initial-cluster=cp-1=https://192.168.10.21:2380", "initial-cluster=LISTED")
        own = own.replace("192.168.10.21", f"192.168.10.2{number}").replace("cp-1", f"cp-{number}")
        pods[f"{number}.yaml"] = own.replace("LISTED", listed)
    inventory, cluster, text = await imported(**pods)
    assert [one.host.address for one in placed(inventory, cluster)] == [f"192.168.10.2{n}" for n in (1, 2, 3)]
    assert cluster.service.manager is Manager.KUBELET
    assert "clients of this machine have no certificates yet" in text


async def test_a_compose_file_of_three_members() -> None:
    """Variables, an env file, ports and volumes in all their spellings; the web server is no member."""
    inventory, cluster, text = await imported("compose.yml", "etcd3.env")
    assert (cluster.name, cluster.engine.version, len(cluster.members)) == ("lab", "3.5.16", 3)
    first, second, third = placed(inventory, cluster)
    assert {one.host.name for one in (first, second, third)} == {"docker-host"}
    assert (first.data_dir, second.data_dir, third.data_dir) == ("/srv/etcd/1", "/srv/etcd/2", "/bitnami/etcd/data")
    assert first.listen_client_urls == ("http://0.0.0.0:12379",)
    assert second.listen_peer_urls == ("http://10.0.0.5:22380",)
    assert third.listen_client_urls == ("http://0.0.0.0:32379",)
    assert third.initial_advertise_peer_urls == ("http://etcd3:2380",)
    assert "etcd3-data, which is a named volume" in text
    assert "docker-host is a guess" in text
    assert "service is docker etcd2" in text
    assert "hunter2" not in text


async def test_what_a_compose_file_takes_from_elsewhere_is_named() -> None:
    """A variable that is set where compose is started, and an env file that was not given."""
    text = (
        "services:\n  e:\n    image: etcd:latest\n    env_file: [{path: missing.env}]\n"
        "    command: etcd --name=e --data-dir=$DATA --initial-advertise-peer-urls=http://10.0.0.1:2380\n"
    )
    inventory, cluster, made = await imported(**{"docker-compose.yml": text})
    assert "$DATA is set where compose is started" in made
    assert "e reads missing.env, which was not given" in made
    assert "is not published" not in made
    assert inventory.hosts["e"].address == "10.0.0.1"
    assert cluster.engine.version == "3.5"
    assert "engine.version is a guess" in made


async def test_what_docker_inspect_prints() -> None:
    """Published ports and volumes as the host sees them; its address is the one its peer URL has."""
    inventory, cluster, text = await imported("inspect.json")
    [member] = placed(inventory, cluster)
    assert (cluster.service.manager, cluster.service.name) == (Manager.DOCKER, "etcd-node1")
    assert cluster.engine.version == "3.4.34"
    assert (member.host.address, member.data_dir) == ("10.0.0.11", "/data/etcd")
    assert member.listen_client_urls == ("http://10.0.0.11:2379",)
    assert member.settings == {"log-level": "warn"}
    assert "data-dir is /etcd-data inside the container" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {web: {image: nginx}}\n", "no service of f starts etcd"),
        ("hosts: {}\nclusters: {}\n", "f is an inventory already"),
        ('[{"Config": 5}]', "is not what docker inspect prints"),
        ("kind: Pod\nspec: {containers: [{command: [nginx]}]}\n", "no setting of etcd is in it"),
    ],
)
async def test_a_file_without_etcd_is_refused(text: str, message: str) -> None:
    """Naming it."""
    with pytest.raises(UsageError, match=message):
        await imported(f=text)
