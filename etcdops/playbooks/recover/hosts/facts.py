"""What is left of a cluster on its hosts, found out without changing anything there."""

from __future__ import annotations

import asyncio
import posixpath
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.client.client import Client
from etcdops.client.settings import ConnectionSettings
from etcdops.client.view import ClusterView, observe
from etcdops.errors import EtcdopsError, SnapshotCorrupt
from etcdops.inventory.model import Cluster, EngineKind, Member, PlacedMember
from etcdops.playbooks.on_hosts import RunHosts, require_all
from etcdops.playbooks.recover.facts import RecoveryFacts, RevisionWitness
from etcdops.playbooks.recover.hosts.trees import Tree
from etcdops.playbooks.rollout.desired import desired
from etcdops.remote.command import ROOT, Command, command, script
from etcdops.remote.session import Session
from etcdops.services.managers import service_for
from etcdops.services.port import Changes, ServiceStatus, State
from etcdops.snapshot.data_dir import DataDirFacts, inspect_data_dir
from etcdops.snapshot.etcd_tools import RestoreTool, parse_version, tool_names, tool_of

FACTS_TIMEOUT_S = 3.0
_READ_MAX_KIB = 2 << 20
"""Of a dead member's data that is fetched to see how far it had come."""
_FETCH_TIMEOUT_S = 900.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LOOK = """
say() { printf '%s\\t%s\\n' "$1" "$2"; }
tree() {
    real=$(readlink -f -- "$2" 2>/dev/null) || real=$2
    [ "$real" ] || real=$2
    say "$1" "$real"
    near=$real
    while [ ! -e "$near" ]; do near=$(dirname -- "$near"); done
    if [ -d "$real" ]; then
        if [ "$(stat -c %d -- "$real")" != "$(stat -c %d -- "$real/..")" ] || mountpoint -q -- "$real" 2>/dev/null
        then say "$1-mounted" yes; fi
        [ ! -e "$real/member" ] || say "$1-member" yes
    fi
    say "$1-free" "$(df -Pk -- "$near" | awk 'NR == 2 { print $4 }')"
    say "$1-device" "$(stat -c %d -- "$near")"
}
tree data "$1"
[ -z "$2" ] || tree wal "$2"
if [ "$3" ]; then [ -x "$3" ] && say program "$3"; fi
id -u -- "$4" >/dev/null 2>&1 && say user yes
shift 4
for file; do [ -r "$file" ] || say lacking "$file"; done
:
"""
_PACK = """
set -e
umask 077
cd -- "$1"
limit=$2
shift 2
files=
size=0
for pattern; do
    for file in $pattern; do
        [ -f "$file" ] || continue
        files="$files $file"
        size=$(( size + $(du -k -- "$file" | cut -f 1) ))
    done
done
[ "$files" ] || { echo "there is no database in $PWD" >&2; exit 1; }
[ "$size" -le "$limit" ] || { echo "$size KiB are too much to be looked at from here" >&2; exit 1; }
folder=$(mktemp -d "${TMPDIR:-/var/tmp}/etcdops.XXXXXX")
trap 'rm -rf -- "$folder"' EXIT
tar -czf "$folder/packed.tgz" $files
trap - EXIT
printf '%s\\n' "$folder"
"""
"""A small copy of what tells how far a member had come: logs are mostly empty room, which packs to nothing. The
patterns are ours, and so are the names they match."""
_STATE_FILES = ("snap/db", "state.db", "state.db-wal")
_LOG_FILES = ("*.wal", "wal.db", "wal.db-wal")


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """One member on its host."""

    placed: PlacedMember
    status: ServiceStatus
    has_data: bool
    data: Tree
    wal: Tree | None
    free_bytes: int
    """On the file system of its data."""
    tool: RestoreTool | None
    """None for the node."""
    changes: Changes
    """Of its configuration."""
    faults: tuple[str, ...]
    """Why it cannot be recovered there, in sentences that begin with the host."""

    @property
    def name(self) -> str:
        return self.placed.name

    @property
    def host(self) -> str:
        return self.placed.host.name

    @property
    def running(self) -> bool:
        return self.status.pid is not None or self.status.state in (State.RUNNING, State.STARTING)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One look at all of it."""

    members: tuple[MemberFacts, ...]
    recovery: RecoveryFacts
    """The same as for members of this machine."""


async def gather_facts(
    run: RunHosts,
    renewed: Cluster,
    settings: ConnectionSettings,
    *,
    stamp: str,
    tool: str = "",
    last_known_revision: int | None = None,
) -> HostFacts:
    """Look at every host and ask every member. Changes nothing.

    Args: renewed - the cluster as it will be configured; tool - what restores on the hosts; empty: it is looked for.
    Raises: Unreachable, AccessDenied - a host does not let us in: all of them are needed.
    """
    sessions = await require_all(run, [member.host for member in run.cluster.members])
    async with Client(settings) as client:
        view = await observe(client, timeout_s=FACTS_TIMEOUT_S)
    found = await asyncio.gather(
        *(
            _look(session, run, renewed, member, stamp=stamp, tool=tool)
            for session, member in zip(sessions, run.cluster.members, strict=True)
        )
    )
    answered = {url for one in view.members if one.answered for url in (*one.client_urls, one.endpoint)}
    dead = [
        (session, one)
        for session, one in zip(sessions, found, strict=True)
        if one.has_data and not one.running and not answered.intersection(one.placed.advertise_client_urls)
    ]
    read = await asyncio.gather(*(_read_data(session, one) for session, one in dead))
    return HostFacts(tuple(found), _recovery(view, found, read, last_known_revision))


Read = tuple[str, DataDirFacts | str]
"""A member's name, and what its data says, or why it says nothing."""


