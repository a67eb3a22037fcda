"""Which lines of a log are worth understanding. Most are not, and a gigabyte of them must pass in seconds.

Understanding a line costs tens of microseconds, so it is done for few lines of one *shape* (shapes.py). Lines of one
shape match the same rules (match.py: a shape of bytes is never wider than one of text), so all but the first few and
the last two of them are only counted, with the seconds they tell and the peer they are about (runs.py). What is found
is what understanding each line would have found.

A line goes the shortest of three ways. Those that zap wrote at info level from one place of etcd's code, and that
never meant anything, are known by the bytes round `"caller"`, without a step of Python. Whose *outline*, the line
without its numbers, was seen before is given to who counts such lines. Of the rest the shape is made, and looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import compress, repeat
from operator import itemgetter

from etcdops.diagnosis.collect import EVENTS, EVENTS_KEPT, PEERS_KEPT, Collector, is_about_peer, is_last_word
from etcdops.diagnosis.cuts import Longest, cut_of, duration_cut
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.identify import is_etcds, measured, peer_of
from etcdops.diagnosis.rules.rule import Rule
from etcdops.diagnosis.runs import Run, Shape
from etcdops.diagnosis.shapes import LINE_MAX, Outlines, Taker, caller_at, shapes_of

_SHAPES_MAX = 20_000
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
_KEPT_FREE = 8 << 20
_SEEN_AT = 8
"""Lines of a block that are looked at to know what it is: of which time, and where call sites stand."""


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
        _keep_freed_memory()
        self._source = source
        self._collector = collector
        self._log = collector.source(source)
        self._holds = holds
        self._shapes: dict[bytes, Shape] = {}
        self._places: dict[bytes, _Place] = {}
        self._quiet: set[bytes] = set()
        self._outlines = Outlines()
        self._fast: dict[bytes, Taker] = {}
        """Of shapes whose lines need no understanding any more: what takes in a line."""
        self._fast_runs: list[Run] = []
        self._touched: list[Run] = []
        """Runs with lines in this block."""
        self._spreads: dict[bytes, Shape] = {}
        """Shapes whose lines are told apart at the end of a block."""
        self._block: list[bytes] = []
        self._clock: tuple[int, float | None] = (0, None)
        """How many lines have passed, and the time of the last one of them that has one."""
        self._begin: tuple[int, float | None] = self._clock
        """The same when this block began."""
        self.lines = 0

    def block(self, lines: list[bytes]) -> None:
        """Take in lines, each with its newline, but for the last one of a log, perhaps."""
        self._block, self._begin = lines, self._clock
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
        for number, line, many, worst in sorted(ends):
            self._collector.add(self._parsed(number, line), many, worst)

    def forget(self) -> None:
        """Begin a new part: what lines mean is still known, none is counted. The collector has a new log."""
        self._log = self._collector.source(self._source)
        for shape in self._shapes.values():
            for each in (shape, *shape.sure.values()):
                each.runs.clear()
        self._release()
        self._clock = (0, None)
        self.lines = 0

    def _release(self) -> None:
        """Nobody takes lines in without a look any more."""
        self._outlines.release()
        self._fast.clear()
        self._fast_runs.clear()
        self._spreads.clear()

    def _sift(self, lines: list[bytes]) -> None:
        # One step for all lines at a time is quicker than all steps for each line, here and below.
        at = max(map(caller_at, lines[:_SEEN_AT]))
        chosen: Sequence[int] = range(len(lines))
        if at >= 0 and self._quiet:
            quiet = self._quiet
            places = map(itemgetter(slice(at, at + _CALLER)), lines)
            chosen = [index for index, place in enumerate(places) if place not in quiet]
        some = lines if len(chosen) == len(lines) else [lines[index] for index in chosen]
        outlines = self._outlines.of(some)
        if outlines is None:
            self._look(chosen, some, at)
            return
        strange, new = self._familiar(chosen, outlines)
        if strange:
            self._look(strange, [lines[index] for index in strange], at)
            self._become_familiar(self._outlines.worth_learning(new, strange, len(some)), lines, at)

    def _familiar(self, chosen: Sequence[int], outlines: Sequence[bytes]) -> tuple[list[int], list[bytes]]:
        """Hand lines to those who take in such. Returns: where those are that nobody knows, and their outlines."""
        strange: list[int] = []
        mark = strange.append
        takers = list(map(self._outlines.takers.get, outlines, repeat(mark)))
        for take, index in zip(filter(None, takers), compress(chosen, takers), strict=True):
            take(index)
        new = [outline for outline, take in zip(outlines, takers, strict=True) if take is mark] if strange else []
        return strange, new

    def _look(self, chosen: Sequence[int], some: Sequence[bytes], at: int) -> None:
        """Take in the lines `some`, those at `chosen`, by their shapes. `at`: where call sites stand, -1 in text."""
        fast = self._fast
        for index, line, name in zip(chosen, some, shapes_of(some, zaps=at >= 0), strict=True):
            hit = fast.get(name)
            if hit is not None:
                hit(index)
            elif name != b"\n" and self._line(index, line, name) and at >= 0:
                self._still(line[at : at + _CALLER], name)

    def _become_familiar(self, firsts: dict[bytes, int], lines: list[bytes], at: int) -> None:
        """Note who takes in lines such as these from now on."""
        some = [lines[index] for index in firsts.values()]
        for outline, name in zip(firsts, shapes_of(some, zaps=at >= 0), strict=True):
            shape = self._shapes.get(name)
            if outline == b"\n" or (shape is not None and shape.noise):
                self._outlines.learn(outline, None)
            elif shape is not None:
                taker = self._taker(shape, name)
                if taker is not None:
                    self._outlines.learn(outline, taker)

    def _taker(self, shape: Shape, name: bytes) -> Taker | None:
        """What takes in a line of a shape without a look at it; None: each must be looked at."""
        each = shape.sure.values() if shape.doubts else (shape,)
        if any(one.alone or self._is_event(one) for one in each):
            return None
        if shape.doubts or shape.peer:
            self._spreads[name] = shape
            return shape.hits.append
        return self._fast.get(name)

    def _is_event(self, shape: Shape) -> bool:
        return shape.event and len(self._log.events) < EVENTS_KEPT

    def _line(self, index: int, line: bytes, name: bytes) -> bool:
        """Take in the line at `index` of this block. Returns: whether it is of info level and means nothing."""
        shape: Shape | None = self._shapes.get(name)
        if shape is None:
            shape = self._learn(name, index, line)
        elif not shape.noise:
            if shape.doubts:
                shape = self._sure(shape, index, line)
            if shape is not None and not shape.noise:
                self._count(shape, index, line, name)
            return False
        return shape.noise and b'"level":"info"' in line[:400]

    def _count(self, shape: Shape, index: int, line: bytes, name: bytes) -> None:
        """Take in one more line of a shape that means something."""
        if shape.alone or self._is_event(shape):
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
            self._hit(run, (index,))
            if self._shapes[name] is shape and not shape.peer:
                self._fast[name] = run.hits.append
                self._fast_runs.append(run)

    def _hit(self, run: Run, hits: Iterable[int]) -> None:
        if not run.hits:
            self._touched.append(run)
        run.hits += hits

    def _run(self, shape: Shape, about: bytes) -> Run | None:
        """That of a peer. Those of a crowd have one together; None: it cannot be known."""
        if about == b"0":
            return None
        if about and all(self._log.peers[rule.sign] > PEERS_KEPT for rule in shape.rules if is_about_peer(rule)):
            shape.peer, about = None, b""
        elif len(shape.runs) > _RUNS_MAX:
            return None
        run = shape.runs.get(about)
        if run is None:
            run = shape.runs[about] = Run(Longest(shape.took) if shape.took else None)
        return run

    def _learn(self, name: bytes, index: int, line: bytes) -> Shape:
        """The first line of a shape."""
        if len(self._shapes) >= _SHAPES_MAX:
            self._settle_all()
        entry, rules = self._understand(index, line)
        doubts = self._collector.matcher.doubts(entry) if entry.level != "debug" else ()
        if doubts:
            shape = Shape(doubts=tuple(form for word in doubts for form in _forms(word)))
            shape.sure[shape.answers(line)] = self._shape(entry, rules, line)
        else:
            shape = self._shape(entry, rules, line)
        self._shapes[name] = shape
        return shape

    def _sure(self, shape: Shape, index: int, line: bytes) -> Shape | None:
        """The shape a line has when its doubts are answered; None when it was understood for that."""
        answers = shape.answers(line)
        found = shape.sure.get(answers)
        if found is None:
            entry, rules = self._understand(index, line)
            shape.sure[answers] = self._shape(entry, rules, line)
        return found

    def _settle(self, lines: Sequence[bytes]) -> None:
        """At the end of a block: count its lines, and keep of each run what its end may need."""
        for name, shape in self._spreads.items():
            if shape.hits:
                self._spread(name, shape, lines)
        for run in self._touched + self._fast_runs:
            if run.hits:
                run.settle(self.lines + 1, lines)
        self._touched.clear()

    def _spread(self, name: bytes, shape: Shape, lines: Sequence[bytes]) -> None:
        """Give lines of one shape to the runs they belong to; those of a new one are taken in one by one."""
        for each, about, hits in shape.spread(lines):
            if each is not None and each.noise:
                continue
            counted = each is not None and not each.alone and not self._is_event(each)
            run = each.runs.get(about) if each is not None and counted else None
            if run is not None and run.understood >= _FIRST_LINES:
                self._hit(run, hits)
            else:
                for index in hits:
                    self._line(index, lines[index], name)
        shape.hits.clear()

    def _settle_all(self) -> None:
        """Too many shapes: count what waits, and begin anew."""
        self._settle(self._block)
        self.finish()
        self._shapes.clear()
        self._release()

    def _shape(self, entry: Entry, rules: tuple[Rule, ...], line: bytes) -> Shape:
        """What the first line of a shape, which was understood, tells of those to come."""
        timeless = bool(rules) and parse_line(entry.raw).time is None
        if rules and (timeless or len(line) > LINE_MAX):
            return Shape(rules, alone=True)
        if not rules and not is_last_word(entry):
            return Shape(noise=True)
        shape = Shape(rules, event=any(rule.sign in EVENTS for rule in rules))
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
        return parse_line(line[:LINE_MAX].decode("utf-8", "replace"), self._source, number)

    def _understand(self, index: int, line: bytes) -> tuple[Entry, tuple[Rule, ...]]:
        entry = self._parsed(self.lines + 1 + index, line)
        if entry.time is None:
            entry = replace(entry, time=self._time_before(index))
        return entry, self._collector.add(entry)

    def _time_before(self, index: int) -> float | None:
        """The time of the last line that has one, before the line at `index` of this block."""
        here = self.lines + index
        known, time = self._clock if self._clock[0] <= here else self._begin
        for back in range(index - 1, max(-1, index - _CLOCK_STEPS_MAX, known - self.lines - 1), -1):
            found = self._parsed(0, self._block[back]).time
            if found is not None:
                time = found
                break
        self._clock = max(self._clock, (here, time), key=itemgetter(0))
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
                self._line(index, line, shapes_of([line])[0])
            if inside:
                self._log.see(time)


def _forms(word: str) -> tuple[bytes, ...]:
    """A word as text has it, and as JSON has it where that differs."""
    plain, quoted = word.encode(), word.replace("\\", "\\\\").replace('"', '\\"').encode()
    return (plain,) if plain == quoted else (plain, quoted)


def _keep_freed_memory() -> None:
    """For as long as memory of a few blocks is taken and freed in turn, the process keeps it.

    glibc gives it back to the kernel each time, and taking it anew costs a third of the reading; until something as
    large as this was freed (mallopt(3), M_MMAP_THRESHOLD: both thresholds are raised by it).
    """
    bytearray(_KEPT_FREE)
