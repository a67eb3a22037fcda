"""Where real etcd is, for those who did not say."""

from __future__ import annotations

import shutil
from pathlib import Path

import etcdops
from etcdops.errors import UsageError
from etcdops.playbooks.cluster_file import Engine, EngineKind


def choose_engine(kind: EngineKind, etcd: Path | None) -> Engine:
    """The engine to run. Raises: UsageError - real etcd is wanted and not found."""
    if kind is EngineKind.NODE:
        return Engine(kind)
    found = etcd.absolute() if etcd is not None else find_etcd()
    if found is None or not found.is_file():
        raise UsageError(
            f"there is no etcd at {etcd}" if etcd else "no etcd found in .cache/etcd or in PATH",
            hint="`make etcd` fetches one, --etcd PATH names one",
        )
    return Engine(kind, found)


def find_etcd() -> Path | None:
    """The newest etcd in `.cache/etcd/<version>/` of the current folder or of this checkout, else the one in PATH."""
    for root in (Path.cwd(), Path(etcdops.__file__).parents[1]):
        found = [path for path in (root / ".cache" / "etcd").glob("*/etcd") if path.is_file()]
        if found:
            return max(found, key=lambda path: _version_key(path.parent.name))
    in_path = shutil.which("etcd")
    return Path(in_path) if in_path else None


def _version_key(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())
