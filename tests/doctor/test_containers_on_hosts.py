"""Members that no unit keeps: in containers, and as static pods with the files that a kubelet leaves."""

from __future__ import annotations

import asyncio
import gzip
import json
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from tests.cli.conftest import RunCli, cli
from tests.doctor.test_diagnose_on_hosts import known
from tests.hosts.host import Host
from tests.hosts.hosts import Hosts
from tests.hosts.packages import load_etcd_image
from tests.support.real_etcd import find_etcd

__all__ = ["cli"]
pytestmark = [pytest.mark.exhaustive, pytest.mark.real, pytest.mark.timeout(600)]
WITHIN_S = 120.0
NAME = "etcd-boxed"


@dataclass
class Boxed:
    """A member on one host, in whatever way, and the commands that look at its cluster."""

    hosts: Hosts
    folder: Path
    cli: RunCli
    manager: str
    image: str
    at: str = "h1"
    members: tuple[str, ...] = ("h1",)

    @property
    def host(self) -> Host:
        return self.hosts[self.at]

    @property
    def flags(self) -> list[str]:
        client, peer = f"http://{self.host.address}:2379", f"http://{self.host.address}:2380"
        peers = ",".join(f"{name}=http://{self.hosts[name].address}:2380" for name in self.members)
        return [
            f"--name={self.at}",
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--advertise-client-urls={client}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={peers}",
        ]

    def inventory(self) -> Path:
        lines = ["hosts:"]
        for name in self.members:
            ssh = f"user: root, port: {self.hosts[name].ssh_port}, key: {self.hosts.key}"
            lines.append(f"  {name}: {{address: {self.hosts[name].address}, ssh: {{{ssh}}}}}")
        service = f"manager: {self.manager}, name: {NAME if self.manager == 'podman' else 'etcd'}, image: {self.image}"
        path = self.folder / "etcdops.yaml"
        members = ", ".join(f"{{host: {name}}}" for name in self.members)
        lines += ["clusters:", f"  boxed: {{data_dir: /srv/etcd, service: {{{service}}}, members: [{members}]}}"]
        path.write_text("\n".join(lines) + "\n")
        return path

    def asked(self, *words: str) -> dict[str, Any]:
        ran = self.cli(*words, "-i", str(self.inventory()), "--json", HOME=known(self.hosts, self.folder))
        assert ran.code in (0, 5), ran.err
        document: dict[str, Any] = json.loads(ran.out)
        return document

    def run(self, *options: str, flags: list[str]) -> None:
        """Another container in the place of the one before."""
        self.host.run(["podman", "rm", "--force", "--ignore", "--time=1", NAME], timeout_s=60)
        given = ("--network=host", f"--name={NAME}", "--restart=always", "--log-driver=k8s-file", *options)
        self.host.run(["podman", "run", "--detach", *given, self.image, *flags], timeout_s=60)


