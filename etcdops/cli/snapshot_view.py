"""How a snapshot's report is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etcdops.cli.output import Json, Look, hex_id, printable
from etcdops.ids import padded_id
from etcdops.numbers import show_bytes
from etcdops.wording import counted

if TYPE_CHECKING:
    from etcdops.snapshot.inspect import SnapshotReport

NOT_IN_FILE = "not in the file"


def report_json(report: SnapshotReport) -> dict[str, Json]:
    """The report's stable JSON body."""
    facts = report.facts
    return {
        "file": str(report.path),
        "format": report.format.value,
        "hash": report.hash,
        "revision": report.revision,
        "total_key": report.total_key,
        "total_size": report.total_size_bytes,
        "current_revision": report.current_revision,
        "compact_revision": facts.compact_revision,
        "live_keys": report.live_keys,
        "leased_keys": report.leased_keys,
        "hash_kv": report.hash_kv.hash,
        "sha256": report.sha256,
        "has_checksum": report.has_checksum,
        "storage_version": facts.storage_version or None,
        "cluster_version": facts.cluster_version or None,
        "consistent_index": facts.consistent_index,
        "term": facts.term,
        "members": [
            {
                "id": hex_id(member.id),
                "name": member.name,
                "peer_urls": list(member.peer_urls),
                "client_urls": list(member.client_urls),
                "is_learner": member.is_learner,
            }
            for member in facts.members
        ],
        "removed_members": [hex_id(member) for member in facts.removed_members],
        "alarms": [{"member": hex_id(alarm.member), "type": alarm.type} for alarm in facts.alarms],
        "leases": facts.lease_count,
        "auth_enabled": facts.auth_enabled,
        "users": list(facts.users),
        "roles": list(facts.roles),
    }


def render_report(report: SnapshotReport, look: Look) -> str:
    """The report as lines of name and value."""
    facts = report.facts
    checksum = "verified" if report.has_checksum else "none in the file"
    compacted = f"compacted before {facts.compact_revision}" if facts.compact_revision > 0 else "never compacted"
    auth = (
        f"on, {counted(len(facts.users), 'user')}, {counted(len(facts.roles), 'role')}" if facts.auth_enabled else "off"
    )
    alarms = ", ".join(f"{alarm.type} at {padded_id(alarm.member)}" for alarm in facts.alarms) or "none"
    members = ", ".join(sorted(member.name or padded_id(member.id) for member in facts.members)) or NOT_IN_FILE
    version = facts.storage_version or facts.cluster_version  # of the format, not of the program that wrote it
    lines = [
        ("file", f"{report.path} ({report.format.value})"),
        ("checksum", f"{checksum}, sha256 {report.sha256}"),
        ("hash", f"{report.hash:08x} ({report.hash})"),
        ("revision", f"{report.current_revision}, {compacted}"),
        ("total keys", f"{report.total_key} (entries of all kinds)"),
        ("keys", f"{report.live_keys}, {report.leased_keys} of them under {counted(facts.lease_count, 'lease')}"),
        ("total size", f"{show_bytes(report.total_size_bytes)} ({report.total_size_bytes} bytes)"),
        ("HashKV", f"{report.hash_kv.hash} at revision {report.hash_kv.revision}"),
        ("raft", f"index {facts.consistent_index}, term {facts.term}"),
        ("format", f"etcd {version}" if version else NOT_IN_FILE),
        ("members", members),
        ("alarms", alarms),
        ("auth", auth),
    ]
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{look.style(name.ljust(width), 'dim')}  {look.text(printable(value))}" for name, value in lines)