def _recovery(
    view: ClusterView, found: list[MemberFacts], read: list[Read], last_known_revision: int | None
) -> RecoveryFacts:
    witnesses = [
        RevisionWitness(f"{member.label} answers", member.status.revision, member.status.revision)
        for member in view.members
        if member.status is not None
    ]
    cluster_id, problems = view.cluster_id, []
    for name, said in read:
        if isinstance(said, str):
            problems.append(f"the data of {name} cannot be read: {said}")
            continue
        cluster_id = cluster_id or said.cluster_id
        witnesses.append(RevisionWitness(f"the data directory of {name}", said.revision, said.revision_max))
    if last_known_revision is not None:
        witnesses.append(RevisionWitness("--last-known-revision", last_known_revision, last_known_revision))
    return RecoveryFacts(
        view=view,
        running=tuple(one.name for one in found if one.running),
        without_data=tuple(one.name for one in found if not one.has_data),
        witnesses=tuple(witnesses),
        cluster_id=cluster_id,
        problems=tuple(problems),
    )


async def _look(
    session: Session, run: RunHosts, renewed: Cluster, member: Member, *, stamp: str, tool: str
) -> MemberFacts:
    wanted = desired(run.inventory, renewed, member, state="existing")
    placed, config, service = wanted.member, wanted.config, service_for(session, renewed.service)
    program = "" if wanted.engine.kind is EngineKind.NODE or config.image else config.program
    needed = [path for leaf in wanted.leaves for path in (leaf.certificate, leaf.key)]
    needed += [bundle.path for bundle in wanted.bundles]
    looked, status, changes, effective = await asyncio.gather(
        session.run(script(_LOOK, placed.data_dir, placed.wal_dir, config.program, config.user, *needed, user=ROOT)),
        service.status(),
        service.compare(wanted.files),
        service.effective_config(),
    )
    said: dict[str, str] = {}
    lacking = []
    for line in looked.text.splitlines():
        name, _, value = line.partition("\t")
        said[name] = value
        lacking += [value] if name == "lacking" else []
    faults = [f"{session.host}: {path} is not there" for path in lacking]
    if not config.image and "program" not in said:
        faults.append(f"{session.host}: the program {config.program} is not there")
    if not config.image and "user" not in said:
        faults.append(f"{session.host}: there is no user {config.user}")
    start = effective.running or effective.next_start
    for flag, ours in (("data-dir", placed.data_dir), ("wal-dir", placed.wal_dir)):
        theirs = start.value(flag) if start is not None else None
        if theirs is not None and posixpath.normpath(theirs) != ours:
            faults.append(f"{session.host}: {service.name} has --{flag} {theirs}, the inventory says {ours or 'none'}")
    found: RestoreTool | None = None
    data = Tree(said["data"], "data-mounted" in said, stamp)
    wal = Tree(said["wal"], "wal-mounted" in said, stamp) if placed.wal_dir else None
    if wanted.engine.kind is EngineKind.ETCD:
        version = parse_version(f"etcdutl version: {config.version}") or (*config.version.line, 0)
        try:
            found = await _find_tool(session, renewed, version, program, tool)
        except EtcdopsError as error:
            faults.append(f"{error.message}")
    return MemberFacts(
        placed,
        status,
        "data-member" in said,
        data,
        wal,
        int(said.get("data-free") or 0) * 1024,
        found,
        changes,
        tuple(faults),
    )


