"""Which lines of a log are worth understanding. Most are not, and a gigabyte of them must pass in seconds.

Understanding a line costs tens of microseconds, so it is done for few lines of one *shape*: the bytes of a line without
its numbers and without what clients wrote into it. Lines of one shape match the same rules (match.py: a shape of bytes
is never wider than one of text), so all but the first few and the last two of them are only counted, with the seconds
they tell and the peer they are about. What is found is what understanding each line would have found.

Lines that zap wrote at info level from one place of etcd's code, and that never meant anything, are not even looked at:
they are known by the bytes round `"caller"`, for which Python needs no step of its own for each line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from io import BytesIO
from operator import itemgetter

from etcdops.diagnosis.collect import EVENTS, EVENTS_KEPT, PEERS_KEPT, Collector, is_about_peer, is_last_word
from etcdops.diagnosis.cuts import Cut, Longest, cut_of, duration_cut
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.identify import is_etcds, measured, peer_of
from etcdops.diagnosis.rules.rule import Rule

_DIGITS = b"0123456789"
_LETTERS = bytes(ord("a") if byte in b"bcdef" else byte for byte in range(256))
"""With `_DIGITS` left out, the bytes' form of `match.SHAPE`."""
_REQUEST, _ERROR = b'"request":"', b'","error":"'
_SHAPES_MAX = 20_000
_SHAPE_LENGTH_MAX = 500
_LINE_MAX = 16_384
"""What of a line is understood. Longer ones carry stack traces or requests."""
_FIRST_LINES = 3
"""Lines of each shape understood at once, so that a tally has its first lines in order."""
_CALLER = 52
"""Bytes from `"caller"` on that tell from where in etcd's code a line came: its place, and the start of its message."""
_RUNS_MAX = 256
"""Peers of one shape; past them each line is understood."""
_QUIET_AFTER = 200
_QUIET_SHAPES_MAX = 8
"""Lines of one place that meant nothing, and the shapes they had, before it is not looked at any more. One that writes
ever new shapes may write one that matters."""
_PLACES_MAX = 20_000
_CLOCK_STEPS_MAX = 200
"""How far back the time of a line without one is looked for."""
_SEEN_AT = 8
"""Lines of a block that are looked at to know what it is: of which time, and where call sites stand."""


@dataclass(slots=True)
class _Run:
    """Lines of one shape about one peer: how many wait to be counted, and the last two of them."""

    longest: Longest | None
    understood: int = 0
    hits: list[int] = field(default_factory=list)
    """Where in this block they are."""
    waiting: int = 0
    last: tuple[int, bytes] = (0, b"")
    before: tuple[int, bytes] = (0, b"")

    def settle(self, first: int, lines: Sequence[bytes]) -> None:
        """At the end of a block, whose first line has the number `first`."""
        hits = self.hits
        self.waiting += len(hits)
        self.before = (first + hits[-2], lines[hits[-2]]) if len(hits) > 1 else self.last
        self.last = (first + hits[-1], lines[hits[-1]])
        if self.longest is not None:
            self.longest.see([lines[at] for at in hits])
        hits.clear()


@dataclass(slots=True)
class _Shape:
    """What is known of lines of one shape."""

    rules: tuple[Rule, ...] = ()
    noise: bool = False
    alone: bool = False
    """Its lines are understood one by one: too much depends on each."""
    event: bool = False
    doubts: tuple[bytes, ...] = ()
    sure: dict[bytes, _Shape] = field(default_factory=dict)
    """With doubts: the shapes of lines with and without those words."""
    peer: Cut | None = None
    took: Cut | None = None
    runs: dict[bytes, _Run] = field(default_factory=dict)


class _Place:
    """Where in etcd's code lines come from."""

    __slots__ = ("lines", "shapes")

    def __init__(self) -> None:
        self.lines = 0
        self.shapes: set[bytes] = set()


Holds = Callable[[float | None], bool]


