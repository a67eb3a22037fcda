"""How `etcdops status` reads: a view of the cluster in, text or JSON out. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from etcdops.cli.finding_view import finding_json, render_findings, wrap
from etcdops.cli.output import Cell, Column, Json, Look, hex_id, printable, render_table
from etcdops.client.view import ClusterView, Health, MemberView, Silence
from etcdops.clock import rfc3339
from etcdops.doctor.checks.cluster import find
from etcdops.errors import ExitCode
from etcdops.ids import NO_MEMBER
from etcdops.numbers import show_bytes, show_duration
from etcdops.wording import counted

SCHEMA = "etcdops.status/1"
WIDTH = 80
WIDE = 120
"""Of sentences where tables may be as wide as they like."""

_KINDS = {Health.HEALTHY: "good", Health.DEGRADED: "warn", Health.UNKNOWN: "warn"}
COLUMNS = (
    Column("MEMBER"),
    Column("ID", optional=9),
    Column("ROLE"),
    Column("HEALTH"),
    Column("TERM", right=True, optional=4),
    Column("INDEX", right=True, optional=1),
    Column("APPLIED", right=True, optional=7),
    Column("LAG", right=True),
    Column("DB", right=True),
    Column("IN USE", right=True, optional=6),
    Column("QUOTA", right=True, optional=3),
    Column("VERSION", optional=2),
    Column("ALARM", optional=1),
    Column("HASH", optional=1),
    Column("RTT", right=True, optional=5),
    Column("ERROR", optional=8),
)


def exit_code(view: ClusterView) -> ExitCode:
    """0 healthy, 3 nobody reachable, 4 nobody lets us in, 5 everything between."""
    if view.health is Health.HEALTHY:
        return ExitCode.OK
    if view.answering:
        return ExitCode.UNHEALTHY
    if any(member.silence is Silence.ACCESS_DENIED for member in view.members):
        return ExitCode.ACCESS_DENIED
    return ExitCode.UNREACHABLE


def headline(view: ClusterView) -> str:
    """The verdict and the arithmetic behind it, one line without symbols."""
    quorum = view.quorum
    if not view.answering:
        return f"{view.health}  {_nobody(view)}"
    if not view.members_known:
        verb = "answers" if len(view.answering) == 1 else "answer"
        return f"{view.health}  {counted(len(view.answering), 'endpoint')} {verb}; the member list is not known"
    if view.has_quorum and not quorum.holds:
        return f"{view.health}  the quorum works, but only {quorum} here ({quorum.needed} needed)"
    if view.has_quorum:
        spare = f"{view.tolerates} more" if view.tolerates else "none"
        return f"{view.health}  {quorum}, {quorum.needed} needed: {spare} may fail"
    if quorum.holds:
        return f"{view.health}  {quorum}, {quorum.needed} needed, but the cluster does not work"
    return f"{view.health}  {quorum}, {quorum.needed} needed: {quorum.missing} must come back"


def _nobody(view: ClusterView) -> str:
    asked = len(view.members)
    if view.health is Health.UNKNOWN:
        return "the only endpoint does not let us in" if asked == 1 else f"none of {asked} endpoints lets us in"
    return "the only endpoint does not answer" if asked == 1 else f"none of {asked} endpoints answers"


def possible(view: ClusterView) -> str:
    """What clients can still do now, in plain words."""
    if not view.answering:
        return ""
    names = ", ".join(member.label for member in view.answering)
    if view.has_quorum:
        if any(alarm.type == "NOSPACE" for alarm in view.alarms):
            return "reads and deletes work; puts are refused until the NOSPACE alarm is disarmed"
        if any(alarm.type == "CORRUPT" for alarm in view.alarms):
            return "reads work; the CORRUPT alarm stops everything else"
        return "reads and writes work"
    if view.health is Health.UNKNOWN:
        return f"not known; {names} answers what it may without a quorum"
    return (
        f"serializable reads and snapshots from {names}; "
        "no writes, no linearizable reads, no membership changes, no logins"
    )


def summary_line(view: ClusterView) -> str:
    """One line for logs and screen readers: time, verdict, numbers, and who is missing."""
    leader = view.leader_member
    silent = "; ".join(f"{member.label}: {member.error}" for member in view.silent)
    facts = f"leader {leader.label if leader else 'none'}, term {view.term}, revision {view.max_revision}"
    line = f"{rfc3339(view.taken_at)} {headline(view).replace('  ', ': ')}; {facts}"
    return printable(f"{line}; {silent}" if silent else line)


def render(view: ClusterView, look: Look, *, wide: bool = False, width: int = WIDTH) -> str:
    """The whole report. At most `width` columns unless `wide`."""
    table_width, text_width = (10_000, WIDE) if wide else (width, width)
    blocks = [render_head(view, look, width=width), render_members(view, look, width=table_width)]
    findings = render_findings(find(view), look, text_width)
    if findings:
        blocks.append(findings)
    if possible(view):
        label = "possible now: "
        blocks.append(label + wrap(possible(view), width - len(label), " " * len(label)))
    return "\n\n".join(blocks) + "\n"


def render_head(view: ClusterView, look: Look, *, width: int = WIDTH) -> str:
    """The verdict, and which cluster it is about."""
    verdict, _, rest = headline(view).partition("  ")
    facts = []
    if view.cluster_id is not None:
        facts.append(f"cluster {hex_id(view.cluster_id)}")
    if view.answering:
        leader = view.leader_member
        facts.append(f"leader {printable(leader.label) if leader else 'none'}")
        facts += [f"term {view.term}", f"revision {view.max_revision}", f"etcd {', '.join(view.versions)}"]
    lines = [f"{look.style(verdict, _KINDS.get(view.health, 'bad'))}  {rest}"]
    if facts:
        lines.append(wrap("  ".join(facts), width, ""))
    if view.hashes_revision is not None:
        lines.append(_hash_verdict(view))
    return "\n".join(lines)


def _hash_verdict(view: ClusterView) -> str:
    agree = view.hashes_agree()
    verdict = "cannot be compared" if agree is None else "agree" if agree else "DIFFER"
    missing = [f"{member.label}: {member.hash_error}" for member in view.members if member.hash_error]
    said = f"hashes at revision {view.hashes_revision} {verdict}"
    return wrap(printable(f"{said} ({'; '.join(missing)})" if missing else said), WIDTH, "")


def render_members(view: ClusterView, look: Look, *, width: int, always: Collection[str] = ()) -> str:
    """The members alone, as a table of at most `width` cells; `always` names columns that others make room for."""
    columns = [dataclasses.replace(column, optional=0) if column.title in always else column for column in COLUMNS]
    return render_table(columns, [_row(view, member) for member in view.members], look, width=width)


def _row(view: ClusterView, member: MemberView) -> list[Cell]:
    status = member.status
    lag = view.lag(member)
    alarms = view.alarms_of(member)
    return [
        Cell(member.label),
        Cell(hex_id(member.id) or "-", "dim"),
        Cell(_role(view, member), "head" if _leads(member) else ""),
        _health_cell(view, member),
        Cell(str(status.raft_term) if status else "-"),
        Cell(str(status.raft_index) if status else "-"),
        Cell(str(status.raft_applied_index) if status else "-"),
        Cell("-" if lag is None else str(lag)),
        Cell(show_bytes(status.db_size_bytes) if status else "-"),
        Cell(show_bytes(status.db_size_in_use_bytes) if status else "-"),
        Cell(show_bytes(status.db_quota_bytes) if status and status.db_quota_bytes else "-"),
        Cell(status.version if status else "-"),
        Cell(",".join(alarms) or "-", "bad" if alarms else ""),
        Cell(format(member.hash.hash, "08x") if member.hash else "-"),
        Cell(show_duration(member.rtt_s) if member.rtt_s is not None else "-"),
        Cell(member.error or "-"),
    ]


def _leads(member: MemberView) -> bool:
    return member.status is not None and member.status.leader == member.id and member.id is not None


def _role(view: ClusterView, member: MemberView) -> str:
    if view.votes(member) is None:
        return "?"
    if member.is_learner:
        return "learner"
    if member.status is None:
        return "voter"
    if _leads(member):
        return "★ leader"
    return "follower" if member.status.leader != NO_MEMBER else "no leader"


def _health_cell(view: ClusterView, member: MemberView) -> Cell:
    if member.status is None:
        mark, kind = ("?", "warn") if member.silence.alive else ("✖", "bad")
        if member.silence is Silence.UNSTARTED:
            mark, kind = "·", "dim"
        return Cell(f"{mark} {member.silence.value or 'no answer'}", kind)
    if view.alarms_of(member) or member.status.errors:
        return Cell("▲ trouble", "warn")
    return Cell("● OK", "good")


def to_json(view: ClusterView) -> dict[str, Json]:
    """The view as JSON. Members that do not answer are inside, with `error`."""
    quorum = view.quorum
    return {
        "health": view.health.value,
        "summary": headline(view).partition("  ")[2],
        "cluster_id": hex_id(view.cluster_id),
        "leader": hex_id(view.leader) if view.leader != NO_MEMBER else None,
        "raft_term": view.term,
        "revision": view.max_revision,
        "quorum": {
            "works": view.has_quorum,
            "voters": quorum.voters,
            "needed": quorum.needed,
            "present": quorum.present,
            "tolerates": view.tolerates,
            "proved_by_read": view.serves_linearizable,
        },
        "possible": possible(view) or None,
        "members_known": view.members_known,
        "members": [_member_json(view, member) for member in view.members],
        "alarms": [{"member": hex_id(alarm.member), "type": alarm.type} for alarm in view.alarms],
        "endpoints": [
            {
                "endpoint": endpoint.endpoint,
                "given": endpoint.given,
                "member": hex_id(endpoint.member_id),
                "cluster_id": hex_id(endpoint.cluster_id),
                "error": endpoint.error or None,
            }
            for endpoint in view.endpoints
        ],
        "problems": list(view.problems),
        "findings": [finding_json(finding) for finding in find(view)],
        "hashes": {"revision": view.hashes_revision, "agree": view.hashes_agree()}
        if view.hashes_revision is not None
        else None,
        "taken_at": rfc3339(view.taken_at),
        "took_seconds": round(view.took_s, 6),
    }


def _member_json(view: ClusterView, member: MemberView) -> Json:
    status, votes = member.status, view.votes(member)
    return {
        "id": hex_id(member.id),
        "name": member.name,
        "role": "leader" if _leads(member) else {True: "voter", False: "learner", None: None}[votes],
        "is_learner": None if votes is None else not votes,
        "started": member.started,
        "endpoint": member.endpoint or None,
        "peer_urls": list(member.peer_urls),
        "client_urls": list(member.client_urls),
        "answered": member.answered,
        "error": member.error or None,
        "silence": member.silence.value or None,
        "last_seen": rfc3339(member.last_seen),
        "rtt_seconds": None if member.rtt_s is None else round(member.rtt_s, 6),
        "lag": view.lag(member),
        "alarms": list(view.alarms_of(member)),
        "hash": None
        if member.hash is None
        else {
            "hash": member.hash.hash,
            "compact_revision": member.hash.compact_revision,
            "revision": member.hash.hash_revision,
        },
        "hash_error": member.hash_error or None,
        "status": None
        if status is None
        else {
            "version": status.version,
            "leader": hex_id(status.leader) if status.leader != NO_MEMBER else None,
            "raft_term": status.raft_term,
            "raft_index": status.raft_index,
            "raft_applied_index": status.raft_applied_index,
            "revision": status.revision,
            "db_size_bytes": status.db_size_bytes,
            "db_size_in_use_bytes": status.db_size_in_use_bytes,
            "db_quota_bytes": status.db_quota_bytes or None,
            "errors": list(status.errors),
        },
    }
