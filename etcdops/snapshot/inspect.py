"""Everything worth knowing about a snapshot file, found without any server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etcdops.snapshot.buckets import read_facts
from etcdops.snapshot.checksum import verify_checksum
from etcdops.snapshot.facts import SnapshotFacts, SnapshotFormat
from etcdops.snapshot.file import open_snapshot, records, status_hash
from etcdops.snapshot.hashkv import KVHasher, OfflineHashKV, newest_records, places


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """A snapshot that passed every check. `hash`, `revision`, `total_key` and `total_size_bytes` are what
    `etcdutl snapshot status` prints for the same file."""

    path: Path
    format: SnapshotFormat
    hash: int
    """CRC-32C over the whole content."""
    revision: int
    """Main revision of the last record."""
    total_key: int
    """Entries in all buckets: old revisions, tombstones, members and so on included."""
    total_size_bytes: int
    current_revision: int
    """The revision a server started on this file answers with: `revision`, unless a compaction is beyond it."""
    live_keys: int
    """Keys a client would read."""
    leased_keys: int
    """Live keys that go when their lease ends."""
    hash_kv: OfflineHashKV
    """What HashKV answers at `current_revision`."""
    sha256: str
    """Of the database, without the checksum that may follow it."""
    has_checksum: bool
    """Whether the file carries that checksum: one copied out of a data directory does not."""
    facts: SnapshotFacts


def inspect_snapshot(path: Path) -> SnapshotReport:
    """Check a snapshot completely (checksum, structure, every record) and report on it.

    Raises: UsageError - no such file; SnapshotCorrupt - any check failed.
    """
    with open_snapshot(path) as file:
        digest, carried = verify_checksum(path)
        file.check()
        facts = read_facts(file)
        checksum, entries = status_hash(file)
        newest, last = newest_records(records(file))
        keep = places(newest)
        current = max(last, facts.compact_revision, 1)
        hasher = KVHasher(keep, current, facts.compact_revision)
        living = leased = 0
        for record in records(file):
            hasher.feed(record)
            if (record.main, record.sub) in keep:
                kv = record.parsed()
                living += bool(kv.key)  # the mark of a bumped revision is no key of a client
                leased += kv.lease != 0
        return SnapshotReport(
            path=path,
            format=file.format,
            hash=checksum,
            revision=last,
            total_key=entries,
            total_size_bytes=file.size_bytes,
            current_revision=current,
            live_keys=living,
            leased_keys=leased,
            hash_kv=hasher.result,
            sha256=digest.hex(),
            has_checksum=carried,
            facts=facts,
        )