def until(look: Callable[[], dict[str, Any]], right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + WITHIN_S
    while not right(found := look()):
        assert time.monotonic() < deadline, json.dumps(found, indent=1)[:6000]
    return found


def codes(document: dict[str, Any]) -> set[str]:
    return {one["code"] for one in document.get("live", document)["findings"]}


def test_a_member_in_a_container_is_looked_at_as_it_runs(hosts: Hosts, tmp_path: Path, cli: RunCli) -> None:
    """Healthy, with what it is made with; then it ends at each start; then its data are on no volume."""
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    boxed = Boxed(hosts, tmp_path, cli, "podman", load_etcd_image(hosts["h1"], etcd))
    boxed.host.run(["mkdir", "-p", "/srv/etcd"])
    volume = "--volume=/srv/etcd:/var/lib/etcd"
    boxed.run(volume, flags=boxed.flags)
    healthy = until(
        lambda: boxed.asked("diagnose", "--cluster", "boxed"), lambda found: found["live"]["health"] == "HEALTHY"
    )
    assert [(one["source"], one["lines"] > 20) for one in healthy["sources"]] == [("h1", True)]
    assert not [one for one in healthy["findings"] if one["severity"] in ("error", "critical")]
    assert codes(healthy).isdisjoint({"W508", "E502", "E503", "E504"})

    out = tmp_path / "boxed.tar.gz"
    home = known(hosts, tmp_path)
    assert cli("bundle", "--cluster", "boxed", "-i", str(boxed.inventory()), "-o", str(out), HOME=home).code == 0
    with tarfile.open(out) as archive:
        (seen,) = (name for name in archive.getnames() if name.endswith("hosts/h1.json"))
        content = archive.extractfile(seen)
        assert content is not None
        host = json.load(content)["content"]
        assert any(name.endswith("logs/h1.log") for name in archive.getnames())
    (member,) = (one for one in host["members"] if one["keeper"] == "podman")
    assert (member["name"], member["service"], member["data"]["path"]) == ("h1", NAME, "/srv/etcd")
    assert member["process"]["open_files_max"] == 4096
    assert any("name=h1" in line for line in member["settings"]["running"]["flags"])

    boxed.run(volume, flags=["--nmae=h1", *boxed.flags[1:]])
    loops = until(
        lambda: boxed.asked("diagnose", "--host", "h1", "--container", NAME),
        lambda found: bool(found["findings"]) and bool(found["findings"][0]["explains_live"]),
    )
    first = loops["findings"][0]
    assert first["slug"] == "config-invalid"
    # it fails, or is just started once more
    assert {one["code"] for one in first["explains_live"]} & {"E502", "W506"}
    assert "--nmae" in first["evidence"][0]["text"] or "-nmae" in first["evidence"][0]["text"]

    boxed.run(flags=boxed.flags)
    bare = until(lambda: boxed.asked("doctor", "--cluster", "boxed"), lambda found: "W508" in codes(found))
    (found,) = (one for one in bare["findings"] if one["code"] == "W508")
    assert f"podman cp {NAME}:/var/lib/etcd" in found["next"]


def test_a_container_with_the_volume_of_another_cluster_is_named(hosts: Hosts, tmp_path: Path, cli: RunCli) -> None:
    """Somebody mounted what a cluster left there that ran before: who it is, and where its data are."""
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    both = ("h1", "h2")
    one, other = (Boxed(hosts, tmp_path, cli, "podman", load_etcd_image(hosts[at], etcd), at, both) for at in both)
    for boxed in (one, other):
        boxed.host.run(["mkdir", "-p", "/srv/etcd", "/srv/before"])
        boxed.run("--volume=/srv/etcd:/var/lib/etcd", flags=boxed.flags)
    until(lambda: one.asked("doctor", "--cluster", "boxed"), lambda found: found["health"] == "HEALTHY")

    alone = Boxed(hosts, tmp_path, cli, "podman", other.image, "h2", ("h2",))
    before = "--volume=/srv/before:/var/lib/etcd"
    alone.run(before, flags=[*alone.flags, "--initial-cluster-token=before"])
    until(lambda: alone.asked("doctor", "--cluster", "boxed"), lambda found: found["health"] == "HEALTHY")
    other.run(before, flags=other.flags)
    found = until(
        lambda: one.asked("diagnose", "--cluster", "boxed"),
        lambda found: bool(found["findings"]) and found["findings"][0]["slug"] == "cluster-id-mismatch",
    )
    assert "E401" in json.dumps(found)
    seen = one.asked("doctor", "--cluster", "boxed")
    (stray,) = (finding for finding in seen["findings"] if finding["code"] == "E401")
    assert stray["subject"] == "h2"
    assert "/srv/before" in json.dumps(stray)


def cri(lines: list[str]) -> str:
    """As containerd writes what a container prints."""
    return "".join(f"{json.loads(line)['ts']} stderr F {line}\n" for line in lines)


def test_a_static_pod_is_read_over_its_restarts_from_the_kubelets_files(
    hosts: Hosts, tmp_path: Path, cli: RunCli
) -> None:
    """A real etcd whose log was damaged: its first life is packed, its last words are in the newest file."""
    etcd = find_etcd("3.5")
    if etcd is None:
        pytest.skip("no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
    boxed = Boxed(hosts, tmp_path, cli, "podman", load_etcd_image(hosts["h1"], etcd))
    boxed.host.run(["mkdir", "-p", "/srv/etcd"])
    boxed.run("--volume=/srv/etcd:/var/lib/etcd", "--restart=no", flags=boxed.flags)
    until(lambda: boxed.asked("doctor", "--cluster", "boxed"), lambda found: found["health"] == "HEALTHY")
    asyncio.run(written(f"http://{boxed.host.address}:2379"))
    boxed.host.run(["podman", "stop", "--time=5", NAME], timeout_s=60)
    alive = printed(boxed.host)
    for path in boxed.host.path("/srv/etcd/member/wal").glob("0*.wal"):
        content = bytearray(path.read_bytes())
        content[len(content.rstrip(b"\0")) // 2] ^= 255
        path.write_bytes(content)
    boxed.host.run(["podman", "start", NAME], timeout_s=60)
    boxed.host.run(["podman", "wait", NAME], timeout_s=60)
    died = printed(boxed.host)[len(alive) :]
    assert died
    boxed.host.run(["podman", "rm", NAME])

    folder = boxed.host.path("/var/log/pods/kube-system_etcd-h1_0d1f/etcd")
    folder.mkdir(parents=True)
    half = len(alive) // 2
    (folder / "0.log.20260131-080000.gz").write_bytes(gzip.compress(cri(alive[:half]).encode()))
    (folder / "0.log").write_text(cri(alive[half:]))
    (folder / "1.log").write_text(cri(died))
    manifest = boxed.host.path("/etc/kubernetes/manifests/etcd.yaml")
    manifest.parent.mkdir(parents=True)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "etcd", "namespace": "kube-system"},
        "spec": {"containers": [{"name": "etcd", "image": boxed.image, "command": ["etcd", *boxed.flags]}]},
    }
    manifest.write_text(json.dumps(pod))
    boxed.manager = "kubelet"
    for named in (("--cluster", "boxed"), ("--host", "h1")):
        found = boxed.asked("diagnose", *named)
        (source,) = found["sources"]
        assert source["lines"] == len(alive) + len(died)
        assert source["first"][:19] == json.loads(alive[0])["ts"][:19]
        assert source["last"][:19] == json.loads(died[-1])["ts"][:19]
        assert found["findings"][0]["slug"] == "wal-corrupt", found["findings"]


async def written(endpoint: str) -> None:
    """Enough that the middle of its log is in the middle of what clients wrote."""
    async with Client(ConnectionSettings((endpoint,))) as client:
        for number in range(30):
            await client.kv.put(f"k{number}", "x" * 500, timeout=20.0)


def printed(host: Host) -> list[str]:
    text = host.run(["sh", "-c", f"podman logs {NAME} 2>&1"], timeout_s=60).stdout
    return [line for line in text.splitlines() if line.startswith("{")]
