"""Commands that make containers become an inventory, as they stand in guides, scripts, notes and units."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.load import read_texts
from etcdops.inventory.model import Cluster, Inventory, Manager, PlacedMember, place
from etcdops.services.importing.files import read_files
from etcdops.services.importing.made import render_import

GUIDE = """\
# what etcd's own guide does, on the first of three machines
REGISTRY=quay.io/coreos/etcd
export ETCD_VERSION="v3.5.9"
NAME_1=etcd-node-0; NAME_2=etcd-node-1
HOST_1=10.20.30.1
HOST_2=10.20.30.2
CLUSTER=${NAME_1}=http://${HOST_1}:2380,${NAME_2}=http://${HOST_2}:2380
DATA_DIR=/var/lib/etcd
docker volume create --name unused
docker run --rm busybox chown 1000 /var/lib/etcd
rm -rf /tmp/x && mkdir -p ${DATA_DIR} && \\
  docker run \\
  -p 2379:2379 \\
  -p 2380:2380 \\
  --volume=${DATA_DIR}:/etcd-data \\
  --name etcd ${REGISTRY}:${ETCD_VERSION} \\
  /usr/local/bin/etcd \\
  --data-dir=/etcd-data --name ${NAME_1} \\
  --initial-advertise-peer-urls http://${HOST_1}:2380 --listen-peer-urls http://0.0.0.0:2380 \\
  --advertise-client-urls http://${HOST_1}:2379 --listen-client-urls http://0.0.0.0:2379 \\
  --initial-cluster ${CLUSTER} \\
  --initial-cluster-state new --initial-cluster-token my-token > /tmp/log 2>&1 &

docker exec etcd etcdctl member list
"""
OPENSHIFT = """\
[Unit]
After=docker.service
[Service]
EnvironmentFile=/etc/etcd/etcd.conf
ExecStartPre=-/usr/bin/docker rm -f etcd_container
ExecStart=/usr/bin/docker run --name etcd_container --rm -v /var/lib/etcd:/var/lib/etcd:z -v /etc/etcd:/etc/etcd:z \\
    --env-file=/etc/etcd/etcd.conf --net=host --entrypoint=/usr/bin/etcd rhel7/etcd:3.4.14
