"""What a host is like, asked in one script: nothing on it is changed but for a probe file that is gone again."""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etcdops.facts.script import CLOCK, FACTS
from etcdops.ids import ClusterID, MemberID
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.services.discover import Found, discover
from etcdops.snapshot.etcd_wal import identity_at

_TIMEOUT_S = 60.0
_PROBE_TIMEOUT_S = 5
"""The writes of the disk probe end then, however slow the disk."""
_PROBE_WRITES = 200
_CLOSE_S = 0.1
"""How far off a clock's reading may be to need no better one."""
_CLOCK_QUESTIONS = 3
_LISTEN = 0x0A
"""TCP_LISTEN, in /proc/net/tcp."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP port somebody listens on."""

    address: str
    port: int
    program: str = ""
    """Who; empty: not known."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """A directory that a member is to have, as it is now."""

    path: str
    entries: int
    """How much is in it; -1: it is not there."""
    is_member: bool = False
    """It holds what a member leaves behind."""
    member_id: MemberID | None = None
    cluster_id: ClusterID | None = None
    """None: not readable."""

    @property
    def is_vacant(self) -> bool:
        return self.entries <= 0


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system below a data directory."""

    path: str
    kind: str = ""
    free_bytes: int | None = None
    fsync_p50_s: float | None = None
    fsync_p99_s: float | None = None
    """None: not measured. Of writes of 2 KiB, each synced before the next, as etcd's log does."""
    measured: int = 0
    """How many writes."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One host, as it was found."""

    host: str
    os: str = ""
    """Such as `Debian GNU/Linux 12 (bookworm)`."""
    machine: str = ""
    """Such as `x86_64`."""
    kernel: str = ""
    python: tuple[int, int, int] | None = None
    libc: str = "glibc"
    machine_id: str = ""
    memory_bytes: int | None = None
    swap_bytes: int | None = None
    open_files: int | None = None
    clock_offset_s: float | None = None
    """The host's clock minus ours."""
    clock_error_s: float = 0.0
    """How far that may be off: half of the way there and back, and what the host rounds to."""
    listeners: tuple[Listener, ...] = ()
    firewall: tuple[str, ...] = ()
    """Rules of nftables and iptables as they print themselves."""
    data_dirs: tuple[DataDir, ...] = ()
    disks: tuple[Disk, ...] = ()
    addresses: tuple[str, ...] = ()
    """Its own."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Names it was asked for -> their addresses; none: it does not know the name."""
    missing: tuple[str, ...] = ()
    """Programs that a member's manager needs."""
    engine_version: str = ""
    """Of the etcd that is there."""
    found: tuple[Found, ...] = field(default=())
    """Members on it, whoever keeps them."""

    def data_dir(self, path: str) -> DataDir | None:
        return next((one for one in self.data_dirs if one.path == path), None)


async def gather_facts(
    session: Session,
    directories: Sequence[str],
    *,
    names: Sequence[str] = (),
    programs: Sequence[str] = (),
    probe: bool = True,
    found: Sequence[Found] | None = None,
) -> HostFacts:
    """Everything about a host that a rollout or a doctor wants to know.

    Args: directories - of members, there or not yet; names - of hosts, to be resolved there; programs - that it must
        have, `svc|sv`: one of them; probe - also measure how long the disk takes to sync, which writes a file that is
        gone again; found - the members on it, by who has looked for them already.
    Raises: AccessDenied - we may not become root there; what else the session raises.
    """
    writes = str(_PROBE_WRITES if probe else 0)
    arguments = (writes, str(_PROBE_TIMEOUT_S), " ".join(names), " ".join(programs), *directories)
    offset_s, error_s = await _clock(session)
    asked, seen = await asyncio.gather(
        session.run(script(FACTS, *arguments, user=ROOT), timeout_s=_TIMEOUT_S),
        discover(session) if found is None else _known(found),
    )
    return parse_facts(session.host, asked.text, found=tuple(seen), clock_offset_s=offset_s, clock_error_s=error_s)


async def _known(found: Sequence[Found]) -> Sequence[Found]:
    return found


async def _clock(session: Session) -> tuple[float | None, float]:
    """(offset, how far it may be off) by the fastest of a few questions, or the first that is fast enough."""
    best: tuple[float, float] | None = None
    for _ in range(_CLOCK_QUESTIONS):
        before, began = time.time(), time.monotonic()
        result = await session.run(script(CLOCK), check=False)
        took = time.monotonic() - began
        try:
            there = float(result.text)
        except ValueError:
            return None, math.inf
        rounding = 0.0 if "." in result.text else 0.5
        offset = there + rounding - (before + took / 2)
        if best is None or took / 2 + rounding < best[1]:
            best = offset, took / 2 + rounding
        if best[1] <= _CLOSE_S:
            break
    return best if best is not None else (None, math.inf)


