"""What members live on: disk, memory, file descriptors, clocks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from etcdops.doctor.checks.load import FSYNC_SLOW_S, OPEN_FILES_SHARE
from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import FileSystem, HostObservation, Observation
from etcdops.numbers import show_bytes, show_count, show_duration

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
    place = f"{host.host}: {disk.path}" + (f" on {disk.mounted_at}" if disk.mounted_at else "")
    if disk.read_only:
        yield Finding(
            "E514",
            host.host,
            f"{disk.path} on {host.host} is mounted read-only",
            f"ssh {host.host} dmesg -T | tail -50: usually the disk failed; repair it, then remount it",
            evidence=(place, *host.kernel_errors[-3:]),
        )
    if disk.inodes and disk.free_inodes is not None and disk.free_inodes < disk.inodes * INODES_LOW_SHARE:
        yield Finding(
            "E513",
            host.host,
            f"{disk.path} on {host.host} has {show_count(disk.free_inodes)} of {show_count(disk.inodes)} inodes left",
            f"remove the many small files that took them: ssh {host.host} du --inodes -xd1 {disk.mounted_at or '/'}",
            evidence=(place,),
        )
    if disk.free_bytes is None:
        return
    needed = _database_bytes(observation, host.host)
    free = f"{show_bytes(disk.free_bytes)} free" + (f" of {show_bytes(disk.size_bytes)}" if disk.size_bytes else "")
    if disk.free_bytes < DISK_FULL_BYTES:
        yield Finding(
            "E511",
            host.host,
            f"the disk of {disk.path} on {host.host} is full: {free}",
            f"free space or enlarge it, then start the member again: ssh {host.host} df -h {disk.path}",
            evidence=(f"{place}: {free}",),
        )
    elif (disk.size_bytes and disk.free_bytes < disk.size_bytes * DISK_LOW_SHARE) or disk.free_bytes < needed:
        why = f", and a defragmentation needs {show_bytes(needed)}" if disk.free_bytes < needed else ""
        yield Finding(
            "W512",
            host.host,
            f"the disk of {disk.path} on {host.host} gets full: {free}{why}",
            f"free space or enlarge it: ssh {host.host} df -h {disk.path}",
            evidence=(f"{place}: {free}",),
        )


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
            if disk.kind in NETWORK_KINDS:
                yield Finding(
                    "W516",
                    host.host,
                    f"{disk.path} on {host.host} is on a network file system ({disk.kind})",
                    "put the data directory on a local disk, one member after the other",
                    evidence=(f"{host.host}: {disk.path}: {disk.kind}",),
                )
            elif disk.kind in VOLATILE_KINDS:
                yield Finding(
                    "W516",
                    host.host,
                    f"{disk.path} on {host.host} is in memory ({disk.kind}): it is gone when the host restarts",
                    "put the data directory on a disk, one member after the other",
                    evidence=(f"{host.host}: {disk.path}: {disk.kind}",),
                )


def probed_disks(observation: Observation) -> Iterator[Finding]:
    """By the doctor's own writes, where they were allowed."""
    for host in observation.hosts.values():
        for disk in host.facts.disks if host.facts is not None else ():
            if disk.fsync_p99_s is not None and disk.fsync_p99_s > FSYNC_SLOW_S:
                yield Finding(
                    "W515",
                    host.host,
                    f"the disk of {disk.path} on {host.host} takes up to {show_duration(disk.fsync_p99_s)} for a sync"
                    f" ({show_duration(FSYNC_SLOW_S)} is the limit for a healthy disk)",
                    f"give etcd a dedicated SSD; see what else writes: ssh {host.host} iostat -x 1 5",
                    evidence=(f"{host.host}: p99 of {disk.measured} synced writes of 2 KiB",),
                )


def kernel_errors(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        if host.kernel_errors:
            yield Finding(
                "E517",
                host.host,
                f"the kernel of {host.host} reports errors of a disk or file system",
                f"replace the disk: stop the member, and let it join anew on another one; ssh {host.host} dmesg -T",
                evidence=tuple(f"{host.host}: {line}" for line in host.kernel_errors[-5:]),
            )


def memory(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        offset = host.facts.clock_offset_s or 0.0 if host.facts is not None else 0.0
        kills = [
            kill for kill in host.oom_kills if kill.at is None or observation.taken_at + offset - kill.at < OOM_RECENT_S
        ]
        kills = [kill for kill in kills if "etcd" in kill.process or "etcd" in kill.line] or []
        if kills:
            last = kills[-1]
            age = f" {show_duration(observation.taken_at + offset - last.at)} ago" if last.at is not None else ""
            yield Finding(
                "E519",
                host.host,
                f"the kernel of {host.host} killed {last.process} for memory{age}",
                "give the host or its MemoryMax= more; compact and defragment; fewer watchers and big ranges",
                evidence=tuple(f"{host.host}: {kill.line or kill.process}" for kill in kills[-3:]),
            )


def member_memory(observation: Observation) -> Iterator[Finding]:
    for host, on_host, name in observation.ours:
        process = on_host.process
        if process is None or process.resident_bytes is None:
            continue
        limit = process.memory_max_bytes or (host.facts.memory_bytes if host.facts is not None else None)
        if limit and process.resident_bytes >= limit * MEMORY_SHARE:
            yield Finding(
                "W520",
                name,
                f"{name} uses {show_bytes(process.resident_bytes)} of the {show_bytes(limit)} it may have",
                "raise its limit before the kernel kills it; compact and defragment",
                evidence=(f"{host.host}: process {process.pid}",),
            )


def open_files(observation: Observation) -> Iterator[Finding]:
    for host, on_host, name in observation.ours:
        process = on_host.process
        if process is None or not process.open_files_max:
            continue
        used, most = process.open_files or 0, process.open_files_max
        if used >= most * OPEN_FILES_SHARE:
            summary = f"{name} has {show_count(used)} of {show_count(most)} files open that it may have"
        elif most < OPEN_FILES_LOW:
            summary = f"{name} may open {show_count(most)} files only: each client's connection takes one"
        else:
            continue
        yield Finding(
            "W518",
            name,
            summary,
            f"raise LimitNOFILE= of {on_host.found.name} on {host.host} (65536) and restart it",
            evidence=(f"{host.host}: process {process.pid}: {used} of {most}",),
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
            yield Finding(
                "W521",
                name,
                f"the clock of {name} is {show_duration(abs(apart))} {'ahead' if apart > 0 else 'behind'}",
                f"ssh {name} sudo systemctl enable --now chrony; ssh {name} sudo chronyc makestep",
                detail="Certificates look expired or not yet valid, leases and logs tell wrong times.",
                evidence=tuple(
                    f"{host}: {value:+.2f} s (± {error:.2f} s)" for host, (value, error) in sorted(known.items())
                ),
            )


CHECKS = (disks, disk_kinds, probed_disks, kernel_errors, memory, member_memory, open_files, clocks)
