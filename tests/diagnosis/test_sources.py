"""Lines that etcd, and programs round it, can print, one by one: the cause of each, and near misses that have none."""

from __future__ import annotations

import tomllib

import pytest

from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.collect import Collector
from etcdops.diagnosis.diagnose import conclude
from etcdops.diagnosis.finding import Finding, Severity
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.match import Matcher
from tests.diagnosis.cases import SAMPLES
from tests.diagnosis.words import taken_for, words_of

LINES = [
    line
    for name in ("sources.toml", "programs.toml")
    for line in tomllib.loads((SAMPLES / name).read_text(encoding="utf-8"))["line"]
]
CAUSES = sorted({line["cause"] for line in LINES} - {"benign"})


MATCHER = Matcher()


def findings_of(text: str) -> tuple[Finding, ...]:
    """Of a log that has one line."""
    collector = Collector(MATCHER)
    collector.add(parse_line(text, "log", 1))
    return conclude(collector).findings


def first_slug(text: str) -> str:
    """That of the only finding; what else a line might be taken for stands under it or is not there."""
    findings = findings_of(text)
    assert len(findings) < 2, (text, [finding.slug for finding in findings])
    return findings[0].slug if findings else "benign"


@pytest.mark.parametrize("cause", CAUSES)
def test_a_line_of_the_sources_is_known_for_its_cause(cause: str) -> None:
    """samples/sources.toml and programs.toml; each line names the release, the file and the function that prints it."""
    lines = [line["text"] for line in LINES if line["cause"] == cause]
    assert [(text, first_slug(text)) for text in lines] == [(text, cause) for text in lines]


def test_near_misses_are_no_findings() -> None:
    """Lines in words that rules look for, or at levels above info, with nothing to do."""
    found = [(line["text"], findings_of(line["text"])) for line in LINES if line["cause"] == "benign"]
    assert len(found) > 30
    assert [(text, findings) for text, findings in found if any(f.severity > Severity.INFO for f in findings)] == []


def test_lines_name_causes_and_sources() -> None:
    """A line without its place in the sources cannot be looked up again."""
    assert set(CAUSES) <= set(catalogue())
    assert all(line["source"] and line["versions"] for line in LINES)
    assert len({line["text"] for line in LINES}) == len(LINES)


GO = """
func (t *Transport) removePeer(id types.ID) {
	if peer, ok := t.peers[id]; ok {
		plog.Infof("removed peer %s", id)
	} else {
		plog.Panicf("unexpected removal of unknown peer '%d'", id)
	}
	t.Logger.Warn(
		"failed to find remote peer in cluster",
		zap.String("remote-peer-id", id.String()),
	)
	return fmt.Errorf("member %q has already been bootstrapped", id)
}
"""


def test_words_of_a_go_file_are_found_with_what_they_are_taken_for() -> None:
    """Log calls from warnings up and errors, over several lines too; DESIGN.md tells how this is used."""
    found = list(words_of(GO, "rafthttp/transport.go"))
    assert [each.text for each in found] == [
        "unexpected removal of unknown peer '%d'",
        "failed to find remote peer in cluster",
        "member %q has already been bootstrapped",
    ]
    assert {each.place for each in found} == {"rafthttp/transport.go, removePeer"}
    assert [taken_for(each, MATCHER) for each in found] == [[], ["member-not-found"], ["already-bootstrapped"]]
