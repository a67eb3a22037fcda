"""From entries to tallies: everything the judges need to know of one source, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.identify import (
    data_dir_of,
    is_etcds,
    is_peer_talk,
    measured,
    member_of,
    name_of,
    peer_of,
    term_and_leader,
)
from etcdops.diagnosis.match import Matcher
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.rule import Rule
from etcdops.diagnosis.tally import Tally
from etcdops.diagnosis.window import LeftOut

EVENTS_KEPT = 4000
"""Elections, starts and stops remembered one by one for each source; later ones are only counted."""

PEERS_KEPT = 64
"""Peers told apart for each sign; more than that is no cluster, but a log that made them up."""

EVENTS = frozenset(
    {
        facts.START,
        facts.READY,
        facts.SIGNAL,
        facts.STOPPING,
        facts.CLOSING,
        facts.CAMPAIGN,
        facts.ELECTED,
        facts.LOST,
        facts.HANDOVER,
        facts.PANIC,
    }
)
VERSIONS_KEPT = 8

_BY_PEER = frozenset(
    {
        facts.PEER_BACK,
        facts.PEER_LOST,
        facts.PEER_GONE,
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

    def moved(self, lines: int, source: str) -> Event:
        """The same, that many lines further down in a log of that name."""
        return replace(self, number=self.number + lines, entry=self.entry and self.entry.moved(lines, source))


@dataclass(slots=True)
class SourceLog:
    """What one file (one member, most often) told."""

    name: str
    member: str = ""
    called: str = ""
    """The member's name, once a line told it."""
    host: str = ""
    lines: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)
    first: float | None = None
    last: float | None = None
    recent: float | None = None
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    events_kept: int = EVENTS_KEPT
    """How many of them at most; fewer in a part of a log, when those before it have some."""
    last_deadly: Entry | None = None
    data_dir: str = ""
    versions: list[str] = field(default_factory=list)
    zoned: bool = False
    damage: str = ""
    """Why its end could not be read."""
    peers: Counter[str] = field(default_factory=Counter)
    """How many peers each sign was seen with; past PEERS_KEPT they are a crowd."""
    is_etcds: bool = False
    """A line of it is etcd's, or means something to a rule; else it may be the log of anything."""

    def of(self, sign: str) -> Iterator[Tally]:
        """The tallies of one sign, one for each peer."""
        return (tally for (name, _), tally in self.tallies.items() if name == sign)

    def count(self, sign: str) -> int:
        return sum(tally.count for tally in self.of(sign))

    def tally(self, sign: str, peer: str) -> Tally:
        """That of a sign and a peer, which is there from now on; of a crowd of peers all have one."""
        if peer and self.peers[sign] > PEERS_KEPT:
            peer = ""
        found = self.tallies.get((sign, peer))
        if found is None:
            found = self.tallies[sign, peer] = Tally(sign, self.name, peer=peer)
            self.peers[sign] += bool(peer)
            if self.peers[sign] > PEERS_KEPT:
                return self._crowd(sign)
        return found

    def _crowd(self, sign: str) -> Tally:
        """So many peers are told apart no more; it does not matter who came first."""
        crowd = self.tallies.setdefault((sign, ""), Tally(sign, self.name))
        for key in [key for key in self.tallies if key[0] == sign and key[1]]:
            crowd.absorb(self.tallies.pop(key))
        return crowd

    @property
    def events_left(self) -> int:
        """How many more are wanted."""
        return self.events_kept - len(self.events)

    def see(self, time: float | None) -> None:
        """Note that a line was written then."""
        if time is not None:
            self.first = time if self.first is None else min(self.first, time)
            self.last = time if self.last is None else max(self.last, time)

    def absorb(self, later: SourceLog) -> None:
        """Take in the part of the same log that follows, or its next file; its lines are numbered from 1."""
        self.member, self.host = self.member or later.member, self.host or later.host
        self.data_dir = self.data_dir or later.data_dir
        self.called = self.called or later.called
        self.damage = self.damage or later.damage
        self.zoned, self.is_etcds = self.zoned or later.zoned, self.is_etcds or later.is_etcds
        self.versions += [version for version in later.versions if version not in self.versions]
        del self.versions[VERSIONS_KEPT:]
        self.see(later.first)
        self.see(later.last)
        self.recent = self.recent if later.recent is None else later.recent
        self.events += [event.moved(self.lines, self.name) for event in later.events[: self.events_left]]
        if later.last_deadly is not None:
            self.last_deadly = later.last_deadly.moved(self.lines, self.name)
        for tally in later.tallies.values():
            self.tally(tally.sign, tally.peer).absorb(tally.moved(self.lines, self.name))
        for sign in [sign for sign in later.peers if later.peers[sign] > PEERS_KEPT >= self.peers[sign]]:
            self.peers[sign] = later.peers[sign]
            self._crowd(sign)
        self.lines += later.lines
        self.left_out = self.left_out.and_more(later.left_out.lines, (later.left_out.first, later.left_out.last))


