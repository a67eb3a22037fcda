"""Starts a member from every state in which a loss of power may leave its disk, and checks what it finds.

Two passes: the first walks through a recording and collects all states by their digest, each with what had been
promised by the last moment at which it may be found; the second starts a member from each of them.
"""

from __future__ import annotations

import multiprocessing
import random
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.errors import StartRefused
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.framing import MessageDecoder
from etcdops.node.raft.types import MessageType
from tests.power import boot
from tests.power.boot import Broken
from tests.power.client import answered
from tests.power.disk import CrashState
from tests.power.history import Promise
from tests.power.recording import Sent
from tests.power.scenario import DATA_DIR, Recorded, temporary_folder


@dataclass(slots=True)
class _Case:
    """A state, with all it must satisfy."""

    cut: int
    """The event before which the power fails, where the state was seen first."""

    model: str
    promise: Promise
    answers_max: int
    """At its first sighting: one request more may have been on its way."""

    seen: int = 1


@dataclass(frozen=True, slots=True)
class Failure:
    """A state in which a promise was not kept."""

    scenario: str
    cut: int
    model: str
    last_event: str
    text: str

    def __str__(self) -> str:
        return (
            f"{self.scenario}: power lost before event {self.cut} (after {self.last_event}), {self.model}: {self.text}"
        )


@dataclass
class Result:
    """What a replay came to."""

    scenario: str
    cuts: int = 0
    seen: int = 0
    """Crash states, with repetitions."""

    states: int = 0
    """Different ones."""

    started: int = 0
    failures: list[Failure] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)
    took_s: float = 0.0


def replay(
    recorded: Recorded,
    *,
    jobs: int = 1,
    random_states: int = 0,
    cuts_max: int | None = None,
    states_max: int | None = None,
    stop_at_failure: bool = False,
    seed: int = 1,
) -> Result:
    """See the module. Args: random_states at each cut beyond the named models; cuts_max, states_max - look at so many
    of them only, drawn by the seed; jobs - processes."""
    started = time.monotonic()
    course = _Course(recorded, random_states, seed, _some_cuts(recorded, cuts_max, seed))
    cases, result = _collect(course)
    chosen = _some_states(cases, states_max, seed)
    result.started = len(chosen)
    work = _Work(course, {digest: cases[digest] for digest in chosen}, jobs, stop_at_failure)
    if jobs == 1:
        result.failures = work.part(0)
    else:
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            result.failures = [failure for part in pool.map(work.part, range(jobs)) for failure in part]
    result.failures.sort(key=lambda failure: failure.cut)
    result.took_s = time.monotonic() - started
    return result


def _some_cuts(recorded: Recorded, cuts_max: int | None, seed: int) -> frozenset[int]:
    events = recorded.recording.events
    cuts = [0, *(number + 1 for number, event in enumerate(events) if not isinstance(event, Sent))]
    return frozenset(cuts if cuts_max is None or cuts_max >= len(cuts) else random.Random(seed).sample(cuts, cuts_max))


