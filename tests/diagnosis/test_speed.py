"""What makes a gigabyte pass in seconds changes no finding: outlines, shapes, parts, several processes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from etcdops.diagnosis import parts, reading, sieve
from etcdops.diagnosis.collect import EVENTS_KEPT, PEERS_KEPT, Collector
from etcdops.diagnosis.diagnose import conclude, diagnose, diagnose_lines
from etcdops.diagnosis.finding import Diagnosis, Finding
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.reading import find_sources
from etcdops.diagnosis.window import Window
from tests.diagnosis.busy_log import busy_lines
from tests.diagnosis.cases import made, posted
from tests.diagnosis.test_sieve import zap


def written(lines: list[str], folder: Path) -> Path:
    path = folder / "etcd.log"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


BLOCKS = (reading.BLOCK_SIZE, 300_000, 4_000)
"""Lines that were seen in one block are known in the next ones."""


def by_sieve(path: Path, window: Window | None = None) -> Diagnosis:
    """However much is read at a time."""
    found: list[Diagnosis] = []
    for size in BLOCKS:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "BLOCK_SIZE", size)
            found.append(diagnose(find_sources([str(path)]), window))
    assert all(one == found[0] for one in found)
    return found[0]


def line_by_line(path: Path) -> Diagnosis:
    """Every line understood."""
    return diagnose_lines(path.read_text(encoding="utf-8").split("\n")[:-1], str(path))


def by_parts(path: Path, part_size: int, *, helpers: int) -> Diagnosis:
    collector = Collector()
    cuts = parts.cut(path, path.stat().st_size, part_size)
    assert len(cuts) > 3
    told: list[int] = []
    name = str(path)
    collector.sources[name] = parts.read_parts(name, path, Window(), cuts, told.append, helpers_max=helpers)
    assert told[-1] == path.stat().st_size
    return conclude(collector)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "journald", "text"])
def test_a_busy_log_says_the_same_however_it_is_read(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sifted, in parts, in parts by three processes, and line by line: equal to the last digit and evidence line."""
    path = written(list(itertools.islice(busy_lines(form), 4_000)), tmp_path)
    whole = line_by_line(path)
    assert whole.findings
    assert by_sieve(path) == whole
    assert by_parts(path, 60_000, helpers=0) == whole
    monkeypatch.setattr(parts, "_cores", lambda: 3)
    assert by_parts(path, 60_000, helpers=2) == whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_mixtures_of_all_causes_say_the_same(seed: int, tmp_path: Path) -> None:
    """Lines of every labelled log, many times over and shuffled between those of a busy one."""
    dice = random.Random(seed)
    known = [line for case in (*posted(), *made()) for line in case.text.splitlines() if line.strip("\0")]
    lines = dice.choices(known, k=900) + list(itertools.islice(busy_lines(seed=seed), 600))
    dice.shuffle(lines)
    path = written([line.replace("\r", "") for line in lines], tmp_path)
    assert timeless(by_sieve(path)) == timeless(line_by_line(path))


def timeless(diagnosis: Diagnosis) -> list[Finding]:
    """Findings without their span: of lines in no order only the first and the last ones' times are looked at."""
    return [replace(finding, first=None, last=None) for finding in diagnosis.findings]


@pytest.mark.slow
def test_posted_logs_say_the_same(tmp_path: Path) -> None:
    """Alone, as they are."""
    for case in posted():
        path = written([line.replace("\r", "") for line in case.text.split("\n")], tmp_path)
        assert by_sieve(path) == line_by_line(path), case.name


def test_the_longest_of_many_durations_is_kept(tmp_path: Path) -> None:
    """Also when it is not the last, and whatever its unit and its digits."""
    for took in ("12.5s", "1m2.5s", "999.4ms", "1m2s"):
        lines = [zap("finished scheduled compaction", "info", took=f"{number}.45ms") for number in range(1, 999, 9)]
        lines += [zap("slow fdatasync", took=each) for each in ("143.4ms", "143.45ms", "9.7ms", "62ms")] * 20
        lines[50:50] = [zap("slow fdatasync", took=took)]
        path = written(lines, tmp_path)
        assert by_sieve(path) == line_by_line(path)


