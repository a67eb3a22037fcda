"""`etcdops demo`: a cluster dies and comes back, before your eyes."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.diagnostics import clear_line
from etcdops.cli.finding_view import wrap
from etcdops.cli.help import OpsCommand
from etcdops.cli.options import Invocation, current, general_options
from etcdops.cli.output import Look, printable, write
from etcdops.cli.run_view import RunPrinter, render_plan
from etcdops.errors import EtcdopsError, ExitCode, UsageError
from etcdops.numbers import show_bytes

if TYPE_CHECKING:
    from etcdops.client.view import ClusterView
    from etcdops.playbooks.demo.story import Story
    from etcdops.playbooks.plan import Plan
    from etcdops.playbooks.run_event import RunEvent

_PATH = click.Path(path_type=Path)
_WIDTH = 78
"""What is told is indented by two, and a terminal has 80 columns."""
_TOLD = ("TERM", "INDEX", "APPLIED")


@click.command(
    "demo",
    cls=OpsCommand,
    examples=[
        ("the story on the bundled engine, then the dashboard", "etcdops demo"),
        ("the same on real etcd", "etcdops demo --engine etcd --etcd /usr/bin/etcd"),
        ("with your own files, and keep what it leaves", "etcdops demo --data ~/src --dir /tmp/demo --keep"),
    ],
)
@click.option("--engine", type=click.Choice(["node", "etcd"]), default="node", help="What the members run (node).")
@click.option("--etcd", type=_PATH, metavar="PATH", help="etcd's binary; else the newest in .cache/etcd, or in PATH.")
@click.option("--data", type=_PATH, metavar="DIR", help="Files to load (the sources of Python's library).")
@click.option("--dir", "directory", type=_PATH, metavar="DIR", help="Where the cluster lives (a temporary folder).")
@click.option("--keep", is_flag=True, help="Leave its files there; its processes always end.")
@click.option("--no-tui", is_flag=True, help="End without the dashboard also on a terminal.")
@click.option("--seed", type=int, default=1, metavar="N", help="Order of loading and whom it hits (1).")
@general_options
def command(
    engine: str, etcd: Path | None, data: Path | None, directory: Path | None, keep: bool, no_tui: bool, seed: int
) -> int:
    """Start three members, fill, save, break twice and recover them; every claim is checked.

    Exit 0 only if every check held. On a terminal it ends in the dashboard on the recovered cluster.
    """
    from etcdops.playbooks.cluster_file import EngineKind
    from etcdops.playbooks.demo.engines import choose_engine
    from etcdops.playbooks.demo.load import find_tree
    from etcdops.playbooks.demo.story import Story
    from etcdops.playbooks.local_cluster import new_cluster

    invocation = current()
    if invocation.general.get("write_out") == "json":
        raise UsageError("the demo tells its story as text", hint="its exit code is 0 only if every check held")
    chosen = choose_engine(EngineKind(engine), etcd)
    tree = find_tree(data.absolute() if data else None)
    place = _own_directory(directory)
    story: Story | None = None
    failed = interrupted = False
    try:
        story = Story(new_cluster("demo", place, chosen), tree, DemoTeller(invocation), seed)
        _tell(invocation, story)
        if not no_tui and sys.stdin.isatty() and sys.stdout.isatty():
            _dashboard(invocation, story)
        return int(ExitCode.OK)
    except EtcdopsError:
        failed = True  # its next step is to read the logs
        raise
    except KeyboardInterrupt:
        interrupted = True
        clear_line()
        raise
    finally:
        _end(story, place, keep=keep or (failed and story is not None))
        if interrupted and not keep:
            invocation.note("the members are stopped and their files removed")


def _tell(invocation: Invocation, story: Story) -> None:
    started = time.monotonic()
    try:
        invocation.run(_until_signalled(story))
    except EtcdopsError:
        write(invocation.look.text("✖ the story ends here: a check failed"))
        raise
    write(f"\nEvery check held. The whole story took {time.monotonic() - started:.1f} s.")


async def _until_signalled(story: Story) -> None:
    """SIGTERM and SIGHUP end the story as Ctrl-C does, so that the members are stopped and the files removed."""
    import asyncio  # late: --help must not pay for it

    telling = asyncio.current_task()
    assert telling is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, telling.cancel)
    try:
        await story.tell()
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _dashboard(invocation: Invocation, story: Story) -> None:
    from etcdops.cli.tui_logs import local_logs
    from etcdops.tui.app import run_tui

    write("The dashboard shows the recovered cluster; q leaves it and ends the members.")
    run_tui(
        story.spec.connection(),
        title=story.spec.name,
        read_only=False,
        ascii=bool(invocation.general.get("ascii")),
        interval_s=1.0,
        logs=local_logs(story.spec),
    )


def _own_directory(directory: Path | None) -> Path:
    """The directory of the demo's cluster: a new one, or an empty one. Raises: UsageError."""
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="etcdops-demo-"))
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is not an empty directory", hint="name a new one; nothing is overwritten")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory.absolute()


