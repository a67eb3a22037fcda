"""One member's data directory from a snapshot, with whatever fits the engine that will serve it."""

from __future__ import annotations

import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from etcdops import ids
from etcdops.errors import UsageError
from etcdops.files import fill_directory, is_vacant
from etcdops.ids import padded_id
from etcdops.playbooks.cluster_file import Engine, EngineKind
from etcdops.playbooks.member_command import MemberStart, client_urls_beside, shown_program
from etcdops.snapshot import etcd_tools
from etcdops.snapshot.etcd_rewrite import rewrite_bumped
from etcdops.snapshot.facts import SnapshotFormat
from etcdops.snapshot.inspect import SnapshotReport
from etcdops.snapshot.sidecar import noted_client_urls
from etcdops.snapshot.sqlite_restore import InitialMember, restore_node


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to make. `initial_cluster` is etcd's flag of that name; `bump` 0 keeps the revision."""

    data_dir: Path
    name: str
    initial_cluster: str
    token: str
    bump: int = 0
    peer_urls: tuple[str, ...] = ()
    """If given, they must be what `initial_cluster` has for this member, as etcd's own tools demand."""
    client_urls: tuple[str, ...] = ()
    """Where clients will reach it, for the command that starts it; () = as the snapshot or its peer URLs suggest."""
    etcd: Path | None = None
    """The etcd that will serve the directory; needed for etcd's format."""
    tool: Path | None = None


@dataclass(frozen=True, slots=True)
class RestoredMember:
    """What was made, ready to be shown."""

    data_dir: str
    member_id: str
    cluster_id: str
    token: str
    keys: int
    revision: int
    restored_with: str
    start_command: str
    """Complete as it stands, from any folder; but see `needs_certificates`."""
    needs_certificates: bool
    """Some of its URLs are https: the command lacks the certificate flags, which no snapshot knows."""


def restore_member(report: SnapshotReport, request: RestoreRequest) -> RestoredMember:
    """Make the data directory: all of it, or nothing has its name. Nothing is overwritten.

    Raises: UsageError - the directory is in use, the member is not in --initial-cluster or has other peer URLs there,
        or no tool fits; EtcdopsError.
    """
    members = parse_initial_cluster(request.initial_cluster)
    own = next((member for member in members if member.name == request.name), None)
    if own is None:
        raise UsageError(
            f"--initial-cluster does not name {request.name!r}", hint=f"it names {request.initial_cluster}"
        )
    if request.peer_urls and sorted(request.peer_urls) != sorted(own.peer_urls):
        raise UsageError(
            f"--initial-cluster has {','.join(own.peer_urls)} for {own.name}, "
            f"--initial-advertise-peer-urls has {','.join(request.peer_urls)}",
            hint="make both the same: this is how the other members will reach it",
        )
    if not is_vacant(request.data_dir):
        raise UsageError(f"{request.data_dir} is not empty", hint="move it aside first; nothing is overwritten")
    revision = report.revision + request.bump if request.bump else report.current_revision
    restored_with = (_restore_etcd if report.format is SnapshotFormat.ETCD else _restore_node)(
        report, request, members, own, revision
    )
    start = _start(report, request, own)
    numbers = [ids.member_id(member.peer_urls, request.token) for member in members]
    return RestoredMember(
        data_dir=str(request.data_dir),
        member_id=padded_id(ids.member_id(own.peer_urls, request.token)),
        cluster_id=padded_id(ids.cluster_id(numbers)),
        token=request.token,
        keys=report.live_keys,
        revision=revision,
        restored_with=restored_with,
        start_command=_start_command(report, request, start),
        needs_certificates=start.secure,
    )


def parse_initial_cluster(text: str) -> list[InitialMember]:
    """Members of an `--initial-cluster`: a name given twice has several URLs. Raises: UsageError.

    Source: etcd client/pkg/types/urlsmap.go, NewURLsMap.
    """
    urls: dict[str, list[str]] = {}
    for part in text.split(","):
        name, equals, url = part.strip().partition("=")
        if not equals or not name or "://" not in url:
            raise UsageError(
                f"--initial-cluster: {part!r} is not NAME=URL", hint="write m1=http://10.0.0.1:2380,m2=http://..."
            )
        urls.setdefault(name, []).append(url)
    return [InitialMember(name, tuple(sorted(found))) for name, found in urls.items()]


def _restore_node(
    report: SnapshotReport, request: RestoreRequest, members: list[InitialMember], own: InitialMember, revision: int
) -> str:
    if request.etcd is not None or request.tool is not None:
        raise UsageError(
            f"{report.path} is a snapshot of the bundled node: etcd cannot serve it",
            hint="leave out --etcd and --restore-tool to make the data directory of a node",
        )
    bumped = revision if request.bump else 0
    fill_directory(
        request.data_dir,
        lambda folder: restore_node(
            report.path, folder, name=own.name, members=members, token=request.token, revision=bumped
        ),
    )
    return "etcdops"


def _restore_etcd(
    report: SnapshotReport, request: RestoreRequest, members: list[InitialMember], own: InitialMember, revision: int
) -> str:
    if request.etcd is None:
        raise UsageError(
            f"{report.path} is a snapshot of etcd: which etcd will serve it?",
            hint="name it with --etcd PATH, so that the restore tool of its version is used",
        )
    tool = etcd_tools.find_tool(request.etcd, tool=request.tool)

    def restore(data_dir: Path, snapshot: Path, *, has_checksum: bool, bump: int = 0) -> None:
        target = etcd_tools.RestoreTarget(own.name, data_dir, own.peer_urls, request.initial_cluster, request.token)
        etcd_tools.restore(tool, snapshot, target, has_checksum=has_checksum, bump=bump)

    if not request.bump or tool.can_bump:
        fill_directory(
            request.data_dir,
            lambda data_dir: restore(data_dir, report.path, has_checksum=report.has_checksum, bump=request.bump),
        )
        return tool.label
    with tempfile.TemporaryDirectory(prefix="etcdops-restore-", dir=request.data_dir.absolute().parent) as folder:
        bumped = Path(folder) / "bumped.db"
        rewrite_bumped(report.path, bumped, revision=revision)
        fill_directory(request.data_dir, lambda data_dir: restore(data_dir, bumped, has_checksum=True))
    return f"{tool.label} (the revision was raised by etcdops)"


def _start(report: SnapshotReport, request: RestoreRequest, own: InitialMember) -> MemberStart:
    """How the member is started. Client URLs nobody gave are those the same member had, if that is known."""
    known = next(
        (
            member.client_urls
            for member in report.facts.members
            if member.name == own.name and set(member.peer_urls) == set(own.peer_urls)
        ),
        (),
    ) or noted_client_urls(report.path, report.sha256, own.name, own.peer_urls)
    return MemberStart(
        own.name,
        request.data_dir.absolute(),
        request.client_urls or known or client_urls_beside(own.peer_urls),
        own.peer_urls,
        request.initial_cluster,
        request.token,
    )


def _start_command(report: SnapshotReport, request: RestoreRequest, start: MemberStart) -> str:
    engine = Engine(EngineKind.NODE)
    if report.format is SnapshotFormat.ETCD and request.etcd is not None:
        engine = Engine(EngineKind.ETCD, Path(shutil.which(request.etcd) or request.etcd).absolute())
    return shlex.join(start.command(shown_program(engine)))
