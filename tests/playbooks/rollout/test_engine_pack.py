"""Engines as archives: from a release, a directory, this installation."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import etcdops
from etcdops.errors import UsageError
from etcdops.inventory.model import Engine
from etcdops.playbooks.rollout.engine_pack import _NODE_PACKAGES, _needed, pack


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    return tmp_path


def release(path: Path, names: tuple[str, ...] = ("etcd", "etcdctl", "README.md")) -> str:
    """An archive as etcd's releases are; returns its hash."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"etcd-v3.5.16-linux-amd64/{name}")
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def engine(**source: object) -> Engine:
    return Engine.model_validate({"version": "3.5.16", "source": source})


def test_of_a_release_only_the_programs_go_to_hosts(home: Path) -> None:
    """Whatever folder they are in."""
    digest = release(home / "etcd.tar.gz")
    made = pack(engine(archive="etcd.tar.gz", sha256=digest), home)
    assert made is not None
    with tarfile.open(made.path) as archive:
        assert {entry.name: oct(entry.mode) for entry in archive} == {"etcd": "0o755", "etcdctl": "0o755"}
    assert made.programs == ("etcd", "etcdctl")
    assert made.name.startswith("etcd-3.5.16-")


def test_the_same_programs_are_the_same_folder_from_wherever_they_come(home: Path) -> None:
    """Named after the content: a second apply finds it there."""
    release(home / "etcd.tar.gz")
    folder = home / "programs"
    folder.mkdir()
    for name in ("etcd", "etcdctl"):
        (folder / name).write_text(name)
    first, second = pack(engine(archive="etcd.tar.gz"), home), pack(engine(directory=str(folder)), home)
    assert first == second
    (folder / "etcdctl").write_text("another")
    third = pack(engine(directory=str(folder)), home)
    assert third is not None
    assert first is not None
    assert third.name != first.name


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"archive": "etcd.tar.gz", "sha256": "0" * 64}, "is not the archive that the inventory names"),
        ({"archive": "no.tar.gz"}, "cannot be read"),
        ({"archive": "text.tar.gz"}, "cannot be read as an archive"),
        ({"archive": "empty.tar.gz"}, "holds no program called etcd"),
        ({"directory": "."}, "holds no program called etcd"),
    ],
)
def test_a_source_that_will_not_do_is_named(home: Path, source: dict[str, object], said: str) -> None:
    """Before any host is touched."""
    release(home / "etcd.tar.gz")
    release(home / "empty.tar.gz", ("README.md",))
    (home / "text.tar.gz").write_text("no archive")
    with pytest.raises(UsageError, match=said):
        pack(engine(**source), home)


def test_a_package_and_what_is_there_already_are_not_copied(home: Path) -> None:
    """Nothing to pack."""
    assert pack(engine(package="etcd-server"), home) is None
    assert pack(engine(), home) is None


def test_everything_that_the_node_imports_is_packed() -> None:
    """A library that is added to the node, and not to the pack, would be missing on hosts only."""
    packed = {
        file.parts[0].partition(".")[0]
        for distribution in _needed()
        for file in distribution.files or ()
        if file.parts[0] != ".."
    }
    root = Path(etcdops.__file__).parent
    files = [*root.glob("[!_]*.py"), *(path for name in _NODE_PACKAGES for path in (root / name).rglob("*.py"))]
    wanted: dict[str, Path] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name: path for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                wanted[node.module] = path
    for name, path in wanted.items():
        top, _, rest = name.partition(".")
        if top == "etcdops":
            inside = (
                not rest or (root / f"{rest.partition('.')[0]}.py").exists() or rest.split(".")[0] in _NODE_PACKAGES
            )
            assert inside, f"{path} imports {name}, which is not packed"
        else:
            assert top in sys.stdlib_module_names or top in packed, f"{path} imports {name}, which is not packed"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_packed_node_runs_without_this_installation(home: Path) -> None:
    """By the same Python with nothing else installed, through the link that hosts have."""
    made = pack(Engine.model_validate({"kind": "node"}), home)
    assert made is not None
    assert pack(Engine.model_validate({"kind": "node"}), home) == made, "made once"
    folder = home / "opt"
    with tarfile.open(made.path) as archive:
        archive.extractall(folder, filter="data")
    (home / "bin").mkdir()
    (home / "bin" / "etcdops-node").symlink_to(folder / "etcdops-node")
    (home / "bin" / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    done = subprocess.run(
        [home / "bin" / "etcdops-node", "--version"],
        env={"PATH": f"{home / 'bin'}:/usr/bin:/bin", "PYTHONPATH": "/nowhere"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "etcd Version: 3.5" in done.stdout
    assert importlib.metadata.version("etcdops") in done.stdout
