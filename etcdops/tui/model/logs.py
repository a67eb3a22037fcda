"""The members' logs as one: lines in the order of one clock, bounded, and what etcdops.diagnosis makes of them."""

from __future__ import annotations

import bisect
import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from etcdops.diagnosis.causes import catalogue
from etcdops.diagnosis.collect import Collector
from etcdops.diagnosis.diagnose import conclude
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.finding import Diagnosis
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.identify import is_id
from etcdops.tui.model.text import clean

LINES_KEPT = 20_000
"""Of all members together; the oldest go first."""
BYTES_KEPT = 32 * 1024 * 1024
_TRIMMED_AT_ONCE = LINES_KEPT // 20
_RAW_KEPT = 8 * 1024
_TEXT_KEPT = 1_000
"""Characters of a line that are kept whole, and those that rows and filters see."""
_UNSTEADY_S = 1.0
"""Lines of one log stand in the order in which they were written, also when two of its writers read the clock the other
way round. A clock that goes back further was set, and lines go where it says."""
_ANSI = re.compile(r"\x1b\[[\d;]*[A-Za-z]")
_ID = re.compile(r"\b[0-9a-f]{12,16}\b")
_TOLD_ELSEWHERE = frozenset({"level", "ts", "caller", "logger", "stacktrace", "stack", "local-member-id"})
"""Fields that a row leaves out: it has a column for what they say, or no room for it."""


class Level(enum.IntEnum):
    """How bad a line is, by zap's words."""

    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3
    FATAL = 4

    @property
    def word(self) -> str:
        return self.name.lower()


_LEVELS = {"debug": Level.DEBUG, "warn": Level.WARN, "error": Level.ERROR, "panic": Level.FATAL, "fatal": Level.FATAL}


class LogLine(NamedTuple):
    """One line. Lines compare by time, then member, then place in the member's log."""

    at: float
    """Unix time on the common clock; a line that tells none has that of the line before it."""
    source: int
    """Index of the member's log."""
    number: int
    """From 1, in what was read of this log."""
    stamp: float
    """The time by the member's own clock."""
    level: Level
    text: str
    """Message and fields, safe to draw, cut to some length; members by name where that is known, else by ID."""
    message_size: int
    """Characters of `text` that are the message."""
    raw: str
    """The whole line, safe to draw."""
    slug: str
    """The cause whose rule knows the line; "" = none."""

    @property
    def key(self) -> tuple[int, int]:
        """Says which line it is, also after clocks were put right."""
        return self.source, self.number


@dataclass(slots=True)
class _Reading:
    """Where the book is in one member's log."""

    name: str
    number: int = 0
    recent: float | None = None
    level: Level = Level.INFO
    offset_s: float = 0.0


