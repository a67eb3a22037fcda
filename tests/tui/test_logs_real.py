"""The Logs screen in a real terminal, on a real cluster whose leader is killed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from etcdops.playbooks.cluster_file import Engine, EngineKind
from etcdops.playbooks.local_cluster import LocalCluster, new_cluster
from tests.support.ports import free_ports

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

DEADLINE_S = 100.0  # a background job on a busy machine gets a twentieth of it


class Tmux:
    """A terminal nobody looks at, with one program in it."""

    def __init__(self, *words: str, size: tuple[int, int]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="etcdops-tmux-")  # a socket's path may not be long
        self._socket = f"{self._folder.name}/socket"
        columns, rows = map(str, size)
        line = shlex.join([sys.executable, "-m", "etcdops", *words])
        self._tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            columns,
            "-y",
            rows,
            f"env -u COLUMNS -u LINES TERM=xterm-256color {line}",
        )

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, *words], capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p")

    def until(self, seen: Callable[[str], bool], what: str) -> str:
        """Wait for a screen on which this is seen."""
        deadline = time.monotonic() + DEADLINE_S
        while not seen(text := self.screen()):
            assert time.monotonic() < deadline, f"{what} did not come; the screen is\n{text}"
            time.sleep(0.2)
        return text

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, timeout=30, check=False)
        self._folder.cleanup()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three members of the bundled engine."""
    made = LocalCluster(new_cluster("demo", tmp_path / "cluster", Engine(EngineKind.NODE), ports=free_ports(6)))
    try:
        made.start(tethered=True)
        yield made
    finally:
        made.kill()


def test_the_death_of_the_leader_is_read_and_found(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of all members as they come, the finding below them, and one row of it on the dashboard."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "home"))
    terminal = Tmux("tui", "--local", str(cluster.spec.directory), "--screen", "logs", "--every", "0.5", size=(120, 36))
    try:
        text = terminal.until(
            lambda text: "HEALTHY" in text and "ready to serve client requests" in text, "a healthy cluster's lines"
        )
        assert "nothing found in" in text
        leader = next(row.split("leader ")[1].split()[0] for row in text.splitlines() if " leader m" in row)
        process = cluster.member(leader).process
        assert process is not None
        os.kill(process.pid, 9)
        text = terminal.until(lambda text: f"→ {leader} Nothing listens" in text, "the finding of the logs")
        assert "connection refused" in text
        assert "next: Is etcd running there" in text
        terminal.resize(80, 24)
        terminal.until(lambda text: len(text.splitlines()[3]) <= 80 and "Findings 1✖" in text, "the small screen")
        terminal.press("2")
        text = terminal.until(lambda text: f"E201 {leader} has not answered" in text, "the dashboard")
        assert "Nothing listens" not in text, "what its peers say of the silence is proof of it, not another finding"
        terminal.press("Tab")
        terminal.press("Enter")
        page = f"│ {leader} has not answered"
        terminal.until(lambda text: "Esc closes" in text and page in text, "the page of the finding")
    finally:
        terminal.close()
