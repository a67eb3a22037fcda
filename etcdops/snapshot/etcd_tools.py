"""Restores an etcd snapshot into a data directory with etcd's own tool, the one that fits the server.

    server 3.6 and later   etcdutl (etcdctl has no `snapshot restore` any more)
    server 3.5             etcdutl, or etcdctl where a package left etcdutl out
    server 3.4             etcdctl (there is no etcdutl)

What a tool can do is asked of the tool (`--help`), not of its version: Debian's 3.4.23 lacks what 3.4.27 has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.errors import EtcdopsError, UsageError

_PROBE_TIMEOUT_S = 20.0
_RESTORE_TIMEOUT_S = 1800.0
_VERSION = re.compile(r"(?:etcd Version|etcdutl version|etcdctl version): (\d+)\.(\d+)\.(\d+)")

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class RestoreTool:
    """A program with `snapshot restore`."""

    path: Path
    version: Version
    can_bump: bool
    """It knows --bump-revision and --mark-compacted."""

    @property
    def label(self) -> str:
        return f"{self.path.name} {format_version(self.version)}"


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """One member to be: what its data directory will say."""

    name: str
    data_dir: Path
    peer_urls: tuple[str, ...]
    initial_cluster: str
    """`name=url,...` of all members, as in etcd's flag of that name."""
    token: str
    wal_dir: Path | None = None


def program_version(path: Path) -> Version:
    """The version of an etcd, etcdctl or etcdutl. Raises: UsageError - it does not run or is something else."""
    flag = "--version" if path.name == "etcd" else "version"
    found = parse_version(_run([str(path), flag], _PROBE_TIMEOUT_S).stdout)
    if found is None:
        raise UsageError(f"{path} does not say which version of etcd it is", hint="name etcd's own binary")
    return found


def parse_version(said: str) -> Version | None:
    """What an etcd, etcdctl or etcdutl prints of its version; None: it is something else."""
    match = _VERSION.search(said)
    return (int(match[1]), int(match[2]), int(match[3])) if match is not None else None


def format_version(version: Version) -> str:
    return ".".join(str(part) for part in version)


def find_tool(etcd: Path, *, tool: Path | None = None) -> RestoreTool:
    """The tool that restores for this server: `tool` if given, else one beside the server, else one in PATH.

    A tool of the server's own minor version is taken before others: the file it makes is what that server writes.

    Raises: UsageError - none fits; the message names what to install.
    """
    server = program_version(etcd)
    names = tool_names(server)
    if tool is not None:
        if tool.name.startswith("etcdctl") and server >= (3, 6, 0):
            raise UsageError(f"{tool} cannot restore for etcd {format_version(server)}", hint="name its etcdutl")
        candidates = [tool]
    else:
        folders = [str(etcd.parent), os.environ.get("PATH", os.defpath)]
        found = [shutil.which(name, path=folder) for folder in folders for name in names]
        candidates = [Path(path) for path in found if path]
    for candidate in candidates:
        probed = _probe(candidate)
        if probed is not None and probed.version[:2] == server[:2]:
            return probed
    wanted = f"{names[0]} {server[0]}.{server[1]}"
    raise UsageError(
        f"no tool to restore a snapshot for etcd {format_version(server)}: looked for {wanted}",
        hint=f"put {names[0]} of the server's version beside {etcd} or into PATH, or name it with --restore-tool",
    )


def tool_names(server: Version) -> tuple[str, ...]:
    """Programs that can restore for a server of this version, best first."""
    return ("etcdutl",) if server >= (3, 6, 0) else ("etcdutl", "etcdctl") if server >= (3, 5, 0) else ("etcdctl",)


def tool_of(path: Path, version: str, usage: str) -> RestoreTool | None:
    """What a program can do, from what it prints for `version` and for `snapshot restore --help`; None: not that."""
    found = parse_version(version)
    if found is None or "--initial-cluster-token" not in usage:
        return None
    return RestoreTool(path, found, "--bump-revision" in usage and "--mark-compacted" in usage)


def restore_arguments(snapshot: str, target: RestoreTarget, *, has_checksum: bool, bump: int = 0) -> list[str]:
    """What follows a tool's name to make `target.data_dir`; see `restore`."""
    return [
        "snapshot",
        "restore",
        snapshot,
        f"--name={target.name}",
        f"--data-dir={target.data_dir}",
        f"--initial-cluster={target.initial_cluster}",
        f"--initial-cluster-token={target.token}",
        f"--initial-advertise-peer-urls={','.join(target.peer_urls)}",
        *([f"--wal-dir={target.wal_dir}"] if target.wal_dir is not None else []),
        *([] if has_checksum else ["--skip-hash-check"]),
        *([f"--bump-revision={bump}", "--mark-compacted"] if bump else []),
    ]


def restore(tool: RestoreTool, snapshot: Path, target: RestoreTarget, *, has_checksum: bool, bump: int = 0) -> None:
    """Make `target.data_dir` from the snapshot; `bump` > 0 also raises the revision by it and marks it compacted.

    The tool gets an empty environment: etcd's programs take flags from ETCD_* and ETCDCTL_* variables.

    Raises: UsageError - the data directory is in use, or the tool cannot bump; EtcdopsError - the tool failed.
    """
    if target.data_dir.exists() and any(target.data_dir.iterdir()):
        raise UsageError(f"{target.data_dir} is not empty", hint="move it aside first; nothing is overwritten")
    if bump and not tool.can_bump:
        raise UsageError(f"{tool.label} cannot raise the revision", hint="rewrite the snapshot first")
    command = [str(tool.path), *restore_arguments(str(snapshot), target, has_checksum=has_checksum, bump=bump)]
    done = _run(command, _RESTORE_TIMEOUT_S)
    if done.returncode != 0:
        raise EtcdopsError(
            f"{tool.label} could not restore {snapshot} into {target.data_dir}",
            cause=(done.stderr or done.stdout).strip().splitlines()[-1][:400] if done.stderr or done.stdout else "",
            hint=f"run it by hand to see all of its output: {' '.join(command)}",
        )
    target.data_dir.chmod(0o700)


def _probe(path: Path) -> RestoreTool | None:
    """What a program can do, None when it has no `snapshot restore`."""
    try:
        said = _run([str(path), "version"], _PROBE_TIMEOUT_S)
        usage = _run([str(path), "snapshot", "restore", "--help"], _PROBE_TIMEOUT_S)
    except UsageError:
        return None
    return tool_of(path, said.stdout, usage.stdout) if usage.returncode == 0 else None


def _run(command: Sequence[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.defpath, "ETCDCTL_API": "3"}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise UsageError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise EtcdopsError(f"{' '.join(command[:3])} did not end within {timeout_s:.0f} s") from error
