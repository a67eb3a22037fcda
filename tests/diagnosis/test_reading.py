"""Where logs come from: compressed files, folders, pipes, and files that end in the middle."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from etcdops.diagnosis.diagnose import Window, diagnose
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.reading import blocks, find_sources
from etcdops.diagnosis.wide import wide_encoding
from etcdops.errors import UsageError

LINE = "2018-11-01 16:20:35.185438 W | wal: sync duration of 1.134771573s, expected less than 1s"
LOG = "\n".join([LINE] * 5).encode() + b"\n"


def slugs(*names: str, window: Window | None = None) -> list[str]:
    return [finding.slug for finding in diagnose(find_sources(list(names)), window).findings]


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstandard.compress}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_compressed_logs_are_read_whatever_their_name(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Told by their first bytes, as logrotate and people name files freely."""
    (tmp_path / "etcd.log.1").write_bytes(pack(LOG))
    diagnosis = diagnose(find_sources([str(tmp_path / "etcd.log.1")]))
    assert [(finding.slug, finding.count) for finding in diagnosis.findings] == [("disk-slow", 5)]


@pytest.mark.parametrize("mark", [b"", "\ufeff".encode("utf-16-le")], ids=["unmarked", "marked"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_two_bytes_a_character_are_read_as_one(encoding: str, mark: bytes, tmp_path: Path) -> None:
    """What PowerShell's `>` makes of a log, alone and in a folder; names in it may be in any script."""
    text = (LOG.decode() + '{"level":"info","msg":"名称 etcd-北京"}\n').replace("\n", "\r\n") * 400
    if mark and encoding == "utf-16-be":
        mark = mark[::-1]
    (tmp_path / "etcd.log").write_bytes(mark + text.encode(encoding))
    for asked in (tmp_path, tmp_path / "etcd.log"):
        diagnosis = diagnose(find_sources([str(asked)]))
        assert [(finding.slug, finding.count) for finding in diagnosis.findings] == [("disk-slow", 2000)]
        assert diagnosis.findings[0].evidence[0].text == LOG.decode().splitlines()[0]


@pytest.mark.parametrize("start", [b"", b"\0", b"\xff\xfe", bytes(4096), b"\xff\xfe" + LOG, bytes(512) + LOG, LOG])
def test_one_byte_a_character_stays_so(start: bytes) -> None:
    """Neither a mark alone nor zeros alone, as a loss of power leaves them, make two of it."""
    assert wide_encoding(start) == ""


def test_standard_input_is_looked_into_as_files_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cat etcd.log.1.gz | etcdops diagnose` is not the log of something else."""
    for given in (LOG, gzip.compress(LOG), LOG.decode().encode("utf-16")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(given))))
        assert slugs("-") == ["disk-slow"]


def test_zstd_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint has a way that needs nothing installed."""
    (tmp_path / "etcd.log.zst").write_bytes(b"\x28\xb5\x2f\xfd\x00\x00")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError) as caught:
        slugs(str(tmp_path / "etcd.log.zst"))
    assert "zstdcat" in caught.value.hint


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_compressed_log_that_ends_early_tells_what_it_has(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A log that is still being written, or was cut by a full disk: what can be unpacked counts, and it is said."""
    dice = random.Random(1)
    packed = pack(b"".join(f"{LINE} {dice.random()}\n".encode() for _ in range(30_000)))
    (tmp_path / "etcd.log").write_bytes(packed[: -len(packed) // 3])
    diagnosis = diagnose(find_sources([str(tmp_path)]))
    assert [finding.slug for finding in diagnosis.findings] == ["disk-slow"]
    assert 1000 < diagnosis.findings[0].count < 30_000
    assert diagnosis.sources[0].damage


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_compressed_parts_in_one_file_are_one_log(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """As `cat a.gz b.gz` makes."""
    (tmp_path / "etcd.log").write_bytes(pack(LOG) + pack(LOG) + pack(LOG))
    diagnosis = diagnose(find_sources([str(tmp_path)]))
    assert diagnosis.findings[0].count == 15
    assert not diagnosis.sources[0].damage


def test_rubbish_after_compressed_data_does_not_lose_it(tmp_path: Path) -> None:
    """A frame that is whole, and then none."""
    (tmp_path / "etcd.log").write_bytes(zstandard.compress(LOG) + b"rubbish" * 99)
    diagnosis = diagnose(find_sources([str(tmp_path)]))
    assert diagnosis.findings[0].count == 5
    assert diagnosis.sources[0].damage


def test_a_window_that_needs_too_much_memory_is_named(tmp_path: Path) -> None:
    """`zstd --long=30`: with the way that works."""
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=30)
    ).compressobj()
    (tmp_path / "etcd.log").write_bytes(packer.compress(LOG) + packer.flush())
    with pytest.raises(UsageError) as caught:
        slugs(str(tmp_path / "etcd.log"))
    assert "--long=31" in caught.value.hint


def test_a_folder_is_the_logs_in_it(tmp_path: Path) -> None:
    """Not what is hidden, and not the database beside them."""
    (tmp_path / "m1").mkdir()
    (tmp_path / "m1" / "etcd.log").write_bytes(LOG)
    (tmp_path / "m1" / ".hidden").write_bytes(LOG)
    (tmp_path / "m1" / "db").write_bytes(b"\x00" * 100)
    assert [Path(source.name).name for source in find_sources([str(tmp_path)])] == ["etcd.log"]
    assert slugs(str(tmp_path)) == ["disk-slow"]


def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    """Nothing there, and a folder without a log."""
    for name in (str(tmp_path / "absent"), str(tmp_path)):
        with pytest.raises(UsageError):
            find_sources([name])


def test_a_broken_archive_is_a_usage_error(tmp_path: Path) -> None:
    """Not a log without findings."""
    (tmp_path / "etcd.log.gz").write_bytes(b"\x1f\x8b" + b"rubbish" * 10)
    with pytest.raises(UsageError, match="cannot be read"):
        slugs(str(tmp_path / "etcd.log.gz"))


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_blocks_hold_whole_lines_however_the_bytes_come(size: int) -> None:
    """And together they are the file."""

    class Drip(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            return super().read(size)

    text = b"a\n\nlong line\r\nlast without end"
    given = list(blocks(Drip(text), "x"))
    assert b"".join(block.text for block in given) == text
    found = [line for block in given for line in block.lines]
    assert found == text.splitlines(keepends=True)


def test_binary_rubbish_breaks_nothing(tmp_path: Path) -> None:
    """Lines in no encoding, with NULs and escapes, among good ones."""
    (tmp_path / "etcd.log").write_bytes(b"\xff\xfe\x00 {{{\n" + LOG + b'{"level":\n{"msg":"\n\x1b[31m' + LOG)
    assert slugs(str(tmp_path / "etcd.log")) == ["disk-slow"]


@pytest.mark.parametrize(
    "said", ['{"level":"warn","ts":"2026-01-31T08:00:00.1Z","msg":"the message"}', "panic: the message"]
)
def test_lines_of_pods_are_dated_and_named_by_their_pod(said: str) -> None:
    """As crictl and kubectl print them: a time is nobody's name."""
    stamp = "2026-01-31T08:00:00.100000000Z"
    for prefix, host in ((f"{stamp} ", ""), ("[pod/etcd-m1/etcd] " + stamp + " ", "etcd-m1/etcd")):
        entry = parse_line(prefix + said)
        assert (entry.time, entry.host, entry.message[-11:]) == (1769846400.1, host, "the message")


def test_a_window_of_time_counts_only_its_lines(tmp_path: Path) -> None:
    """--since and --until; a line without a time belongs to the one before."""
    late = LOG.replace(b"16:20", b"18:20").replace(b"sync duration of 1.134771573s", b"sync duration of 9s")
    (tmp_path / "etcd.log").write_bytes(LOG + late)
    moment = 1541096000.0  # 2018-11-01 18:13:20
    before = diagnose(find_sources([str(tmp_path)]), Window(until=moment)).findings[0]
    after = diagnose(find_sources([str(tmp_path)]), Window(since=moment)).findings[0]
    assert (before.count, dict(before.facts)["worst_s"]) == (5, "1.135")
    assert (after.count, dict(after.facts)["worst_s"]) == (5, "9.000")
