"""Skipping and counting by shape finds what reading every line finds."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.diagnosis.diagnose import diagnose, diagnose_lines
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.reading import find_sources
from tests.diagnosis.cases import made


def zap(message: str, level: str = "warn", **fields: str) -> str:
    line = {"level": level, "ts": "2024-05-02T10:00:00.000Z", "caller": "a/b.go:1", "msg": message, **fields}
    return json.dumps(line, separators=(",", ":"))


def noise(number: int) -> str:
    """Lines that say nothing: traced requests, each with a number of its own, and compactions."""
    if number % 2:
        return zap(f"trace[{number * 7919}] range", "info", duration="101ms")
    return zap("finished scheduled compaction", "info", took="3.2ms", revision=str(number))


def counts(diagnosis: Diagnosis) -> list[tuple[str, int]]:
    """Each finding and what it explains, with their counts."""
    return [
        pair
        for finding in diagnosis.findings
        for pair in [(finding.slug, finding.count), *((symptom.slug, symptom.count) for symptom in finding.explains)]
    ]


def from_file(lines: list[str], folder: Path) -> Diagnosis:
    path = folder / "etcd.log"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return diagnose(find_sources([str(path)]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_reading_every_line(seed: int, tmp_path: Path) -> None:
    """Tens of thousands of lines of few shapes, mixed: every count is exact."""
    dice = random.Random(seed)
    refused = "dial tcp 10.0.0.3:2380: connect: connection refused"
    kinds: list[Callable[[], str]] = [
        lambda: zap("slow fdatasync", took=f"{1 + dice.random():.3f}s"),
        lambda: zap("prober detected unhealthy status", error=refused, **{"remote-peer-id": "9b2f9d2c3b4e5f61"}),
        lambda: zap("rejected connection", error="EOF"),
        lambda: zap("rejected connection", error="remote error: tls: bad certificate"),
        lambda: "2018-11-01 16:20:35.185438 W | auth: invalid auth token: x.1",
    ]
    lines = [dice.choice(kinds)() if dice.random() < 0.4 else noise(number) for number in range(5_000)]
    assert counts(from_file(lines, tmp_path)) == counts(diagnose_lines(lines))


def test_one_line_among_a_great_many_is_found(tmp_path: Path) -> None:
    """At the very end, of a message that was noise before and with an error that was never seen."""
    lines = [zap("rejected connection", error="EOF") for _ in range(2000)]
    lines += [zap("some new message of a later release", error="nothing known") for _ in range(2000)]
    lines.append(zap("rejected connection", error="x509: certificate has expired or is not yet valid"))
    lines += [zap("rejected connection", error="EOF") for _ in range(2000)]
    diagnosis = from_file(lines, tmp_path)
    assert diagnosis.findings[0].slug == "tls-expired"
    assert diagnosis.findings[0].evidence[0].line == 4001


@pytest.mark.slow
def test_a_cause_is_found_in_a_haystack(tmp_path: Path) -> None:
    """Every third made log, in the middle of noise of both forms, has the first finding it has alone."""
    hay = [noise(number) for number in range(120)]
    text_hay = [
        f"2018-11-01 16:20:35.185438 I | mvcc: finished scheduled compaction at {n} (took 3ms)" for n in range(120)
    ]
    wrong = []
    for case in made()[::3]:
        alone = case.diagnosed()
        lines = [*hay, *text_hay, *case.text.splitlines(), *hay]
        found = from_file(lines, tmp_path)
        if [finding.slug for finding in found.findings] != [finding.slug for finding in alone.findings]:
            wrong.append((case.name, [finding.slug for finding in found.findings]))
    assert wrong == []


def test_the_number_of_the_evidence_is_its_line(tmp_path: Path) -> None:
    """Counted from 1, over blocks of JSON and of text, with empty lines between."""
    lines = [noise(1), "", zap("slow fdatasync", took="2s"), "panic: page 1938 already freed", "", noise(2)]
    evidence = {line.text: line.line for finding in from_file(lines, tmp_path).findings for line in finding.evidence}
    assert evidence[lines[3]] == 4
    assert from_file(lines[:3], tmp_path).findings[0].evidence[0].line == 3
