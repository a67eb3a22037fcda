"""Members as rows, and the cluster's state as words with a symbol: shared by all screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from etcdops.client.view import ClusterView, Health, MemberStatus, MemberView, Silence
from etcdops.diagnosis.finding import Severity
from etcdops.doctor.checks.cluster import LAG_WARNING, QUOTA_CRITICAL, QUOTA_WARNING
from etcdops.numbers import show_age, show_bytes_short, show_duration
from etcdops.tui.model.table import Column, bar
from etcdops.tui.model.text import Align, Line, Span, Tone, clip_middle, line, width

SEVERITY_MARKS: dict[Severity, Span] = {
    Severity.CRITICAL: Span("✖", Tone.FAIL),
    Severity.ERROR: Span("✖", Tone.FAIL),
    Severity.WARNING: Span("▲", Tone.WARN),
    Severity.INFO: Span("●", Tone.ACCENT),
}

HEALTH_MARKS: dict[Health, Span] = {
    Health.HEALTHY: Span("● HEALTHY", Tone.OK),
    Health.DEGRADED: Span("▲ DEGRADED", Tone.WARN),
    Health.UNKNOWN: Span("? UNKNOWN", Tone.UNKNOWN),
    Health.NO_LEADER: Span("✖ NO LEADER", Tone.FAIL),
    Health.QUORUM_LOST: Span("✖ QUORUM LOST", Tone.FAIL),
    Health.UNREACHABLE: Span("✖ UNREACHABLE", Tone.FAIL),
}

_SILENCE_MARKS: dict[Silence, Span] = {
    Silence.REFUSED: Span("✖ NO REPLY", Tone.FAIL),
    Silence.TIMED_OUT: Span("✖ NO REPLY", Tone.FAIL),
    Silence.UNREACHABLE: Span("✖ NO REPLY", Tone.FAIL),
    Silence.TLS: Span("✖ TLS", Tone.FAIL),
    Silence.NAME: Span("✖ NO NAME", Tone.FAIL),
    Silence.ACCESS_DENIED: Span("? DENIED", Tone.UNKNOWN),
    Silence.NOT_ETCD: Span("✖ NOT ETCD", Tone.FAIL),
    Silence.WRONG_CLUSTER: Span("✖ OTHER ID", Tone.FAIL),
    Silence.UNSTARTED: Span("○ UNSTARTED", Tone.WARN),
    Silence.NO_URL: Span("? NO URL", Tone.UNKNOWN),
    Silence.FAILED: Span("✖ FAILED", Tone.FAIL),
}


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member with what its row needs from the whole view."""

    member: MemberView
    lag: int | None
    alarms: tuple[str, ...]
    is_leader: bool
    votes: bool | None
    """None = nobody told us whether it is a voter."""
    age_s: float | None
    """Since its last answer; None = it never answered us."""

    @property
    def status(self) -> MemberStatus | None:
        """What it said last: now, or at `age_s` ago."""
        return self.member.status or self.member.last_status

    @property
    def role(self) -> str:
        if self.is_leader:
            return "★ leader"
        if self.votes is None:
            return "?"
        if not self.votes:
            return "learner"
        # Whom a silent voter follows, or one without a leader, nobody knows.
        return "follower" if self.member.status and self.member.status.leader else "voter"

    @property
    def mark(self) -> Span:
        """Symbol and word for its health."""
        member = self.member
        if not member.answered:
            return _SILENCE_MARKS.get(member.silence, Span("✖ NO REPLY", Tone.FAIL))
        if self.alarms:
            return Span("▲ ALARM", Tone.WARN)
        if member.status and not member.status.leader:
            return Span("✖ NO LEADER", Tone.FAIL)
        if member.status and member.status.errors:
            return Span("▲ ERRORS", Tone.WARN)
        if self.lag is not None and self.lag > LAG_WARNING:
            return Span("▲ LAGGING", Tone.WARN)
        return Span("● OK", Tone.OK)

    @property
    def troubled(self) -> bool:
        return self.mark.tone is not Tone.OK

    def text(self) -> str:
        """What a filter is matched against."""
        member = self.member
        version = self.status.version if self.status else ""
        urls = " ".join((*member.client_urls, *member.peer_urls))
        return f"{member.label} {self.role} {self.mark.text} {version} {urls} {' '.join(self.alarms)} {member.error}"


def member_rows(view: ClusterView, now_wall_s: float) -> list[MemberRow]:
    """Every known member in the view's order. `now_wall_s` gives silent ones their growing age."""

    def age(member: MemberView) -> float | None:
        if member.last_seen is None:
            return None
        return max(0.0, now_wall_s - member.last_seen)

    return [
        MemberRow(
            member,
            view.lag(member),
            view.alarms_of(member),
            member.answered and member.id is not None and member.id == view.leader,
            view.votes(member),
            age(member),
        )
        for member in view.members
    ]