def parse_facts(
    host: str,
    text: str,
    *,
    found: tuple[Found, ...] = (),
    clock_offset_s: float | None = None,
    clock_error_s: float = 0.0,
) -> HostFacts:
    """What the script printed. What it could not find out is left at "not known"."""
    parts = sections(text)
    release = dict(line.split("=", 1) for line in parts.get("os", ()) if "=" in line)
    memory = {line.split(":")[0]: line.split()[1] for line in parts.get("memory", ()) if ":" in line}
    return HostFacts(
        host=host,
        os=release.get("PRETTY_NAME", "").strip('"'),
        machine=_first(parts, "machine"),
        kernel=_first(parts, "kernel"),
        python=_version(_first(parts, "python")),
        libc=_first(parts, "libc") or "glibc",
        machine_id=_first(parts, "machine-id"),
        memory_bytes=_kib(memory.get("MemTotal")),
        swap_bytes=_kib(memory.get("SwapTotal")),
        open_files=_number(_first(parts, "open-files")),
        clock_offset_s=clock_offset_s,
        clock_error_s=clock_error_s,
        listeners=_listeners(parts),
        firewall=tuple(parts.get("firewall", ())),
        data_dirs=tuple(_data_dir(line) for line in parts.get("data", ())),
        disks=tuple(_disk(line) for line in parts.get("disk", ())),
        addresses=tuple(parts.get("addresses", ())),
        names={line.split()[0]: tuple(line.split()[1:]) for line in parts.get("names", ())},
        missing=tuple(parts.get("missing", ())),
        engine_version=_first(parts, "engine"),
        found=found,
    )


def sections(text: str) -> Mapping[str, list[str]]:
    """What a script printed below each `@@name`, without empty lines."""
    parts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in text.splitlines():
        if line.startswith("@@"):
            current = parts.setdefault(line[2:], [])
        elif line.strip():
            current.append(line)
    return parts


def _first(parts: Mapping[str, list[str]], name: str) -> str:
    return parts.get(name, [""])[0].strip() if parts.get(name) else ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _kib(text: str | None) -> int | None:
    return int(text) << 10 if text is not None and text.isdigit() else None


def _version(text: str) -> tuple[int, int, int] | None:
    match = re.match(r"Python (\d+)\.(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match is not None else None


def kernel_listeners(lines: Sequence[str]) -> tuple[Listener, ...]:
    """Who listens by lines of /proc/net/tcp and tcp6; other states are left out."""
    found: dict[tuple[str, int], Listener] = {}
    for line in lines:
        words = line.split()
        if len(words) > 3 and ":" in words[1] and int(words[3], 16) == _LISTEN:
            address, _, port = words[1].rpartition(":")
            found[address, int(port, 16)] = Listener(_kernel_address(address), int(port, 16))
    return tuple(found.values())


def _listeners(parts: Mapping[str, list[str]]) -> tuple[Listener, ...]:
    """By `ss`, which knows programs; else by the kernel's own tables."""
    found: dict[tuple[str, int], Listener] = {}
    for line in parts.get("listeners", ()):
        words = line.split()
        if len(words) < 4:
            continue
        address, _, port = words[3].rpartition(":")
        program = re.search(r'\(\("([^"]*)"', line)
        if port.isdigit():
            found[address, int(port)] = Listener(address.strip("[]"), int(port), program[1] if program else "")
    return tuple(found.values()) or kernel_listeners(parts.get("tcp", ()))


def _kernel_address(text: str) -> str:
    """What the kernel prints as words in its own byte order."""
    raw = bytes.fromhex(text)
    words = [raw[index : index + 4][::-1] for index in range(0, len(raw), 4)]
    if len(words) == 1:
        return ".".join(map(str, words[0]))
    return "::" if not any(b"".join(words)) else "::" + b"".join(words).hex()


def _data_dir(line: str) -> DataDir:
    """`path<TAB>entries<TAB>member?<TAB>first kilobyte of its log, or of the node's identity`."""
    path, entries, member, head = (*line.split("\t"), "", "", "")[:4]
    identity: tuple[MemberID, ClusterID] | None = None
    if head.startswith("node "):
        numbers = [int(word) & (1 << 64) - 1 for word in head.split()[1:3] if word.lstrip("-").isdigit()]
        identity = (MemberID(numbers[0]), ClusterID(numbers[1])) if len(numbers) == 2 else None
    elif head:
        try:
            identity = identity_at(base64.b64decode(head))
        except (binascii.Error, ValueError):
            identity = None
    count = int(entries) if entries.lstrip("-").isdigit() else -1
    member_id, cluster_id = identity if identity is not None else (None, None)
    return DataDir(path, count, member == "member", member_id, cluster_id)


def _disk(line: str) -> Disk:
    """`path<TAB>type<TAB>free KiB<TAB>seconds of each write, sorted or not`."""
    path, kind, free, took = (*line.split("\t"), "", "", "")[:4]
    times = sorted(float(word) for word in took.split() if re.fullmatch(r"\d+(\.\d*)?(e-?\d+)?", word))
    if not times:
        return Disk(path, kind, _kib(free))
    return Disk(
        path, kind, _kib(free), times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)], len(times)
    )
