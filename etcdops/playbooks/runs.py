"""All runs this user knows: where their journals are, what state they are in, and where the next one goes.

A journal lies with what it is about. Members of this machine have a directory, and whoever works on them next, as
another user or with another home, must find the unfinished run there: a second recovery beside it would build half of
one cluster and half of another. Runs on hosts have their journal in the state folder, and a lock on every host names
them. The state folder lists both: a link for each journal that lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from etcdops.clock import Clock
from etcdops.errors import EtcdopsError, UsageError
from etcdops.files import make_folder
from etcdops.playbooks.journal import SUFFIX, Journal, RunState, new_run_id, open_runs
from etcdops.playbooks.plan import Plan
from etcdops.state_folder import state_folder

_ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class KnownRun:
    """A run and what its journal says."""

    journal: Journal
    state: RunState

    @property
    def run(self) -> str:
        return self.state.run

    @property
    def lock_folder(self) -> Path:
        """What `run_lock` takes: beside the journal, so one for each cluster."""
        return self.journal.path.parent


@dataclass(frozen=True, slots=True)
class UnreadableRun:
    """A file that should be a journal and is not."""

    path: Path
    why: str


def runs_folder() -> Path:
    """Where runs are listed. It may not exist yet."""
    return state_folder() / "runs"


def runs_on_hosts(cluster: str) -> Path:
    """Where the journals of runs on the hosts of a cluster lie: one folder for each cluster, as one lock for each."""
    return runs_folder() / "clusters" / cluster


def begin_run(folder: Path, plan: Plan, clock: Clock) -> Journal:
    """Start the journal of a new run in `folder`, under an ID that no other run has, and list it.

    A state folder that cannot be written costs the listing, not the run. Raises: OSError - the journal cannot be made.
    """
    for _ in range(_ATTEMPTS):
        name = new_run_id()
        if not (folder / f"{name}{SUFFIX}").exists() and _reserve(folder, name):
            return Journal.create(folder, plan, clock, name=name)
    raise EtcdopsError(f"no free ID for a run is left in {runs_folder()}", hint="remove journals of old runs there")


def _reserve(folder: Path, name: str) -> bool:
    if folder == runs_folder():
        return True
    try:
        make_folder(runs_folder())
        (runs_folder() / f"{name}{SUFFIX}").symlink_to(folder.absolute() / f"{name}{SUFFIX}")
    except FileExistsError:
        return False
    except OSError:
        pass  # listed nowhere but with its cluster, where the next command finds it
    return True


def unfinished_run(
    folder: Path, procedure: str, cluster: str, clock: Clock, *, give_up: bool = False
) -> KnownRun | None:
    """The run of `procedure` on a cluster that was begun and not ended; None: another one may begin.

    Args: folder - of the cluster's journals, there or not; procedure - empty: none may be unfinished; give_up - those
        that are found are given up instead, in their journals.
    Raises: UsageError - a run of another procedure is unfinished, or the rollback of one.
    """
    for journal, state in open_runs(folder, clock) if folder.is_dir() else ():
        if state.plan.procedure != procedure:
            raise UsageError(
                f"another run of {cluster} is unfinished: {state.run} ({state.plan.procedure})",
                hint=f"go on with it: etcdops runs resume {state.run}; etcdops runs show {state.run} tells where it is",
            )
        if state.rolling_back:
            raise UsageError(
                f"the rollback of {state.run} is unfinished", hint=f"finish it: etcdops runs rollback {state.run}"
            )
        if not give_up:
            return KnownRun(journal, state)
        journal.abandoned()
    return None


def list_runs(clock: Clock) -> tuple[list[KnownRun], list[UnreadableRun]]:
    """Every run that is listed and still there, newest first, and what could not be read."""
    known: list[KnownRun] = []
    unreadable: list[UnreadableRun] = []
    for path in _journals(runs_folder()):
        journal = Journal(path.resolve(), clock)
        try:
            state = journal.load()
        except (EtcdopsError, OSError) as error:
            unreadable.append(UnreadableRun(path, str(error)))
            continue
        if state is not None:
            known.append(KnownRun(journal, state))
    return sorted(known, key=lambda run: run.state.started_at, reverse=True), unreadable


def _journals(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if path.exists():
            yield path
        elif path.is_symlink() and not path.readlink().parent.is_dir():
            path.unlink(missing_ok=True)  # its cluster's directory is gone, as that of a demo


def find_run(text: str, clock: Clock) -> KnownRun:
    """The run with this ID, or whose journal is this file. Raises: UsageError - there is none."""
    path = Path(text)
    if path.name.endswith(SUFFIX):
        return _open(path.absolute(), clock)
    name = text if text.startswith("r-") else f"r-{text}"
    listed = runs_folder() / f"{name}{SUFFIX}"
    if "/" in name or not listed.exists():
        raise UsageError(f"there is no run {text}", hint="etcdops runs list shows all; a journal's path will do too")
    return _open(listed.resolve(), clock)


def _open(path: Path, clock: Clock) -> KnownRun:
    journal = Journal(path, clock)
    try:
        state = journal.load()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if state is None:
        raise UsageError(f"{path} has no plan: nothing was done", hint="remove it")
    return KnownRun(journal, state)