ExecStop=/usr/bin/docker stop etcd_container
"""
ETCD_CONF = """\
ETCD_NAME=master-0
ETCD_DATA_DIR=/var/lib/etcd/
ETCD_LISTEN_PEER_URLS=https://10.1.0.4:2380
ETCD_LISTEN_CLIENT_URLS=https://10.1.0.4:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://10.1.0.4:2380
ETCD_ADVERTISE_CLIENT_URLS=https://10.1.0.4:2379
ETCD_CERT_FILE=/etc/etcd/server.crt
ETCD_KEY_FILE=/etc/etcd/server.key
ETCD_PEER_CERT_FILE=/etc/etcd/peer.crt
ETCD_PEER_KEY_FILE=/etc/etcd/peer.key
ETCD_ROOT_PASSWORD=hunter2
"""


async def imported(**texts: str) -> tuple[Inventory, str]:
    """Files by name (`__` for a dot), and the inventory that they become."""
    text = render_import(await read_files({name.replace("__", "."): text for name, text in texts.items()}))
    return read_texts({Path("made"): text}).inventory, text


def only(inventory: Inventory) -> tuple[Cluster, PlacedMember]:
    [cluster] = inventory.clusters.values()
    return cluster, place(inventory, cluster, cluster.members[0])


async def test_the_guides_script() -> None:
    """Its variables, its lines, what else it does; the second member is known by the cluster it is in."""
    inventory, text = await imported(guide__sh=GUIDE)
    cluster, member = only(inventory)
    assert (cluster.name, cluster.engine.version) == ("my-token", "3.5.9")
    assert (cluster.service.manager, cluster.service.name) == (Manager.DOCKER, "etcd")
    assert cluster.service.image == "quay.io/coreos/etcd:v3.5.9"
    assert [one.name for one in cluster.members] == ["etcd-node-0", "etcd-node-1"]
    assert (member.host.address, member.data_dir) == ("10.20.30.1", "/var/lib/etcd")
    assert member.listen_client_urls == ("http://0.0.0.0:2379",)
    assert "# - guide.sh:16: read as what docker makes of quay.io/coreos/etcd:v3.5.9\n" in text
    assert "data-dir is /etcd-data inside the container" in text
    assert "without effect" not in text


async def test_a_unit_with_its_environment_file() -> None:
    """Both systemd and docker read it; certificates lie where the volume says; the unit is named."""
    inventory, text = await imported(etcd_container__service=OPENSHIFT, etcd__conf=ETCD_CONF)
    cluster, member = only(inventory)
    assert (cluster.service.manager, cluster.service.name) == (Manager.DOCKER, "etcd_container")
    assert (cluster.engine.version, member.name, member.data_dir) == ("3.4.14", "master-0", "/var/lib/etcd")
    assert cluster.tls is not None
    assert cluster.tls.files is not None
    assert cluster.tls.files.flags["cert-file"] == "/etc/etcd/server.crt"
    assert "systemd's etcd_container.service runs the container" in text
    assert "hunter2" not in text
    assert "was passed over" not in text


async def test_a_script_that_a_unit_runs_has_what_the_unit_sets() -> None:
    """It is one member with it, by whatever path the unit calls it."""
    unit = "[Service]\nEnvironmentFile=/etc/etcd.env\nExecStart=/opt/etcd/wrapper.sh\n"
    script = (
        "#!/bin/bash\nset -e\nexec docker run --rm --name kv --net=host --env-file /etc/etcd.env -v /srv/e:/data"
        ' ${IMAGE}:${TAG:-v3.5.1} etcd --data-dir=/data "$@"\n'
    )
    env = "IMAGE=quay.io/coreos/etcd\nETCD_NAME=m1\nETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.4:2380\n"
    inventory, text = await imported(db__service=unit, wrapper__sh=script, etcd__env=env)
    cluster, member = only(inventory)
    assert (cluster.service.name, cluster.engine.version) == ("kv", "3.5.1")
    assert (member.name, member.data_dir, member.host.address) == ("m1", "/srv/e", "10.0.0.4")
    assert "systemd's db.service runs the container" in text
    with pytest.raises(UsageError, match="the command uses IMAGE"):
        await imported(wrapper__sh=script, etcd__env=env)


@pytest.mark.parametrize(
    ("line", "place", "manager", "notes"),
    [
        ("docker run -d -v /srv:/etcd-data quay.io/coreos/etcd:v3.5.1 etcd --data-dir=/etcd-data",
         "/srv http://localhost:2379", "docker etcd", ["the container is given no name"]),
        ("podman run -dit --name db --net host --mount type=bind,source=/d,target=/x localhost/etcd --data-dir /x/y",
         "/d/y http://localhost:2379", "podman db", []),
        ("sudo nerdctl -n apps run --name db -v kept:/x etcd --data-dir=/x -listen-client-urls http://0.0.0.0:2379",
         "/x http://0.0.0.0:2379", "docker db",
         ["/x is kept, which is a named volume", "nerdctl keeps the container", "2379 is not published"]),
        ("docker run --name e -p 127.0.0.1:12379-12380:2379-2380 -e ETCD_DATA_DIR=/x -v ./d:/x"
         " -eETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:2379 etcd",
         "/x http://127.0.0.1:12379", "docker e", ["/x is ./d, which is relative to where the command is run"]),
        ("export ETCD_DATA_DIR=/x; docker run --name e -e ETCD_DATA_DIR -e ETCD_ELECTION_TIMEOUT etcd",
         "/x http://localhost:2379", "docker e",
         ["ETCD_ELECTION_TIMEOUT is taken from where the container is started", "data-dir /x is on no volume",
          "that etcd starts etcd is a guess by its name"]),
        ("docker create --name e --entrypoint '[\"/usr/bin/etcd\"]' -w /x -v /srv/x:/x registry:5000/kv:3.4.1",
         "/srv/x/default.etcd http://localhost:2379", "docker e", ["data-dir is /x/default.etcd inside"]),
        ("docker run --name e -v /srv:/x etcd:3.5.1 sh -c 'exec etcd --data-dir=/x --name \"$HOSTNAME\"'",
         "/srv http://localhost:2379", "docker e", []),
        ("docker run --name e -e ALLOW_NONE_AUTHENTICATION=yes -v /srv:/bitnami/etcd bitnami/etcd:3.5.1",
         "/srv/data http://localhost:2379", "docker e", []),
        ("docker run --name e --network container:pause --volumes-from other etcd --data-dir=/x",
         "/x http://localhost:2379", "docker e",
         ["it shares the network of container:pause", "volumes of other are not known"]),
        ("docker -H ssh://far run --name e --publish-all --env-file /no/such.env etcd --data-dir=/x",
         "/x http://localhost:2379", "docker e",
         ["called with --host=ssh://far", "--publish-all: the engine chooses", "/no/such.env was not read"]),
        ("$ docker run --name e --restart=always --user 1001:0 --read-only etcd --data-dir=/x",
         "/x http://localhost:2379", "docker e", ["is on no volume"]),
        ("if ! docker inspect e; then docker run --name e etcd /usr/local/bin/etcd --data-dir=/x \"$@\"; fi",
         "/x http://localhost:2379", "docker e", ["what the script itself is called with is not known"]),
    ],
)  # fmt: skip
async def test_a_line_of_the_field(line: str, place: str, manager: str, notes: list[str]) -> None:
    """Where its data lies on the host, where clients reach it, who keeps it, and what is a guess."""
    inventory, made = await imported(run__sh=f"#!/bin/sh\n{line}\n")
    cluster, member = only(inventory)
    assert f"{member.data_dir} {member.listen_client_urls[0]}" == place, made
    assert f"{cluster.service.manager} {cluster.service.name}" == manager
    for note in notes:
        assert made.count(note) == 1


async def test_several_containers_of_one_script_are_several_members() -> None:
    """Each with what was set when it was made."""
    command = (
        "docker run --name etcd-$N --net=host etcd:3.5.1 --name $N --data-dir /d/$N --initial-cluster $CLUSTER"
        " --listen-client-urls http://127.0.0.1:${P}379 --listen-peer-urls http://127.0.0.1:${P}380"
        " --initial-advertise-peer-urls http://127.0.0.1:${P}380\n"
    )
    cluster_of = "CLUSTER=a=http://127.0.0.1:1380,b=http://127.0.0.1:2380\n"
    inventory, made = await imported(up__sh=f"{cluster_of}N=a P=1\n{command}N=b P=2\n{command}")
    [cluster] = inventory.clusters.values()
    assert [(one.name, one.data_dir) for one in cluster.members] == [("a", "/d/a"), ("b", "/d/b")], made
    assert "service is docker etcd-b etcd:3.5.1 in up.sh:5" in made


async def test_a_config_file_inside_the_container_is_asked_for_and_read() -> None:
    """By its name."""
    line = "docker run --name e -v /etc/e:/e -v /srv:/data etcd --config-file /e/etcd.yml\n"
    with pytest.raises(UsageError, match=r"etcd would read /e/etcd\.yml, which was not given"):
        await imported(run__sh=line)
    config = "name: m1\ndata-dir: /data\ninitial-advertise-peer-urls: http://10.0.0.7:2380\n"
    inventory, _ = await imported(run__sh=line, etcd__yml=config)
    _, member = only(inventory)
    assert (member.name, member.data_dir, member.host.address) == ("m1", "/srv", "10.0.0.7")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("docker run --name e etcd --name $NODE\n", r"f:1: the command uses NODE: nothing that was given says"),
        ("IP=$(hostname -i)\ndocker run etcd --name ${IP}\n", r"f:2: the command uses \$\(hostname -i\)"),
        ("docker run -v `pwd`/d:/d etcd --data-dir /d\n", r"the command uses `pwd`"),
        ("docker run etcd --name ${1%.*}\n", r"the command uses \$\{1%\.\*\}"),
        ("docker run -d $IMAGE\n", "the command uses IMAGE"),
        ("for i in 1 2; do docker run etcd --name m$i; done\n", "the command uses i"),
        ("docker run --colour red etcd\n", "docker run has no option --colour"),
        ("docker run --rm busybox etcdctl get x\n", "no command of f starts etcd in a container"),
        ("docker run etcd etcdctl get x\n", "no command of f starts etcd in a container"),
        ("docker run some/etcd-backup:3.5\n", "no command of f starts etcd in a container"),
        ("[Service]\nExecStart=/usr/bin/podman start etcd\n", r"etcd\.service: the container etcd was made before"),
        ("[Service]\nExecStart=/opt/run.sh\n", r"f runs /opt/run\.sh, which was not given"),
        ("[Service]\nExecStart=/usr/bin/docker run nginx\n", "f: the container that it starts is not seen to be etcd"),
        ("[Service]\nExecStart=/usr/bin/docker run etcd --name ${NODE}\n", "the command uses NODE"),
    ],
)
async def test_what_cannot_be_told_is_refused(text: str, message: str) -> None:
    """Naming what is missing, and where; instead of an inventory with holes in it."""
    with pytest.raises(UsageError, match=message) as caught:
        await imported(f=text)
    assert caught.value.hint
