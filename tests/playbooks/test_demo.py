"""The main job end to end on every engine, and that it leaves nothing behind however it ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from etcdops.client.client import Client
from etcdops.errors import UsageError, VerificationFailed
from etcdops.playbooks.cluster_file import load_cluster
from etcdops.playbooks.demo import load
from etcdops.playbooks.demo.writers import WriteRecord, compare
from etcdops.playbooks.process import ProcessID
from tests.playbooks.clusters import ENGINES, engine_named
from tests.support.real_etcd import poll_until

FILES = 300


def tree(folder: Path) -> Path:
    """A small tree with names and contents of all kinds."""
    root = folder / "data"
    for index in range(FILES - 3):
        path = root / f"d{index % 11}" / f"file-{index}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(index * 7))
    (root / "empty").touch()
    (root / "d1" / "with space [x].txt").write_text("[/b]")
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe name"))).write_bytes(b"\0\xff")
    (root / "too-large").write_bytes(bytes(load.VALUE_SIZE_MAX + 1))
    return root


def demo(folder: Path, engine: str, *options: str) -> subprocess.Popen[str]:
    chosen = engine_named(engine)
    flags = ["--engine", str(chosen.kind)] + (["--etcd", str(chosen.binary)] if chosen.binary else [])
    return subprocess.Popen(
        [sys.executable, "-m", "etcdops", "demo", "--no-tui", "--dir", str(folder / "demo"), *flags, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def members_alive(folder: Path) -> list[int]:
    """Processes of the demo's members that run, by the files that name them."""
    known = [ProcessID.load(path) for path in (folder / "demo").glob("*.pid")]
    return [process.pid for process in known if process is not None and process.alive]


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=pytest.mark.exhaustive) if name == "etcd-3.4" else name for name in ENGINES]
)
def test_the_whole_story_holds(tmp_path: Path, engine: str) -> None:
    """Goal: the main job of the console, real from start to end; exit 0 only if every check held."""
    process = demo(tmp_path, engine, "--data", str(tree(tmp_path)), "--keep")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    for number in range(1, 7):
        assert re.search(rf"^{number}\. ", output, re.MULTILINE), output
    assert "skipped, larger than a request may be: too-large" in output
    assert f"counts {FILES} keys" in output
    assert "no acknowledged write is lost" in output
    assert "QUORUM LOST" in output
    assert "a write fails after" in output
    assert re.search(r"Lost by it:\n.*revisions: \d+ to \d+", output)
    assert f"{FILES} keys and values are those of the snapshot" in output
    assert re.search(r"recovered in \d+\.\d s", output)
    assert "Every check held" in output
    assert all(len(line) <= 80 or str(tmp_path) in line for line in output.splitlines()), "a terminal breaks no line"
    assert "✖ the story" not in output
    assert f"start its members again: etcdops local start {tmp_path / 'demo'}" in output
    assert not members_alive(tmp_path)
    assert not list((tmp_path / "demo").glob("*.pid")), "no file names a process that ended"
    spec = load_cluster(tmp_path / "demo")
    assert (spec.directory / "snapshot.db").is_file()
    assert len(list(spec.directory.glob("*.before-recover-*"))) == 1, "the survivor's old data is kept"


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_survives_an_interrupted_demo(tmp_path: Path, number: signal.Signals) -> None:
    """Goal: however it ends, its members end; where it could, its files are gone too."""
    process = demo(tmp_path, "etcd-3.5")
    try:
        poll_until(lambda: len(members_alive(tmp_path)) == 3 or process.poll() is not None, 40)
        pids = [ProcessID.of(pid) for pid in members_alive(tmp_path)]
        assert len(pids) == 3
        process.send_signal(number)
        output, _ = process.communicate(timeout=40)
        for pid in pids:
            assert pid.wait_ended(10)
        if number is not signal.SIGKILL:
            assert process.returncode == 130
            assert output.endswith("the members are stopped and their files removed\ninterrupted\n")
            assert not (tmp_path / "demo").exists()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.timeout(120)
