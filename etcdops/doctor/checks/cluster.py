"""What is wrong with a cluster, from one look at it through its API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from etcdops.client.remedies import find_remedy
from etcdops.client.view import ClusterView, Health, MemberView, Silence
from etcdops.doctor.finding import CLUSTER, Finding, finding, worst_first
from etcdops.doctor.words import Said, say
from etcdops.ids import NO_MEMBER, format_id
from etcdops.wording import Texts

QUOTA_WARNING = 0.80
QUOTA_CRITICAL = 0.95
LAG_WARNING = 5_000
"""Entries a leader keeps for slow followers after a snapshot; further back a member needs a whole snapshot.

Source: etcd server/etcdserver/server.go, DefaultSnapshotCatchUpEntries.
"""
RTT_WARNING_S = 1.0
"""etcd's own default election timeout: answers this slow put the leadership at risk."""
FREE_SPACE_NOTE_BYTES = 256 * 1024 * 1024
FREE_SPACE_NOTE_SHARE = 0.5


def find(view: ClusterView) -> tuple[Finding, ...]:
    """Everything worth saying about one look at a cluster, worst first."""
    return worst_first(found for check in VIEW_CHECKS for found in check(view))


def margin(view: ClusterView) -> Said:
    """What may still fail: the sentence under every finding about a silent voter."""
    quorum = view.quorum
    if not view.members_known:
        return say("margin.unknown")
    if not view.has_quorum:
        return say("margin.lost", present=quorum.present, voters=quorum.voters, needed=quorum.needed)
    if not quorum.holds:
        return say("margin.unseen", present=quorum.present, voters=quorum.voters)
    return say("margin.holds", present=quorum.present, voters=quorum.voters, spare=_spare(view))


def _spare(view: ClusterView) -> Said:
    if not view.quorum.holds:
        return say("margin.untold")
    return say("margin.some", more=view.tolerates) if view.tolerates else say("margin.none")


def unsafe_reason(view: ClusterView) -> Said | None:
    """Why work that stops a member for a while must wait; None when every voter is there to cover for it."""
    if not view.has_quorum:
        return say("wait.quorum")
    silent = tuple(voter.label for voter in view.voters if not voter.answered)
    return say("wait.silent", members=silent) if silent else None


def _nobody_answers(view: ClusterView) -> Iterator[Finding]:
    if view.answering or any(member.silence.alive for member in view.members):
        return
    reasons = sorted({member.error or member.silence.value for member in view.members} - {""})
    yield finding("E101", CLUSTER, steps=_how_to_reach(view.members), reasons=tuple(reasons))


def _how_to_reach(members: Iterable[MemberView]) -> tuple[Said | Texts, ...]:
    """What to try first, one step for each kind of reason."""
    places: dict[Texts | str, list[str]] = {}
    for member in members:
        key = find_remedy(member.error) or _TO_REACH.get(member.silence, "reach.other")
        places.setdefault(key, []).append(member.endpoint.partition("://")[2] or member.endpoint)
    return tuple(_reach(key, tuple(at), alone=len(places) == 1) for key, at in places.items())


def _reach(key: Texts | str, at: tuple[str, ...], *, alone: bool) -> Said | Texts:
    if isinstance(key, str):
        return say(key, at=at)
    return key if alone else say("reach.there", at=at, step=key)


_TO_REACH = {
    Silence.REFUSED: "reach.refused",
    Silence.TIMED_OUT: "reach.timed-out",
    Silence.TLS: "reach.tls",
    Silence.NAME: "reach.name",
    Silence.NOT_ETCD: "reach.not-etcd",
    Silence.UNREACHABLE: "reach.unreachable",
}
"""What to try first, by the reason of the silence."""


def _quorum_lost(view: ClusterView) -> Iterator[Finding]:
    if view.health is not Health.QUORUM_LOST:
        return
    quorum = view.quorum
    yield finding(
        "E102",
        CLUSTER,
        present=quorum.present,
        voters=quorum.voters,
        needed=quorum.needed,
        missing=quorum.missing,
        members=_names(m for m in view.voters if not m.answered),
    )


def _no_leader(view: ClusterView) -> Iterator[Finding]:
    if not view.answering or view.health is Health.QUORUM_LOST:
        return
    if view.leader == NO_MEMBER:
        quorum = view.quorum
        yield finding("E103", CLUSTER, term=view.term, present=quorum.present, voters=quorum.voters)
    elif view.serves_linearizable is False:
        yield finding("E103", CLUSTER, "read")


def _several_leaders(view: ClusterView) -> Iterator[Finding]:
    if len(view.leaders) < 2:
        return
    leaders = tuple(say("member.term", member=m.label, term=m.status.raft_term) for m in view.leaders if m.status)
    yield finding("E104", CLUSTER, leaders=leaders)


def _contradictions(view: ClusterView) -> Iterator[Finding]:
    for problem in view.problems:
        if len(view.leaders) > 1 and "leader" in problem.en:
            continue  # E104 says it better
        yield finding("E105", CLUSTER, problem=problem)


def _alarms(view: ClusterView) -> Iterator[Finding]:
    unsafe = unsafe_reason(view)
    for alarm in view.alarms:
        member = view.member(alarm.member)
        name = member.label if member else format_id(alarm.member)
        if alarm.type == "NOSPACE":
            yield finding("E107", name, blocked=unsafe)
        elif alarm.type == "CORRUPT":
            yield finding("E106", name, blocked=unsafe)
        else:
            yield finding("E107", name, "other", alarm=alarm.type)


