"""`etcdops snapshot` as it is typed: formats, exit codes, and restores that real members take."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.errors import ExitCode
from etcdops.node.storage.state import StateStore
from etcdops.playbooks.local_cluster import LocalCluster
from etcdops.proto import mvccpb_pb2
from etcdops.snapshot.bbolt_writer import write_bbolt
from etcdops.snapshot.checksum import append_checksum
from etcdops.snapshot.records import encode_revision
from tests.cli.conftest import RunCli, clean_environment
from tests.conftest import Golden, MakeCluster
from tests.playbooks.clusters import described, engine_named
from tests.support.ports import free_ports
from tests.support.real_etcd import EtcdBinaries, poll_until


def small_snapshot(path: Path, *, checksum: bool = True) -> Path:
    """A snapshot that is the same every time: its report can be a golden file."""
    records = [
        (
            encode_revision(index + 2),
            mvccpb_pb2.KeyValue(
                key=b"/a/%d" % index,
                value=b"v",
                create_revision=index + 2,
                mod_revision=index + 2,
                version=1,
                lease=7 if index == 3 else 0,
            ).SerializeToString(),
        )
        for index in range(5)
    ]
    member = b'{"id":31,"peerURLs":["http://h1:2380"],"name":"etcd-1","clientURLs":["http://h1:2379"]}'
    buckets = {
        b"alarm": [(b"\x08\x1f\x10\x01", b"")],
        b"auth": [(b"authEnabled", b"\x01")],
        b"authUsers": [(b"root", b"")],
        b"cluster": [(b"clusterVersion", b"3.5.0")],
        b"key": records,
        b"lease": [(bytes(7) + b"\x07", b"\x08\x07\x10\x3c")],
        b"members": [(b"1f", member)],
        b"meta": [
            (b"consistent_index", bytes(7) + b"\x0c"),
            (b"finishedCompactRev", encode_revision(3)),
            (b"term", bytes(7) + b"\x02"),
        ],
    }
    write_bbolt(path, buckets.items())
    if checksum:
        append_checksum(path)
    return path


@pytest.mark.parametrize(
    ("pack", "unpack"), [(gzip.compress, "gunzip"), (bz2.compress, "bunzip2"), (lzma.compress, "unxz")]
)
def test_a_compressed_snapshot_is_not_called_damaged(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes], unpack: str
) -> None:
    """Backups are kept so; whoever reads `damaged` throws one away."""
    small_snapshot(tmp_path / "backup.db")
    (tmp_path / "backup.db.gz").write_bytes(pack((tmp_path / "backup.db").read_bytes()))
    monkeypatch.chdir(tmp_path)
    ran = cli("snapshot", "status", "backup.db.gz")
    assert ran.code == 2
    assert ran.err.splitlines() == [
        "error usage: backup.db.gz is compressed",
        f"next: unpack it first: {unpack} -k backup.db.gz",
    ]


@pytest.mark.parametrize(
    ("name", "content", "looks", "next_step"),
    [
        ("b.db", b"hello\n", "text: 'hello'", "name a file written by `etcdops snapshot save`, or the member/snap/db"),
        ("b.db", b"x" * 100_000, "text: 'xxxxxxxxxx", "name a file written by"),
        ("b.db", "\ufeff".encode() + "备份\n".encode() * 20_000, "text: '备份'", "name a file written by"),
        ("b.db", b"<?xml version='1.0'?><Error>AccessDenied", "what a web server answered", "head -c 500 b.db"),
        ("b.db", b"b.db\0".ljust(257, b"\0") + b"ustar\x0000" + bytes(300), "a tar archive", "tar -xf b.db;"),
        ("a b.zip", b"PK\x03\x04" + bytes(50), "a zip archive", "unzip 'a b.zip';"),
        ("b.db", b"Salted__" + bytes(range(128, 228)), "a file that openssl encrypted", "decrypt it first"),
        ("b.db", b"-----BEGIN PGP MESSAGE-----\n", "a file that PGP encrypted", "decrypt it first"),
        ("b.db", bytes(70_000), "nothing: it begins with zeros", "another copy"),
        ("b.db", bytes(range(255, 100, -1)), "data of an unknown kind", "name a file written by"),
        ("0-1.wal", b"\x04\0\0\0\0\0\0\x84", "a file of a write-ahead log", "member/snap/db"),
        ("1-1.snap", b"\x08\xa1\x02\x12", "a snapshot of raft's", "member/snap/db"),
    ],
)
def test_what_is_no_snapshot_is_not_called_damaged(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, looks: str, next_step: str
) -> None:
    """It was never one: what it looks like, and what to do with it."""
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    ran = cli("snapshot", "status", name)
    assert (ran.code, ran.out) == (1, "")
    first, cause, hint = ran.err.splitlines()
    assert first == f"error not-a-snapshot: {name} is not a snapshot"
    assert cause.startswith(f"cause: it looks like {looks}")
    assert hint.startswith("next: ")
    assert next_step in hint


@pytest.mark.parametrize("gone", [range(16, 24), range(4096 + 16, 4096 + 24), range(1), range(4096)])
def test_a_damaged_snapshot_is_called_damaged_as_long_as_one_page_says_what_it_is(
    cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: range
) -> None:
    """Whichever of its two first pages was hit."""
    monkeypatch.chdir(tmp_path)
    content = bytearray(small_snapshot(Path("backup.db"), checksum=True).read_bytes())
    for at in gone:
        content[at] ^= 0xFF
    Path("backup.db").write_bytes(content)
    ran = cli("snapshot", "status", "backup.db")
    assert ran.code == 1
    assert ran.err.startswith("error snapshot-corrupt: backup.db is damaged")


@pytest.mark.parametrize("form", ["table", "json"])
def test_status_of_a_file(
    cli: RunCli, golden: Golden, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Needs no server; everything in the file is in the report."""
    small_snapshot(tmp_path / "backup.db")
    monkeypatch.chdir(tmp_path)
    ran = cli("snapshot", "status", "backup.db", "-w", form)
    assert ran.code == 0
    assert ran.err == ""
    golden.check(f"status.{form}", ran.out)