def test_why_processes_ended_is_counted_too(tmp_path: Path) -> None:
    """Of those last words that nobody knows the last ones are shown."""
    known = zap("discovery failed", "fatal", error="member count is unequal")
    unknown = [zap("something never seen", "fatal", code=f"{number:x}") for number in range(300)]
    path = written([*[known] * 300, *unknown], tmp_path)
    found = by_sieve(path)
    assert found == line_by_line(path)
    assert [(finding.slug, finding.count) for finding in found.findings] == [("member-count-unequal", 300)]
    path = written(unknown, tmp_path)
    assert by_sieve(path) == line_by_line(path)
    assert [line.text for line in by_sieve(path).unexplained] == unknown[-1:]


def test_peers_are_told_apart_wherever_they_stand(tmp_path: Path) -> None:
    """Their IDs and what stands before them are of any length; some come late."""
    error = "dial tcp 10.0.0.3:2380: i/o timeout"
    peers = ("9b2f9d2c3b4e5f61", "2c3b4e5f62", "7")
    lines = [
        zap(f"prober detected unhealthy status {'x' * (number % 5 == 0)}", error=error, **{"remote-peer-id": peer})
        for number in range(400)
        for peer in peers[: 1 + number // 150]
    ]
    path = written(lines, tmp_path)
    assert by_sieve(path) == line_by_line(path)


def test_where_no_line_repeats_all_are_looked_at(tmp_path: Path) -> None:
    """And where lines repeat again, after a stretch of others, they are known again."""
    dice = random.Random(1)
    strange = [zap("".join(dice.choices("ghijklmn ", k=12)), "warn") for _ in range(1_500)]
    known = [zap("slow fdatasync", took=f"{1 + number / 7}s") for number in range(700)]
    path = written([*known[:300], *strange[:900], *known[300:], *strange[900:], "12"], tmp_path)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    found = by_sieve(path)
    assert replace(found, sources=()) == replace(line_by_line(path), sources=())
    assert [finding.count for finding in found.findings] == [700]


def test_clients_words_make_no_line_another(tmp_path: Path) -> None:
    """Keys and traces that never repeat, also with words in them that mean something elsewhere."""
    dice = random.Random(3)

    def words() -> str:
        kept = " lost the TCP streaming connection with peer" * (dice.random() < 0.1)
        return "".join(dice.choices("ghijklmnopqrst/", k=30)) + kept

    def slow(number: int) -> str:
        error = {"error": "etcdserver: request timed out"} if number % 9 == 0 else {}
        return zap(
            "apply request took too long",
            took=f"{dice.uniform(100, 999):.4f}ms",
            request=f'key:"{words()}" ',
            response=f"size:{number}",
            **error,
        )

    def text(number: int) -> str:
        head = "2018-11-01 16:20:35.185438 W | etcdserver: "
        took = f"took too long ({dice.uniform(100, 999):.4f}ms) to execute"
        return f'{head}read-only range request "key:\\"{words()}\\" " with result "size:{number}" {took}'

    def trace(number: int) -> str:
        return zap(f"trace[{number}] range", "info", detail=words(), duration="101ms")

    for kinds in ([slow, trace], [text], [slow, text, trace]):
        path = written([dice.choice(kinds)(number) for number in range(1_500)], tmp_path)
        found = by_sieve(path)
        assert found == line_by_line(path)
        assert {finding.slug for finding in found.findings} <= {"apply-slow", "slow-range"}
        assert found.findings


def test_lines_without_a_time_have_that_of_the_line_before(tmp_path: Path) -> None:
    """Of a panic that came back hundreds of times, between lines of any form."""
    stack = ["panic: page 1938 already freed", "", "goroutine 78 [running]:", "I0502 10:00:00.1 1 x.go:1] main.main()"]
    heads: list[Callable[[int], str]] = [
        lambda second: f'{{"level":"info","ts":"2024-05-02T10:{second // 60:02}:{second % 60:02}.000Z","msg":"x"}}',
        lambda second: f"2024-05-02 10:{second // 60:02}:{second % 60:02}.000000 I | etcdmain: x",
        lambda second: f"May 02 10:{second // 60:02}:{second % 60:02} m1 etcd[1]: x",
    ]
    for head in heads:
        path = written([line for second in range(400) for line in (head(second), *stack)], tmp_path)
        found = by_sieve(path)
        assert found == line_by_line(path)
        assert found.findings[0].count == 400
        assert found.findings[0].last == found.sources[0].last
        assert by_parts(path, 9_000, helpers=0) == found


def test_more_events_than_are_kept_change_nothing_in_any_part(tmp_path: Path) -> None:
    """Past them elections are counted; those kept are the first ones of the whole log."""
    raft = "9b2f9d2c3b4e5f61 is starting a new election at term {}"
    path = written([zap(raft.format(number), "info") for number in range(EVENTS_KEPT + 900)], tmp_path)
    whole = line_by_line(path)
    assert by_sieve(path) == whole
    assert by_parts(path, path.stat().st_size // 9, helpers=0) == whole


def test_more_shapes_than_are_remembered_are_learnt_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what they mean is counted all the same."""
    monkeypatch.setattr(sieve, "_SHAPES_MAX", 20)
    monkeypatch.setattr(sieve, "_OUTLINES_MAX", 10)
    noise = [zap(f"{first}{second} happened", "warn") for first in "ghijklm" for second in "ghijklm"]
    lines = [line for _ in range(20) for line in (*noise, zap("slow fdatasync", took="2s"), "")]
    path = written(lines, tmp_path)
    assert by_sieve(path) == line_by_line(path)


def test_words_with_numbers_tell_lines_of_one_shape_apart(tmp_path: Path) -> None:
    """`exit status 137` was killed, `exit status 101` was not."""
    lines = [f"Mar 02 10:00:00 m1 systemd[1]: etcd.service: exit status {code}" for code in [101, 137, 101, 137] * 20]
    path = written(lines, tmp_path)
    found = by_sieve(path)
    assert found == line_by_line(path)
    assert [finding.count for finding in found.findings] == [40]


@pytest.mark.slow
@pytest.mark.parametrize("many", [PEERS_KEPT, PEERS_KEPT + 1, 500])
def test_a_crowd_of_peers_is_one(many: int, tmp_path: Path) -> None:
    """Past the limit they are told apart no more, in whichever part they came."""
    dice = random.Random(many)
    addresses = [f"10.0.{number // 250}.{number % 250}:4321" for number in range(many)] * 8
    dice.shuffle(addresses)
    error = "remote error: tls: bad certificate"
    path = written([zap("rejected connection", error=error, **{"remote-addr": one}) for one in addresses], tmp_path)
    whole = line_by_line(path)
    assert len(whole.findings[0].peers) == (many if many <= PEERS_KEPT else 0)
    assert by_sieve(path) == whole
    assert by_parts(path, path.stat().st_size // 5, helpers=0) == whole


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_window_of_a_busy_log_is_its_lines(share: float, tmp_path: Path) -> None:
    """Blocks outside are skipped, those on an edge looked at line by line."""
    lines = list(itertools.islice(busy_lines(), 2_500))
    path = written(lines, tmp_path)
    times = [parse_line(line).time or 0.0 for line in lines]
    since = times[0] + share * (times[-1] - times[0])
    inside = by_sieve(path, Window(since=since))
    assert inside.sources[0].lines == len(lines)
    counted = sum(finding.count + sum(symptom.count for symptom in finding.explains) for finding in inside.findings)
    every = diagnose_lines(line for line, time in zip(lines, times, strict=True) if time >= since)
    assert counted == sum(f.count + sum(symptom.count for symptom in f.explains) for f in every.findings)


def test_a_part_begins_with_a_line_that_has_a_time(tmp_path: Path) -> None:
    """So that a stack trace stays with the line before it; together the parts are the file."""
    text = [zap("slow fdatasync", took="2s"), *["goroutine 1 [running]:", "main.main()"] * 30] * 20
    path = written(text, tmp_path)
    cuts = parts.cut(path, path.stat().st_size, 2_000)
    data = path.read_bytes()
    assert b"".join(data[part.start : part.end] for part in cuts) == data
    assert all(data[part.start :].startswith(b'{"level"') for part in cuts)
    assert by_parts(path, 2_000, helpers=0) == line_by_line(path)


def test_a_helper_that_dies_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its part is read by the one that asked for it."""
    path = written(list(itertools.islice(busy_lines(), 2_000)), tmp_path)
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert by_parts(path, 100_000, helpers=2) == line_by_line(path)
