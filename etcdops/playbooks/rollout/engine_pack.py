"""An engine as one archive, ready to be copied to hosts: made from a release, a directory, or this very program.

Whatever the source, hosts get a tar.gz that unpacks into a folder of its own, named after its content.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import io
import py_compile
import re
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import etcdops
from etcdops.errors import UsageError
from etcdops.files import make_folder, replace_file
from etcdops.inventory.model import Engine, EngineKind
from etcdops.state_folder import state_folder

PROGRAMS = ("etcd", "etcdctl", "etcdutl")
NODE_NEEDS = ("aiohttp", "apsw", "crc32c", "cryptography", "h2", "prometheus-client", "protobuf", "PyYAML", "uvloop")
"""What the bundled node imports, by the names of its distributions; what these need comes along."""
_NODE_PACKAGES = ("node", "proto", "snapshot")
"""Of etcdops: the node never imports the others."""
NODE_FOLDER = "etcdops.d"
_MAIN = """\
import sys
sys.argv[0] = "etcdops-node"
from etcdops.node.main import main
sys.exit(main(sys.argv[2:]))
"""
_START = """\
#!/bin/sh
exec python3 -I -B "$(dirname -- "$(readlink -f -- "$0")")/{folder}" node "$@"
"""
Content: TypeAlias = Mapping[str, tuple[bytes, int]]
"""Path in the archive -> its bytes and permissions."""
_COMPRESSION = 1
"""Hosts are near: time spent on squeezing costs more than it saves."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class EnginePack:
    """An archive on this machine."""

    path: Path
    sha256: str
    name: str
    """Of the folder it becomes on hosts, such as `etcd-3.5.16-1f0c2a9b`."""
    programs: tuple[str, ...]
    """What is linked into the PATH, by their places in it."""


@dataclass(frozen=True, slots=True)
class PythonOf:
    """A Python that compiled modules fit or do not fit."""

    minor: tuple[int, int]
    machine: str
    """Such as `x86_64`."""
    libc: str
    """`glibc` or `musl`."""

    @classmethod
    def here(cls) -> PythonOf:
        platform = sysconfig.get_config_var("MULTIARCH") or ""
        libc = "musl" if "musl" in platform else "glibc"
        return cls((sys.version_info.major, sys.version_info.minor), sysconfig.get_platform().rpartition("-")[2], libc)


def pack(engine: Engine, base: Path) -> EnginePack | None:
    """The archive for hosts; None when nothing is copied: a package, or what is there already.

    Made once for each content, and kept in the state folder. Blocks.
    Args: base - what relative paths of the inventory start from.
    Raises: UsageError - the source is not what it should be.
    """
    if engine.kind is EngineKind.NODE:
        name = f"node-{etcdops.__version__}-{sys.implementation.cache_tag}"
        return _packed(name, dict(_node_content()), ("etcdops-node",), _with_compiled)
    source = engine.source
    if source.archive is not None:
        return _of_release(engine, base / source.archive.expanduser())
    if source.directory is not None:
        return _of_directory(engine, base / source.directory.expanduser())
    return None


def _of_release(engine: Engine, path: Path) -> EnginePack:
    """A release's archive has its programs one folder down, among documents."""
    raw = _read(path)
    digest = hashlib.sha256(raw).hexdigest()
    wanted = engine.source.sha256
    if wanted and wanted != digest:
        raise UsageError(
            f"{path} is not the archive that the inventory names",
            cause=f"its sha256 is {digest}, the inventory says {wanted}",
            hint="fetch it again, or correct engine.source.sha256",
        )
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if member.isfile() and name in PROGRAMS and (file := archive.extractfile(member)) is not None:
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"{path} cannot be read as an archive (tar.gz)", cause=str(error)) from error
    return _of_programs(engine, found, path)


def _of_directory(engine: Engine, folder: Path) -> EnginePack:
    return _of_programs(engine, {name: _read(folder / name) for name in PROGRAMS if (folder / name).is_file()}, folder)


