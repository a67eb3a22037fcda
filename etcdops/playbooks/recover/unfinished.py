"""What a recovery asks before it plans anything, on this machine as on hosts."""

from __future__ import annotations

from pathlib import Path

from etcdops.client.settings import ConnectionSettings
from etcdops.clock import Clock
from etcdops.errors import UsageError
from etcdops.playbooks.runs import KnownRun, unfinished_run
from etcdops.snapshot.inspect import SnapshotReport


def unfinished_recovery(
    folder: Path, procedure: str, cluster: str, snapshot: Path, clock: Clock, *, give_up: bool
) -> KnownRun | None:
    """The unfinished recovery of a cluster, which goes on with the snapshot it began with; None: a new one.

    Raises: UsageError - another run is unfinished, or one from another snapshot.
    """
    known = unfinished_run(folder, procedure, cluster, clock, give_up=give_up)
    if known is not None:
        planned = Path(str(known.state.plan.inputs["snapshot"]))
        if planned != snapshot.absolute():
            raise UsageError(
                f"a recovery from {planned} was begun and not finished ({known.run}, {known.journal.path})",
                hint=f"go on: etcdops runs resume {known.run}, or give that run up with --new-run",
            )
    return known


def require_password(report: SnapshotReport, settings: ConnectionSettings) -> None:
    """Raises: UsageError - the cluster will ask for a user once it is recovered, and none was given."""
    if report.facts.auth_enabled and not settings.username:
        raise UsageError(
            f"{report.path} has authentication on: the recovered cluster wants the password of that time",
            hint="add --user root (and --password-file) as they were when the snapshot was taken",
        )
