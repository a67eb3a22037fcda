"""What members live on: disk, memory, file descriptors, clocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from etcdops.doctor.checks.load import FSYNC_SLOW_S, OPEN_FILES_SHARE
from etcdops.doctor.finding import Finding, finding
from etcdops.doctor.observation import FileSystem, HostObservation, Observation
from etcdops.doctor.words import Said, say

DISK_FULL_BYTES = 128 << 20
"""Two segments of the raft log, which etcd allocates whole. Source: server/storage/wal/wal.go, SegmentSizeBytes."""
DISK_LOW_SHARE = 0.10
INODES_LOW_SHARE = 0.02
OOM_RECENT_S = 24 * 3600.0
MEMORY_SHARE = 0.90
OPEN_FILES_LOW = 4096
"""Ours: a connection takes one, and 1024 is what old systems grant by default."""
CLOCK_DRIFT_S = 1.0
"""Source: rafthttp/probing_status.go, monitorProbingStatus: members complain of each other's clocks above a second."""
NETWORK_KINDS = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "glusterfs", "fuse.glusterfs", "ceph", "fuse.sshfs", "9p")
VOLATILE_KINDS = ("tmpfs", "ramfs")


def disks(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        for disk in host.file_systems:
            yield from _disk(observation, host, disk)


def _disk(observation: Observation, host: HostObservation, disk: FileSystem) -> Iterator[Finding]:
    at = disk.mounted_at
    place = say("seen.mounted", host=host.host, path=disk.path, mounted_at=at) if at else f"{host.host}: {disk.path}"
    if disk.read_only:
        yield finding("E514", host.host, path=disk.path, evidence=(place, *host.kernel_errors[-3:]))
    if disk.inodes and disk.free_inodes is not None and disk.free_inodes < disk.inodes * INODES_LOW_SHARE:
        yield finding(
            "E513",
            host.host,
            path=disk.path,
            free=disk.free_inodes,
            inodes=disk.inodes,
            mounted_at=disk.mounted_at or "/",
            evidence=(place,),
        )
    if disk.free_bytes is None:
        return
    needed = _database_bytes(observation, host.host)
    free = _free(disk.free_bytes, disk.size_bytes)
    evidence = [say("seen.free", place=place, free=free)]
    if disk.free_bytes < DISK_FULL_BYTES:
        yield finding("E511", host.host, path=disk.path, free=free, evidence=evidence)
    elif disk.free_bytes < needed:
        yield finding("W512", host.host, "defrag", path=disk.path, free=free, needed_bytes=needed, evidence=evidence)
    elif disk.size_bytes and disk.free_bytes < disk.size_bytes * DISK_LOW_SHARE:
        yield finding("W512", host.host, path=disk.path, free=free, evidence=evidence)


def _free(free_bytes: int, size_bytes: int | None) -> Said:
    if size_bytes:
        return say("disk.free-of", free_bytes=free_bytes, size_bytes=size_bytes)
    return say("disk.free", free_bytes=free_bytes)


def _database_bytes(observation: Observation, host: str) -> int:
    """What defragmenting the members of a host would write: it copies what is in use."""
    names = {member.name for member in observation.wanted_on(host)}
    sizes = [
        member.status.db_size_in_use_bytes for member in observation.answering if member.status and member.name in names
    ]
    return sum(sizes)


def disk_kinds(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        for disk in host.file_systems:
            case = "network" if disk.kind in NETWORK_KINDS else "memory" if disk.kind in VOLATILE_KINDS else ""
            if case:
                evidence = (f"{host.host}: {disk.path}: {disk.kind}",)
                yield finding("W516", host.host, case, path=disk.path, kind=disk.kind, evidence=evidence)


def probed_disks(observation: Observation) -> Iterator[Finding]:
    """By the doctor's own writes, where they were allowed."""
    for host in observation.hosts.values():
        for disk in host.facts.disks if host.facts is not None else ():
            if disk.fsync_p99_s is not None and disk.fsync_p99_s > FSYNC_SLOW_S:
                yield finding(
                    "W515",
                    host.host,
                    path=disk.path,
                    p99_s=disk.fsync_p99_s,
                    limit_s=FSYNC_SLOW_S,
                    evidence=[say("seen.probe", host=host.host, writes=disk.measured)],
                )


def kernel_errors(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        if host.kernel_errors:
            yield finding("E517", host.host, evidence=[f"{host.host}: {line}" for line in host.kernel_errors[-5:]])


def memory(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        offset = host.facts.clock_offset_s or 0.0 if host.facts is not None else 0.0
        kills = [
            kill for kill in host.oom_kills if kill.at is None or observation.taken_at + offset - kill.at < OOM_RECENT_S
        ]
        kills = [kill for kill in kills if "etcd" in kill.process or "etcd" in kill.line] or []
        if kills:
            last = kills[-1]
            ago = say("span.ago", time_s=observation.taken_at + offset - last.at) if last.at is not None else ""
            evidence = [f"{host.host}: {kill.line or kill.process}" for kill in kills[-3:]]
            yield finding("E519", host.host, "kernel", process=last.process, ago=ago, evidence=evidence)


def member_memory(observation: Observation) -> Iterator[Finding]:
    for host, on_host, name in observation.ours:
        process = on_host.process
        if process is None or process.resident_bytes is None:
            continue
        limit = process.memory_max_bytes or (host.facts.memory_bytes if host.facts is not None else None)
        if limit and process.resident_bytes >= limit * MEMORY_SHARE:
            evidence = [say("seen.process", host=host.host, pid=process.pid)]
            yield finding("W520", name, used_bytes=process.resident_bytes, limit_bytes=limit, evidence=evidence)


def open_files(observation: Observation) -> Iterator[Finding]:
    for host, on_host, name in observation.ours:
        process = on_host.process
        if process is None or not process.open_files_max:
            continue
        used, most = process.open_files or 0, process.open_files_max
        near = used >= most * OPEN_FILES_SHARE
        if near or most < OPEN_FILES_LOW:
            yield finding(
                "W518",
                name,
                "" if near else "low",
                used=used,
                limit=most,
                service=on_host.found.name,
                host=host.host,
                evidence=[say("seen.files", host=host.host, pid=process.pid, used=used, limit=most)],
            )


def clocks(observation: Observation) -> Iterator[Finding]:
    """Each host against the middle of all of them and of this machine: one wrong clock must not accuse the others."""
    known = {
        host.host: (host.facts.clock_offset_s, host.facts.clock_error_s)
        for host in observation.hosts.values()
        if host.facts is not None and host.facts.clock_offset_s is not None and math.isfinite(host.facts.clock_error_s)
    }
    middle = statistics.median([0.0, *(offset for offset, _ in known.values())]) if known else 0.0
    for name, (offset, error) in sorted(known.items()):
        apart = offset - middle
        if abs(apart) - error > CLOCK_DRIFT_S:
            yield finding(
                "W521",
                name,
                "ahead" if apart > 0 else "behind",
                apart_s=abs(apart),
                evidence=[
                    f"{host}: {value:+.2f} s (± {error:.2f} s)" for host, (value, error) in sorted(known.items())
                ],
            )


CHECKS = (disks, disk_kinds, probed_disks, kernel_errors, memory, member_memory, open_files, clocks)