def test_a_damaged_file_is_exit_1_and_says_where(cli: RunCli, tmp_path: Path) -> None:
    path = small_snapshot(tmp_path / "backup.db")
    raw = bytearray(path.read_bytes())
    raw[9000] ^= 0xFF
    path.write_bytes(raw)
    ran = cli("snapshot", "status", str(path))
    assert ran.code == ExitCode.FAILED
    assert ran.out == ""
    assert ran.err.startswith("error snapshot-corrupt: ")
    assert "next: " in ran.err


def test_a_file_without_checksum_is_fine_with_a_warning(cli: RunCli, tmp_path: Path) -> None:
    path = small_snapshot(tmp_path / "db", checksum=False)
    ran = cli("snapshot", "status", str(path))
    assert ran.code == 0
    assert "carries no checksum" in ran.err
    ran = cli("snapshot", "restore", str(path), "--data-dir", str(tmp_path / "new"), "--etcd", "/bin/true")
    assert ran.code == ExitCode.USAGE
    assert "--skip-hash-check" in ran.err


PEER_URLS = ("--initial-advertise-peer-urls", "http://h:2380")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["status", "/nowhere/x.db"], "cannot read /nowhere/x.db"),
        (["restore", "FILE", "--data-dir", "new", "--bump-revision", "5"], "go together"),
        (["restore", "FILE", "--data-dir", "new", "--mark-compacted"], "go together"),
        (["restore", "FILE", "--data-dir", "new"], "which etcd will serve it"),
        (["restore", "FILE", "--data-dir", "new", "--initial-cluster", "nonsense"], "is not NAME=URL"),
        (["restore", "FILE", "--data-dir", "new", "--initial-cluster", "m1=http://h:2380"], "does not name 'default'"),
        (
            ["restore", "FILE", "--data-dir", "new", *PEER_URLS, "--initial-cluster", "default=http://h:1"],
            "make both the same",
        ),
    ],
)
def test_what_cannot_be_meant_is_exit_2(cli: RunCli, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    path = small_snapshot(tmp_path / "backup.db")
    ran = cli("snapshot", *(str(path) if part == "FILE" else part for part in arguments))
    assert ran.code == ExitCode.USAGE
    assert complaint in ran.err


def test_a_snapshot_of_the_node_is_not_restored_for_etcd(cli: RunCli, tmp_path: Path) -> None:
    """--etcd says who will serve the directory: making one that only the node can serve would be the wrong answer."""
    store = StateStore.open(tmp_path / "state.db", create=True)
    store.write_snapshot(tmp_path / "node.db")
    store.close()
    append_checksum(tmp_path / "node.db")
    ran = cli(
        "snapshot", "restore", str(tmp_path / "node.db"), "--data-dir", str(tmp_path / "m"), "--etcd", "/bin/etcd"
    )
    assert ran.code == ExitCode.USAGE
    assert "etcd cannot serve it" in ran.err
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_what_a_restore_leaves_to_the_operator_is_said(cli: RunCli, tmp_path: Path) -> None:
    """The token of a cluster of several, certificates for https; nothing of it where it is not needed."""
    store = StateStore.open(tmp_path / "state.db", create=True)
    store.write_snapshot(tmp_path / "node.db")
    store.close()
    append_checksum(tmp_path / "node.db")

    def restore(name: str, cluster: str) -> str:
        ran = cli(
            "snapshot", "restore", str(tmp_path / "node.db"), "--data-dir", str(tmp_path / name), "--name", "m1",
            "--initial-cluster", cluster,
        )  # fmt: skip
        assert ran.code == 0, ran.err
        return ran.err

    assert restore("alone", "m1=http://127.0.0.1:2380") == ""
    assert "same token: --initial-cluster-token restored-" in restore("two", "m1=http://h1:2380,m2=http://h2:2380")
    assert "--peer-cert-file" in restore("secure", "m1=https://h1:2380")


def test_saving_from_nobody_is_exit_3(cli: RunCli, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    ran = cli("snapshot", "save", str(tmp_path / "x.db"), "--endpoints", f"127.0.0.1:{port}")
    assert ran.code == ExitCode.UNREACHABLE
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("command", ["save", "status", "restore"])
def test_help_fits_and_begins_with_examples(cli: RunCli, command: str) -> None:
    ran = cli("snapshot", command, "--help")
    assert ran.code == 0
    assert max(len(line) for line in ran.out.splitlines() if "etcdops snapshot" not in line) <= 80
    assert "Examples:" in ran.out


@pytest.mark.slow
@pytest.mark.real
def test_saved_from_real_etcd_restored_and_served(
    cli: RunCli, real_etcd: MakeCluster, etcd_binaries: EtcdBinaries, tmp_path: Path
) -> None:
    """The whole way of a backup: save, restore with a raised revision, start with the printed command, read."""
    cluster = real_etcd()
    for index in range(10):
        cluster.ctl("put", f"/k/{index}", str(index))
    endpoint = cluster.members[0].url
    path = tmp_path / "backup.db"
    saved = cli("snapshot", "save", str(path), "--endpoints", endpoint, "-w", "json")
    assert saved.code == 0, saved.err
    report = json.loads(saved.out)
    assert (report["live_keys"], report["member"], report["warnings"]) == (10, "m1", [])
    assert cli("snapshot", "save", str(path), "--endpoints", endpoint).code == ExitCode.USAGE
    cluster.stop()
    client = adjacent_ports()
    restored = cli(
        "snapshot", "restore", str(path), "--etcd", str(etcd_binaries.etcd), "--data-dir", str(tmp_path / "r1.etcd"),
        "--name", "r1", "--initial-cluster", f"r1=http://127.0.0.1:{client + 1}", "--initial-cluster-token", "t2",
        "--bump-revision", "100000", "--mark-compacted", "-w", "json",
    )  # fmt: skip
    assert restored.code == 0, restored.err
    made = json.loads(restored.out)
    member = start(made["start_command"])
    try:
        endpoint = f"http://127.0.0.1:{client}"
        poll_until(lambda: cli("status", "--endpoints", endpoint).code == 0, 30)
        status = json.loads(cli("status", "--endpoints", endpoint, "-w", "json").out)
        assert status["cluster_id"] == made["cluster_id"]
        again = json.loads(cli("snapshot", "save", str(tmp_path / "2.db"), "--endpoints", endpoint, "-w", "json").out)
        assert again["live_keys"] == 10
        assert again["current_revision"] == report["revision"] + 100_000 == again["compact_revision"]
    finally:
        member.kill()
        member.wait()


def adjacent_ports() -> int:
    """The lower of two free ports in a row: clients there, peers above, as etcd's own defaults are."""
    while True:
        (lower,) = free_ports(1)
        with socket.socket() as upper:
            try:
                upper.bind(("127.0.0.1", lower + 1))
            except OSError:
                continue
            return lower


def status_json(cli: RunCli, endpoint: str) -> str:
    return cli("status", "--endpoints", endpoint, "-w", "json").out


def start(command: str) -> subprocess.Popen[bytes]:
    """Run a printed command as an operator would: in a shell, whatever the folder."""
    return subprocess.Popen(
        f"exec {command}", shell=True, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(120)
@pytest.mark.parametrize("engine", ["etcd-3.4", "etcd-3.5", "node"])
def test_the_printed_command_starts_the_member_where_it_was_before(
    cli: RunCli, tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored under its old name and peer URL, it comes back at its old client URL, from relative paths too."""
    monkeypatch.chdir(tmp_path)
    spec = described(tmp_path / "lab", engine_named(engine), size=1)
    (before,) = spec.members
    local = LocalCluster(spec)
    try:
        local.start(tethered=True)
        # A member that just began to serve may not have told the cluster yet where clients reach it.
        poll_until(lambda: f'"{before.client_url}"\n      ]' in status_json(cli, before.client_url), 45)
        saved = cli("snapshot", "save", "backup.db", "--endpoints", before.client_url, "-w", "json")
        assert saved.code == 0, saved.err
    finally:
        local.kill()
    etcd = ["--etcd", os.path.relpath(spec.engine.binary)] if spec.engine.binary else []
    restored = cli(
        "snapshot", "restore", "backup.db", "--data-dir", "restored", "--name", before.name,
        "--initial-cluster", f"{before.name}={before.peer_url}", *etcd,
    )  # fmt: skip
    assert restored.code == 0, restored.err
    command = restored.out.rpartition("start it with: ")[2]
    member = start(command)
    try:
        poll_until(lambda: cli("status", "--endpoints", before.client_url).code == 0, 45, command)
    finally:
        member.kill()
        member.wait()


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["snapshot", "--help"], ["recover", "--help"], ["demo", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = f"""
import sys
from collections.abc import Callable
from etcdops.cli.main import run
run({arguments!r})
heavy = ("grpc", "textual", "rich", "asyncio", "google", "ssl", "apsw", "aiohttp", "crc32c")
sys.stderr.write("LOADED:" + ",".join(m for m in heavy if m in sys.modules))
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean_environment(tmp_path)
    )
    assert ran.stderr.endswith("LOADED:")
