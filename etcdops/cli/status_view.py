"""How `etcdops status` reads: a view of the cluster in, text or JSON out. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from etcdops.cli.finding_view import finding_json, render_findings, wrap
from etcdops.cli.output import Cell, Column, Json, Look, cell_width, hex_id, printable, render_table
from etcdops.client.view import ClusterView, Health, MemberView, Silence
from etcdops.clock import rfc3339
from etcdops.doctor.checks.cluster import find
from etcdops.doctor.words import Said, in_words, say
from etcdops.errors import ExitCode
from etcdops.ids import NO_MEMBER
from etcdops.numbers import show_bytes, show_duration

SCHEMA = "etcdops.status/1"
WIDTH = 80
WIDE = 120
"""Of sentences where tables may be as wide as they like."""

HEALTH_KINDS = {Health.HEALTHY: "good", Health.DEGRADED: "warn", Health.UNKNOWN: "warn"}
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


def verdict_of(health: Health) -> Said:
    return say(f"verdict.{health.name.lower().replace('_', '-')}")


def arithmetic(view: ClusterView) -> Said:
    """How many answer, how many are needed, how many more may fail."""
    quorum, answering = view.quorum, len(view.answering)
    if not answering:
        return _nobody(view)
    if not view.members_known:
        return say("head.endpoints", endpoints=answering)
    counted = say("head.quorum", present=quorum.present, voters=quorum.voters)
    needed = quorum.needed
    if view.has_quorum and not quorum.holds:
        return say("head.hidden", quorum=counted, needed=needed)
    if view.has_quorum:
        key = "head.spare" if view.tolerates else "head.no-spare"
        return say(key, quorum=counted, needed=needed, more=view.tolerates)
    if quorum.holds:
        return say("head.stuck", quorum=counted, needed=needed)
    return say("head.lost", quorum=counted, needed=needed, missing=quorum.missing)


def _nobody(view: ClusterView) -> Said:
    what, asked = "closed" if view.health is Health.UNKNOWN else "no", len(view.members)
    return say(f"head.{what}-endpoint") if asked == 1 else say(f"head.{what}-endpoints", endpoints=asked)


def possible(view: ClusterView) -> Said | None:
    """What clients can still do now; None where nobody answers."""
    if not view.answering:
        return None
    members = tuple(member.label for member in view.answering)
    if view.has_quorum:
        alarms = {alarm.type for alarm in view.alarms}
        state = next((alarm.lower() for alarm in ("NOSPACE", "CORRUPT") if alarm in alarms), "all")
        return say(f"possible.{state}")
    return say("possible.unknown" if view.health is Health.UNKNOWN else "possible.no-quorum", members=members)


def summary_line(view: ClusterView, language: str = "en") -> str:
    """One line for logs and screen readers: time, verdict, numbers, and who is missing."""
    leader = view.leader_member
    facts = (
        say("head.leader", leader=leader.label if leader else say("none.found")),
        say("head.term", term=view.term),
        say("head.revision", revision=view.max_revision),
    )
    silent = (say("report.reason", what=member.label, why=member.error) for member in view.silent)
    line = say("head.line", verdict=verdict_of(view.health), parts=(arithmetic(view), facts, *silent))
    return printable(f"{rfc3339(view.taken_at)} {in_words(line, language)}")


def render(view: ClusterView, look: Look, *, wide: bool = False, width: int = WIDTH, language: str = "en") -> str:
    """The whole report. At most `width` columns unless `wide`."""
    table_width, text_width = (10_000, WIDE) if wide else (width, width)
    blocks = [
        render_head(view, look, width=width, language=language),
        render_members(view, look, width=table_width, language=language),
    ]
    findings = render_findings(find(view), look, text_width, language=language)
    if findings:
        blocks.append(findings)
    left = in_words(possible(view), language)
    if left:
        label = f"{in_words(say('label.possible'), language)}: "
        blocks.append(label + wrap(printable(left), width - cell_width(label), " " * cell_width(label)))
    return "\n\n".join(blocks) + "\n"


def render_head(
    view: ClusterView, look: Look, *, width: int = WIDTH, language: str = "en", verdict: str = "", kind: str = ""
) -> str:
    """The verdict, and which cluster it is about.

    Args: verdict, kind - another word than the view's own, and how it is coloured.
    """
    word = verdict or in_words(verdict_of(view.health), language)
    told = wrap(f"{word}  {in_words(arithmetic(view), language)}", width, "  ")
    lines = [look.style(word, kind or HEALTH_KINDS.get(view.health, "bad")) + told.removeprefix(word)]
    facts = []
    if view.cluster_id is not None:
        facts.append(say("head.cluster", id=hex_id(view.cluster_id) or ""))
    if view.answering:
        leader = view.leader_member
        facts.append(say("head.leader", leader=printable(leader.label) if leader else say("none.found")))
        facts += [say("head.term", term=view.term), say("head.revision", revision=view.max_revision)]
        facts.append(say("head.versions", versions=view.versions))
    if facts:
        lines.append(wrap("  ".join(in_words(fact, language) for fact in facts), width, ""))
    if view.hashes_revision is not None and len(view.members) > 1:  # a member alone agrees with nobody
        lines.append(wrap(printable(in_words(_hash_verdict(view), language)), width, ""))
    return "\n".join(lines)


def _hash_verdict(view: ClusterView) -> Said:
    agree = view.hashes_agree()
    verdict = "unknown" if agree is None else "agree" if agree else "differ"
    reasons = tuple(f"{member.label}: {member.hash_error}" for member in view.members if member.hash_error)
    missing = say("head.missing", reasons=reasons) if reasons else ""
    return say(f"head.hashes-{verdict}", revision=view.hashes_revision or 0, missing=missing)


def render_members(
    view: ClusterView, look: Look, *, width: int, always: Collection[str] = (), language: str = "en"
) -> str:
    """The members alone, as a table of at most `width` cells; `always` names columns that others make room for."""
    columns = [
        dataclasses.replace(
            column,
            optional=0 if column.title in always else column.optional,
            title=in_words(say(f"column.{column.title.lower().replace(' ', '-')}"), language),
        )
        for column in COLUMNS
    ]
    return render_table(columns, [_row(view, member, language) for member in view.members], look, width=width)


def _row(view: ClusterView, member: MemberView, language: str) -> list[Cell]:
    status = member.status
    lag = view.lag(member)
    alarms = view.alarms_of(member)
    return [
        Cell(member.label),
        Cell(hex_id(member.id) or "-", "dim"),
        Cell(in_words(_role(view, member), language), "head" if _leads(member) else ""),
        _health_cell(view, member, language),
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


def _role(view: ClusterView, member: MemberView) -> Said:
    if view.votes(member) is None:
        return say("role.unknown")
    if member.is_learner:
        return say("role.learner")
    if member.status is None:
        return say("role.voter")
    if _leads(member):
        return say("role.leader")
    return say("role.follower") if member.status.leader != NO_MEMBER else say("role.no-leader")


def _health_cell(view: ClusterView, member: MemberView, language: str) -> Cell:
    if member.status is None:
        mark, kind = ("?", "warn") if member.silence.alive else ("✖", "bad")
        if member.silence is Silence.UNSTARTED:
            mark, kind = "·", "dim"
        silence = say(f"silence.{member.silence.name.lower().replace('_', '-')}")
        return Cell(f"{mark} {in_words(silence, language)}", kind)
    if view.alarms_of(member) or member.status.errors:
        return Cell(f"▲ {in_words(say('health.trouble'), language)}", "warn")
    return Cell(f"● {in_words(say('health.ok'), language)}", "good")


def to_json(view: ClusterView, language: str = "en") -> dict[str, Json]:
    """The view as JSON. Members that do not answer are inside, with `error`."""
    quorum = view.quorum
    return {
        "health": view.health.value,
        "summary": in_words(arithmetic(view), language),
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
        "possible": in_words(possible(view), language) or None,
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
        "problems": [problem[language] for problem in view.problems],
        "findings": [finding_json(finding, language) for finding in find(view)],
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
