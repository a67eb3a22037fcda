"""Members are found on a real host, whoever keeps them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from etcdops.inventory.model import Manager
from etcdops.remote.session import Session
from etcdops.rendering import places
from etcdops.services.discover import KUBELET, Found, discover, manifest_start
from etcdops.services.etcd_settings import settle
from etcdops.services.port import Origin, State
from tests.contracts.service_port import TIMEOUT_S
from tests.hosts.host import Host
from tests.services.conftest import ETCD

MANIFEST = """\
apiVersion: v1
kind: Pod
metadata: {name: etcd, namespace: kube-system}
spec:
  containers:
  - command:
    - etcd
    - --name=kube-1
    - --data-dir=/var/lib/etcd
    env:
    - {name: ETCD_MAX_WALS, value: "7"}
    image: registry.k8s.io/etcd:3.5.16-0
    name: etcd
"""
UNIT = f"""\
[Service]
EnvironmentFile=-/etc/default/found
ExecStart={ETCD} $ARGS
"""
FILES = {
    "/etc/systemd/system/found.service": UNIT,
    "/etc/default/found": 'ETCD_NAME="by-systemd"\nARGS="--data-dir /var/lib/found --max-wals 3"\n',
    "/etc/systemd/system/other.service": "[Service]\nExecStart=/bin/cat /etc/etcd.conf\n",
    "/etc/systemd/system/shell.service": (
        f'[Service]\nExecStart=/bin/bash -c "GOMAXPROCS=$(nproc) {ETCD} --name=\\"${{NAME}}\\""\n'
        "Environment=NAME=by-shell\n"
    ),
    places.run_script("plain"): f"#!/bin/sh\nexec {ETCD} --name=by-script\n",
    places.supervisord_program("program"): f"[program:program]\ncommand={ETCD} --name=by-program\n",
    "/etc/sv/kept/run": f"#!/bin/sh\nexec chpst -u nobody {ETCD} --name=by-supervise\n",
    "/etc/kubernetes/manifests/etcd.yaml": MANIFEST,
    "/etc/kubernetes/manifests/kube-apiserver.yaml": "spec: {containers: [{command: [kube-apiserver]}]}\n",
}


@pytest.fixture
def filled(host: Host) -> Iterator[Host]:
    """A host on which members are kept in every way, and one that nobody keeps runs."""
    host.run(["mkdir", "-p", "/etc/service"])
    for path, text in FILES.items():
        host.path(path).parent.mkdir(parents=True, exist_ok=True)
        host.path(path).write_text(text)
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "start", "found"])
    bare = (
        "--name=bare --data-dir=/var/lib/bare --listen-client-urls=http://127.0.0.1:4001 --advertise-client-urls="
        "http://127.0.0.1:4001 --listen-peer-urls=http://127.0.0.1:4002 --initial-advertise-peer-urls="
        "http://127.0.0.1:4002 --initial-cluster=bare=http://127.0.0.1:4002"
    )
    host.run(["sh", "-c", f"setsid {ETCD} {bare} >/dev/null 2>&1 </dev/null &"])
    yield host
    host.run(["sh", "-c", "systemctl stop found; pkill -x etcd"], check=False)
    for path in FILES:
        host.path(path).unlink()
    host.run(["sh", "-c", "rm -rf /var/lib/found /var/lib/bare /etc/sv /etc/service; systemctl daemon-reload"])


async def test_members_of_every_keeper_are_found(filled: Host, session: Session) -> None:
    """Running or not; nothing else is."""
    deadline = time.monotonic() + TIMEOUT_S
    found = await discover(session)
    while not any(one.keeper == "" for one in found):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.2)
        found = await discover(session)
    assert [(one.keeper, one.name if one.keeper else "", _name(one)) for one in found] == [
        (Manager.SYSTEMD, "found.service", "by-systemd"),
        (Manager.SYSTEMD, "shell.service", "by-shell"),
        (Manager.SUPERVISE, "kept", "by-supervise"),
        (Manager.SUPERVISORD, "program", "by-program"),
        (Manager.PROCESS, "plain", "by-script"),
        (KUBELET, "/etc/kubernetes/manifests/etcd.yaml", "kube-1"),
        ("", "", "bare"),
    ]
    by_unit = found[0]
    assert (by_unit.state, by_unit.pid is not None) == (State.RUNNING, True)
    assert by_unit.config is not None
    assert by_unit.config.flags["name"].where == "/etc/default/found:1"
    assert by_unit.config.flags["max-wals"].origin is Origin.FLAG
    assert by_unit.config.flags["max-wals"].where == "/etc/default/found:2"
    assert found[2].config is not None
    assert found[2].config.user == "nobody"


async def test_a_bare_host_has_none(hosts_without_etcd: Session) -> None:
    """No manager, no error."""
    assert await discover(hosts_without_etcd) == []


def test_a_static_pod_of_kubeadm_is_read() -> None:
    """Flags and variables, each with its line."""
    start = manifest_start(MANIFEST.encode(), "etcd.yaml")
    assert start is not None
    config = settle(start, None)
    assert {name: (setting.value, setting.where) for name, setting in config.flags.items()} == {
        "name": ("kube-1", "etcd.yaml:8"),
        "data-dir": ("/var/lib/etcd", "etcd.yaml:9"),
        "max-wals": ("7", "etcd.yaml:11"),
    }
    assert manifest_start(b"spec: {containers: [{command: [kube-apiserver]}]}", "x") is None
    assert manifest_start(b"{", "x") is None


def _name(found: Found) -> str | None:
    return found.config.value("name") if found.config is not None else None
