"""Units that run a container engine: the member in the container is found, whether it runs or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from etcdops.inventory.model import Manager
from etcdops.remote.session import Session
from etcdops.services.container_command import ContainerCommand, parse_command
from etcdops.services.discover import KUBELET, Found, merged
from etcdops.services.engine_options import OF_RUN
from etcdops.services.etcd_settings import Placed
from etcdops.services.importing.evidence import HostFound
from etcdops.services.importing.hosts import HostEvidence, on_host
from etcdops.services.importing.made import render_import
from etcdops.services.port import Origin, ProcessConfig, Setting, State
from etcdops.services.unit_container import UnitContainer
from tests.hosts.host import Host
from tests.hosts.packages import load_etcd_image
from tests.support.real_etcd import find_etcd

UNIT = "/etc/systemd/system/boxed.service"
ENVIRONMENT = "/etc/default/boxed"
# As `podman generate systemd --new` writes it, but for the volume, which is a named one.
TEXT = """\
[Unit]
After=network-online.target
[Service]
EnvironmentFile=/etc/default/boxed
Restart=on-failure
ExecStartPre=/bin/rm -f %t/%n.ctr-id
ExecStart=/usr/bin/podman run \\
    --cidfile=%t/%n.ctr-id --cgroups=no-conmon --rm --sdnotify=conmon --replace -d \\
    --name {name} --net host -v boxed-data:/data -e ETCD_HEARTBEAT_INTERVAL \\
    {image} --name=boxed --data-dir=/data/etcd --listen-client-urls=${{CLIENT}} --advertise-client-urls=${{CLIENT}} \\
    --listen-peer-urls=${{PEER}} --initial-advertise-peer-urls=${{PEER}} --initial-cluster=boxed=${{PEER}}
