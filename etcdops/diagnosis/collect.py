"""From entries to tallies: everything the judges need to know of one source, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.identify import (
    data_dir_of,
    is_etcds,
    is_peer_talk,
    measured,
    member_of,
    peer_of,
    term_and_leader,
)
from etcdops.diagnosis.match import Matcher
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.rule import Rule
from etcdops.diagnosis.tally import Tally

EVENTS_KEPT = 4000
"""Elections, starts and stops remembered one by one for each source; later ones are only counted."""

PEERS_KEPT = 64
"""Peers told apart for each sign; more than that is no cluster, but a log that made them up."""

_EVENTS = frozenset(
    {facts.START, facts.READY, facts.SIGNAL, facts.STOPPING, facts.CAMPAIGN, facts.ELECTED, facts.LOST, facts.PANIC}
)
_BY_PEER = frozenset(
    {
        facts.PEER_BACK,
        facts.PEER_LOST,
        "network-overloaded",
        "clock-drift",
        "cluster-id-mismatch",
        "member-not-found",
        "member-id-mismatch",
        "removed-peer-dialing",
        "snapshot-send-failed",
    }
)
_BY_PEER_PREFIXES = ("peer-", "dns-lookup", "tls-", "network-un", "version-incompat")


@dataclass(frozen=True, slots=True)
class Event:
    """One election, start or stop, at its place in the log."""

    kind: str
    number: int
    time: float | None
    term: int = 0
    leader: str = ""
    entry: Entry | None = None


@dataclass(slots=True)
class SourceLog:
    """What one file (one member, most often) told."""

    name: str
    member: str = ""
    host: str = ""
    lines: int = 0
    first: float | None = None
    last: float | None = None
    recent: float | None = None
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    last_deadly: Entry | None = None
    data_dir: str = ""
    versions: list[str] = field(default_factory=list)
    zoned: bool = False
    is_etcds: bool = False
    """A line of it is etcd's, or means something to a rule; else it may be the log of anything."""

    def of(self, sign: str) -> Iterator[Tally]:
        """The tallies of one sign, one for each peer."""
        return (tally for (name, _), tally in self.tallies.items() if name == sign)

    def count(self, sign: str) -> int:
        return sum(tally.count for tally in self.of(sign))


class Collector:
    """Takes in the entries of one source after another."""

    def __init__(self, matcher: Matcher | None = None) -> None:
        self._matcher = matcher or Matcher()
        self.sources: dict[str, SourceLog] = {}

    def source(self, name: str) -> SourceLog:
        return self.sources.setdefault(name, SourceLog(name))

    def take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry, count: int = 1) -> tuple[Rule, ...]:
        """Take in one line, which stands for `count` like it. Returns: the rules it matched."""
        log = self.source(entry.source)
        if entry.time is None:
            entry = replace(entry, time=log.recent)  # a panic carries no time; that of the line before is close
        else:
            log.recent = entry.time
            log.first = entry.time if log.first is None else min(log.first, entry.time)
            log.last = entry.time if log.last is None else max(log.last, entry.time)
            log.zoned = log.zoned or entry.zoned
        rules = self._matcher.match(entry)
        self._identify(log, entry)
        log.is_etcds = log.is_etcds or bool(rules) or is_etcds(entry)
        if entry.deadly or entry.message.startswith(("panic: ", "fatal error: ")):
            log.last_deadly = entry
        for rule in rules:
            self._count(log, entry, rule, count)
        return rules

    def _count(self, log: SourceLog, entry: Entry, rule: Rule, count: int) -> None:
        peer = peer_of(entry) if rule.sign in _BY_PEER or rule.sign.startswith(_BY_PEER_PREFIXES) else ""
        key = (rule.sign, peer)
        tally = log.tallies.get(key)
        if tally is None:
            if peer and sum(1 for name, _ in log.tallies if name == rule.sign) >= PEERS_KEPT:
                key = (rule.sign, "")
            tally = log.tallies.setdefault(key, Tally(rule.sign, log.name, peer=key[1]))
        confidence = rule.confidence
        if rule.group == "reach" and rule.sign.startswith(("peer-", "dns-lookup")) and not is_peer_talk(entry):
            confidence = min(confidence, 0.6)
        tally.add(entry, confidence, entry.deadly or rule.deadly, measured(rule, entry), count)
        if rule.sign in _EVENTS and len(log.events) < EVENTS_KEPT:
            log.events.append(_event(rule.sign, entry))

    def _identify(self, log: SourceLog, entry: Entry) -> None:
        if entry.host and not log.host:
            log.host = entry.host
        if not log.member:
            log.member = member_of(entry)
        if not log.data_dir:
            log.data_dir = data_dir_of(entry)
        if "etcd-version" in entry.fields and entry.fields["etcd-version"] not in log.versions:
            log.versions.append(entry.fields["etcd-version"])
        elif "etcd Version: " in entry.text:
            version = entry.text.partition("etcd Version: ")[2].split()[:1]
            if version and version[0] not in log.versions and len(log.versions) < 8:
                log.versions.append(version[0])


def _event(kind: str, entry: Entry) -> Event:
    term, leader = term_and_leader(entry.text)
    return Event(kind, entry.number, entry.time, term, leader, entry)
