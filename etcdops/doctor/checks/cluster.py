"""What is wrong with a cluster, from one look at it through its API."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from etcdops.client.quorum import Quorum
from etcdops.client.remedies import remedy
from etcdops.client.view import ClusterView, Health, MemberView, Silence
from etcdops.doctor.finding import CLUSTER, Finding, worst_first
from etcdops.ids import NO_MEMBER, format_id
from etcdops.numbers import show_bytes, show_duration

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
    return worst_first(finding for check in VIEW_CHECKS for finding in check(view))


def margin(view: ClusterView) -> str:
    """What may still fail, in words: the sentence under every finding about a silent voter."""
    quorum = view.quorum
    if not view.members_known:
        return "how many may still fail is unknown: no member list could be read"
    if not view.has_quorum:
        return f"quorum is lost: {quorum}, {_needed(quorum)}"
    more = "no further member may fail" if view.tolerates == 0 else f"{view.tolerates} more may fail"
    return f"quorum holds ({quorum.present}/{quorum.voters}), {more}"


def _needed(quorum: Quorum) -> str:
    return f"{quorum.needed} {'is' if quorum.needed == 1 else 'are'} needed"


def unsafe_reason(view: ClusterView) -> str:
    """Why work that stops a member for a while must wait; "" when every voter is there to cover for it."""
    if not view.has_quorum:
        return "the cluster has no quorum; bring it back first"
    silent = [voter.label for voter in view.voters if not voter.answered]
    if silent:
        return f"{', '.join(silent)} does not answer; stopping one more member could lose the quorum"
    return ""


def _nobody_answers(view: ClusterView) -> Iterator[Finding]:
    if view.answering or any(member.silence.alive for member in view.members):
        return
    reasons = sorted({member.error or member.silence.value for member in view.members} - {""})
    yield Finding("E101", CLUSTER, "no member answers", _how_to_reach(view.members), detail="; ".join(reasons))


def _how_to_reach(members: Iterable[MemberView]) -> str:
    """What to try first, one step for each kind of reason."""
    places: dict[str, list[str]] = {}
    for member in members:
        step = remedy(member.error) or _TO_REACH.get(
            member.silence, "check the host of {at}, and that it is a client URL"
        )
        places.setdefault(step, []).append(member.endpoint.partition("://")[2] or member.endpoint)
    if len(places) > 1:
        return "; ".join(_at(step, ", ".join(at)) for step, at in places.items())
    return "; ".join(step.format(at=", ".join(at)) for step, at in places.items())


def _at(step: str, places: str) -> str:
    return step.format(at=places) if "{at}" in step else f"{places}: {step}"


_TO_REACH = {
    Silence.REFUSED: "start the members at {at}, or give their client URLs with --endpoints",
    Silence.TIMED_OUT: "check host, network and firewall of {at}: ping them, look at the members' logs there",
    Silence.TLS: "check --cacert, --cert, --key and the scheme (http, https) for {at}",
    Silence.NAME: "correct the host name in --endpoints, or DNS: {at}",
    Silence.NOT_ETCD: "give client URLs with --endpoints (usually port 2379): at {at} another program answers",
    Silence.UNREACHABLE: "check host and network of {at}",
}
"""What to try first, by the reason of the silence."""


def _quorum_lost(view: ClusterView) -> Iterator[Finding]:
    if view.health is not Health.QUORUM_LOST:
        return
    quorum = view.quorum
    yield Finding(
        "E102",
        CLUSTER,
        f"quorum lost: {quorum}, {_needed(quorum)}",
        f"start {quorum.missing} of {_names(m for m in view.voters if not m.answered)},"
        " or: etcdops recover --from-snapshot FILE",
        detail="Writes and linearizable reads fail. Members that answer still serve serializable reads and snapshots: "
        "save one now (etcdops snapshot save FILE).",
    )


def _no_leader(view: ClusterView) -> Iterator[Finding]:
    if not view.answering or view.health is Health.QUORUM_LOST:
        return
    if view.leader == NO_MEMBER:
        yield Finding(
            "E103",
            CLUSTER,
            f"no leader in term {view.term}, though {view.quorum}",
            "check the network between the members (peer ports) and their clocks and disks",
            detail="An election normally ends within a few seconds. While there is no leader, nothing can be written.",
        )
    elif view.serves_linearizable is False:
        yield Finding(
            "E103",
            CLUSTER,
            "the members name a leader, but a read through the quorum failed",
            "look at the leader's log and the members' peer connections",
            detail="Serializable reads may still work; writes will most likely time out.",
        )


def _several_leaders(view: ClusterView) -> Iterator[Finding]:
    if len(view.leaders) < 2:
        return
    names = ", ".join(f"{m.label} (term {m.status.raft_term})" for m in view.leaders if m.status)
    yield Finding(
        "E104",
        CLUSTER,
        f"several members call themselves leader: {names}",
        "cut the one with the lower term off from clients and look at its network",
        detail="For a moment this is normal while a new leader takes over. If it stays, the members are divided or "
        "belong to two clusters with the same name, and both may accept writes.",
    )


def _contradictions(view: ClusterView) -> Iterator[Finding]:
    for problem in view.problems:
        if len(view.leaders) > 1 and "leader" in problem:
            continue  # E104 says it better
        yield Finding(
            "E105",
            CLUSTER,
            problem,
            "compare `member list` on each member; check that all endpoints are of one cluster",
        )


def _alarms(view: ClusterView) -> Iterator[Finding]:
    unsafe = unsafe_reason(view)
    for alarm in view.alarms:
        member = view.member(alarm.member)
        name = member.label if member else format_id(alarm.member)
        if alarm.type == "NOSPACE":
            yield Finding(
                "E107",
                name,
                f"{name} raised NOSPACE: the whole cluster refuses writes",
                "compact, defragment member by member, then etcdctl alarm disarm",
                detail="The alarm stays until it is disarmed, even when space was freed. Deleting keys still works.",
                blocked=unsafe,
            )
        elif alarm.type == "CORRUPT":
            yield Finding(
                "E106",
                name,
                f"{name} raised CORRUPT: its data differs from the others'",
                f"save a snapshot of a good member, then remove and re-add {name} with an empty data directory",
                detail="Compare hashes before trusting any member: etcdctl endpoint hashkv --cluster.",
                blocked=unsafe,
            )
        else:
            yield Finding("E107", name, f"{name} raised the alarm {alarm.type}", "etcdctl alarm list")


def _hashes(view: ClusterView) -> Iterator[Finding]:
    if view.hashes_agree() is False:
        yield Finding(
            "E106",
            CLUSTER,
            f"the members' hashes differ at revision {view.hashes_revision}",
            "find the member that differs from the majority and replace its data",
            detail="; ".join(f"{m.label}: {m.hash.hash}" for m in view.members if m.hash),
            blocked=unsafe_reason(view),
        )


def _member_list_unknown(view: ClusterView) -> Iterator[Finding]:
    if view.answering and not view.members_known:
        yield Finding(
            "E108",
            CLUSTER,
            "no member list could be read: members that nobody named are not shown here",
            "give all endpoints (--endpoints), or credentials that may read the member list",
        )


def _silent_members(view: ClusterView) -> Iterator[Finding]:
    for member in view.silent:
        if member.silence is Silence.UNSTARTED or not member.started:
            yield Finding(
                "W203",
                member.label,
                f"{member.label} was added but never started; it counts as a voter"
                if not member.is_learner
                else f"learner {member.label} was added but never started",
                f"start it with --initial-cluster-state existing, or etcdctl member remove {_id(member)}",
                detail=f"Peer URLs: {', '.join(member.peer_urls)}. {margin(view).capitalize()}.",
            )
        elif member.silence.alive:
            yield Finding(
                "E202",
                member.label,
                f"{member.label} runs but does not let us in: {member.error or member.silence.value}",
                remedy(member.error) or "give credentials that may read status (--user), or the right certificates",
            )
        elif view.answering:
            yield _silent(view, member)


def _silent(view: ClusterView, member: MemberView) -> Finding:
    since = f" for {show_duration(view.taken_at - member.last_seen)}" if member.last_seen is not None else ""
    address = member.endpoint.partition("://")[2] or member.endpoint
    look = f"check its host and process at {address}" if address else "check its host and process"
    detail = f"Reason: {member.error or member.silence.value}. {margin(view).capitalize()}."
    if not view.has_quorum:
        detail += " It cannot be replaced without a quorum."
    return Finding(
        "W202" if member.is_learner else "E201",
        member.label,
        f"learner {member.label} has not answered{since}"
        if member.is_learner
        else f"{member.label} has not answered{since}; {_short_margin(view)}",
        f"{look}; if lost, replace it" if view.has_quorum else look,
        detail=detail,
    )


def _short_margin(view: ClusterView) -> str:
    if not view.members_known:
        return "how many more may fail is unknown"
    if not view.has_quorum:
        return "quorum is lost"
    return "no further member may fail" if view.tolerates == 0 else f"{view.tolerates} more may fail"


def _member_errors(view: ClusterView) -> Iterator[Finding]:
    raised = {alarm.type for alarm in view.alarms}
    for member in view.answering:
        errors = [e for e in (member.status.errors if member.status else ()) if not any(r in e for r in raised)]
        errors = [e for e in errors if not ("no leader" in e and view.leader == NO_MEMBER)]
        if errors:
            yield Finding(
                "E203", member.label, f"{member.label} reports: {'; '.join(errors)}", f"read the log of {member.label}"
            )


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
        yield Finding(
            "E117" if share >= QUOTA_CRITICAL else "W115",
            member.label,
            f"{member.label} is at {share:.0%} of its quota"
            f" ({show_bytes(status.db_size_bytes)} of {show_bytes(status.db_quota_bytes)})",
            f"etcdctl defrag --endpoints {member.endpoint} would free about {show_bytes(free)}"
            if free > status.db_size_bytes * 0.1
            else "compact old revisions, delete what is not needed, or raise --quota-backend-bytes",
            detail="At 100 % the member raises NOSPACE and the whole cluster refuses writes.",
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
            yield Finding(
                "I116",
                member.label,
                f"{show_bytes(free)} of {member.label}'s {show_bytes(status.db_size_bytes)} database are free pages",
                f"etcdctl defrag --endpoints {member.endpoint} gives them back (the member pauses meanwhile)",
                blocked=unsafe,
            )


def _lag(view: ClusterView) -> Iterator[Finding]:
    for member in view.answering:
        lag = view.lag(member)
        if lag is not None and lag > LAG_WARNING:
            yield Finding(
                "W301",
                member.label,
                f"{member.label} is {lag:,} log entries behind".replace(",", " "),
                "look at its disk (fsync p99) and network; it may be catching up",
                detail=f"Followers more than {LAG_WARNING} entries behind may need a whole snapshot to catch up.",
            )


def _versions(view: ClusterView) -> Iterator[Finding]:
    if len(view.versions) > 1:
        holders = "; ".join(
            f"{version}: {_names(m for m in view.answering if m.status and m.status.version == version)}"
            for version in view.versions
        )
        yield Finding(
            "W303",
            CLUSTER,
            f"members run different versions: {', '.join(view.versions)}",
            "finish the upgrade: one member at a time, the leader last",
            detail=holders,
            blocked=unsafe_reason(view),
        )


def _learners(view: ClusterView) -> Iterator[Finding]:
    for member in view.learners:
        lag = view.lag(member)
        if member.answered:
            ready = lag is not None and lag <= LAG_WARNING
            yield Finding(
                "W204",
                member.label,
                f"learner {member.label} is not promoted: it has no vote and serves no linearizable reads",
                f"etcdctl member promote {_id(member)}",
                blocked="" if ready else f"it is still {lag} log entries behind",
            )


def _shape(view: ClusterView) -> Iterator[Finding]:
    if not view.members_known:
        return
    voters = len(view.voters)
    if voters and voters % 2 == 0:
        yield Finding(
            "W205",
            CLUSTER,
            f"{voters} voters tolerate no more failures than {voters - 1} would",
            "add one voter or remove one",
            detail="With an even number the quorum is larger while the tolerance is not: one more that can fail.",
            blocked=unsafe_reason(view),
        )
    elif voters == 1:
        yield Finding(
            "I206",
            CLUSTER,
            "a single voter: no failure is tolerated",
            "save snapshots often, or add two members",
        )


def _slow_answers(view: ClusterView) -> Iterator[Finding]:
    for member in view.answering:
        if member.rtt_s is not None and member.rtt_s >= RTT_WARNING_S:
            yield Finding(
                "W304",
                member.label,
                f"{member.label} took {show_duration(member.rtt_s)} to answer a status request",
                "look at its load, its disk and the network between here and there",
            )


def _id(member: MemberView) -> str:
    return format_id(member.id) if member.id else "ID"


def _names(members: Iterator[MemberView]) -> str:
    return ", ".join(member.label for member in members)


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
