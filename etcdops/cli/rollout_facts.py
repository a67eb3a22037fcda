"""What hosts are like, beside what a rollout makes of it: a few lines a host, and the same as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from etcdops.cli.output import Json, printable
from etcdops.numbers import show_bytes, show_duration

if TYPE_CHECKING:
    from etcdops.facts.host import Disk, HostFacts


def fact_lines(facts: Mapping[str, HostFacts]) -> Iterator[str]:
    """A line for each host, and one for each disk that members are to have there."""
    for host, found in facts.items():
        said = [
            found.os or "its system is unknown",
            found.machine,
            f"{show_bytes(found.memory_bytes)} of memory" if found.memory_bytes else "",
            _clock(found),
        ]
        yield f"  {printable(host)}  {printable(', '.join(filter(None, said)))}"
        yield from (f"    {printable(_disk(disk))}" for disk in found.disks)


def _clock(found: HostFacts) -> str:
    if found.clock_offset_s is None:
        return "its clock cannot be read"
    return f"clock {found.clock_offset_s:+.2f} s (give or take {found.clock_error_s:.2f})"


def _disk(disk: Disk) -> str:
    said = [
        disk.kind,
        f"{show_bytes(disk.free_bytes)} free" if disk.free_bytes is not None else "",
        f"a synced write takes {show_duration(disk.fsync_p50_s)}, p99 {show_duration(disk.fsync_p99_s)}"
        if disk.fsync_p50_s is not None and disk.fsync_p99_s is not None
        else "not measured",
    ]
    return f"{disk.path}: {', '.join(filter(None, said))}"


def facts_json(facts: Mapping[str, HostFacts]) -> dict[str, Json]:
    """By host; what is not known is null."""
    return {host: _json(found) for host, found in facts.items()}


def _json(found: HostFacts) -> dict[str, Json]:
    return {
        "os": found.os or None,
        "machine": found.machine or None,
        "kernel": found.kernel or None,
        "memory_bytes": found.memory_bytes,
        "swap_bytes": found.swap_bytes,
        "open_files": found.open_files,
        "clock_offset_s": found.clock_offset_s,
        "addresses": list(found.addresses),
        "engine_version": found.engine_version or None,
        "disks": [
            {
                "path": disk.path,
                "kind": disk.kind or None,
                "free_bytes": disk.free_bytes,
                "fsync_p50_s": disk.fsync_p50_s,
                "fsync_p99_s": disk.fsync_p99_s,
            }
            for disk in found.disks
        ],
    }
