"""Log lines in etcd's shape, to the outputs and at the levels etcd has."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from etcdops.node import zap_log
from etcdops.node.zap_log import BoundLogger, ConsoleFormatter, Sampler, ZapFormatter, configure, fields
from etcdops.secret import Secret
from tests.support.ports import free_ports
from tests.support.real_etcd import find_etcd


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger nobody else uses."""
    made = logging.Logger("test")
    yield made
    for handler in made.handlers:
        handler.close()


@pytest.fixture
def written(logger: logging.Logger) -> io.StringIO:
    """What the logger writes as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ZapFormatter())
    logger.addHandler(handler)
    return stream


def last(written: io.StringIO) -> dict[str, object]:
    line: dict[str, object] = json.loads(written.getvalue().splitlines()[-1])
    return line


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_line_has_etcds_keys_in_etcds_order(logger: logging.Logger, written: io.StringIO) -> None:
    """level, ts, caller, msg, then the fields as given; no spaces."""
    logger.info("became leader", extra=fields({"local-member-id": "8e9e05c52164694d"}, term=7, voters=["a", "b"]))
    text = written.getvalue()
    assert text.endswith('"msg":"became leader","local-member-id":"8e9e05c52164694d","term":7,"voters":["a","b"]}\n')
    assert re.match(r'\{"level":"info","ts":"[^"]+","caller":"node/test_zap_log\.py:\d+","msg"', text)


@pytest.mark.usefixtures("utc")
def test_time_has_microseconds_and_z() -> None:
    """2006-01-02T15:04:05.000000Z0700 in Go's notation."""
    assert zap_log.format_time(1_760_000_000.000001) == "2025-10-09T08:53:20.000001Z"
    assert zap_log.format_time(0.9999999) == "1970-01-01T00:00:01.000000Z"


@pytest.mark.parametrize(("zone", "text"), [("XXX-2", "+0200"), ("XXX+03:30", "-0330")])
def test_time_shows_the_offset(monkeypatch: pytest.MonkeyPatch, zone: str, text: str) -> None:
    """Machines that are not in UTC."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert zap_log.format_time(1_760_000_000.5).endswith(f".500000{text}")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("level", "name"),
    [
        (10, "debug"),
        (20, "info"),
        (30, "warn"),
        (40, "error"),
        (45, "panic"),
        (50, "fatal"),
        (35, "warn"),
        (5, "debug"),
    ],
)
def test_levels_have_zaps_names(logger: logging.Logger, written: io.StringIO, level: int, name: str) -> None:
    """And levels in between the nearest below."""
    logger.log(level, "x")
    assert last(written)["level"] == name


def test_values_are_written_as_zap_writes_them(logger: logging.Logger, written: io.StringIO) -> None:
    """Durations as Go's, errors as their text, bytes as text, what has no JSON form as its str."""
    logger.warning(
        "x",
        extra=fields(
            took=timedelta(milliseconds=250),
            error=OSError(2, "No such file or directory"),
            raw=b"a\xff",
            nothing=None,
            yes=True,
            ratio=0.5,
            endless=float("inf"),
            nested={"a": {"b": [timedelta(seconds=1)]}},
            path=Path("/x"),
            some={"b", "a"},
        ),
    )
    line = last(written)
    assert {name: value for name, value in line.items() if name not in ("level", "ts", "caller", "msg")} == {
        "took": "250ms",
        "error": "[Errno 2] No such file or directory",
        "raw": "a\\xff",
        "nothing": None,
        "yes": True,
        "ratio": 0.5,
        "endless": "inf",
        "nested": {"a": {"b": ["1s"]}},
        "path": "/x",
        "some": ["a", "b"],
    }


def test_secrets_are_never_written(logger: logging.Logger, written: io.StringIO) -> None:
    """By type, and by name as a second line of defence, also inside."""
    logger.info(
        "x", extra=fields(key=Secret("hush"), password="hush", nested={"Auth-Token": "hush"}, listed=[Secret("hush")])
    )
    assert "hush" not in written.getvalue()
    assert last(written)["password"] == "***"


def test_any_text_makes_one_line(logger: logging.Logger, written: io.StringIO) -> None:
    """Newlines, quotes, control characters, broken UTF-8."""
    logger.info('a\n"b"\x00 \udcff Ünï %s', "100%", extra=fields(value="\ud800"))
    assert written.getvalue().count("\n") == 1
    assert last(written)["msg"] == 'a\n"b"\x00 \udcff Ünï 100%', "JSON can escape what is no text"
    written.getvalue().encode()


def test_exceptions_become_a_stack_trace(logger: logging.Logger, written: io.StringIO) -> None:
    """In one line, as zap's."""
    try:
        raise ZeroDivisionError("oh")
    except ZeroDivisionError as error:
        logger.error("x", exc_info=error)
    trace = last(written)["stacktrace"]
    assert isinstance(trace, str)
    assert "ZeroDivisionError: oh" in trace
    assert written.getvalue().count("\n") == 1


