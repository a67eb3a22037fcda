"""Which lines of a log are worth understanding. Most are not, and a gigabyte of them must pass in seconds.

Understanding a line costs tens of microseconds, so it is done for few lines of one *shape* (shapes.py). Lines of one
shape match the same rules (match.py: a shape of bytes is never wider than one of text), so all but the first few and
the last two of them are only counted, with the seconds they tell and the peer they are about (runs.py). What is found
is what understanding each line would have found.

Most lines pass without a step of Python for each: the lines of a block are looked up by their *outlines* in one go,
and those of a shape that is known well enough are noted with it. Only of lines of other outlines the shape is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import compress, count, repeat
from operator import itemgetter

from etcdops.diagnosis.collect import EVENTS, PEERS_KEPT, Collector, is_about_peer, is_last_word
from etcdops.diagnosis.cuts import Longest, cut_of, duration_cut
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.identify import is_etcds, measured, peer_of
from etcdops.diagnosis.reading import Block
from etcdops.diagnosis.rules.rule import Rule
from etcdops.diagnosis.runs import Kept, Run, Shape
from etcdops.diagnosis.shapes import LINE_MAX, outlines_of, shape_of

_SHAPES_MAX = 20_000
_FIRST_LINES = 3
"""Lines of each shape understood at once, so that a tally has its first lines in order."""
_RUNS_MAX = 256
"""Peers of one shape; past them each line is understood."""
_OUTLINES_MAX, _OUTLINES_BYTES_MAX = 20_000, 8 << 20
"""Outlines known at a time."""
_STRANGE_SHARE, _SHORT_BLOCKS = 4, 31
"""When so many lines of two blocks have no known outline, clients' words are taken out first, for that many blocks."""
_LEARNT_AGAIN_AFTER = 200_000
"""Lines without an outline learnt, after so many were learnt that they seem not to repeat."""
_CLOCK = re.compile(
    rb'(?:\d[-/]\d\d[T ]|[a-z] +\d{1,2} |\xe6\x9c\x88 +\d+ )\d\d:\d\d:\d\d|"ts":|"__REALTIME_TIMESTAMP"'
)
_CLOCK_WITHIN = 400
"""What a time looks like, and within how many bytes of a line."""
_CLOCK_STEPS_MAX = 200
"""How far back the time of a line without one is looked for."""
_KEPT_FREE = 8 << 20
_SEEN_AT = 8
"""Lines of a block that are looked at to know of which time it is."""
_EMPTY = b"\n"

