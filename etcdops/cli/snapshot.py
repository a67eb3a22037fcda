"""`etcdops snapshot save|status|restore`: snapshots of the whole store, of either engine."""

from __future__ import annotations

import dataclasses
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.diagnostics import warn
from etcdops.cli.help import OpsCommand, OpsGroup
from etcdops.cli.options import Invocation, cluster_options, connection_options, current, general_options
from etcdops.cli.output import Json, render_json, write
from etcdops.cli.snapshot_view import render_report, report_json
from etcdops.clock import rfc3339
from etcdops.errors import UsageError
from etcdops.numbers import show_bytes

if TYPE_CHECKING:
    from etcdops.client.maintenance import SnapshotProgress
    from etcdops.playbooks.snapshot_save import SavedSnapshot

STATUS_SCHEMA = "etcdops.snapshot.status/1"
SAVE_SCHEMA = "etcdops.snapshot.save/1"
RESTORE_SCHEMA = "etcdops.snapshot.restore/1"
_PATH = click.Path(path_type=Path)


@click.group(
    "snapshot",
    cls=OpsGroup,
    examples=[
        ("a verified backup, now", "etcdops snapshot save backup.db"),
        ("is this file whole? what is in it? (needs no server)", "etcdops snapshot status backup.db"),
        (
            "the data directory of one member of a new cluster",
            "etcdops snapshot restore backup.db --data-dir m1.etcd --name m1 --initial-cluster m1=http://10.0.0.1:2380",
        ),
    ],
)
def command() -> None:
    """Save, check and restore snapshots of the whole store."""