class Collector:
    """Takes in the entries of one source after another."""

    def __init__(self, matcher: Matcher | None = None) -> None:
        self.matcher = matcher or Matcher()
        self.sources: dict[str, SourceLog] = {}

    def source(self, name: str) -> SourceLog:
        return self.sources.setdefault(name, SourceLog(name))

    def take(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry, count: int = 1, worst: float = 0.0) -> tuple[Rule, ...]:
        """Take in one line, which stands for `count` like it, the worst of them `worst` seconds.

        Returns: the rules it matched.
        """
        log = self.source(entry.source)
        if entry.time is None:
            entry = replace(entry, time=log.recent)  # a panic carries no time; that of the line before is close
        else:
            log.recent = entry.time
            log.see(entry.time)
            log.zoned = log.zoned or entry.zoned
        rules = self.matcher.match(entry)
        self._identify(log, entry)
        log.is_etcds = log.is_etcds or bool(rules) or is_etcds(entry)
        if is_last_word(entry) and (log.last_deadly is None or log.last_deadly.number < entry.number):
            log.last_deadly = entry
        for rule in rules:
            self._count(log, entry, rule, count, worst)
        return rules

    def _count(self, log: SourceLog, entry: Entry, rule: Rule, count: int, worst: float) -> None:
        tally = log.tally(rule.sign, peer_of(entry) if is_about_peer(rule) else "")
        confidence = rule.confidence
        if rule.group == "reach" and rule.sign.startswith(("peer-", "dns-lookup")) and not is_peer_talk(entry):
            confidence = min(confidence, 0.6)
        seconds = max(measured(rule, entry), worst if rule.measure else 0.0)
        tally.add(entry, confidence, entry.deadly or rule.deadly, seconds, count)
        if rule.sign in EVENTS and log.events_left > 0:
            log.events.append(_event(rule.sign, entry))
            if len(log.events) > 1 and entry.number < log.events[-2].number:
                log.events.sort(key=lambda event: event.number)

    def _identify(self, log: SourceLog, entry: Entry) -> None:
        if entry.host and not log.host:
            log.host = entry.host
        if not log.member:
            log.member = member_of(entry)
        if not log.data_dir:
            log.data_dir = data_dir_of(entry)
        if not log.called:
            log.called = name_of(entry)
        if "etcd-version" in entry.fields and entry.fields["etcd-version"] not in log.versions:
            if len(log.versions) < VERSIONS_KEPT:
                log.versions.append(entry.fields["etcd-version"])
        elif "etcd Version: " in entry.text:
            version = entry.text.partition("etcd Version: ")[2].split()[:1]
            if version and version[0] not in log.versions and len(log.versions) < VERSIONS_KEPT:
                log.versions.append(version[0])


def _event(kind: str, entry: Entry) -> Event:
    term, leader = term_and_leader(entry.text)
    return Event(kind, entry.number, entry.time, term, leader, entry)


def is_about_peer(rule: Rule) -> bool:
    """Whether its lines are told apart by the peer they are about."""
    return rule.sign in _BY_PEER or rule.sign.startswith(_BY_PEER_PREFIXES)


def is_last_word(entry: Entry) -> bool:
    """Whether the process says why it ends."""
    return entry.deadly or entry.message.startswith(("panic: ", "fatal error: "))
