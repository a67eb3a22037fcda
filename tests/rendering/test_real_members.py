"""Real members start from what is rendered, by every way to give them their settings."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from etcdops.rendering.member import MemberConfig
from etcdops.rendering.outputs import config_file, environment_file
from tests.rendering.members import config
from tests.support.certificates import Authority
from tests.support.ports import free_ports
from tests.support.real_etcd import EtcdBinaries, RealMember, find_etcd, node_with, poll_until

EVERY_KIND: Mapping[str, str] = {
    "auth-token-ttl": "400", "auto-compaction-mode": "revision", "auto-compaction-retention": "1000",
    "backend-batch-interval": "90ms", "backend-batch-limit": "9000", "bcrypt-cost": "11",
    "compact-hash-check-time": "2m", "compaction-batch-limit": "500", "corrupt-check-time": "1h30m",
    "cors": "http://a:1,http://b:2", "election-timeout": "1200", "enable-pprof": "true",
    "experimental-initial-corrupt-check": "true", "grpc-keepalive-interval": "1h", "grpc-keepalive-timeout": "19.5s",
    "heartbeat-interval": "120", "host-whitelist": "a,b", "log-level": "warn", "log-outputs": "stderr",
    "max-concurrent-streams": "1000", "max-request-bytes": "2000000", "max-snapshots": "6", "max-txn-ops": "200",
    "max-wals": "6", "metrics": "extensive", "pre-vote": "false", "quota-backend-bytes": "4294967296",
    "snapshot-count": "20000", "snapshot-catchup-entries": "3000", "socket-reuse-port": "true",
    "cipher-suites": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "watch-progress-notify-interval": "5m", "warning-apply-duration": "200ms",
}  # fmt: skip


@dataclass
class ConfiguredMember(RealMember):
    """A member that is started as `line` says."""

    line: list[str] = field(default_factory=list)

    def command(self) -> list[str]:
        return self.line


def engine(name: str) -> EtcdBinaries:
    found = find_etcd("3.5" if name == "node" else name)
    if found is None:
        pytest.skip(f"needs etcd {name}: make etcd")
    return node_with(found) if name == "node" else found


def member_in(folder: Path, binaries: EtcdBinaries, ports: tuple[int, int]) -> MemberConfig:
    """With settings of every type, a name that needs quoting, and TLS on both ports."""
    client, peer = (f"https://127.0.0.1:{port}" for port in ports)
    for authority, kind in (("ca", "server"), ("peer-ca", "peer")):
        made = Authority(folder / "pki", authority)
        pair = made.issue(f"the {kind}")
        made.ca.rename(folder / "pki" / f"{authority}.crt")
        pair.cert.rename(folder / "pki" / f"{kind}.crt")
        pair.key.rename(folder / "pki" / f"{kind}.key")
    runs = {"kind": "node"} if binaries.program else {"version": binaries.version}
    one = {
        "name": "a \"b\" $HOME %n 'c' ü",
        "host": "h1",
        "data_dir": str(folder / "my data"),
        "listen_client_urls": [client],
        "advertise_client_urls": [client],
        "listen_peer_urls": [peer],
        "initial_advertise_peer_urls": [peer],
    }
    tls = {"directory": str(folder / "pki")}
    return config({"engine": runs, "members": [one], "tls": tls, "settings": EVERY_KIND})


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("way", ["environment", "yml", "flags"])
@pytest.mark.parametrize("version", ["3.4", "3.5", "node"])
def test_a_member_starts_from_it_and_serves(tmp_path: Path, version: str, way: str) -> None:
    """With settings of every type. It says what it made of its name."""
    binaries = engine(version)
    client, peer = free_ports(2)
    config = member_in(tmp_path, binaries, (client, peer))
    program = list(binaries.program or (str(binaries.etcd),))
    line = start_line(way, config, tmp_path, program)
    member = ConfiguredMember(binaries, "m", tmp_path / "log", client, peer, line=line)
    try:
        member.start_nowait()
        wait_serving(member, tmp_path / "pki", config)
        assert (tmp_path / "my data" / "member").is_dir()
    finally:
        member.stop()


def start_line(way: str, config: MemberConfig, folder: Path, program: list[str]) -> list[str]:
    if way == "flags":
        return [*program, *config.arguments]
    file = environment_file(config) if way == "environment" else config_file(config)
    path = folder / "settings"
    path.write_bytes(file.content)
    if way == "yml":
        return [*program, f"--config-file={path}"]
    return ["/bin/sh", "-c", f"set -a; . {shlex.quote(str(path))}; exec {shlex.join(program)}"]


def wait_serving(member: RealMember, pki: Path, config: MemberConfig) -> None:
    """Its own account of itself, with a client's certificate."""
    endpoint = config.flags["listen-client-urls"]
    tool = [str(member.binaries.etcdctl), f"--endpoints={endpoint}", f"--cacert={pki}/ca.crt"]
    tool += [f"--cert={pki}/server.crt", f"--key={pki}/server.key", "--write-out=json", "member", "list"]
    environment = {**os.environ, "ETCDCTL_API": "3"}
    names: list[str] = []

    def answers() -> bool:
        assert member.process is not None
        assert member.process.poll() is None, member.log_tail()
        done = subprocess.run(tool, capture_output=True, check=False, timeout=30, env=environment)
        if done.returncode == 0:
            names.extend(one.get("name", "") for one in json.loads(done.stdout)["members"])
        return bool(names and names[-1])

    poll_until(answers, 40, lambda: f"it does not serve; its log ends:\n{member.log_tail()}")
    assert names[-1] == config.flags["name"]