def member_columns(rows: Sequence[MemberRow]) -> list[Column[MemberRow]]:
    """The members table. Wide terminals see all of it, narrow ones lose the columns of highest rank first."""
    longest = max((width(row.member.label) for row in rows), default=0)
    name_cells, name_cells_max = max(8, min(12, longest)), max(12, min(28, longest + 2))
    return [
        Column(
            "member", "MEMBER", name_cells, _name, stretch_max=name_cells_max, sort_key=lambda r: (0.0, r.member.label)
        ),
        Column("role", "ROLE", 8, _role, rank=2, sort_key=lambda r: (0.0 if r.is_leader else 1.0, r.role)),
        Column(
            "health", "HEALTH", 11, lambda r, _: (r.mark,), sort_key=lambda r: (0.0 if r.troubled else 1.0, r.mark.text)
        ),
        Column("rtt", "RTT", 6, _rtt, Align.RIGHT, rank=1, sort_key=lambda r: (r.member.rtt_s or 0.0, "")),
        Column("version", "VERSION", 7, _status(lambda s: s.version), rank=6, sort_key=_by_status(lambda s: s.version)),
        Column("db", "DB / QUOTA", 14, _db, rank=3, stretch_max=26, sort_key=_by_size),
        Column("in_use", "USE", 4, _in_use, Align.RIGHT, rank=5),
        Column("index", "RAFT IDX", 10, _status(lambda s: str(s.raft_index)), Align.RIGHT, rank=8),
        Column("lag", "LAG", 5, _lag, Align.RIGHT, rank=1, sort_key=lambda r: (float(r.lag or 0), "")),
        Column("term", "TERM", 5, _status(lambda s: str(s.raft_term)), Align.RIGHT, rank=7),
        Column("alarm", "ALARM", 7, _alarm, rank=4),
        Column(
            "seen",
            "SEEN",
            4,
            _seen,
            Align.RIGHT,
            rank=2,
            sort_key=lambda r: (r.age_s if r.age_s is not None else 1e18, ""),
        ),
    ]


def quota_tone(share: float) -> Tone:
    """How a share of the quota is to be read."""
    if share >= QUOTA_CRITICAL:
        return Tone.FAIL
    return Tone.WARN if share >= QUOTA_WARNING else Tone.FILLED


def size_of_quota(status: MemberStatus) -> str:
    """`6.7/8.0G`, `20K/2.0G`, or only the size when the member does not tell its quota."""
    size = show_bytes_short(status.db_size_bytes)
    if not status.db_quota_bytes:
        return size
    quota = show_bytes_short(status.db_quota_bytes)
    return f"{size[:-1] if size[-1] == quota[-1] else size}/{quota}"


def compact_count(count: int) -> str:
    """A count in at most 5 cells."""
    if count < 100_000:
        return str(count)
    for limit, size, unit in ((999_500, 1e3, "k"), (999_500_000, 1e6, "M"), (999_500_000_000, 1e9, "G")):
        if count < limit:
            return f"{count / size:.0f}{unit}"
    return "huge"


def _name(row: MemberRow, cells: int) -> Line:
    return line(Span(clip_middle(row.member.label, cells), Tone.STRONG))


def _role(row: MemberRow, _: int) -> Line:
    return (Span("★ ", Tone.ACCENT), Span("leader")) if row.is_leader else line(row.role)


def _status(value: Callable[[MemberStatus], str]) -> Callable[[MemberRow, int], Line]:
    return lambda row, cells: line(value(row.status) if row.status else Span("-", Tone.DIM))


def _by_status(value: Callable[[MemberStatus], str]) -> Callable[[MemberRow], tuple[float, str]]:
    return lambda row: (0.0, value(row.status) if row.status else "")


def _by_size(row: MemberRow) -> tuple[float, str]:
    return (float(row.status.db_size_bytes if row.status else 0), "")


def _rtt(row: MemberRow, _: int) -> Line:
    if row.member.rtt_s is None or not row.member.answered:
        return line(Span("-", Tone.DIM))
    return line(Span(show_duration(row.member.rtt_s), Tone.WARN if row.member.rtt_s >= 0.5 else Tone.PLAIN))


def _db(row: MemberRow, cells: int) -> Line:
    """Bar, size and quota where there is room, else size and percent."""
    status = row.status
    if status is None:
        return line(Span("-", Tone.DIM))
    size = size_of_quota(status)
    share = status.db_size_bytes / status.db_quota_bytes if status.db_quota_bytes else 0.0
    tone = quota_tone(share)
    bar_cells = cells - 10
    if bar_cells < 8:
        percent = f"{share:4.0%}" if status.db_quota_bytes else "   -"
        return (Span(f"{size:>9}"), Span(" " + percent, Tone.DIM if tone is Tone.FILLED else tone))
    filled, empty = bar(share, bar_cells)
    if not status.db_quota_bytes:
        filled, empty = "", " " * bar_cells
    return (Span(filled, tone), Span(empty, Tone.EMPTY), Span(f" {size:>9}"))


def _in_use(row: MemberRow, _: int) -> Line:
    status = row.status
    if status is None or not status.db_size_bytes:
        return line(Span("-", Tone.DIM))
    return line(f"{min(1.0, status.db_size_in_use_bytes / status.db_size_bytes):.0%}")


def _lag(row: MemberRow, _: int) -> Line:
    if row.lag is None:
        return line(Span("-", Tone.DIM))
    return line(Span(compact_count(row.lag), Tone.WARN if row.lag > LAG_WARNING else Tone.PLAIN))


def _alarm(row: MemberRow, cells: int) -> Line:
    if not row.alarms:
        return line(Span("-", Tone.DIM))
    text = row.alarms[0] if len(row.alarms) == 1 else f"{len(row.alarms)} alarms"
    return line(Span(text[:cells], Tone.FAIL))


def _seen(row: MemberRow, _: int) -> Line:
    if row.age_s is None:
        return line(Span("-", Tone.DIM))
    return line(Span(show_age(row.age_s), Tone.PLAIN if row.member.answered else Tone.FAIL))
