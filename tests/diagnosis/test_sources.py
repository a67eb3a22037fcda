"""Lines that etcd's sources can print, one by one: the cause each speaks for, and near misses that speak for none."""

from __future__ import annotations

import tomllib

import pytest

from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.diagnose import diagnose_lines
from etcdops.diagnosis.finding import Severity
from tests.diagnosis.cases import SAMPLES

LINES = tomllib.loads((SAMPLES / "sources.toml").read_text(encoding="utf-8"))["line"]
CAUSES = sorted({line["cause"] for line in LINES} - {"benign"})


def first_slug(text: str) -> str:
    """That of the only finding; what else a line might be taken for stands under it or is not there."""
    findings = diagnose_lines([text]).findings
    assert len(findings) < 2, (text, [finding.slug for finding in findings])
    return findings[0].slug if findings else "benign"


@pytest.mark.parametrize("cause", CAUSES)
def test_a_line_of_the_sources_is_known_for_its_cause(cause: str) -> None:
    """samples/sources.toml; each line names the release, the file and the function that prints it."""
    lines = [line["text"] for line in LINES if line["cause"] == cause]
    assert [(text, first_slug(text)) for text in lines] == [(text, cause) for text in lines]


def test_near_misses_are_no_findings() -> None:
    """Lines in words that rules look for, or at levels above info, with nothing to do."""
    found = [(line["text"], diagnose_lines([line["text"]]).findings) for line in LINES if line["cause"] == "benign"]
    assert len(found) > 30
    assert [(text, findings) for text, findings in found if any(f.severity > Severity.INFO for f in findings)] == []


def test_lines_name_causes_and_sources() -> None:
    """A line without its place in the sources cannot be looked up again."""
    assert set(CAUSES) <= set(catalogue())
    assert all(line["source"] and line["versions"] for line in LINES)
    assert len({line["text"] for line in LINES}) == len(LINES)