def _some_states(cases: dict[bytes, _Case], states_max: int | None, seed: int) -> list[bytes]:
    """A third are those that were seen most often, at many cuts; the others are drawn."""
    if states_max is None or states_max >= len(cases):
        return sorted(cases)
    often = sorted(cases, key=lambda digest: (-cases[digest].seen, digest))
    common, rest = often[: states_max // 3], often[states_max // 3 :]
    return sorted([*common, *random.Random(seed).sample(rest, states_max - len(common))])


@dataclass(frozen=True, slots=True)
class _Course:
    """Which states are looked at."""

    recorded: Recorded
    random_states: int
    seed: int
    cuts: frozenset[int]

    def walk(self) -> Iterator[tuple[int, CrashState]]:
        """Every state at every cut, always the same ones in the same order."""
        disk = self.recorded.disk()
        for cut in range(len(self.recorded.recording.events) + 1):
            if cut > 0:
                disk.apply(self.recorded.recording.events[cut - 1])
            if cut in self.cuts:
                draw = random.Random(f"{self.seed}/{cut}")
                for state in disk.crash_states(draw, random_states=self.random_states):
                    yield cut, state


def _collect(course: _Course) -> tuple[dict[bytes, _Case], Result]:
    result = Result(course.recorded.name, cuts=len(course.cuts))
    cases: dict[bytes, _Case] = {}
    promises = _Promises(course.recorded)
    for cut, state in course.walk():
        result.seen += 1
        result.models[state.model.partition(" (")[0].rstrip("0123456789 ")] += 1
        # Until the next change of the disk more may be promised, and this is still what is found.
        promise = promises.until_next_change(cut)
        case = cases.get(state.digest)
        if case is None:
            cases[state.digest] = _Case(cut, state.model, promise, promises.at(cut).answers)
        else:
            case.promise |= promise
            case.seen += 1
    result.states = len(cases)
    return cases, result


class _Promises:
    """What was promised before each event."""

    def __init__(self, recorded: Recorded) -> None:
        events = recorded.recording.events
        when = answered(events, recorded.port)
        left = sorted(when[call.port, call.stream] for call in recorded.calls if (call.port, call.stream) in when)
        told = _told_leaders(recorded)
        self._at: list[Promise] = []
        self._next: list[int] = [0] * (len(events) + 1)
        answers, entries, place = recorded.told_before, 0, 0
        for number in range(len(events) + 1):
            self._at.append(Promise(answers, entries))
            while place < len(left) and left[place] == number:
                answers, place = answers + 1, place + 1
            entries = max(entries, told.get(number, 0))
        change = len(events)
        for number in range(len(events), -1, -1):
            self._next[number] = change
            if number > 0 and not isinstance(events[number - 1], Sent):
                change = number - 1

    def at(self, cut: int) -> Promise:
        return self._at[cut]

    def until_next_change(self, cut: int) -> Promise:
        """All that is promised while the disk stays as it is at the cut."""
        return self._at[self._next[cut]]


def _told_leaders(recorded: Recorded) -> dict[int, int]:
    """By the event that sent it: up to which entry the member said to a leader that it has the log."""
    found: dict[int, int] = {}
    if not recorded.peer_port:
        return found
    streams: dict[int, _PeerStream] = {}
    for number, event in enumerate(recorded.recording.events):
        if isinstance(event, Sent) and event.local == recorded.peer_port:
            index = streams.setdefault(event.remote, _PeerStream()).feed(event.data)
            if index:
                found[number] = index
    return found


class _PeerStream:
    """The answers on one connection of a leader, an HTTP/1.1 response without end."""

    def __init__(self) -> None:
        self._head = b""
        self._raw = b""
        self._decoder: MessageDecoder | None = None
        self._chunked = False
        self._dead = False

    def feed(self, data: bytes) -> int:
        """The highest index acknowledged in these bytes, 0 when there is none."""
        if self._dead:
            return 0
        if self._decoder is None:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return 0
            self._chunked = b"chunked" in head.lower()
            self._decoder = MessageDecoder()
        try:
            messages = self._decoder.feed(self._body(data))
        except MalformedMessage:
            self._dead = True  # a stream of another kind
            return 0
        return max((m.index for m in messages if m.type is MessageType.APP_RESP and not m.reject), default=0)

    def _body(self, data: bytes) -> bytes:
        if not self._chunked:
            return data
        self._raw += data
        body = b""
        while b"\r\n" in self._raw:
            size, _, rest = self._raw.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            body += rest[:length]
            self._raw = rest[length + 2 :]
        return body


@dataclass
class _Work:
    """The second pass, in parts for processes of their own."""

    course: _Course
    cases: dict[bytes, _Case]
    jobs: int
    stop_at_failure: bool

    def part(self, number: int) -> list[Failure]:
        failures: list[Failure] = []
        mine = set(sorted(self.cases)[number :: self.jobs])
        with temporary_folder() as folder:
            for cut, state in self.course.walk():
                if state.digest not in mine:
                    continue
                mine.discard(state.digest)
                failure = self._try(cut, state, Path(folder) / "m")
                if failure is not None:
                    failures.append(failure)
                    if self.stop_at_failure:
                        break
        return failures

    def _try(self, cut: int, state: CrashState, root: Path) -> Failure | None:
        case = self.cases[state.digest]
        try:
            try:
                check(self.course.recorded, state, case.promise, case.answers_max, root)
            finally:
                shutil.rmtree(root, ignore_errors=True)
        except (Broken, StartRefused) as error:
            text = "; ".join(error.lines()) if isinstance(error, StartRefused) else str(error)
        except Exception:  # noqa: BLE001 - whatever it is, it is to be shown with the state
            text = traceback.format_exc()
        else:
            return None
        events = self.course.recorded.recording.events
        last = _shown(events[cut - 1], self.course.recorded.recording.root) if cut else "nothing"
        return Failure(self.course.recorded.name, cut, state.model, last, text)


def check(recorded: Recorded, state: CrashState, promise: Promise, answers_max: int, root: Path) -> None:
    """Start from one state. Raises: Broken, StartRefused - a promise is not kept."""
    state.write(root)
    found = boot.start(root / DATA_DIR, recorded.flags, serves=recorded.serves)
    legal = recorded.story.after[promise.answers : answers_max + 2]
    if not recorded.serves:
        legal = recorded.story.after
    if found.content not in legal:
        wanted = recorded.story.after[promise.answers]
        raise Broken(f"it has {found.content}, not what was there after {promise.answers} answers: {wanted}")
    if found.last_index < promise.entries:
        raise Broken(f"its log ends at {found.last_index}; it told the leader that it has {promise.entries}")


def _shown(event: object, root: str) -> str:
    text = type(event).__name__.lower()
    for name in ("path", "source", "target"):
        path = getattr(event, name, "")
        text += f" {path.removeprefix(root).lstrip('/') or '.'}" if path else ""
    offset = getattr(event, "offset", None)
    return text if offset is None else f"{text} at {offset}"