class LogBook:
    """Takes in the lines of all members as they come. Its lists are its own: copy what is to be kept."""

    def __init__(self, names: Sequence[str]) -> None:
        self.lines: list[LogLine] = []
        """In order. Invariant: at most LINES_KEPT and some."""
        self.taken = 0
        """Lines taken in since the start."""
        self.dropped = 0
        self.version = 0
        """Grows whenever `lines` change."""
        self.diagnosis = Diagnosis((), ())
        self._readings: list[_Reading] = []
        self._indexes: dict[str, int] = {}
        self._collector = Collector()
        for name in names:
            self.index(name)
        self._names: dict[str, str] = {}
        """Of members, by ID."""
        self._bytes = 0
        self._news = False

    @property
    def names(self) -> list[str]:
        return [reading.name for reading in self._readings]

    @property
    def news(self) -> bool:
        """Whether lines came since the last `conclude` that may change what it says."""
        return self._news

    def index(self, name: str) -> int:
        """Of the log called so; a new one is the last."""
        if name not in self._indexes:
            self._indexes[name] = len(self._readings)
            self._readings.append(_Reading(name))
            self._collector.source(name)
        return self._indexes[name]

    def offset_s(self, index: int) -> float:
        """By how much a member's clock was found to be ahead."""
        return self._readings[index].offset_s

    def add(self, name: str, raws: Sequence[str], now: float) -> None:
        """Take in lines of one log, in its order. `now` is for lines before any that tells a time."""
        index = self.index(name)
        reading = self._readings[index]
        entries = [self._parsed(reading, raw) for raw in raws]
        if reading.recent is None:
            reading.recent = next((entry.time for entry in entries if entry.time is not None), now)
        made = [self._line(index, reading, entry) for entry in entries]
        self._merge(made)
        self.taken += len(made)
        self.version += 1

    def _parsed(self, reading: _Reading, raw: str) -> Entry:
        reading.number += 1
        text = _ANSI.sub("", raw[:_RAW_KEPT]).replace("\t", " ")
        return parse_line(text, reading.name, reading.number)

    def _line(self, index: int, reading: _Reading, entry: Entry) -> LogLine:
        slug = self._collect(entry)
        reading.level = _level_of(entry, reading.level)
        assert reading.recent is not None
        if entry.time is not None and not reading.recent - _UNSTEADY_S < entry.time < reading.recent:
            reading.recent = entry.time
        stamp = reading.recent
        message, text = shown_text(entry)
        message, text = self._named(message), self._named(message) + self._named(text[len(message) :])
        raw = clean(entry.raw)
        self._bytes += len(raw) + len(text)
        at = stamp - reading.offset_s
        return LogLine(at, index, entry.number, stamp, reading.level, text, len(message), raw, slug)

    def _collect(self, entry: Entry) -> str:
        rules = self._collector.add(entry)
        self._collector.source(entry.source).lines = entry.number
        # The end of a log is told by whatever stands there, so any line may matter; those that rules know do.
        self._news = self._news or bool(rules) or entry.deadly
        return next((rule.sign for rule in rules if rule.sign in catalogue()), "")

    def name_members(self, names: Mapping[str, str]) -> None:
        """Have lines say these names in the place of these IDs; those that are known otherwise stay."""
        more = {word: clean(name) for word, name in names.items() if self._names.get(word) != clean(name)}
        if not more:
            return
        self._names |= more
        self.lines = [self._renamed(line) for line in self.lines]
        self._bytes = sum(len(line.raw) + len(line.text) for line in self.lines)
        self.version += 1

    def _renamed(self, line: LogLine) -> LogLine:
        if not _ID.search(line.text):
            return line
        message = self._named(line.text[: line.message_size])
        return line._replace(text=message + self._named(line.text[line.message_size :]), message_size=len(message))

    def _named(self, text: str) -> str:
        return _ID.sub(lambda found: self._names.get(found[0], found[0]), text) if self._names else text

    def _merge(self, made: list[LogLine]) -> None:
        """Put new lines where they belong: nearly always at the end, or close to it."""
        if not made:
            return
        made.sort()
        lines = self.lines
        at = bisect.bisect_left(lines, made[0]) if lines and lines[-1] > made[0] else len(lines)
        if at == len(lines):
            lines += made
        else:
            lines[at:] = sorted([*lines[at:], *made])  # two runs in order: this is a merge
        self._trim()

    def _trim(self) -> None:
        lines = self.lines
        extra = max(0, len(lines) - LINES_KEPT)
        if extra < _TRIMMED_AT_ONCE and self._bytes <= BYTES_KEPT:
            return
        freed = sum(len(line.raw) + len(line.text) for line in lines[:extra])
        while self._bytes - freed > BYTES_KEPT and extra < len(lines):
            freed += len(lines[extra].raw) + len(lines[extra].text)
            extra += 1
        del lines[:extra]
        self._bytes -= freed
        self.dropped += extra

    def conclude(self) -> Diagnosis:
        """What the lines so far say is wrong. Puts members' clocks right when they are found to differ."""
        self._news = False
        self.diagnosis = conclude(self._collector)
        found = {source.name: source.clock_offset_s for source in self.diagnosis.sources}
        shifted = False
        for reading in self._readings:
            offset = found.get(reading.name, 0.0)
            shifted = shifted or offset != reading.offset_s
            reading.offset_s = offset
        if shifted:
            offsets = [reading.offset_s for reading in self._readings]
            self.lines = sorted(line._replace(at=line.stamp - offsets[line.source]) for line in self.lines)
            self.version += 1
        members = {log.member: log.name for log in self._collector.sources.values() if is_id(log.member)}
        self.name_members({word: name for word, name in members.items() if word not in self._names})
        return self.diagnosis

    def names_of(self) -> dict[str, str]:
        """What findings call a member -> what the screens call it: by its ID, its host, and the name of its log."""
        known: dict[str, str] = {}
        for log in self._collector.sources.values():
            known.update({word: log.name for word in (log.member, log.host, log.name) if word})
        return known


def _level_of(entry: Entry, before: Level) -> Level:
    if entry.level:
        return _LEVELS.get(entry.level, Level.INFO)
    if entry.message.startswith(("panic: ", "fatal error: ")):
        return Level.FATAL
    # What follows a panic, such as its stack, belongs to it.
    return before if entry.time is None else Level.INFO


def shown_text(entry: Entry) -> tuple[str, str]:
    """The message, and the message with its fields: the error first, for it is what the line is about."""
    message = clean(entry.message or entry.raw)[:_TEXT_KEPT]
    left = {name: value for name, value in entry.fields.items() if name not in _TOLD_ELSEWHERE and value}
    first = {"error": left.pop("error")} if "error" in left else {}
    text = " ".join([message, *(f"{name}={value}" for name, value in {**first, **left}.items())])
    return message, clean(text[:_TEXT_KEPT])
