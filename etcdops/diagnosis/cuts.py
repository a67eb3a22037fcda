"""Where something stands in lines of one shape: a peer, a duration; and the longest duration of many lines."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

from etcdops.diagnosis.times import parse_duration

_DIGITS = b"0123456789"
_LEADS = (14, 30, 60)
"""How many bytes before something tell where it is; more, where fewer stand elsewhere in the line too."""
_DURATION = re.compile(rb"(?:\d+(?:\.\d+)?(?:h|ms|us|\xc2\xb5s|\xce\xbcs|ns|m|s))+")
_PLAIN = re.compile(rb"(\d+)(\.\d+)(ms|s)")
"""With a point: without one, 1m2s is of the same shape as 62ms."""
_MOST_DIGITS = {b"s": 2, b"ms": 3}
"""Before the point: Go writes 60 s as 1m0s, and 1,000 ms as 1s."""
_CEILINGS = {b"s": 60.0, b"ms": 1.0}
_AFTER_DIGITS = frozenset((b".", b"m", b"s"))
_LENGTH = 16
"""Bytes of a duration that are compared: more than Go writes of one of seconds or milliseconds."""


class Cut(NamedTuple):
    """What stands after `lead`, up to `end`."""

    lead: bytes
    end: bytes

    def of(self, line: bytes) -> bytes:
        at = line.find(self.lead) + len(self.lead)
        return line[at : line.find(self.end, at)]

    def split(self, lines: Sequence[bytes], hits: Sequence[int]) -> dict[bytes, list[int]]:
        """Where in `lines` each is, of the lines at `hits`, which are of one shape."""
        first = lines[hits[0]]
        at = first.find(self.lead)
        end = first.find(self.end, at + len(self.lead)) + len(self.end)
        # Mostly it stands at the same place in all of them, and is as long.
        found: dict[bytes, list[int]] = {}
        for index, text in zip(hits, map(itemgetter(slice(at, end)), [lines[index] for index in hits]), strict=True):
            if text in found:
                found[text].append(index)
            else:
                found[text] = [index]
        if all(self.lead + self.of(text) + self.end == text for text in found):
            return {self.of(text): some for text, some in found.items()}
        found = {}
        for index in hits:
            found.setdefault(self.of(lines[index]), []).append(index)
        return found


def cut_of(line: bytes, text: bytes) -> Cut | None:
    """How to find in lines like this one what is `text` here; None when that is not sure."""
    at = line.find(text)
    end = line[at + len(text) : at + len(text) + 1]
    if at < 0 or not end or end in text or end.isalnum():
        return None
    for length in _LEADS:
        lead = line[max(0, at - length) : at]
        lead = lead[max((index + 1 for index, byte in enumerate(lead) if byte in _DIGITS), default=0) :]
        found = Cut(lead, end)
        if len(lead) > 1 and found.of(line) == text:
            return found
    return None


def duration_cut(line: bytes, seconds: float) -> Cut | None:
    """The same for the duration that is `seconds` here."""
    for found in _DURATION.finditer(line):
        if parse_duration(found[0].decode()) == seconds:
            return cut_of(line, found[0])
    return None


class Longest:
    """The longest of the durations in lines of one shape, which are of one unit."""

    __slots__ = ("_cut", "_limit", "_most", "_point", "ceiling", "seconds")

    def __init__(self, cut: Cut) -> None:
        self.seconds = 0.0
        self.ceiling = math.inf
        """Seconds that none can reach."""
        self._cut = cut
        self._limit = b""
        """Up to here, by bytes, none is longer of those with as many digits before the point; b"": any may be."""
        self._point = 0
        self._most = False
        """None has more digits before its point than the longest."""

    def see(self, lines: Sequence[bytes], hits: Sequence[int]) -> None:
        """Take in the lines at `hits`."""
        for line in self._doubtful(lines, hits):
            text = self._cut.of(line)
            found = parse_duration(text.decode("utf-8", "replace"))
            if found is not None and found > self.seconds:
                self.seconds = found
                self._remember(text)

    def _doubtful(self, lines: Sequence[bytes], hits: Sequence[int]) -> Iterable[bytes]:
        """Those that may have a longer one than all before. Mostly none, which is known without a step for each."""
        lead, limit, point = self._cut.lead, self._limit, self._point
        if not limit:
            return [lines[at] for at in hits]
        begin = lines[hits[0]].find(lead)
        there = slice(begin, begin + len(lead) + _LENGTH)
        texts = [lines[at][there] for at in hits]
        if min(texts) < lead:
            texts = [self._text(lines[at]) for at in hits]
        short = self._most or set(map(itemgetter(slice(point, point + 1)), texts)) <= _AFTER_DIGITS
        if short and lead <= min(texts) and max(texts) <= limit:
            return ()
        digits = len(lead)
        return [
            lines[at]
            for at, text in zip(hits, texts, strict=True)
            if not (lead <= text <= limit and (self._most or text[point : point + 1] in _AFTER_DIGITS))
            and not (text.startswith(lead) and text.find(b".", digits, point) > 0)  # of fewer digits
        ]

    def _text(self, line: bytes) -> bytes:
        begin = line.find(self._cut.lead)
        return line[begin : begin + len(self._cut.lead) + _LENGTH]

    def _remember(self, text: bytes) -> None:
        plain = _PLAIN.fullmatch(text)
        self._limit = b""
        if plain:
            self._limit = self._cut.lead + plain[1] + plain[2]
            self._point = len(self._cut.lead) + len(plain[1])
            self._most = len(plain[1]) == _MOST_DIGITS[plain[3]]
            self.ceiling = _CEILINGS[plain[3]]
