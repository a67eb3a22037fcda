"""etcdctl 3.4 and 3.5 against the node's API and against their own etcd: what they print must be the same."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import MakeCluster
from tests.fakes.served_member import ServedMember
from tests.support.real_etcd import EtcdBinaries

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(120)]

Command = tuple[list[str], str]
"""Arguments and standard input."""

TXN = 'value("a") = "1"\n\nput a 2\nget a\n\nput a 3\n\n'

COMMANDS: list[Command] = [
    (["put", "a", "1"], ""),
    (["put", "a", "1", "--prev-kv"], ""),
    (["get", "a"], ""),
    (["get", "a", "--write-out=fields"], ""),
    (["txn"], TXN),
    (["txn"], TXN),
    (["put", "b"], "value from stdin"),
    (["get", "", "--prefix"], ""),
    (["get", "", "--prefix", "--keys-only", "--sort-by=MODIFY", "--order=DESCEND"], ""),
    (["get", "a", "z", "--limit=1", "--print-value-only"], ""),
    (["get", "a", "--rev=2"], ""),
    (["get", "a", "--rev=99"], ""),
    (["put", "", "x"], ""),
    (["put", "a", "--ignore-value", "--lease=1234"], ""),
    (["lease", "timetolive", "1234"], ""),
    (["lease", "revoke", "1234"], ""),
    (["lease", "keep-alive", "--once", "1234"], ""),
    (["lease", "list"], ""),
    (["compaction", "3"], ""),
    (["compaction", "3"], ""),
    (["get", "a", "--rev=2"], ""),
    (["watch", "a", "--rev=2", "--prev-kv"], ""),
    (["del", "a", "--prev-kv"], ""),
    (["del", "", "--prefix"], ""),
    (["alarm", "list"], ""),
    (["alarm", "disarm"], ""),
    (["move-leader", "1234"], ""),
    (["member", "remove", "1234"], ""),
    (["member", "promote", "1234"], ""),
    (["member", "add", "x", "--peer-urls=ftp://a"], ""),
    (["auth", "enable"], ""),
    (["user", "list"], ""),
    (["role", "get", "nobody"], ""),
]


def printed(binaries: EtcdBinaries, endpoint: str, command: Command) -> str:
    """What etcdctl writes, without its own log lines and what names a server."""
    arguments, given = command
    environment = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"]}
    ended = subprocess.run(
        [str(binaries.etcdctl), f"--endpoints={endpoint}", "--command-timeout=5s", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
        check=False,
    )
    lines = (ended.stdout + ended.stderr).splitlines()
    named = ("MemberID", "ClusterID", "RaftTerm", "{")
    kept = [line for line in lines if not line.strip('" ').startswith(named)]
    return "\n".join([*kept, f"exit {ended.returncode}"]).replace(endpoint, "ENDPOINT")


def test_etcdctl_prints_the_same(etcd_binaries: EtcdBinaries, real_etcd: MakeCluster, tmp_path: Path) -> None:
    """Every command an operator types, errors and exit codes included."""
    cluster = real_etcd(size=1)
    theirs = cluster.endpoints[0]
    different = []
    with ServedMember(tmp_path) as served:
        ours = f"http://{served.address}"
        for command in COMMANDS:
            answers = [printed(etcd_binaries, endpoint, command) for endpoint in (ours, theirs)]
            if answers[0] != answers[1]:
                different.append(f"$ etcdctl {' '.join(command[0])}\nours:\n{answers[0]}\netcd:\n{answers[1]}")
    assert different == []


def test_etcdctl_sees_a_healthy_member(etcd_binaries: EtcdBinaries, tmp_path: Path) -> None:
    """Status, health, hashes, snapshots and leases: what names this member or changes with time."""
    with ServedMember(tmp_path) as served:

        def ctl(*arguments: str) -> str:
            return printed(etcd_binaries, f"http://{served.address}", (list(arguments), ""))

        assert "is healthy" in ctl("endpoint", "health")
        assert "8e9e05c52164694d" in ctl("endpoint", "status")
        assert ctl("endpoint", "hashkv").endswith("exit 0")
        assert "default" in ctl("member", "list")
        lease = ctl("lease", "grant", "60").split()[1]
        assert "keepalived with TTL(60)" in ctl("lease", "keep-alive", "--once", lease)
        assert "attached keys" in ctl("lease", "timetolive", lease, "--keys")
        assert "revoked" in ctl("lease", "revoke", lease)
        assert "Finished defragmenting" in ctl("defrag")
        image = tmp_path / "image.db"
        assert ctl("snapshot", "save", str(image)).endswith("exit 0")
        assert image.stat().st_size % 512 == 32
        with urllib.request.urlopen(f"http://{served.address}/health", timeout=10) as answer:
            assert answer.read() == b'{"health":"true","reason":""}'
