"""`etcdops status` on real clusters: what an operator types and sees, exit codes included."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, clean_environment
from tests.conftest import MakeCluster
from tests.support.certificates import Authority
from tests.support.real_etcd import RealCluster, Tls, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow]


def status(cluster: RealCluster, home: Path, *arguments: str) -> Ran:
    ran = subprocess.run(
        [sys.executable, "-m", "etcdops", "status", "--endpoints", ",".join(cluster.endpoints), *arguments],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize("etcd_binaries", [pytest.param("3.4", marks=pytest.mark.exhaustive), "3.5"], indirect=True)
def test_from_healthy_to_nobody(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """The story of a dying cluster, one member after the other: 0, 5, 5, 3."""
    cluster = real_etcd(size=3)
    healthy = status(cluster, tmp_path, "--hashes")
    assert (healthy.code, healthy.err) == (0, "")
    assert healthy.out.startswith("HEALTHY  3 of 3 voters answer, 2 needed: 1 more may fail")
    assert "hashes at revision 1 agree" in healthy.out
    assert "★ leader" in healthy.out

    cluster.members[2].pause()
    poll_until(lambda: "DEGRADED" in status(cluster, tmp_path).out, 30)
    degraded = status(cluster, tmp_path, "--dial-timeout", "500ms")
    assert degraded.code == 5
    assert "✖ timed out" in degraded.out
    assert "none may fail" in degraded.out

    cluster.members[1].kill()
    poll_until(lambda: "QUORUM LOST" in status(cluster, tmp_path, "--dial-timeout", "500ms").out, 30)
    lost = status(cluster, tmp_path, "--dial-timeout", "500ms")
    assert lost.code == 5
    assert "1 of 3 voters answers, 2 needed: 1 must come back" in lost.out
    assert "etcdops recover --from-snapshot FILE" in lost.out
    assert "serializable reads and snapshots from m1" in lost.out

    cluster.kill()
    nobody = status(cluster, tmp_path, "--dial-timeout", "500ms")
    assert nobody.code == 3
    assert nobody.out.startswith("UNREACHABLE")
    assert nobody.out.count("connection refused") == 4, "three rows and the finding"


def test_json_shows_the_silent_member_inside(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """etcd #9531: jq finds who does not answer."""
    cluster = real_etcd(size=3)
    cluster.members[1].kill()
    ran = status(cluster, tmp_path, "-w", "json")
    document = json.loads(ran.out)
    assert document["schema"] == "etcdops.status/1"
    assert {member["name"]: member["error"] for member in document["members"]}["m2"] == "connection refused"
    assert all(len(member["id"]) == 16 for member in document["members"])
    assert document["quorum"]["present"] == 2


def test_with_tls_and_a_password_file(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """Wrong and right credentials: exit 4 is not exit 3 is not exit 5."""
    authority = Authority(tmp_path / "ca")
    pair, mine = authority.issue("member"), authority.issue("operator")
    cluster = real_etcd(tls=Tls(authority.ca, pair.cert, pair.key, client_auth=True))
    for line in ("user add root:right", "role add root", "user grant-role root root", "auth enable"):
        cluster.ctl(*line.split())
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("right\n")
    wrong.write_text("wrong\n")
    files = ["--cacert", str(authority.ca), "--cert", str(mine.cert), "--key", str(mine.key)]
    good = status(cluster, tmp_path, *files, "--user", "root", "--password-file", str(right))
    assert (good.code, good.err) == (0, "")
    denied = status(cluster, tmp_path, *files, "--user", "root", "--password-file", str(wrong))
    assert denied.code == 4
    assert "does not let us in" in denied.out
    untrusted = status(cluster, tmp_path)
    assert untrusted.code == 3
    assert "✖ TLS" in untrusted.out
    skipped = status(cluster, tmp_path, *files[2:], "--insecure-skip-tls-verify", "--user", "root:right")
    assert skipped.code == 0
    assert "certificate not verified" in skipped.err
    assert "visible to other users" in skipped.err


@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)
def test_watching_on_a_terminal_redraws_in_place(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """A real pseudo-terminal: clear once, then home and overwrite; Ctrl-C ends it."""
    cluster = real_etcd()
    command = [sys.executable, "-m", "etcdops", "status", "--watch", "0.2", "--endpoints", cluster.endpoints[0]]
    main, terminal = pty.openpty()
    with subprocess.Popen(
        command,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        env=clean_environment(tmp_path),
        start_new_session=True,
    ) as process:
        os.close(terminal)
        seen = b""
        deadline = time.monotonic() + 30
        while seen.count(b"\x1b[H") < 3 and time.monotonic() < deadline:
            seen += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        process.wait(20)
        os.close(main)
    assert seen.count(b"\x1b[H") >= 3
    assert seen.count(b"\x1b[2J") == 1
    assert "● OK".encode() in seen
    assert process.returncode == 130