def _hashes(view: ClusterView) -> Iterator[Finding]:
    if view.hashes_agree() is False:
        hashes = tuple(f"{m.label}: {m.hash.hash}" for m in view.members if m.hash)
        revision = view.hashes_revision or 0
        yield finding("E106", CLUSTER, "hashes", revision=revision, hashes=hashes, blocked=unsafe_reason(view))


def _member_list_unknown(view: ClusterView) -> Iterator[Finding]:
    if view.answering and not view.members_known:
        yield finding("E108", CLUSTER)


def _silent_members(view: ClusterView) -> Iterator[Finding]:
    for member in view.silent:
        if member.silence is Silence.UNSTARTED or not member.started:
            case = "learner" if member.is_learner else ""
            yield finding(
                "W203", member.label, case, id=_id(member), peer_urls=member.peer_urls, margin_in_full=margin(view)
            )
        elif member.silence.alive:
            reason = member.error or member.silence.value
            yield finding("E202", member.label, reason=reason, step=find_remedy(reason) or say("reach.credentials"))
        elif view.answering:
            yield _silent(view, member)


def _silent(view: ClusterView, member: MemberView) -> Finding:
    address = member.endpoint.partition("://")[2] or member.endpoint
    look = say("look.at", address=address) if address else say("look.there")
    return finding(
        "W202" if member.is_learner else "E201",
        member.label,
        since=say("span.silent", time_s=view.taken_at - member.last_seen) if member.last_seen is not None else "",
        margin=_short_margin(view),
        reason=member.error or member.silence.value,
        margin_in_full=margin(view),
        steps=(look, say("look.replace")) if view.has_quorum else (look,),
        not_now="" if view.has_quorum else say("margin.no-replacement"),
    )


def _short_margin(view: ClusterView) -> Said:
    if not view.members_known:
        return say("margin.unknown")
    return _spare(view) if view.has_quorum else say("margin.quorum-lost")


def _member_errors(view: ClusterView) -> Iterator[Finding]:
    raised = {alarm.type for alarm in view.alarms}
    for member in view.answering:
        errors = [e for e in (member.status.errors if member.status else ()) if not any(r in e for r in raised)]
        errors = [e for e in errors if not ("no leader" in e and view.leader == NO_MEMBER)]
        if errors:
            yield finding("E203", member.label, errors=tuple(errors))


def _quota(view: ClusterView) -> Iterator[Finding]:
    unsafe = unsafe_reason(view)
    for member in view.answering:
        status = member.status
        if status is None or status.db_quota_bytes <= 0:
            continue
        share = status.db_size_bytes / status.db_quota_bytes
        if share < QUOTA_WARNING:
            continue
        free = status.db_size_bytes - status.db_size_in_use_bytes
        yield finding(
            "E117" if share >= QUOTA_CRITICAL else "W115",
            member.label,
            "free" if free > status.db_size_bytes * 0.1 else "",
            share=share,
            size_bytes=status.db_size_bytes,
            quota_bytes=status.db_quota_bytes,
            free_bytes=free,
            endpoint=member.endpoint,
            blocked=unsafe,
        )


def _free_space(view: ClusterView) -> Iterator[Finding]:
    unsafe = unsafe_reason(view)
    for member in view.answering:
        status = member.status
        if status is None:
            continue
        free = status.db_size_bytes - status.db_size_in_use_bytes
        if free >= FREE_SPACE_NOTE_BYTES and free >= status.db_size_bytes * FREE_SPACE_NOTE_SHARE:
            size, at = status.db_size_bytes, member.endpoint
            yield finding("I116", member.label, free_bytes=free, size_bytes=size, endpoint=at, blocked=unsafe)


def _lag(view: ClusterView) -> Iterator[Finding]:
    for member in view.answering:
        lag = view.lag(member)
        if lag is not None and lag > LAG_WARNING:
            yield finding("W301", member.label, behind=lag, limit=LAG_WARNING)


def _versions(view: ClusterView) -> Iterator[Finding]:
    if len(view.versions) > 1:
        holders = tuple(
            say(
                "member.listed",
                what=version,
                members=_names(m for m in view.answering if m.status and m.status.version == version),
            )
            for version in view.versions
        )
        yield finding("W303", CLUSTER, versions=view.versions, holders=holders, blocked=unsafe_reason(view))


def _learners(view: ClusterView) -> Iterator[Finding]:
    for member in view.learners:
        lag = view.lag(member)
        if member.answered:
            ready = lag is not None and lag <= LAG_WARNING
            yield finding(
                "W204", member.label, id=_id(member), blocked=None if ready else say("wait.behind", behind=lag or 0)
            )


def _shape(view: ClusterView) -> Iterator[Finding]:
    if not view.members_known:
        return
    voters = len(view.voters)
    if voters and voters % 2 == 0:
        yield finding("W205", CLUSTER, voters=voters, fewer=voters - 1, blocked=unsafe_reason(view))
    elif voters == 1:
        yield finding("I206", CLUSTER)


def _slow_answers(view: ClusterView) -> Iterator[Finding]:
    for member in view.answering:
        if member.rtt_s is not None and member.rtt_s >= RTT_WARNING_S:
            yield finding("W304", member.label, took_s=member.rtt_s)


def _id(member: MemberView) -> str:
    return format_id(member.id) if member.id else "ID"


def _names(members: Iterable[MemberView]) -> tuple[str, ...]:
    return tuple(member.label for member in members)


VIEW_CHECKS: tuple[Callable[[ClusterView], Iterator[Finding]], ...] = (
    _nobody_answers,
    _quorum_lost,
    _no_leader,
    _several_leaders,
    _contradictions,
    _alarms,
    _hashes,
    _member_list_unknown,
    _silent_members,
    _member_errors,
    _quota,
    _free_space,
    _lag,
    _versions,
    _learners,
    _shape,
    _slow_answers,
)
