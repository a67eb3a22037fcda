"""`etcdops bundle`: what is in the archive, and what must not be, planted everywhere."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from etcdops.playbooks.cluster_file import Engine, EngineKind
from tests.cli.conftest import RunCli
from tests.playbooks.clusters import described

SECRET = "hunter2-S3cr"
LINES = [
    '{"level":"info","ts":"2026-01-31T08:00:00.1Z","caller":"embed/etcd.go:1","msg":"starting an etcd server",'
    '"name":"prod-1","initial-cluster":"prod-1=https://10.0.0.1:2380"}',
    f'{{"level":"warn","ts":"2026-01-31T08:00:01Z","msg":"slow","request":"put:<key:\\"/a\\" value:\\"{SECRET}\\" >"}}',
    f"etcdctl --user root:{SECRET} member list",
    "-----BEGIN PRIVATE KEY-----",
    SECRET,
    "-----END PRIVATE KEY-----",
    "2026-01-31 08:00:02.000000 W | rafthttp: health check for peer 8e9e05c52164694d could not connect:"
    " dial tcp 10.0.0.2:2380: connect: connection refused",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "m1.log"
    path.write_text("\n".join(LINES) + "\n")
    return path


def unpacked(path: Path) -> dict[str, str]:
    """What is in an archive, by its path below the one folder."""
    with tarfile.open(path) as archive:
        files = {member.name.partition("/")[2]: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read().decode() for name, file in files.items() if file is not None}


def test_an_archive_has_logs_findings_and_a_manifest_and_no_secret(cli: RunCli, log: Path, tmp_path: Path) -> None:
    """A value, a password, a private key: gone from every file; the rest of the log is as it was."""
    ran = cli("bundle", str(log), "-o", str(tmp_path / "out.tar.gz"))
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'out.tar.gz'}\n")
    found = unpacked(tmp_path / "out.tar.gz")
    assert {"README.txt", "findings.txt", "findings.json", "etcdops.json", "logs/m1.log", "MANIFEST.json"} <= {*found}
    assert not [name for name, text in found.items() if SECRET in text]
    assert found["logs/m1.log"].splitlines()[0] == LINES[0]
    assert len(found["logs/m1.log"].splitlines()) == len(LINES)
    manifest = json.loads(found["MANIFEST.json"])
    assert {one["path"] for one in manifest["contents"]} == {*found} - {"MANIFEST.json"}
    assert manifest["taken_out"]["private key"] == 1
    assert manifest["left_out"]
    assert "taken out: " in ran.err
    assert (tmp_path / "out.tar.gz").stat().st_mode & 0o777 == 0o600


def test_addresses_and_names_are_replaced_in_every_file(cli: RunCli, log: Path, tmp_path: Path) -> None:
    """Who is who stays on this machine, beside the archive."""
    out = tmp_path / "out.tar.gz"
    ran = cli("bundle", str(log), "-o", str(out), "--redact-addresses", "-w", "json")
    assert ran.code == 0
    found = unpacked(out)
    assert not [name for name, text in found.items() for real in ("10.0.0.1", "10.0.0.2", "prod-1") if real in text]
    who = json.loads(Path(json.loads(ran.out)["names"]).read_text())
    assert {"10.0.0.1", "10.0.0.2", "prod-1"} <= {*who.values()}
    assert Path(f"{out}.names.json").stat().st_mode & 0o777 == 0o600
    assert json.loads(found["MANIFEST.json"])["names_replaced"] is True


def test_the_cluster_of_the_environment_is_asked_as_by_any_command(cli: RunCli, log: Path, tmp_path: Path) -> None:
    """But logs at hand may be of another: beside them only one that was typed is asked."""
    nobody = "http://127.0.0.1:1"
    ran = cli("bundle", "-o", str(tmp_path / "env.tar.gz"), ETCDOPS_ENDPOINTS=nobody)
    assert ran.code == 0
    assert nobody in unpacked(tmp_path / "env.tar.gz")["findings.txt"]
    ran = cli("bundle", str(log), "-o", str(tmp_path / "log.tar.gz"), ETCDOPS_ENDPOINTS=nobody)
    assert nobody not in unpacked(tmp_path / "log.tar.gz")["findings.txt"]


def test_a_cluster_of_this_machine_brings_its_logs(cli: RunCli, log: Path, tmp_path: Path) -> None:
    """Those that are there; the others are named as left out."""
    spec = described(tmp_path / "lab", Engine(EngineKind.NODE))
    spec.log_path(spec.members[0]).write_bytes(log.read_bytes())
    ran = cli("bundle", "--local", str(spec.directory), "-o", str(tmp_path / "lab.tar.gz"))
    assert ran.code == 0
    found = unpacked(tmp_path / "lab.tar.gz")
    assert found["logs/m1.log"].splitlines()[0] == LINES[0]
    left_out = json.loads(found["MANIFEST.json"])["left_out"]
    assert {f"the log of {name}" for name in ("m2", "m3")} <= {one["what"] for one in left_out}
    assert "not in it: the log of m2: " in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-o", "a.tar.gz"], "nothing was named"),
        (["m1.log", "-o", "a.zip"], "no name for an archive"),
        (["m1.log", "-o", "there.tar.gz"], "there.tar.gz exists"),
        (["m1.log", "-o", "no/such/a.tar.gz"], "there is no folder"),
        (["no.log", "-o", "a.tar.gz"], "no.log does not exist"),
        (["-", "-o", "a.tar.gz"], "standard input"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_collected(
    cli: RunCli, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """And nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    Path("there.tar.gz").touch()
    ran = cli("bundle", *words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m1.log", "there.tar.gz"]