def _of_programs(engine: Engine, found: dict[str, bytes], source: Path) -> EnginePack:
    if "etcd" not in found:
        raise UsageError(
            f"{source} holds no program called etcd", hint="name a release of etcd, or where its programs are"
        )
    programs = tuple(name for name in PROGRAMS if name in found)
    return _packed(f"etcd-{engine.version}", {name: (found[name], 0o755) for name in programs}, programs)


def _packed(
    name: str, content: Content, programs: tuple[str, ...], finish: Callable[[Content], Content] | None = None
) -> EnginePack:
    """Args: finish - adds what follows from the content and takes long to make."""
    digest = hashlib.sha256()
    for place, (data, mode) in sorted(content.items()):
        digest.update(f"{place}\0{mode:o}\0{len(data)}\0".encode())
        digest.update(data)
    folder = f"{name}-{digest.hexdigest()[:8]}"
    path = state_folder() / "engines" / f"{folder}.tar.gz"
    if not path.exists():
        make_folder(path.parent)
        replace_file(path, _archive(finish(content) if finish is not None else content))
    return EnginePack(path, hashlib.sha256(path.read_bytes()).hexdigest(), folder, programs)


def _archive(content: Content) -> bytes:
    raw = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_COMPRESSION, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w|") as archive,
    ):
        for path, (data, mode) in sorted(content.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    return raw.getvalue()


def _node_content() -> Iterator[tuple[str, tuple[bytes, int]]]:
    """The node with everything it imports, as a folder that `python3 FOLDER node` runs."""
    yield "etcdops-node", (_START.format(folder=NODE_FOLDER).encode(), 0o755)
    yield f"{NODE_FOLDER}/__main__.py", (_MAIN.encode(), 0o644)
    root = Path(etcdops.__file__).parent
    folders = [root.glob("*.py"), *((root / name).rglob("*.py") for name in _NODE_PACKAGES)]
    found = (path for paths in folders for path in sorted(paths) if path != root / "__main__.py")
    own = ((path.relative_to(root.parent), path) for path in found)
    for place, path in (*own, *_libraries()):
        yield f"{NODE_FOLDER}/{place.as_posix()}", (path.read_bytes(), 0o644)


def _libraries() -> Iterator[tuple[Path, Path]]:
    """(place in the folder, file here) of every file of the libraries that are needed."""
    for distribution in _needed():
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            tests = {"tests", "test"} & set(file.parts)
            if ".." in file.parts or "__pycache__" in file.parts or tests or not path.is_file():
                continue
            yield Path(*file.parts), path


def _needed() -> list[importlib.metadata.Distribution]:
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(NODE_NEEDS)
    while waiting:
        name = waiting.pop()
        key = name.lower().replace("_", "-")
        if key in found:
            continue
        try:
            found[key] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in found[key].requires or ():
            requirement, _, marker = line.partition(";")
            if "extra" not in marker and (match := _REQUIREMENT.match(requirement)):
                waiting.append(match.group())
    return [found[key] for key in sorted(found)]


def _with_compiled(content: Content) -> Content:
    """Compiled here: nobody on a host may write beside the program. What is for other Pythons is left out."""
    found = dict(content)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "code.py", Path(folder) / "code.pyc"
        for name, (data, _) in content.items():
            place = PurePosixPath(name)
            if place.suffix != ".py":
                continue
            source.write_bytes(data)
            try:
                py_compile.compile(
                    str(source), str(target), name, doraise=True,
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )  # fmt: skip
            except (py_compile.PyCompileError, ValueError):
                continue
            compiled = place.parent / "__pycache__" / f"{place.stem}.{sys.implementation.cache_tag}.pyc"
            found[str(compiled)] = (target.read_bytes(), 0o644)
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the engine {path} cannot be read", cause=error.strerror or str(error), hint="see engine.source"
        ) from error