def test_on_a_terminal_the_story_ends_in_the_dashboard(tmp_path: Path) -> None:
    """Goal: q leaves the dashboard on the recovered cluster, and then everything ends."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one").write_text("1")
    engine = engine_named("etcd-3.5")
    command = [
        sys.executable, "-m", "etcdops", "demo", "--engine", "etcd", "--etcd", str(engine.binary),
        "--data", str(tmp_path / "data"), "--dir", str(tmp_path / "demo"),
    ]  # fmt: skip
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    screen = b""
    try:
        deadline = time.monotonic() + 100
        while process.poll() is None and time.monotonic() < deadline:
            ready, _, _ = select.select([parent], [], [], 0.2)
            if ready:
                try:
                    screen += os.read(parent, 65536)
                except OSError:
                    break  # the last process at the terminal is gone
            if b"Every check held" in screen and b"\x1b[?1049h" in screen and b"Members" in screen:
                os.write(parent, b"q")
        process.wait(20)
        assert process.returncode == 0, screen[-2000:]
        assert b"\x1b[?1049h" in screen, "the dashboard takes the whole screen"
        assert not (tmp_path / "demo").exists()
    finally:
        process.kill()
        process.wait()
        os.close(parent)


@pytest.mark.slow
@pytest.mark.real
def test_a_demo_that_cannot_start_says_why(tmp_path: Path) -> None:
    """Goal: usage errors before anything is started, in the shape of every error."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "precious").touch()
    process = demo(tmp_path, "node")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is not an empty directory" in output
    assert (tmp_path / "demo" / "precious").exists()


def test_the_tree_is_found_with_what_does_not_fit_named(tmp_path: Path) -> None:
    """Goal: one key a file; too large ones by name; names of any bytes."""
    found = load.find_tree(tree(tmp_path))
    assert len(found.files) == FILES
    assert [path.name for path in found.skipped] == ["too-large"]
    assert b"/tree/\xff\xfe name" in set(found.keys)
    assert b"/tree/d1/with space [x].txt" in set(found.keys)
    with pytest.raises(UsageError, match="not a directory"):
        load.find_tree(tmp_path / "gone")
    (tmp_path / "void").mkdir()
    with pytest.raises(UsageError, match="no file"):
        load.find_tree(tmp_path / "void")


def test_the_default_tree_is_pythons_own_sources() -> None:
    """Goal: real input on every machine."""
    found = load.find_tree(None)
    assert len(found.files) > 500
    assert all(path.suffix == ".py" for path in found.files)


class OnePage:
    """A cluster that holds these pairs."""

    def __init__(self, pairs: dict[bytes, tuple[bytes, int]]) -> None:
        self._pairs = pairs

    async def pages(self, prefix: bytes, **_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(
            kvs=[SimpleNamespace(key=key, value=value, mod_revision=at) for key, (value, at) in self._pairs.items()]
        )


RECORD = WriteRecord(
    acknowledged={b"a": (b"1", 5), b"b": (b"2", 6)}, unknown={b"u": b"3", b"w": b"4"}, refused={b"r": "no leader"}
)
HONEST: dict[bytes, tuple[bytes, int]] = {b"a": (b"1", 5), b"b": (b"2", 6), b"u": (b"3", 7)}


def judge(pairs: dict[bytes, tuple[bytes, int]]) -> tuple[int, int, int, int]:
    client = cast("Client", SimpleNamespace(kv=OnePage(pairs)))
    verdict = asyncio.run(compare(client, b"", RECORD, lambda done: None, timeout_s=1))
    return verdict.acknowledged, verdict.unknown_present, verdict.unknown_absent, verdict.refused


def test_an_honest_cluster_is_believed() -> None:
    """Goal: an unknown write may be there or not, both is right."""
    assert judge(HONEST) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"a": None}, "gone"),
        ({b"a": (b"other", 5)}, "another value"),
        ({b"a": (b"1", 9)}, "at revision 9"),
        ({b"r": (b"x", 8)}, "refused and is there"),
        ({b"u": (b"x", 8)}, "nobody wrote"),
        ({b"z": (b"x", 8)}, "written by nobody"),
    ],
)
def test_every_kind_of_lie_is_found(change: dict[bytes, tuple[bytes, int] | None], message: str) -> None:
    """Goal: the check of chapter 4 can fail."""
    pairs = {key: value for key, value in (HONEST | change).items() if value is not None}
    with pytest.raises(VerificationFailed, match=message):
        judge(pairs)
