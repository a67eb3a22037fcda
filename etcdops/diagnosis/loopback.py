"""A member that advertises an address only it can use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE
from etcdops.diagnosis.tally import Tally

_ADVERTISED = re.compile(
    r"(?:(?:initial[-_ ]advertise[-_ ](?P<peer>peer)[-_ ]urls?|advertise[-_ ]client[-_ ]urls?)\"?\s*[=:]\s*\"?\[?\"?|"
    r"got endpoints\((?P<client>))"
    r"(?P<url>https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\])[^\s\"\],]*)",
    re.IGNORECASE,
)
_ELSEWHERE = re.compile(r"(?://|dial tcp )(?!localhost|127\.|0\.|\[?::)[\w.-]+:\d+")
_UNHEARD = 0.45
"""Clients are sent to the wrong place, which accounts for nothing that members say."""


def loopback(log: SourceLog) -> Iterator[Tally]:
    """An address others cannot use matters only where there are others, on other hosts."""
    away = any(
        _ELSEWHERE.search(line.text)
        for tally in log.tallies.values()
        if tally.sign.startswith("peer-")
        for line in tally.lines()
    )
    for tally in log.of(facts.LOOPBACK):
        found = [(line, match) for line in tally.lines() for match in _ADVERTISED.finditer(line.text)]
        wild = any("//0." in match["url"] or "//[::]" in match["url"] for _, match in found)
        many = any(_ELSEWHERE.search(_members(line)) for line in tally.lines())
        peers = any(match["peer"] for _, match in found)
        # etcdctl was sent to what members advertise, and nobody was there.
        lost = any(match["client"] is not None for _, match in found) and "peer-connection-refused" in _signs(log)
        confidence = CERTAIN if many else LIKELY if wild else POSSIBLE
        if found and (away or wild or many or lost):
            lines = list({line.number: line for line, _ in found}.values())[:3]
            yield replace(
                tally,
                sign="advertise-loopback",
                confidence=confidence if peers else POSSIBLE if lost else _UNHEARD,
                count=len(lines),
                first_lines=lines,
                last_lines=[],
            )


def _signs(log: SourceLog) -> set[str]:
    return {tally.sign for tally in log.tallies.values()}


def _members(line: Entry) -> str:
    """The initial cluster, where the line tells it: a field, or a setting that was read from the environment."""
    return line.fields.get("initial-cluster", "") or line.text.partition("ETCD_INITIAL_CLUSTER=")[2]
