"""Which tool restores for which server, with scripts that say what real ones say."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import EtcdopsError, UsageError
from etcdops.snapshot.etcd_tools import RestoreTarget, RestoreTool, find_tool, restore

HELP_OLD = "--initial-cluster-token="
HELP_NEW = "--initial-cluster-token= --bump-revision=0 --mark-compacted"


def program(folder: Path, name: str, version: str, help_text: str = "", *, restores: bool = True) -> Path:
    """A script that answers `version` and `snapshot restore --help` as etcd's programs do."""
    label = {"etcd": "etcd Version", "etcdutl": "etcdutl version", "etcdctl": "etcdctl version"}[name]
    path = folder / name
    path.write_text(
        "#!/bin/sh\n"
        f'case "$1" in version|--version) echo "{label}: {version}";;\n'
        f'snapshot) {"echo" if restores else "exit 1 #"} "{help_text}";;\nesac\n'
    )
    path.chmod(0o700)
    return path


@pytest.fixture
def no_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No etcd in PATH, whatever this machine has."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.usefixtures("no_path")
@pytest.mark.parametrize(
    ("server", "etcdctl", "etcdutl", "chosen"),
    [
        ("3.4.23", "3.4.23", None, "etcdctl"),
        ("3.4.23", "3.4.23", "3.5.16", "etcdctl"),
        ("3.5.16", "3.5.16", "3.5.16", "etcdutl"),
        ("3.5.16", "3.5.16", None, "etcdctl"),
        ("3.6.1", "3.6.1", "3.6.1", "etcdutl"),
        ("3.7.0", "3.7.0", "3.7.0", "etcdutl"),
        ("3.6.1", "3.6.1", None, None),
        ("3.6.1", None, "3.5.16", None),
    ],
)
def test_the_tool_of_the_servers_version_is_used(
    tmp_path: Path, server: str, etcdctl: str | None, etcdutl: str | None, chosen: str | None
) -> None:
    """Goal: never `etcdctl snapshot restore` where it is gone, never a tool of another minor version."""
    etcd = program(tmp_path, "etcd", server)
    for name, version in (("etcdctl", etcdctl), ("etcdutl", etcdutl)):
        if version:
            program(tmp_path, name, version, HELP_NEW)
    if chosen is None:
        with pytest.raises(UsageError, match="no tool to restore") as failed:
            find_tool(etcd)
        assert "etcdutl" in failed.value.hint
        return
    assert find_tool(etcd).path == tmp_path / chosen


@pytest.mark.usefixtures("no_path")
def test_what_a_tool_can_do_is_asked_of_the_tool(tmp_path: Path) -> None:
    """Goal: Debian's 3.4.23 has no bump, 3.4.27 has; a tool without the command is none."""
    etcd = program(tmp_path, "etcd", "3.4.30")
    program(tmp_path, "etcdctl", "3.4.30", HELP_OLD)
    assert not find_tool(etcd).can_bump
    program(tmp_path, "etcdctl", "3.4.30", HELP_NEW)
    assert find_tool(etcd).can_bump
    program(tmp_path, "etcdctl", "3.4.30", restores=False)
    with pytest.raises(UsageError):
        find_tool(etcd)


def test_a_named_tool_must_fit_too(tmp_path: Path) -> None:
    """Goal: --restore-tool is a choice, not a way round the check."""
    etcd = program(tmp_path, "etcd", "3.6.1")
    with pytest.raises(UsageError, match=r"cannot restore for etcd 3\.6\.1"):
        find_tool(etcd, tool=program(tmp_path, "etcdctl", "3.6.1", HELP_NEW))
    with pytest.raises(UsageError, match="does not say which version"):
        find_tool(Path("/bin/true"))
    with pytest.raises(UsageError, match="cannot run"):
        find_tool(tmp_path / "gone")


def test_a_failed_restore_names_its_last_words(tmp_path: Path) -> None:
    """Goal: the tool's own reason is in the error."""
    path = tmp_path / "etcdutl"
    path.write_text("#!/bin/sh\necho some log >&2\necho Error: expected sha256 1, got 2 >&2\nexit 1\n")
    path.chmod(0o700)
    tool = RestoreTool(path, (3, 5, 16), True)
    target = RestoreTarget("m1", tmp_path / "new", ("http://h:1",), "m1=http://h:1", "t")
    with pytest.raises(EtcdopsError, match="could not restore") as failed:
        restore(tool, tmp_path / "x.db", target, has_checksum=True)
    assert failed.value.cause == "Error: expected sha256 1, got 2"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "old").touch()
    with pytest.raises(UsageError, match="not empty"):
        restore(tool, tmp_path / "x.db", target, has_checksum=True)