def test_bound_fields_come_first(logger: logging.Logger, written: io.StringIO) -> None:
    """A logger with fields of its own; the line's own win."""
    bound = BoundLogger(logger, fields(member="a", term=1))
    bound.info("x", extra=fields(term=2, more=3))
    assert list(last(written))[-3:] == ["member", "term", "more"]
    assert last(written)["term"] == 2
    bound.info("y")
    assert last(written)["member"] == "a"
    caller = last(written)["caller"]
    assert isinstance(caller, str)
    assert caller.startswith("node/test_zap_log.py:")


def test_fields_cost_nothing_below_the_level(logger: logging.Logger) -> None:
    """Values are rendered only when a line is written."""

    class Costly:
        def __str__(self) -> str:
            raise AssertionError("rendered")

    logger.setLevel(logging.WARNING)
    logger.info("x", extra=fields(value=Costly()))


def test_console_is_for_people(logger: logging.Logger) -> None:
    """zap's console encoder: columns by tabs."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ConsoleFormatter())
    logger.addHandler(handler)
    logger.warning("slow fdatasync", extra=fields(took=timedelta(seconds=2)))
    logger.info("plain")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r'\S+\twarn\tnode/test_zap_log\.py:\d+\tslow fdatasync\t\{"took":"2s"\}', first)
    assert second.endswith("\tplain")


def test_a_flood_is_sampled() -> None:
    """The first 100 of a second, then every 100th; per message and level."""
    sampler = Sampler()

    def passed(message: str, count: int, second: int = 1_000) -> int:
        records = []
        for _ in range(count):
            record = logging.LogRecord("x", logging.INFO, "x.py", 1, message, (), None)
            record.created = second + 0.5
            records.append(sampler.filter(record))
        return sum(bool(kept) for kept in records)

    assert passed("a", 1_000) == 109
    assert passed("b", 50) == 50
    assert passed("a", 100) == 1
    assert passed("a", 100, second=1_001) == 100


def test_outputs_are_files_and_streams(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several at once, each line once in each; `default` is stderr."""
    path = tmp_path / "etcd.log"
    configure(outputs=["stdout", "stderr", str(path)], logger=logger)
    logger.info("everywhere")
    captured = capsys.readouterr()
    for text in (captured.out, captured.err, path.read_text()):
        assert [json.loads(line)["msg"] for line in text.splitlines()] == ["everywhere"]
    configure(outputs=["default"], logger=logger)
    logger.info("only there")
    captured = capsys.readouterr()
    assert "only there" in captured.err
    assert captured.out == ""
    assert "only there" not in path.read_text()


def test_dev_null_silences_all(logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """etcd logutil.MergeOutputPaths."""
    configure(outputs=["stderr", "/dev/null", str(tmp_path / "x")], logger=logger)
    logger.error("x")
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "x").exists()


def test_a_file_that_was_moved_is_opened_anew(logger: logging.Logger, tmp_path: Path) -> None:
    """logrotate without copytruncate."""
    path = tmp_path / "etcd.log"
    configure(outputs=[str(path)], logger=logger)
    logger.info("one")
    path.rename(tmp_path / "etcd.log.1")
    logger.info("two")
    assert "two" in path.read_text()
    assert "two" not in (tmp_path / "etcd.log.1").read_text()


def test_levels_are_respected_and_checked(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """`--log-level`."""
    configure(level="warn", logger=logger)
    logger.info("quiet")
    logger.warning("loud")
    assert [json.loads(line)["msg"] for line in capsys.readouterr().err.splitlines()] == ["loud"]
    configure(level="debug", log_format="console", logger=logger)
    logger.debug("whisper")
    assert capsys.readouterr().err.endswith("whisper\n")
    with pytest.raises(ValueError, match="unknown level"):
        configure(level="loud", logger=logger)


def test_a_file_that_cannot_be_opened_changes_nothing(
    logger: logging.Logger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old outputs stay until the new ones are open."""
    configure(logger=logger)
    with pytest.raises(OSError, match="No such file"):
        configure(outputs=[str(tmp_path / "none" / "x.log"), "stdout"], logger=logger)
    logger.info("still here")
    assert "still here" in capsys.readouterr().err


@pytest.mark.real
@pytest.mark.slow
def test_our_lines_look_like_a_real_etcds(logger: logging.Logger, written: io.StringIO, tmp_path: Path) -> None:
    """The first keys, the form of time and caller, no spaces."""
    binaries = find_etcd("3.5")
    if binaries is None:
        pytest.skip("etcd 3.5 is not in .cache/etcd (make etcd fetches it)")
    client, peer = free_ports(2)
    done = subprocess.run(
        [
            str(binaries.etcd),
            "--data-dir=/proc/none",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        ],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env={},
    )
    theirs = next(line for line in done.stderr.splitlines() if '"msg":"Running: "' in line)
    logger.info("Running: ", extra=fields(args=["a"]))
    ours = written.getvalue().strip()
    shape = re.compile(
        r'\{"level":"info","ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})",'
        r'"caller":"[a-z_]+/[a-z_]+\.(go|py):\d+","msg":"Running: ","args":\[".*"\]\}'
    )
    assert shape.fullmatch(theirs)
    assert shape.fullmatch(ours)