@command.command(
    "save",
    cls=OpsCommand,
    examples=[
        ("from the member that knows most", "etcdops snapshot save backup.db"),
        ("from this member", "etcdops snapshot save backup.db --member etcd-2"),
        ("for a script: where is it, what is in it?", "etcdops snapshot save backup.db -w json | jq .revision"),
    ],
)
@click.argument("file", type=_PATH)
@click.option("--member", default="", metavar="NAME", help="Take this member's, by name or ID.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@cluster_options
@connection_options
@general_options
def save(file: Path, member: str, force: bool) -> None:
    """Stream a snapshot into FILE and verify it completely before it gets that name.

    Taken from the healthy voter with the highest revision. FILE.json notes where it came from.
    """
    invocation = current()
    settings = invocation.connection_settings()

    async def work() -> SavedSnapshot:
        from etcdops.client.client import Client
        from etcdops.playbooks.snapshot_save import save_snapshot

        async with Client(settings) as client:
            return await save_snapshot(client, file, member=member, force=force, progress=_Progress(invocation))

    saved = invocation.run(work())
    for text in saved.warnings:
        warn(text)
    origin: dict[str, Json] = {
        "member": saved.member,
        "endpoint": saved.endpoint,
        "cluster_id": saved.cluster_id or None,
        "raft_term": saved.term,
        "taken_at": rfc3339(saved.taken_at),
        "warnings": list(saved.warnings),
    }
    if invocation.format == "json":
        write(render_json(SAVE_SCHEMA, {**report_json(saved.report), **origin}))
    else:
        invocation.note(f"saved from {saved.member or saved.endpoint}; origin noted in {saved.sidecar}")
        write(render_report(saved.report, invocation.look))


@command.command("status", cls=OpsCommand, examples=[("check a backup", "etcdops snapshot status backup.db")])
@click.argument("file", type=_PATH)
@general_options
def status(file: Path) -> None:
    """Check FILE completely, without any server, and say what is in it.

    Hash, revision, total keys and size are what `etcdutl snapshot status` prints. Exit 1 when it is damaged.
    """
    from etcdops.snapshot.inspect import inspect_snapshot

    invocation = current()
    report = inspect_snapshot(file)
    if not report.has_checksum:
        warn(f"{file} carries no checksum: its structure is sound, but a changed value would not be noticed")
    if invocation.format == "json":
        write(render_json(STATUS_SCHEMA, report_json(report)))
    else:
        write(render_report(report, invocation.look))


@command.command(
    "restore",
    cls=OpsCommand,
    examples=[
        (
            "a single member of the bundled engine",
            "etcdops snapshot restore backup.db --data-dir m1.node --name m1 "
            "--initial-cluster m1=http://127.0.0.1:2380",
        ),
        (
            "for etcd 3.5, whose etcdutl is beside it",
            "etcdops snapshot restore backup.db --etcd /usr/bin/etcd --data-dir m1.etcd --name m1 "
            "--initial-cluster m1=http://10.0.0.1:2380 --bump-revision 1000000000 --mark-compacted",
        ),
    ],
)
@click.argument("file", type=_PATH)
@click.option("--data-dir", type=_PATH, required=True, help="Where to; must be empty or absent.")
@click.option("--name", default="default", metavar="NAME", help="The member's name (default).")
@click.option("--initial-cluster", default="", metavar="NAME=URL,...", help="All members and their peer URLs.")
@click.option(
    "--initial-advertise-peer-urls", default="", metavar="URLS", help="Its own of them, as etcdctl is told; checked."
)
@click.option("--initial-cluster-token", default="", metavar="TOKEN", help="Equal for all members (random).")
@click.option("--client-urls", default="", metavar="URLS", help="Where clients reach it, for the printed command.")
@click.option("--bump-revision", type=click.IntRange(min=0), default=0, help="Raise the revision by this much.")
@click.option("--mark-compacted", is_flag=True, help="With --bump-revision: everything before is compacted.")
@click.option("--etcd", type=_PATH, metavar="PATH", help="The etcd that will serve it; its tool restores.")
@click.option("--restore-tool", type=_PATH, metavar="PATH", help="etcdutl (or etcdctl before 3.6) to use.")
@click.option("--skip-hash-check", is_flag=True, help="Accept a file without checksum, e.g. a copied db.")
@general_options
def restore(
    file: Path,
    data_dir: Path,
    name: str,
    initial_cluster: str,
    initial_advertise_peer_urls: str,
    initial_cluster_token: str,
    client_urls: str,
    bump_revision: int,
    mark_compacted: bool,
    etcd: Path | None,
    restore_tool: Path | None,
    skip_hash_check: bool,
) -> None:
    """Make one member's data directory from FILE.

    Every member of the new cluster must be restored from the same file with the same token. `etcdops recover` does
    that for a whole cluster. It prints the command that starts the member; client URLs that were not given are those
    the same member had when the snapshot was saved, else the port below the peer's.
    """
    from etcdops.client.endpoints import parse_endpoints
    from etcdops.playbooks.snapshot_restore import RestoreRequest, restore_member
    from etcdops.snapshot.inspect import inspect_snapshot

    invocation = current()
    if (bump_revision > 0) != mark_compacted:
        raise UsageError(
            "--bump-revision and --mark-compacted go together",
            hint="without the mark old watchers would take the jump for an empty history",
        )
    token = initial_cluster_token or f"restored-{secrets.token_hex(8)}"
    report = inspect_snapshot(file)
    if not report.has_checksum and not skip_hash_check:
        raise UsageError(
            f"{file} carries no checksum: it was not written by `snapshot save`",
            hint="its structure is sound; --skip-hash-check accepts it",
        )
    request = RestoreRequest(
        data_dir=data_dir,
        name=name,
        initial_cluster=initial_cluster or _cluster_of_one(name, initial_advertise_peer_urls),
        peer_urls=tuple(initial_advertise_peer_urls.split(",")) if initial_advertise_peer_urls else (),
        token=token,
        bump=bump_revision,
        client_urls=tuple(endpoint.url for endpoint in parse_endpoints([client_urls])) if client_urls else (),
        etcd=etcd,
        tool=restore_tool,
    )
    restored = restore_member(report, request)
    if invocation.format == "json":
        write(render_json(RESTORE_SCHEMA, {**report_json(report), **dataclasses.asdict(restored)}))
        return
    write(
        f"restored {restored.keys} keys into {restored.data_dir} with {restored.restored_with}\n"
        f"member {restored.member_id} of cluster {restored.cluster_id}, revision {restored.revision}\n"
        f"start it with: {restored.start_command}"
    )
    if not initial_cluster_token and "," in initial_cluster:
        invocation.note(f"restore the other members with the same token: --initial-cluster-token {token}")
    if restored.needs_certificates:
        invocation.note("its https URLs need certificates: add --cert-file, --key-file, --peer-cert-file and so on")


def _cluster_of_one(name: str, peer_urls: str) -> str:
    return ",".join(f"{name}={url}" for url in (peer_urls or "http://localhost:2380").split(","))


class _Progress:
    """Tells how a transfer goes: a line that is redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, invocation: Invocation) -> None:
        import sys
        import time

        self._clock = time.monotonic
        self._silent = invocation.quiet
        self._redraw = sys.stderr.isatty()
        self._ended = False
        self._started = self._shown_at = time.monotonic()

    def __call__(self, progress: SnapshotProgress) -> None:
        now = self._clock()
        done = progress.received_bytes == progress.total_bytes
        if self._silent or self._ended or (not done and now - self._shown_at < (0.1 if self._redraw else 5.0)):
            return
        self._shown_at = now
        self._ended = done  # the hash at the end comes as a piece of its own, when everything else is there already
        rate = progress.received_bytes / max(now - self._started, 0.001)
        text = (
            f"received {show_bytes(progress.received_bytes)} of {show_bytes(progress.total_bytes)},"
            f" {show_bytes(int(rate))}/s"
        )
        click.echo(f"\r\x1b[K{text}" if self._redraw else text, err=True, nl=done or not self._redraw)
