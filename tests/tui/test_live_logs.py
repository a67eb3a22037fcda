"""Files as logs: their end, what comes, rotation, compression, files that are not there; hosts."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etcdops.doctor.gather.logs import Logged
from etcdops.errors import EtcdopsError
from etcdops.inventory.model import Manager, ServiceSpec
from etcdops.remote.pool import Open
from etcdops.remote.session import Session
from etcdops.tui.live_logs import CHUNK_BYTES, FileLogs, FileTail, HostLogs, LogFile, named_files
from etcdops.tui.log_feed import LogFeed, LogPiece, LogTrouble

DEADLINE_S = 20.0


def test_files_are_called_as_shortly_as_they_can_be_told_apart() -> None:
    assert [file.name for file in named_files([Path("/a/m1.log"), Path("/a/m2.log.gz")])] == ["m1", "m2"]
    names = [file.name for file in named_files([Path("/a/h1/etcd.log"), Path("/a/h2/etcd.log")])]
    assert names == ["h1/etcd", "h2/etcd"]
    assert [file.name for file in named_files([Path("/a/m1.log"), Path("/a/m1.txt")])] == ["/a/m1.log", "/a/m1.txt"]


def test_the_last_lines_then_what_comes_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "m1.log"
    path.write_bytes(b"".join(b"line %d\n" % n for n in range(100)))
    tail = FileTail(path, 3)
    first = tail.read()
    assert first[-3:] == ["line 97", "line 98", "line 99"]
    with path.open("ab") as file:
        file.write(b"half")
        file.flush()
        assert tail.read() == []
        file.write(b" a line\nand \xff more\n")
        file.flush()
        assert tail.read() == ["half a line", "and � more"]
    tail.close()


def test_of_a_long_file_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m1.log"
    path.write_bytes(b"".join(b"line %06d %s\n" % (n, b"x" * 500) for n in range(1_000)))
    tail = FileTail(path, 10)
    lines = tail.read()
    assert len(lines) <= 10
    assert lines[-1].startswith("line 000999")
    tail.close()


def test_a_file_that_is_replaced_or_emptied_is_read_on_from_its_start(tmp_path: Path) -> None:
    """logrotate's two ways: a new file under the name, and copytruncate."""
    path = tmp_path / "m1.log"
    path.write_text("one\n")
    tail = FileTail(path, 10)
    assert tail.read() == ["one"]
    path.rename(tmp_path / "m1.log.1")
    assert tail.read() == []
    path.write_text("two\n")
    assert tail.read() == ["two"]
    path.write_text("")
    tail.read()
    with path.open("a") as file:
        file.write("3\n")
    assert tail.read() == ["3"]
    tail.close()


def test_a_packed_file_is_read_once_and_a_line_without_end_is_cut(tmp_path: Path) -> None:
    packed = tmp_path / "m1.log.gz"
    packed.write_bytes(gzip.compress(b"".join(b"line %d\n" % n for n in range(1_000))))
    tail = FileTail(packed, 2)
    assert tail.read() == ["line 998", "line 999"]
    assert tail.read() == []
    endless = tmp_path / "m2.log"
    endless.write_bytes(b"x" * (CHUNK_BYTES + 10))
    tail = FileTail(endless, 10_000)
    assert [len(line) for line in tail.read()] == [CHUNK_BYTES]
    tail.close()


def test_a_file_that_is_let_go_while_it_is_read_does_not_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console ends while a thread is just opening the file."""
    path = tmp_path / "m1.log"
    path.write_text("a\n")
    tail = FileTail(path, 10)
    more = FileTail._more

    def slow(self: FileTail) -> list[str]:
        self.close()
        return more(self)

    monkeypatch.setattr(FileTail, "_more", slow)
    assert tail.read() == ["a"]
    assert tail._file is None
    assert tail.read() == []


async def pieces_of(feed: LogFeed, count: int) -> list[LogPiece | LogTrouble]:
    """The first pieces that come."""
    found: list[LogPiece | LogTrouble] = []
    async with asyncio.timeout(DEADLINE_S), feed.following(lines=10) as pieces:
        async for piece in pieces:
            found.append(piece)
            if len(found) == count:
                break
    return found


async def test_a_file_that_is_not_there_is_said_once_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "m1.log"
    feed = FileLogs([LogFile("m1", path)], poll_s=0.01)
    async with asyncio.timeout(DEADLINE_S), feed.following(lines=10) as pieces:
        trouble = await anext(pieces)
        assert isinstance(trouble, LogTrouble)
        assert "No such file" in trouble.reason
        path.write_text("here\n")
        assert await anext(pieces) == LogPiece("m1", ["here"])


async def test_one_file_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    good = tmp_path / "m1.log"
    good.write_text("a\nb\n")
    feed = FileLogs([LogFile("m1", good), LogFile("m2", tmp_path)], poll_s=0.01)
    assert [source.name for source in feed.sources()] == ["m1", "m2"]
    found = await pieces_of(feed, 2)
    assert {piece.source for piece in found} == {"m1", "m2"}
    assert LogPiece("m1", ["a", "b"]) in found


async def test_a_host_that_lets_nobody_in_is_a_trouble_with_its_next_step() -> None:
    """The connector is let go when the console ends."""
    closed = []

    async def open_host(name: str) -> Session:
        raise EtcdopsError(f"{name}: no way in", cause="key refused", hint="ssh h1 true")

    @contextmanager
    def connecting() -> Iterator[Open]:
        yield open_host
        closed.append(True)

    feed = HostLogs([Logged("etcd-1", "h1", ServiceSpec(manager=Manager.SYSTEMD, name="etcd"))], connecting)
    assert [(one.name, one.where) for one in feed.sources()] == [("etcd-1", "the journal of etcd.service on h1")]
    found = await pieces_of(feed, 1)
    assert found == [LogTrouble("etcd-1", "h1: no way in: key refused", "ssh h1 true")]
    assert closed == [True]


@pytest.mark.parametrize("ended_by", ["reader", "cancel"])
async def test_the_end_of_reading_ends_everything(tmp_path: Path, ended_by: str) -> None:
    """No task and no open file is left behind (warnings are errors)."""
    path = tmp_path / "m1.log"
    path.write_text("a\n")
    feed = FileLogs([LogFile("m1", path)], poll_s=0.01)
    before = len(asyncio.all_tasks())
    if ended_by == "reader":
        await pieces_of(feed, 1)
    else:
        task = asyncio.create_task(pieces_of(feed, 5))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(asyncio.all_tasks()) == before
