"""A kubeadm host as one piece: a real etcd as a static pod keeps it, imported and looked at by the command line."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Manager, place
from tests.cli.conftest import RunCli
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.support.certificates import DAY, Authority
from tests.support.real_etcd import EtcdBinaries, find_etcd

pytestmark = [pytest.mark.exhaustive, pytest.mark.real, pytest.mark.timeout(600)]

PKI = "/etc/kubernetes/pki/etcd"
MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
ROOT = "/var/lib/containerd/rootfs"
WITHIN_S = 120.0
YEAR = 365 * DAY
# The file system of the container with the two volumes of the manifest in it; output is written as a runtime of the
# kubelet does. The first word is the log; the rest is the command of the manifest.
RUN = f"""
set -eu
log=$1; shift
cd {ROOT}
ldd usr/local/bin/* | grep -o '/[^ ]*' | grep -v ':$' | sort -u | xargs -I LIBRARY cp -L --parents LIBRARY .
mkdir -p tmp var/lib/etcd .{PKI} /var/lib/etcd "$(dirname "$log")"
mount --bind /var/lib/etcd {ROOT}/var/lib/etcd
mount --bind {PKI} {ROOT}{PKI}
PATH=/usr/local/bin:$PATH chroot {ROOT} "$@" 2>&1 </dev/null |
    awk '{{ print strftime("%Y-%m-%dT%H:%M:%S", systime(), 1) ".000000000Z stderr F " $0; fflush() }}' >"$log"
"""


def manifest(host: Host, version: str) -> dict[str, object]:
    """As kubeadm 1.31 writes it, but for the image's registry."""
    address = host.address
    flags = {
        "advertise-client-urls": f"https://{address}:2379",
        "cert-file": f"{PKI}/server.crt",
        "client-cert-auth": "true",
        "data-dir": "/var/lib/etcd",
        "experimental-initial-corrupt-check": "true",
        "experimental-watch-progress-notify-interval": "5s",
        "initial-advertise-peer-urls": f"https://{address}:2380",
        "initial-cluster": f"{host.name}=https://{address}:2380",
        "key-file": f"{PKI}/server.key",
        "listen-client-urls": f"https://127.0.0.1:2379,https://{address}:2379",
        "listen-metrics-urls": "http://127.0.0.1:2381",
        "listen-peer-urls": f"https://{address}:2380",
        "name": host.name,
        "peer-cert-file": f"{PKI}/peer.crt",
        "peer-client-cert-auth": "true",
        "peer-key-file": f"{PKI}/peer.key",
        "peer-trusted-ca-file": f"{PKI}/ca.crt",
        "snapshot-count": "10000",
        "trusted-ca-file": f"{PKI}/ca.crt",
    }
    probe = {"httpGet": {"host": "127.0.0.1", "path": "/livez", "port": 2381, "scheme": "HTTP"}, "timeoutSeconds": 15}
    etcd = {
        "command": ["etcd", *(f"--{name}={value}" for name, value in flags.items())],
        "image": f"etcd:{version}-0",
        "imagePullPolicy": "IfNotPresent",
        "livenessProbe": {**probe, "failureThreshold": 8, "initialDelaySeconds": 10, "periodSeconds": 10},
        "name": "etcd",
        "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}},
        "startupProbe": {**probe, "failureThreshold": 24, "initialDelaySeconds": 10, "periodSeconds": 10},
        "volumeMounts": [
            {"mountPath": "/var/lib/etcd", "name": "etcd-data"},
            {"mountPath": PKI, "name": "etcd-certs"},
        ],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "annotations": {"kubeadm.kubernetes.io/etcd.advertise-client-urls": flags["advertise-client-urls"]},
            "labels": {"component": "etcd", "tier": "control-plane"},
            "name": "etcd",
            "namespace": "kube-system",
        },
        "spec": {
            "containers": [etcd],
            "hostNetwork": True,
            "priority": 2000001000,
            "priorityClassName": "system-node-critical",
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [
                {"hostPath": {"path": PKI, "type": "DirectoryOrCreate"}, "name": "etcd-certs"},
                {"hostPath": {"path": "/var/lib/etcd", "type": "DirectoryOrCreate"}, "name": "etcd-data"},
            ],
        },
        "status": {},
    }


def certificates(host: Host, folder: Path) -> None:
    """What `kubeadm init phase certs` puts under /etc/kubernetes/pki/etcd, with its names and uses."""
    authority = Authority(folder / "pki", "etcd-ca", valid_until=10 * YEAR)
    target = host.path(PKI)
    target.mkdir(parents=True)
    shutil.copy(authority.ca, target / "ca.crt")
    own = (host.name, "localhost", host.address, "127.0.0.1", "::1")
    for name, hosts, usages in (
        ("server", own, ("server", "client")),
        ("peer", own, ("server", "client")),
        ("healthcheck-client", (), ("client",)),
    ):
        pair = authority.issue(name, hosts=hosts, usages=usages, valid_until=YEAR)
        shutil.copy(pair.cert, target / f"{name}.crt")
        shutil.copy(pair.key, target / f"{name}.key")
        (target / f"{name}.key").chmod(0o600)


def start(host: Host, etcd: EtcdBinaries) -> None:
    """Run the manifest's container as a runtime does that no docker or podman on the host knows of."""
    binaries = host.path(f"{ROOT}/usr/local/bin")
    binaries.mkdir(parents=True)
    for program in (etcd.etcd, etcd.etcdctl):
        shutil.copy(program, binaries)
    command = yaml.safe_load(host.path(MANIFEST).read_text())["spec"]["containers"][0]["command"]
    log = f"/var/log/pods/kube-system_etcd-{host.name}_5d1c/etcd/0.log"
    host.run(
        ["sh", "-c", 'setsid unshare --mount sh -c "$@" >/dev/null 2>&1 </dev/null &', "sh", RUN, "sh", log, *command]
    )


@pytest.fixture
def kubeadm(hosts: Hosts, tmp_path: Path) -> Iterator[Host]:
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    host = hosts["h1"]
    certificates(host, tmp_path)
    host.path(MANIFEST).parent.mkdir(parents=True)
    host.path(MANIFEST).write_text(yaml.safe_dump(manifest(host, etcd.version)))
    start(host, etcd)
    yield host
    host.run(["pkill", "-x", "etcd"], check=False)


def ran(cli: RunCli, *arguments: str, home: Path) -> str:
    found = cli(*arguments, HOME=str(home))
    assert found.code == 0, f"{arguments}: {found.err}{found.out}"
    return found.out


def test_a_kubeadm_host_is_imported_checked_and_looked_at(
    cli: RunCli, kubeadm: Host, hosts: Hosts, tmp_path: Path
) -> None:
    """Everything that the manifest says is in the inventory, which its own check, status and doctor work with."""
    made = tmp_path / "made.yaml"
    line = ("inventory", "import", "--host", f"root@{kubeadm.address}", "--ssh-key", str(hosts.key), "--accept-new")
    deadline = time.monotonic() + WITHIN_S
    while "it does not run now" in ran(cli, *line, "-o", str(made), "--force", home=tmp_path) + made.read_text():
        assert time.monotonic() < deadline
    text = made.read_text()
    inventory = load_inventory([made])
    [cluster] = inventory.clusters.values()
    member = place(inventory, cluster, cluster.members[0])
    version = find_etcd("3.5")
    assert version is not None
    assert (cluster.service.manager, cluster.service.image) == (Manager.KUBELET, f"etcd:{version.version}-0")
    assert (cluster.engine.version, cluster.user, member.data_dir) == (version.version, "root", "/var/lib/etcd")
    assert (member.name, member.host.address) == ("h1", kubeadm.address)
    assert member.listen_client_urls == ("https://127.0.0.1:2379", f"https://{kubeadm.address}:2379")
    assert member.listen_metrics_urls == ("http://127.0.0.1:2381",)
    assert cluster.tls is not None
    assert cluster.tls.files is not None
    assert cluster.tls.files.flags["peer-trusted-ca-file"] == f"{PKI}/ca.crt"
    assert set(cluster.settings) == {
        "experimental-initial-corrupt-check", "experimental-watch-progress-notify-interval", "snapshot-count",
    }  # fmt: skip
    assert "it is a static pod" in text
    ran(cli, "inventory", "check", "-i", str(made), home=tmp_path)

    told = next(one for one in text.splitlines() if "healthcheck-client" in one)
    names = ("ca.crt", "healthcheck-client.crt", "healthcheck-client.key")
    assert f"scp {' '.join(f'root@{kubeadm.address}:{PKI}/{name}' for name in names)} FOLDER" in told
    for name in names:
        shutil.copy(kubeadm.path(f"{PKI}/{name}"), tmp_path / name)
    data = yaml.safe_load(text)
    data["clusters"][cluster.name]["access"] = dict(zip(("cacert", "cert", "key"), names, strict=True))
    made.write_text(yaml.safe_dump(data))
    status = json.loads(ran(cli, "status", "-i", str(made), "-w", "json", home=tmp_path))
    assert (status["health"], status["members"][0]["name"]) == ("HEALTHY", "h1")
    doctor = json.loads(cli("doctor", "-i", str(made), "-w", "json", HOME=str(tmp_path)).out)
    assert doctor["health"] == "HEALTHY"
    # A single voter, and what is known of this version: nothing about the host, its files or who keeps the member.
    assert {one["code"] for one in doctor["findings"]} <= {"I206", "W703", "I707"}, doctor["findings"]