ExecStop=/usr/bin/podman stop --ignore -t 10 --cidfile=%t/%n.ctr-id
ExecStopPost=/usr/bin/podman rm -f --ignore -t 10 --cidfile=%t/%n.ctr-id
Type=notify
NotifyAccess=all
"""


def config(name: str, path: str = "/data") -> ProcessConfig:
    flags = {"name": Setting(name, Origin.FLAG), "data-dir": Setting(path, Origin.FLAG)}
    return ProcessConfig("etcd:1 etcd", flags)


def command(line: str) -> ContainerCommand:
    found = parse_command([Placed(word, "u:1") for word in line.split()])
    assert found is not None
    return found


def of_unit(name: str, made: ProcessConfig | None, line: str = "podman run etcd:1") -> Found:
    unit = UnitContainer("u.service", State.STOPPED, Manager.PODMAN, name, command(line) if made else None, made)
    return Found(Manager.PODMAN, unit.service, State.STOPPED, None, made, unit)


def test_a_running_container_is_told_by_its_engine_and_a_stopped_one_by_its_unit() -> None:
    """It is one member; what the unit makes at the next start counts, not what is left of the last one."""
    unit = of_unit("e", config("new"))
    running = Found(Manager.PODMAN, "e", State.RUNNING, 7, config("old"))
    [found] = merged([running, unit])
    assert (found.pid, found.config, found.of_unit) == (7, config("old"), unit.of_unit)
    [found] = merged([unit, Found(Manager.PODMAN, "e", State.FAILED, None, config("old"))])
    assert (found.config, found.state) == (config("new"), State.STOPPED)
    assert merged([unit]) == [unit]
    other = Found(Manager.DOCKER, "e", State.RUNNING, 8, config("old"))
    assert merged([unit, other]) == [other, unit]


def test_a_container_without_a_name_of_its_own_is_known_by_its_member() -> None:
    """The engine makes up another name at each start."""
    unit = of_unit("", config("m1"))
    running = Found(Manager.PODMAN, "merry_wiles", State.RUNNING, 7, config("m1"))
    [found] = merged([running, unit])
    assert (found.name, found.pid, found.of_unit) == ("merry_wiles", 7, unit.of_unit)


def test_a_unit_that_starts_what_was_made_before_knows_nothing_by_itself() -> None:
    """Without the container there is no member."""
    unit = of_unit("e", None)
    there = Found(Manager.PODMAN, "e", State.STOPPED, None, config("m1"))
    [found] = merged([there, unit])
    assert (found.config, found.of_unit) == (there.config, unit.of_unit)
    assert merged([unit]) == []


def test_a_command_that_cannot_be_told_matters_where_no_container_is_seen() -> None:
    """Else what it made tells."""
    made = UnitContainer("u.service", State.RUNNING, Manager.PODMAN, "", problem="no option --x")
    unit = Found(Manager.SYSTEMD, "u.service", State.RUNNING, None, None, made, made.problem)
    there = Found(Manager.PODMAN, "e", State.RUNNING, 7, config("m1"))
    assert merged([unit]) == [unit]
    assert merged([unit, there]) == [there]


def test_dockers_container_of_a_static_pod_is_the_pod() -> None:
    """The kubelet keeps it, through docker."""
    pod = Found(KUBELET, "/etc/kubernetes/manifests/etcd.yaml", State.STOPPED, None, config("cp-1"))
    docker = Found(Manager.DOCKER, "k8s_etcd_etcd-cp-1_kube-system_0", State.RUNNING, 7, config("cp-1"))
    other = Found(Manager.DOCKER, "etcd", State.RUNNING, 8, config("m1"))
    [first, found] = merged([docker, other, pod])
    assert (first, found.keeper, found.name, found.pid) == (other, KUBELET, pod.name, 7)


@pytest.fixture
def boxed(host: Host) -> Iterator[Host]:
    """A host with such a unit."""
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    image = f"localhost/etcd:{etcd.version}"
    if host.run(["podman", "image", "exists", image], check=False).status:
        load_etcd_image(host, etcd)
    host.path(UNIT).write_text(TEXT.format(image=image, name="boxed"))
    urls = (f"{name}=http://{host.address}:{port}\n" for name, port in (("CLIENT", 2379), ("PEER", 2380)))
    host.path(ENVIRONMENT).write_text("".join(urls) + "ETCD_HEARTBEAT_INTERVAL=200\n")
    host.run(["systemctl", "daemon-reload"])
    yield host
    host.run(["systemctl", "stop", "boxed"], check=False, timeout_s=60)
    host.run(["podman", "volume", "rm", "--force", "boxed-data"], check=False)
    for path in (UNIT, ENVIRONMENT):
        host.path(path).unlink()
    host.run(["systemctl", "daemon-reload"])


async def found_on(host: Host, session: Session) -> tuple[HostEvidence, object]:
    found = await on_host(session, HostFound("h1", host.address))
    return found, yaml.safe_load(render_import(found.members))


@pytest.mark.slow
@pytest.mark.real
async def test_a_unit_with_podman_is_imported_alike_running_and_stopped(boxed: Host, session: Session) -> None:
    """Running as its engine tells, stopped and gone as the unit does: the same inventory, down to the host's folder."""
    boxed.run(["systemctl", "start", "boxed"], timeout_s=90)
    running, made = await found_on(boxed, session)
    [member] = running.members
    assert (member.manager, member.service) == (Manager.PODMAN, "boxed")
    assert member.cluster_id
    assert any("systemd's boxed.service runs the container" in note for note in member.notes)
    folder = boxed.run(["podman", "volume", "inspect", "--format={{.Mountpoint}}", "boxed-data"]).stdout.strip()
    assert member.config.value("data-dir") == f"{folder}/etcd"
    assert member.config.value("heartbeat-interval") == "200"
    boxed.run(["systemctl", "stop", "boxed"], timeout_s=60)
    assert boxed.run(["podman", "ps", "--all", "--quiet"]).stdout.strip() == ""
    stopped, again = await found_on(boxed, session)
    assert any("it does not run now (stopped)" in note for note in stopped.members[0].notes)
    assert again == made
    said = boxed.run(["podman", "run", "--help"]).stdout.splitlines()
    names = {
        word.removeprefix("--")
        for line in said
        for word in line.split()[:2]
        if line.startswith("  ") and word[:2] == "--"
    }
    assert names - OF_RUN.switches <= OF_RUN.valued
    assert len(names) > 100