Taker = Callable[[int], None]
"""Notes that the line at an index of the block is one of its own."""
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
        self._takers: dict[bytes, Taker | None] = {_EMPTY: None}
        """Who notes lines of a shape, of those whose lines need no understanding any more. None: nobody needs to."""
        self._by_outline: dict[bytes, Taker | None] = {}
        """The same by outline, of those that repeat."""
        self._outlines_bytes = 0
        self._strange_blocks = 0
        """Blocks in a row in which many lines have no known outline."""
        self._short_blocks = 0
        """Blocks whose outlines are made without what clients wrote."""
        self._learns_from = 0
        """The number of the line from which on outlines are learnt."""
        self._taking: list[Shape] = []
        """The shapes that are among the takers."""
        self._touched: list[Run] = []
        """Runs with lines in this block."""
        self._block: list[bytes] = []
        self._clock: tuple[int, float | None] = (0, None)
        """How many lines have passed, and the time of the last one of them that has one."""
        self._begin: tuple[int, float | None] = self._clock
        """The same when this block began."""
        self._dated_before = b""
        """The last line before this block that has a time."""
        self.lines = 0

    def block(self, block: Block) -> None:
        """Take in some lines."""
        lines = block.lines
        self._block, self._begin = lines, self._clock
        if self._holds is None:
            self._sift(block)
        else:
            self._sift_window(block, self._holds)
        self._settle(lines)
        self._clock = (self.lines + len(lines), self._time_before(len(lines)))
        if self._holds is None:
            if not self.lines:
                self._log.see(self._first_time(lines))
            self._log.see(self._clock[1])
        self._dated_before = self._dated(len(lines))
        self.lines += len(lines)

    def finish(self) -> None:
        """Count what waits; afterwards the collector has everything."""
        ends: list[tuple[Kept, int, float]] = []
        for shape in self._shapes.values():
            for each in (shape, *shape.sure.values()):
                for run in each.runs.values():
                    if run.waiting > 1:
                        ends.append((run.before, run.waiting - 1, 0.0))
                    if run.waiting:
                        ends.append((run.last, 1, run.longest.seconds if run.longest else 0.0))
                    run.waiting = 0
        for kept, many, worst in sorted(ends):
            entry = self._parsed(kept.number, kept.line)
            if entry.time is None:
                entry = replace(entry, time=self._parsed(0, kept.dated).time)
            self._collector.add(entry, many, worst)

    def forget(self) -> None:
        """Begin a new part: what lines mean is still known, none is counted. The collector has a new log."""
        self._log = self._collector.source(self._source)
        for shape in self._shapes.values():
            for each in (shape, *shape.sure.values()):
                each.runs.clear()
        if any(each.event for shape in self._taking for each in (shape, *shape.sure.values())):
            self._release()  # of a new log the first events are understood one by one
        self._clock, self._dated_before = (0, None), b""
        self._learns_from = max(0, self._learns_from - self.lines)
        self.lines = 0

    def _release(self) -> None:
        """Every shape is looked at again, but for those that mean nothing."""
        self._takers = {name: take for name, take in self._takers.items() if take is None}
        self._by_outline = {outline: take for outline, take in self._by_outline.items() if take is None}
        self._outlines_bytes = sum(map(len, self._by_outline))
        self._taking.clear()

    def _sift(self, block: Block) -> None:
        lines, outlines = block.lines, outlines_of(block.text, short=self._short_blocks > 0)
        strange: list[int] = []
        # One step for all lines at a time is quicker than all steps for each line.
        takers = list(map(self._by_outline.get, outlines, repeat(strange.append)))
        for take, index in zip(filter(None, takers), compress(count(), takers), strict=True):
            take(index)
        if strange:
            self._look(strange, lines, [outlines[index] for index in strange])
        if self._short_blocks:
            self._short_blocks -= 1
        else:
            self._strange_blocks = self._strange_blocks + 1 if len(strange) * _STRANGE_SHARE > len(lines) else 0
            self._short_blocks = _SHORT_BLOCKS if self._strange_blocks > 1 else 0

    def _look(self, strange: Sequence[int], lines: Sequence[bytes], outlines: Sequence[bytes]) -> None:
        """Take in the lines at `strange`, which have these outlines, by their shapes."""
        names = list(map(shape_of, outlines))
        unknown = set()
        for index, name in zip(strange, names, strict=True):
            if name not in self._takers:
                self._line(index, lines[index], name)
                unknown.add(name)
            elif (take := self._takers[name]) is not None:
                take(index)
        for name in unknown:
            self._become_familiar(name)
        if self.lines >= self._learns_from:
            for outline, name in dict(zip(outlines, names, strict=True)).items():
                if name in self._takers:
                    self._remember(outline, self._takers[name])

    def _become_familiar(self, name: bytes) -> None:
        """From now on lines of this shape are not looked at, if that is possible."""
        shape = self._shapes.get(name)
        if shape is None:
            return
        if shape.noise:
            self._takers[name] = None
            return
        each = shape.sure.values() if shape.doubts else (shape,)
        if not any(one.alone or self._is_event(one) for one in each):
            self._takers[name] = shape.hits.append
            self._taking.append(shape)

    def _remember(self, outline: bytes, taker: Taker | None) -> None:
        """Lines of this outline are for `taker` from now on."""
        self._outlines_bytes += len(outline)
        if len(self._by_outline) >= _OUTLINES_MAX or self._outlines_bytes > _OUTLINES_BYTES_MAX:
            self._by_outline.clear()
            self._outlines_bytes = len(outline)
            self._learns_from = self.lines + _LEARNT_AGAIN_AFTER
        self._by_outline[outline] = taker

    def _is_event(self, shape: Shape) -> bool:
        return shape.event and self._log.events_left > 0

    def _line(self, index: int, line: bytes, name: bytes) -> None:
        """Take in the line at `index` of this block."""
        shape: Shape | None = self._shapes.get(name)
        if shape is None:
            self._learn(name, index, line)
        else:
            self._more(shape, index, line)

    def _more(self, shape: Shape, index: int, line: bytes) -> None:
        """Take in one more line of a shape."""
        sure = self._sure(shape, index, line) if shape.doubts else shape
        if sure is not None and not sure.noise:
            self._count(sure, index, line)

    def _count(self, shape: Shape, index: int, line: bytes) -> None:
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
            peer = about.decode("utf-8", "replace")
            measured = tuple((rule.sign, peer if is_about_peer(rule) else "") for rule in shape.rules if rule.measure)
            run = shape.runs[about] = Run(Longest(shape.took) if shape.took else None, measured, shape.timeless)
        return run

    def _learn(self, name: bytes, index: int, line: bytes) -> None:
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
        for shape in self._taking:
            if shape.hits:
                self._spread(shape, lines)
        for run in self._touched:
            if run.longest is not None and run.longest.ceiling <= min(map(self._worst, run.measured)):
                run.longest = None
            run.settle(self.lines + 1, lines, self._dated if run.timeless else None)
        self._touched.clear()

    def _worst(self, measured: tuple[str, str]) -> float:
        """The longest duration that is known of a sign and a peer."""
        tally = self._log.tallies.get(measured)
        return tally.worst if tally else 0.0

    def _spread(self, shape: Shape, lines: Sequence[bytes]) -> None:
        """Give lines of one shape to the runs they belong to; the first few of a new one are taken in one by one."""
        for each, about, hits in shape.spread(lines):
            run = each.runs.get(about) if each else None
            if run is not None and run.understood >= _FIRST_LINES:
                self._hit(run, hits)
            else:
                self._begin_run(shape, each, about, hits, lines)
        shape.hits.clear()

    def _begin_run(
        self, shape: Shape, each: Shape | None, about: bytes, hits: Sequence[int], lines: Sequence[bytes]
    ) -> None:
        """Take in lines of a shape (`each`: when its doubts are answered) one by one until they need no look."""
        if each is not None and each.noise:
            return
        counted = each is not None and not each.alone and not self._is_event(each)
        few = _FIRST_LINES if counted else len(hits)
        for index in hits[:few]:
            self._more(shape, index, lines[index])
        # Peers may have become a crowd by these.
        run = each.runs.get(about if each.peer else b"") if each is not None and hits[few:] else None
        if run is not None and run.understood >= _FIRST_LINES:
            self._hit(run, hits[few:])
        else:
            for index in hits[few:]:
                self._more(shape, index, lines[index])

    def _settle_all(self) -> None:
        """Too many shapes: count what waits, and begin anew."""
        self._settle(self._block)
        self.finish()
        self._shapes.clear()
        self._release()
        self._takers = {_EMPTY: None}

    def _shape(self, entry: Entry, rules: tuple[Rule, ...], line: bytes) -> Shape:
        """What the first line of a shape, which was understood, tells of those to come."""
        if rules and len(line) > LINE_MAX:
            return Shape(rules, alone=True)
        if not rules and not is_last_word(entry):
            return Shape(noise=True)
        timeless = parse_line(entry.raw).time is None
        shape = Shape(rules, event=any(rule.sign in EVENTS for rule in rules), timeless=timeless)
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
            line = self._block[back]
            found = self._parsed(0, line).time if _CLOCK.search(line, 0, _CLOCK_WITHIN) else None
            if found is not None:
                time = found
                break
        self._clock = max(self._clock, (here, time), key=itemgetter(0))
        return time

    def _dated(self, index: int) -> bytes:
        """The nearest line with a time before the line at `index` of this block; b"" when none is near."""
        near = self._block[max(0, index - _CLOCK_STEPS_MAX) : index]
        return next((line for line in reversed(near) if _CLOCK.search(line, 0, _CLOCK_WITHIN)), self._dated_before)

    def _first_time(self, lines: Sequence[bytes]) -> float | None:
        """That of the first line that has one; None when none of the first few has."""
        return next((time for line in lines[:_SEEN_AT] if (time := self._parsed(0, line).time) is not None), None)

    def _sift_window(self, block: Block, holds: Holds) -> None:
        """The lines of a block whose time counts. Whether it lies inside or outside as a whole, a few lines tell."""
        lines = block.lines
        step = max(1, len(lines) // _SEEN_AT)
        some = [self._parsed(0, line) for line in (*lines[::step], lines[-1])]
        seen = [entry.time for entry in some]
        held = {holds(time) for time in seen if time is not None}
        if held == {True} and seen[0] is not None and seen[-1] is not None:
            self._sift(block)
            for time in seen:
                self._log.see(time)
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
            elif line != _EMPTY:
                self._line(index, line, shape_of(outlines_of(line)[0]))
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
