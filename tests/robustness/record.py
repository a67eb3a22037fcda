"""The history of a run as JSON lines: what clients did and saw, which faults there were, how it ended.

One line is one record: `is` names its kind, messages are base64 of their protobuf encoding, times are seconds of the
machine's monotonic clock, which all processes share. A history can be checked again without the cluster.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TextIO

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.model.history import Call

HISTORY = "history.jsonl"


@dataclass(slots=True)
class Run:
    """What was run: the first line."""

    IS: ClassVar[str] = "run"
    seed: int
    engine: str
    version: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Opened:
    """A watch was asked for."""

    IS: ClassVar[str] = "watch"
    watcher: str
    member: str
    at: float
    start: int
    """The revision it asked for; 0 = from now."""
    key: bytes
    range_end: bytes
    prev_kv: bool


@dataclass(slots=True)
class Seen:
    """One message of a watch."""

    IS: ClassVar[str] = "seen"
    watcher: str
    member: str
    at: float
    message: bytes
    """A WatchResponse."""


@dataclass(slots=True)
class Renewed:
    """A keep-alive was answered."""

    IS: ClassVar[str] = "renewed"
    lease: int
    member: str
    asked: float
    answered: float
    ttl: int
    """Seconds; 0 = there is no such lease."""


@dataclass(slots=True)
class Compacted:
    """Somebody asked for a compaction."""

    IS: ClassVar[str] = "compacted"
    revision: int
    called: float
    returned: float
    error: str


@dataclass(slots=True)
class FaultSeen:
    """Something was done to the cluster, for whoever reads the history."""

    IS: ClassVar[str] = "fault"
    at: float
    text: str


@dataclass(slots=True)
class Final:
    """What one member holds after everything was healed."""

    IS: ClassVar[str] = "final"
    member: str
    revision: int
    hash: int
    """HashKV, at the same revision for all."""
    compact_revision: int
    keys: bytes
    """RangeResponse of all keys, without header."""
    leases: list[int]


@dataclass(slots=True)
class Failed:
    """Something that the run itself noticed: a member that ended by itself, a cluster that does not recover."""

    IS: ClassVar[str] = "failed"
    promise: str
    text: str


Record = Run | Call | Opened | Seen | Renewed | Compacted | FaultSeen | Final | Failed
_KINDS: dict[str, type[Any]] = {
    "call": Call,
    **{kind.IS: kind for kind in (Run, Opened, Seen, Renewed, Compacted, FaultSeen, Final, Failed)},
}
_BYTES = {
    name: frozenset(one.name for one in fields(kind) if one.type in ("bytes", bytes)) for name, kind in _KINDS.items()
}


def to_line(record: Record) -> str:
    """One record as JSON, without the line's end."""
    name = "call" if isinstance(record, Call) else record.IS
    plain = asdict(record)
    for key in _BYTES[name]:
        plain[key] = base64.b64encode(plain[key]).decode()
    if plain.get("returned") == float("inf"):
        plain["returned"] = None
    return json.dumps({"is": name, **plain}, separators=(",", ":"))


def from_line(line: str) -> Record:
    """Raises: ValueError, KeyError, TypeError - not a line of a history."""
    plain = json.loads(line)
    name = plain.pop("is")
    for key in _BYTES[name]:
        plain[key] = base64.b64decode(plain[key])
    if "returned" in plain and plain["returned"] is None:
        plain["returned"] = float("inf")
    record: Record = _KINDS[name](**plain)
    return record


class Journal:
    """Records on their way into one file; what was written stays there when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("a", buffering=1 << 16)

    def write(self, record: Record) -> None:
        self._file.write(to_line(record) + "\n")

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class History:
    """A whole run."""

    run: Run
    calls: list[Call] = field(default_factory=list)
    opened: list[Opened] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    renewed: list[Renewed] = field(default_factory=list)
    compacted: list[Compacted] = field(default_factory=list)
    faults: list[FaultSeen] = field(default_factory=list)
    final: list[Final] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    def add(self, record: Record) -> None:
        match record:
            case Run():
                self.run = record
            case Call():
                self.calls.append(record)
            case Opened():
                self.opened.append(record)
            case Seen():
                self.seen.append(record)
            case Renewed():
                self.renewed.append(record)
            case Compacted():
                self.compacted.append(record)
            case FaultSeen():
                self.faults.append(record)
            case Final():
                self.final.append(record)
            case Failed():
                self.failed.append(record)

    def records(self) -> Iterator[Record]:
        """All of them, in an order that `read_history` understands."""
        yield self.run
        for group in (self.calls, self.opened, self.seen, self.renewed, self.compacted, self.faults, self.final):
            yield from group
        yield from self.failed


def read_history(paths: Iterable[Path]) -> History:
    """One history that is spread over these files, in any order of lines between files."""
    history = History(Run(0, "?", "?"))
    for path in paths:
        with path.open() as file:
            for line in file:
                history.add(from_line(line))
    return history


def save_history(history: History, path: Path) -> None:
    """All of it in one file."""
    with path.open("w") as file:
        file.writelines(to_line(record) + "\n" for record in history.records())


def keys_of(answer: pb.RangeResponse) -> bytes:
    """As `Final.keys` has it."""
    answer.ClearField("header")
    return answer.SerializeToString(deterministic=True)