def _end(story: Story | None, place: Path, *, keep: bool) -> None:
    """Nothing survives: processes end, files go unless they were asked for."""
    # A second Ctrl-C must not leave members behind.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if story is not None:
            # Gently only where somebody may start them again: an etcd that stops tries to hand over leadership first.
            story.local.stop() if keep else story.local.kill()
        if keep:
            write(f"kept: {place} (cluster.json, logs, snapshot, journal, old data)")
            if story is not None:
                write(f"start its members again: etcdops local start {shlex.quote(str(place))}")
        else:
            with contextlib.suppress(OSError):
                shutil.rmtree(place)
    finally:
        signal.signal(signal.SIGINT, previous)


class DemoTeller:
    """Prints the story: on stdout, because it is what the command is for; progress on stderr."""

    def __init__(self, invocation: Invocation) -> None:
        self._look: Look = invocation.look
        self._redraw = sys.stderr.isatty() and not invocation.quiet
        self._steps = RunPrinter(self._look, quiet=False, stream=sys.stdout, indent="  ")
        self._told_at = 0.0

    def chapter(self, number: int, title: str) -> None:
        self._write(f"\n{self._look.style(f'{number}. {title}', 'head')}")

    def say(self, text: str) -> None:
        self._write(f"  {wrap(printable(text), _WIDTH - 2, ' ' * 4)}")

    def checked(self, text: str) -> None:
        self._write(f"  {self._look.style('✓', 'good')} {wrap(printable(text), _WIDTH - 2, ' ' * 4)}")

    def progress(self, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if not self._redraw or (done < total and now - self._told_at < 0.1):
            return
        self._told_at = now
        shown = f"{show_bytes(done)} of {show_bytes(total)}" if unit == "bytes" else f"{done} of {total} {unit}"
        sys.stderr.write(f"\r\x1b[K  {shown}" if done < total else "\r\x1b[K")
        sys.stderr.flush()

    def waiting(self, text: str) -> None:
        if self._redraw:
            sys.stderr.write(f"\r\x1b[K  {text}")
            sys.stderr.flush()

    def members(self, view: ClusterView) -> None:
        from etcdops.cli.status_view import render_members

        self._write(_indent(render_members(view, self._look, width=_WIDTH, always=_TOLD)))

    def status(self, view: ClusterView) -> None:
        from etcdops.cli.status_view import render

        self._write(_indent(render(view, self._look, width=_WIDTH)))

    def plan(self, plan: Plan) -> None:
        self._write(_indent(render_plan(plan, None, self._look, width=_WIDTH)))

    def step(self, event: RunEvent) -> None:
        self._steps(event)

    def _write(self, text: str) -> None:
        if self._redraw:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        write(self._look.text(text))


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" if line else "" for line in text.splitlines())
