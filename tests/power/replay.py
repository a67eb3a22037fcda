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
from dataclasses import dataclass, field, replace
from pathlib import Path

from etcdops.errors import StartRefused
from tests.power import boot, process
from tests.power.boot import Broken
from tests.power.client import answered
from tests.power.disk import CrashState
from tests.power.history import Promise
from tests.power.peers import PeerStream
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
    processes: int = 0,
    stop_at_failure: bool = False,
    seed: int = 1,
) -> Result:
    """See the module. Args: random_states at each cut beyond the named models; cuts_max, states_max - look at so many
    of them only, drawn by the seed; processes - so many are also started as real ones; jobs - workers."""
    started = time.monotonic()
    course = _Course(recorded, random_states, seed, _some_cuts(recorded, cuts_max, seed))
    cases, result = _collect(course)
    chosen = _some_states(cases, states_max, seed)
    result.started = len(chosen)
    work = _Work(course, {digest: cases[digest] for digest in chosen}, jobs, processes, stop_at_failure)
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
        terms = {
            when[call.port, call.stream]: int(call.answer.header.raft_term)  # type: ignore[attr-defined]  # all have it
            for call in recorded.calls
            if (call.port, call.stream) in when
        }
        told = _told_members(recorded)
        self._at = [Promise(recorded.told_before)]
        for number in range(len(events)):
            promise = self._at[-1] | told.get(number, Promise())
            if number in terms:
                promise = replace(promise, answers=promise.answers + 1) | Promise(term=terms[number])
            self._at.append(promise)
        self._next = [len(events)] * (len(events) + 1)
        for number in range(len(events) - 1, -1, -1):
            self._next[number] = self._next[number + 1] if isinstance(events[number], Sent) else number

    def at(self, cut: int) -> Promise:
        return self._at[cut]

    def until_next_change(self, cut: int) -> Promise:
        """All that is promised while the disk stays as it is at the cut."""
        return self._at[self._next[cut]]


def _told_members(recorded: Recorded) -> dict[int, Promise]:
    """By the event that sent it: what the member told others of the cluster."""
    found: dict[int, Promise] = {}
    if not recorded.peer_port:
        return found
    streams: dict[int, PeerStream] = {}
    for number, event in enumerate(recorded.recording.events):
        if isinstance(event, Sent) and event.local == recorded.peer_port:
            found[number] = streams.setdefault(event.remote, PeerStream()).feed(event.data)
    return found


@dataclass
class _Work:
    """The second pass, in parts for processes of their own."""

    course: _Course
    cases: dict[bytes, _Case]
    jobs: int
    processes: int
    stop_at_failure: bool

    def part(self, number: int) -> list[Failure]:
        with boot.quiet():
            return self._failures(number)

    def _failures(self, number: int) -> list[Failure]:
        failures: list[Failure] = []
        mine = set(sorted(self.cases)[number :: self.jobs])
        self._as_process = set(sorted(mine)[: self.processes // self.jobs])
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
                if state.digest in self._as_process:
                    shutil.rmtree(root)
                    check_process(self.course.recorded, state, case.promise, case.answers_max, root)
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
    if found.hard_state.term < promise.term:
        raise Broken(f"it is back at term {found.hard_state.term}, after {promise.term}")
    if found.hard_state.term == promise.vote[0] and found.hard_state.vote != promise.vote[1]:
        raise Broken(f"its vote in term {promise.vote[0]} was for {promise.vote[1]:x}, not {found.hard_state.vote:x}")


def check_process(recorded: Recorded, state: CrashState, promise: Promise, answers_max: int, root: Path) -> None:
    """The same with a real process. Raises: Broken."""
    state.write(root)
    found = process.start(recorded, root)
    legal = [(content.revision, content.hash_kv) for content in recorded.story.after[promise.answers : answers_max + 2]]
    if found not in legal:
        raise Broken(f"as a process it has revision and HashKV {found}, not one of {legal}")


def _shown(event: object, root: str) -> str:
    text = type(event).__name__.lower()
    for name in ("path", "source", "target"):
        path = getattr(event, name, "")
        text += f" {path.removeprefix(root).lstrip('/') or '.'}" if path else ""
    offset = getattr(event, "offset", None)
    return text if offset is None else f"{text} at {offset}"
