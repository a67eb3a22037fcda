"""What changed between two looks at a cluster: the events pane, newest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from etcdops.client.view import ClusterView, Health, MemberView
from etcdops.diagnosis.finding import Severity
from etcdops.ids import NO_MEMBER, format_id
from etcdops.numbers import show_bytes

EVENTS_MAX = 500
"""Events kept in memory; the oldest go."""

DB_SHRINK_SHARE = 0.2
"""A database does not shrink by itself: this much less means somebody defragmented it or restored a snapshot."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change, at the Unix time of the look that showed it."""

    at: float
    severity: Severity
    subject: str
    text: str


def first_look(view: ClusterView) -> tuple[Event, ...]:
    """What the events pane begins with, so that it is never empty without saying since when it watches."""
    leader = view.leader_member
    named = f"leader {leader.label}" if leader else "no leader"
    text = f"watching from here on: {len(view.answering)} of {len(view.members)} answer, {named}, term {view.term}"
    if view.health is Health.HEALTHY:
        severity = Severity.INFO
    else:
        severity = Severity.CRITICAL if not view.has_quorum else Severity.WARNING
    return (Event(view.taken_at, severity, "cluster", text),)


def changes(before: ClusterView, now: ClusterView) -> tuple[Event, ...]:
    """Everything that is different in `now`, most important first; nothing when both say the same."""
    found = [event for difference in _DIFFERENCES for event in difference(before, now)]
    return tuple(sorted(found, key=lambda event: -event.severity))


def _leader(before: ClusterView, now: ClusterView) -> Iterator[Event]:
    if not now.answering:
        return
    terms = f", term {before.term} → {now.term}" if now.term != before.term and before.answering else ""
    if before.leader != now.leader and before.answering:
        old, new = _leader_name(before), _leader_name(now)
        severity = Severity.CRITICAL if now.leader == NO_MEMBER else Severity.WARNING
        text = f"leader {old} → {new}{terms}"
        if now.leader == NO_MEMBER:
            text = f"the leader is lost (it was {old}){terms}"
        elif before.leader == NO_MEMBER:
            text = f"{new} leads now{terms}"
        yield Event(now.taken_at, severity, "cluster", text)
    elif terms:
        yield Event(now.taken_at, Severity.WARNING, "cluster", f"new election, same leader{terms}")


def _quorum(before: ClusterView, now: ClusterView) -> Iterator[Event]:
    if before.has_quorum and not now.has_quorum:
        quorum = now.quorum
        text = f"quorum lost: {quorum}, {quorum.needed} needed"
        if quorum.holds:
            text = f"{quorum}, but the quorum serves no read"
        yield Event(now.taken_at, Severity.CRITICAL, "cluster", text)
    elif now.has_quorum and not before.has_quorum:
        yield Event(
            now.taken_at, Severity.INFO, "cluster", f"quorum is back: {now.quorum.present}/{now.quorum.voters} voters"
        )


def _members(before: ClusterView, now: ClusterView) -> Iterator[Event]:
    if not (before.members_known and now.members_known):
        return
    old = {member.id: member for member in before.members if member.id is not None}
    new = {member.id: member for member in now.members if member.id is not None}
    for number in sorted(new.keys() - old.keys()):
        kind = "learner" if new[number].is_learner else "voter"
        yield Event(now.taken_at, Severity.WARNING, new[number].label, f"added as {kind} (ID {format_id(number)})")
    for number in sorted(old.keys() - new.keys()):
        yield Event(
            now.taken_at, Severity.WARNING, old[number].label, f"removed from the cluster (ID {format_id(number)})"
        )
    for number in sorted(old.keys() & new.keys()):
        yield from _one_member(old[number], new[number], now.taken_at)


def _one_member(old: MemberView, new: MemberView, at: float) -> Iterator[Event]:
    if old.answered and not new.answered:
        yield Event(at, Severity.CRITICAL, new.label, f"stopped answering ({new.error or new.silence.value})")
    if new.answered and not old.answered:
        how = "started for the first time" if not old.started else "answers again"
        yield Event(at, Severity.INFO, new.label, how)
    if old.is_learner and not new.is_learner:
        yield Event(at, Severity.INFO, new.label, "promoted from learner to voter")
    if old.peer_urls != new.peer_urls:
        yield Event(at, Severity.WARNING, new.label, f"peer URLs changed to {', '.join(new.peer_urls)}")
    was, now = old.status or old.last_status, new.status
    if was is None or now is None:
        return
    if was.version != now.version:
        yield Event(at, Severity.INFO, new.label, f"version {was.version} → {now.version}")
    if now.db_size_bytes < was.db_size_bytes * (1 - DB_SHRINK_SHARE):
        sizes = f"{show_bytes(was.db_size_bytes)} → {show_bytes(now.db_size_bytes)}"
        yield Event(at, Severity.INFO, new.label, f"database shrank {sizes} (defragmented or restored)")
    if now.revision < was.revision:
        text = f"revision went back {was.revision} → {now.revision}: other data than before"
        yield Event(at, Severity.CRITICAL, new.label, text)


def _alarms(before: ClusterView, now: ClusterView) -> Iterator[Event]:
    if not now.answering:
        return
    for alarm in sorted(set(now.alarms) - set(before.alarms), key=lambda a: (a.member, a.type)):
        yield Event(now.taken_at, Severity.CRITICAL, _name(now, alarm.member), f"raised the alarm {alarm.type}")
    for alarm in sorted(set(before.alarms) - set(now.alarms), key=lambda a: (a.member, a.type)):
        yield Event(now.taken_at, Severity.INFO, _name(now, alarm.member), f"the alarm {alarm.type} was disarmed")


def _identity(before: ClusterView, now: ClusterView) -> Iterator[Event]:
    if None not in (before.cluster_id, now.cluster_id) and before.cluster_id != now.cluster_id:
        old, new = (format_id(view.cluster_id or 0) for view in (before, now))
        yield Event(now.taken_at, Severity.CRITICAL, "cluster", f"another cluster answers: ID {old} → {new}")


def _contradictions(before: ClusterView, now: ClusterView) -> Iterator[Event]:
    for problem in now.problems:
        if problem not in before.problems:
            yield Event(now.taken_at, Severity.WARNING, "cluster", problem.en)


_DIFFERENCES: tuple[Callable[[ClusterView, ClusterView], Iterator[Event]], ...] = (
    _identity,
    _quorum,
    _leader,
    _members,
    _alarms,
    _contradictions,
)


def _leader_name(view: ClusterView) -> str:
    member = view.leader_member
    return member.label if member else format_id(view.leader)


def _name(view: ClusterView, member_id: int) -> str:
    return next((member.label for member in view.members if member.id == member_id), format_id(member_id))