class Sieve:
    """Sifts the blocks of one source into a collector. `finish` after the last one."""

    def __init__(self, source: str, collector: Collector, holds: Holds | None = None) -> None:
        """`holds`: whether a time counts; None when all do."""
        self._source = source
        self._collector = collector
        self._log = collector.source(source)
        self._holds = holds
        self._shapes: dict[bytes, _Shape] = {}
        self._places: dict[bytes, _Place] = {}
        self._quiet: set[bytes] = set()
        self._fast: dict[bytes, Callable[[int], None]] = {}
        """Of shapes that have one run only, once their lines need no understanding: what takes in a line."""
        self._fast_runs: list[_Run] = []
        self._touched: list[_Run] = []
        """Runs with lines in this block."""
        self._block: list[bytes] = []
        self._clock: tuple[int, float | None] = (0, None)
        self.lines = 0

    def block(self, lines: list[bytes]) -> None:
        """Take in lines, each with its newline, but for the last one of a log, perhaps."""
        self._block = lines
        if self._holds is None:
            self._bounds(lines)
            self._sift(lines)
        else:
            self._sift_window(lines, self._holds)
        self._settle(lines)
        if self._clock[0] <= self.lines:
            self._clock = (self.lines + len(lines), self._time_before(len(lines)))
        self.lines += len(lines)

    def finish(self) -> None:
        """Count what waits; afterwards the collector has everything."""
        ends: list[tuple[int, bytes, int, float]] = []
        for shape in self._shapes.values():
            for each in (shape, *shape.sure.values()):
                for run in each.runs.values():
                    if run.waiting > 1:
                        ends.append((*run.before, run.waiting - 1, 0.0))
                    if run.waiting:
                        ends.append((*run.last, 1, run.longest.seconds if run.longest else 0.0))
                    run.waiting = 0
        for number, line, count, worst in sorted(ends):
            self._collector.add(self._parsed(number, line), count, worst)

    def forget(self) -> None:
        """Begin a new part: what lines mean is still known, none is counted. The collector has a new log."""
        self._log = self._collector.source(self._source)
        for shape in self._shapes.values():
            for each in (shape, *shape.sure.values()):
                each.runs.clear()
        self._fast.clear()
        self._fast_runs.clear()
        self._clock = (0, None)
        self.lines = 0

    def _sift(self, lines: list[bytes]) -> None:
        at = max(map(_caller_at, lines[:_SEEN_AT]))
        if at < 0:
            for index, name in enumerate(_shapes_of(lines)):
                if name != b"\n":
                    self._line(index, lines[index], name)
            return
        quiet, fast = self._quiet, self._fast
        place_of = itemgetter(slice(at, at + _CALLER))
        chosen = [index for index, place in enumerate(map(place_of, lines)) if place not in quiet]
        for index, name in zip(chosen, _shapes_of([lines[index] for index in chosen], zaps=True), strict=True):
            hit = fast.get(name)
            if hit is not None:
                hit(index)
            elif name != b"\n" and self._line(index, lines[index], name):
                self._still(place_of(lines[index]), name)

    def _line(self, index: int, line: bytes, name: bytes) -> bool:
        """Take in the line at `index` of this block. Returns: whether it is of info level and means nothing."""
        shape: _Shape | None = self._shapes.get(name)
        if shape is None:
            shape = self._learn(name, index, line)
        elif not shape.noise:
            if shape.doubts:
                shape = self._sure(shape, index, line)
            if shape is not None and not shape.noise:
                self._count(shape, index, line, name)
            return False
        return shape.noise and b'"level":"info"' in line[:400]

    def _count(self, shape: _Shape, index: int, line: bytes, name: bytes) -> None:
        """Take in one more line of a shape that means something."""
        if shape.alone or (shape.event and len(self._log.events) < EVENTS_KEPT):
            self._understand(index, line)
            return
        about = shape.peer.of(line) if shape.peer else b""
        run = shape.runs.get(about) or self._run(shape, about)
        if run is None:
            self._understand(index, line)
        elif run.understood < _FIRST_LINES:
            run.understood += 1
            self._understand(index, line)
        else:
            if not run.hits:
                self._touched.append(run)
            run.hits.append(index)
            if self._shapes[name] is shape and not shape.peer:
                self._fast[name] = run.hits.append
                self._fast_runs.append(run)

    def _run(self, shape: _Shape, about: bytes) -> _Run | None:
        """That of a peer. Those of a crowd have one together; None: it cannot be known."""
        if about == b"0":
            return None
        if about and all(self._log.peers[rule.sign] > PEERS_KEPT for rule in shape.rules if is_about_peer(rule)):
            shape.peer, about = None, b""
        elif len(shape.runs) > _RUNS_MAX:
            return None
        run = shape.runs.get(about)
        if run is None:
            run = shape.runs[about] = _Run(Longest(shape.took) if shape.took else None)
        return run

    def _learn(self, name: bytes, index: int, line: bytes) -> _Shape:
        """The first line of a shape."""
        if len(self._shapes) >= _SHAPES_MAX:
            self._settle_all()
        entry, rules = self._understand(index, line)
        doubts = self._collector.matcher.doubts(entry) if entry.level != "debug" else ()
        if doubts:
            shape = _Shape(doubts=tuple(form for word in doubts for form in _forms(word)))
            shape.sure[_answers(shape.doubts, line)] = self._shape(entry, rules, line)
        else:
            shape = self._shape(entry, rules, line)
        self._shapes[name] = shape
        return shape

    def _sure(self, shape: _Shape, index: int, line: bytes) -> _Shape | None:
        """The shape a line has when its doubts are answered; None when it was understood for that."""
        answers = _answers(shape.doubts, line)
        found = shape.sure.get(answers)
        if found is None:
            entry, rules = self._understand(index, line)
            shape.sure[answers] = self._shape(entry, rules, line)
        return found

    def _settle(self, lines: Sequence[bytes]) -> None:
        """At the end of a block: count its lines, and keep of each run what its end may need."""
        for run in self._touched + self._fast_runs:
            if run.hits:
                run.settle(self.lines + 1, lines)
        self._touched.clear()

    def _settle_all(self) -> None:
        """Too many shapes: count what waits, and begin anew."""
        self._settle(self._block)
        self.finish()
        self._shapes.clear()
        self._fast.clear()
        self._fast_runs.clear()

    def _shape(self, entry: Entry, rules: tuple[Rule, ...], line: bytes) -> _Shape:
        """What the first line of a shape, which was understood, tells of those to come."""
        timeless = bool(rules) and parse_line(entry.raw).time is None
        if rules and (timeless or len(line) > _LINE_MAX):
            return _Shape(rules, alone=True)
        if not rules and not is_last_word(entry):
            return _Shape(noise=True)
        shape = _Shape(rules, event=any(rule.sign in EVENTS for rule in rules))
        peer = peer_of(entry) if any(map(is_about_peer, rules)) else ""
        seconds = max((measured(rule, entry) for rule in rules), default=0.0)
        shape.peer = cut_of(line, peer.encode()) if peer else None
        shape.took = duration_cut(line, seconds) if seconds else None
        shape.alone = bool(peer and not shape.peer) or bool(seconds and not shape.took)
        if not shape.alone and not shape.event:
            run = self._run(shape, shape.peer.of(line) if shape.peer else b"")
            if run is not None:
                run.understood += 1  # by this line
        return shape

    def _still(self, place: bytes, name: bytes) -> None:
        """One more line of this place said nothing."""
        if b'"msg":"trace[' in place:
            # Traced requests carry their number and what clients asked for; nothing of it is looked at by rules.
            self._quiet.add(place)
            return
        if len(self._places) >= _PLACES_MAX:
            self._places.clear()
        found = self._places.get(place)
        if found is None:
            found = self._places[place] = _Place()
        found.lines += 1
        if len(found.shapes) <= _QUIET_SHAPES_MAX:
            found.shapes.add(name)
            if found.lines >= _QUIET_AFTER and len(found.shapes) <= _QUIET_SHAPES_MAX and b'"msg":"' in place:
                self._quiet.add(place)

    def _parsed(self, number: int, line: bytes) -> Entry:
        return parse_line(line[:_LINE_MAX].decode("utf-8", "replace"), self._source, number)

    def _understand(self, index: int, line: bytes) -> tuple[Entry, tuple[Rule, ...]]:
        entry = self._parsed(self.lines + 1 + index, line)
        if entry.time is None:
            entry = replace(entry, time=self._time_before(index))
        return entry, self._collector.add(entry)

    def _time_before(self, index: int) -> float | None:
        """The time of the last line that has one, before the line at `index` of this block."""
        known, time = self._clock
        for back in range(index - 1, max(-1, index - _CLOCK_STEPS_MAX, known - self.lines - 1), -1):
            found = self._parsed(0, self._block[back]).time
            if found is not None:
                time = found
                break
        self._clock = (self.lines + index, time)
        return time

    def _bounds(self, lines: Sequence[bytes]) -> None:
        """Note the times of the first and the last line that have one."""
        for some in (lines[:_SEEN_AT], lines[: -_SEEN_AT - 1 : -1]):
            for line in some:
                time = self._parsed(0, line).time
                if time is not None:
                    self._log.see(time)
                    break

    def _sift_window(self, lines: list[bytes], holds: Holds) -> None:
        """The lines of a block whose time counts. Whether it lies inside or outside as a whole, a few lines tell."""
        step = max(1, len(lines) // _SEEN_AT)
        some = [self._parsed(0, line) for line in (*lines[::step], lines[-1])]
        seen = [entry.time for entry in some]
        held = {holds(time) for time in seen if time is not None}
        if held == {True} and seen[0] is not None and seen[-1] is not None:
            self._bounds(lines)
            self._sift(lines)
            return
        if held == {False} and seen[0] is not None and seen[-1] is not None:
            self._log.is_etcds = self._log.is_etcds or any(map(is_etcds, some))
            self._log.left_out = self._log.left_out.and_more(len(lines), seen)
            return
        inside = holds(self._time_before(0)) if self._clock[1] is not None else True
        for index, line in enumerate(lines):
            entry = self._parsed(0, line)
            time = entry.time
            inside = inside if time is None else holds(time)
            if not inside:
                self._log.is_etcds = self._log.is_etcds or is_etcds(entry)
                self._log.left_out = self._log.left_out.and_more(1, (time,))
            elif line != b"\n":
                self._line(index, line, _shapes_of([line])[0])
            if inside:
                self._log.see(time)


def _caller_at(line: bytes) -> int:
    """Where zap's call site begins; -1 in a line without."""
    at = line.find(b'","caller":"', 0, 400)
    logger = line.find(b'","logger":"', 0, 400)
    return at if logger < 0 or at < 0 else min(at, logger)


def _shapes_of(lines: Sequence[bytes], *, zaps: bool = False) -> list[bytes]:
    """Lines without numbers and requests: lines of equal shape match equal rules. `zaps`: they are JSON."""
    # One step for all lines at a time is quicker than all steps for each line.
    text = b"".join(lines)
    if zaps:
        text = _without_requests(text)
    elif b"request" in text:
        text = b"".join([_without_request(line) if b"request" in line else line for line in lines])
    names = BytesIO(text.translate(_LETTERS, _DIGITS)).readlines()
    if max(map(len, names), default=0) > _SHAPE_LENGTH_MAX:
        names = [name if len(name) <= _SHAPE_LENGTH_MAX else _digest(name[:_LINE_MAX]) for name in names]
    return names


def _without_requests(text: bytes) -> bytes:
    """What `_without_request` leaves of lines of JSON, in which a quote inside a request is never bare."""
    rest, *pieces = text.split(b'"request')
    kept = [rest]
    for piece in pieces:
        if piece.startswith((b'":"', b' content":"')):
            end = piece.find(b"\n")
            error = piece.find(_ERROR, 0, end if end >= 0 else len(piece))
            if error >= 0:
                kept.append(piece[error:])
            elif end >= 0:
                kept.append(piece[end:])
        else:
            kept += (b'"request', piece)
    return b"".join(kept)


def _digest(name: bytes) -> bytes:
    return blake2b(name, digest_size=16).digest()


def _without_request(line: bytes) -> bytes:
    """A line without the request and what was answered, in which clients may write any words."""
    begin = line.find(_REQUEST)
    if begin < 0:
        begin = line.find(b'"request content":"')
    if begin >= 0:
        error = line.find(_ERROR, begin)
        return line[:begin] + (line[error:] if error >= 0 else b"\n")
    begin, end = line.find(b' request "'), line.rfind(b'" with re')
    return line[: begin + 10] + line[end:] if 0 <= begin < end else line


def _forms(word: str) -> tuple[bytes, ...]:
    """A word as text has it, and as JSON has it where that differs."""
    plain, quoted = word.encode(), word.replace("\\", "\\\\").replace('"', '\\"').encode()
    return (plain,) if plain == quoted else (plain, quoted)


def _answers(doubts: Sequence[bytes], line: bytes) -> bytes:
    return bytes([word in line for word in doubts])
