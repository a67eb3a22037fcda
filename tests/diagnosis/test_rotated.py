"""Files that one log was rotated into are diagnosed as that log, and every line is told where it stands."""

from __future__ import annotations

import gzip
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from etcdops.diagnosis.diagnose import diagnose, diagnose_lines
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.reading import find_sources
from etcdops.diagnosis.rotated import written_name
from tests.diagnosis.busy_log import busy_lines
from tests.diagnosis.cases import made

LOGROTATE = ("etcd.log.2.gz", "etcd.log.1", "etcd.log")
DATES = ("etcd.log-20240502", "etcd.log-20240503.gz", "etcd.log")
ETCDS_OWN = ("etcd-2024-05-02T10-00-00.000.log.gz", "etcd-2024-05-02T11-00-00.000.log", "etcd.log")
KUBELETS = ("0.log.20240502-100000.gz", "0.log.20240502-110000", "0.log")
DOCKERS = ("1a2b-json.log.2", "1a2b-json.log.1", "1a2b-json.log")
ID = "9b2f9d2c3b4e5f61"


def from_files(files: dict[str, list[str]], folder: Path) -> Diagnosis:
    for name, lines in files.items():
        data = "".join(f"{line}\n" for line in lines).encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return diagnose(find_sources([str(folder)]))


def rotated(lines: list[str], names: tuple[str, ...], folder: Path) -> Diagnosis:
    """As the log of the last file, in a folder of its own: `etcd.log`."""
    size = -(-len(lines) // len(names))
    parts = [lines[at : at + size] for at in range(0, len(lines), size)]
    return from_files(dict(zip(names[-len(parts) :], parts, strict=True)), folder)


@pytest.mark.parametrize("names", [LOGROTATE, DATES, ETCDS_OWN, KUBELETS, DOCKERS], ids=lambda names: str(names[0]))
def test_it_is_diagnosed_as_the_one_log_that_it_was(names: tuple[str, ...], tmp_path: Path) -> None:
    """Whoever rotated it. Counts, times, members and what accounts for what are those of the whole."""
    lines = list(itertools.islice(busy_lines(), 600))
    found, whole = rotated(lines, names, tmp_path), diagnose_lines(lines, str(tmp_path / names[-1]))
    assert [replace(one, evidence=()) for one in found.findings] == [
        replace(one, evidence=()) for one in whole.findings
    ]
    texts = [[line.text for line in one.evidence] for one in whole.findings]
    assert [[line.text for line in one.evidence] for one in found.findings] == texts
    assert [(one.time, one.text) for one in found.timeline] == [(one.time, one.text) for one in whole.timeline]
    (source,) = found.sources
    assert source.files == tuple(str(tmp_path / name) for name in names)
    assert source.lines == len(lines)


def test_every_line_is_told_where_it_stands(tmp_path: Path) -> None:
    """Evidence, last words and moments: file and line."""
    checked = 0
    for case in made()[::4]:
        folder = tmp_path / case.name
        folder.mkdir()
        lines = [line for line in case.text.replace("\r", "").splitlines() if line.strip("\0 ")]
        found = rotated(lines, DOCKERS, folder)
        told = [line for finding in found.findings for line in finding.evidence] + list(found.unexplained)
        for line in told:
            text = Path(line.source).read_text(encoding="utf-8").split("\n")[line.line - 1].strip()
            assert text.startswith(line.text[:200]), case.name
        for moment in found.timeline:
            assert moment.text[:20] in Path(moment.source).read_text(encoding="utf-8").split("\n")[moment.line - 1]
        checked += len(told)
    assert checked > 50


def test_what_is_over_in_the_next_file_is_over(tmp_path: Path) -> None:
    """A peer is lost at the end of one file, and back at the start of the next."""
    zap = '{"level":"%s","ts":"2024-05-02T10:00:%02d.000Z","msg":"%s","peer-id":"%s"%s}'
    lost = [
        zap % ("warn", at, "peer became inactive (message send to peer failed)", ID, ',"error":"EOF"')
        for at in range(3)
    ]
    back = [zap % ("info", 5, "peer became active", ID, "")]
    assert from_files({"m1.log": lost}, tmp_path).findings
    assert from_files({"m1.log": [], "m1.log.1": lost}, tmp_path).findings
    assert not from_files({"m1.log": back, "m1.log.1": lost}, tmp_path).findings


@pytest.mark.parametrize("names", [("etcd.log.1", "etcd.log"), ("etcd.log.bak", "etcd.log"), ("10.0.0.1", "10.0.0.2")])
def test_what_was_written_at_the_same_time_or_has_another_name_is_another_log(
    names: tuple[str, str], tmp_path: Path
) -> None:
    """Copies, and members whose files are called by their addresses."""
    lines = list(itertools.islice(busy_lines(), 900))
    halves = (lines, lines[200:]) if names[0].endswith(".1") and names[1] == "etcd.log" else (lines[:450], lines[450:])
    found = from_files(dict(zip(names, halves, strict=True)), tmp_path)
    assert sorted(source.name for source in found.sources) == sorted(str(tmp_path / name) for name in names)


@pytest.mark.parametrize("name", ["logs/10.0.0.11", "logs/etcd-10.0.0.11", "m1.log", "etcd-1", "stdin", "/x/.1"])
def test_a_name_that_no_rotation_makes_is_one_itself(name: str) -> None:
    assert written_name(name) == name