async def _find_tool(
    session: Session, cluster: Cluster, version: tuple[int, int, int], program: str, given: str
) -> RestoreTool:
    """The program that restores on a host, of the members' own minor version.

    Raises: EtcdopsError - there is none.
    """
    image = cluster.service.image
    names = (given,) if given else tool_names(version)
    folders = ("",) if given or image else (f"{posixpath.dirname(program)}/", "")
    for path in [f"{folder}{name}" for folder in folders for name in names]:
        tool = await _probe(session, cluster, path)
        if tool is not None and tool.version[:2] == version[:2]:
            return tool
    where = f"in the image {image}" if image else f"beside {program} or in the PATH"
    raise EtcdopsError(
        f"{session.host}: no {names[0]} {version[0]}.{version[1]} {where}, which restores a snapshot",
        hint="put it there, or name it with --restore-tool",
    )


async def _probe(session: Session, cluster: Cluster, path: str) -> RestoreTool | None:
    said, usage = [
        await session.run(tool_command(cluster, path, arguments), check=False)
        for arguments in (("version",), ("snapshot", "restore", "--help"))
    ]
    return tool_of(Path(path), said.text, usage.text) if said.ok and usage.ok else None


def tool_command(cluster: Cluster, path: str, arguments: tuple[str, ...], *, volumes: tuple[str, ...] = ()) -> Command:
    """A restore tool on a host, with an environment of its own: etcd's programs take flags from variables."""
    image = cluster.service.image
    if not image:
        return command("env", "-i", f"PATH={_PATH}", "ETCDCTL_API=3", path, *arguments, user=ROOT)
    mounted = [f"--volume={volume}:{volume}:Z" for volume in volumes]
    alone = ("run", "--rm", "--network=none", "--user=0", "--env=ETCDCTL_API=3", f"--entrypoint={path}")
    return command(str(cluster.service.manager), *alone, *mounted, image, *arguments, user=ROOT)


async def _read_data(session: Session, member: MemberFacts) -> Read:
    """How far a member that does not run had come, from a copy of its files."""
    own = f"{member.data.path}/member"
    try:
        with tempfile.TemporaryDirectory(prefix="etcdops-inspect-") as folder:
            copy = Path(folder) / "member"
            if member.wal is None:
                await _fetch(session, own, (*_STATE_FILES, "wal/*.wal", *_LOG_FILES), copy)
            else:
                await _fetch(session, own, _STATE_FILES, copy)
                await _fetch(session, member.wal.path, _LOG_FILES, copy if member.tool is None else copy / "wal")
            return member.name, await asyncio.to_thread(inspect_data_dir, copy.parent) or "there is no member in it"
    except (SnapshotCorrupt, EtcdopsError, OSError, tarfile.TarError) as error:
        said = (error.cause or error.message) if isinstance(error, EtcdopsError) else str(error)
        return member.name, said.splitlines()[-1] if said else type(error).__name__


async def _fetch(session: Session, folder: str, patterns: Sequence[str], target: Path) -> None:
    """The files of a host's folder that match, in a folder of this machine."""
    asked = script(_PACK, folder, str(_READ_MAX_KIB), *patterns, user=ROOT)
    packed = (await session.run(asked, timeout_s=_FETCH_TIMEOUT_S)).text
    local = target.with_name("packed.tgz")
    try:
        await session.download(f"{packed}/packed.tgz", local, user=ROOT, timeout_s=_FETCH_TIMEOUT_S)
    finally:
        await session.run(script('exec rm -rf -- "$1"', packed, user=ROOT), check=False)
    await asyncio.to_thread(_unpack, local, target)


def _unpack(packed: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(packed) as archive:
        archive.extractall(target, filter="data")
