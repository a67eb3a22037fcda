"""What of a look at a cluster is in the way of taking one member away for a moment. Pure.

More is asked than a quorum: while a member restarts, the next failure must not be one too many, and a cluster that is
not well is not made better by restarts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from etcdops.client.view import ClusterView, MemberView
from etcdops.ids import NO_MEMBER, MemberID
from etcdops.playbooks.rolling.versions import meets, running_version
from etcdops.playbooks.safety import Verdict, judge_stop
from etcdops.rendering.flags import Version

LAG_MAX = 1000
"""Log entries that a member may be behind: more than arrive between two answers, far less than a snapshot."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must not change by a rolling change."""

    voters: frozenset[str]
    """Names of the members that vote."""
    cluster_id: str = ""
    """In hex; empty: not known."""


def judge(view: ClusterView, name: str, expected: Expected) -> Verdict:
    """May this member be taken away now?"""
    member = named(view, name)
    votes = member is None or not member.is_learner
    quorum = judge_stop(view.quorum, voter=votes, answering=member is not None and member.answered)
    in_the_way = troubles(view, expected, without=name)
    if in_the_way:
        return Verdict(
            False,
            quorum.before,
            quorum.after,
            "unwell",
            "; ".join(in_the_way),
            "mend that first: etcdops status says more; then go on with this run",
        )
    return quorum


def troubles(view: ClusterView, expected: Expected, *, without: str = "") -> list[str]:
    """Everything that is not as it must be, a sentence each. Args: without - the member that may be down."""
    if not view.answering:
        return [f"nobody answers: {'; '.join(dict.fromkeys(m.error for m in view.members if m.error))}"]
    found = [
        f"{member.label} does not answer: {member.error or member.silence}"
        for member in view.silent
        if member.name != without
    ]
    found += [f"alarm {alarm.type} of {_label(view, alarm.member)}" for alarm in view.alarms]
    found += _leadership(view)
    found += _membership(view, expected)
    for member in view.answering:
        if member.name != without:
            found += _member(view, member)
    found += hash_troubles(view)
    return list(dict.fromkeys([*found, *map(str, view.problems)]))


def _leadership(view: ClusterView) -> list[str]:
    if not view.has_quorum:
        return [f"there is no working quorum: {view.quorum}"]
    followed = {m.status.leader for m in view.answering if m.status}
    if followed == {NO_MEMBER} or view.leader == NO_MEMBER:
        return ["no member knows a leader"]
    return []


def _membership(view: ClusterView, expected: Expected) -> list[str]:
    if not view.members_known:
        return ["nobody tells who the members are"]
    found = []
    voters = {member.name for member in view.voters}
    if missing := sorted(expected.voters - voters):
        found.append(f"no longer voters: {', '.join(missing)}")
    if more := sorted(voters - expected.voters):
        found.append(f"voters that were not there before: {', '.join(name or 'one not started' for name in more)}")
    if expected.cluster_id and view.cluster_id is not None and f"{view.cluster_id:016x}" != expected.cluster_id:
        found.append(f"this is another cluster: {view.cluster_id:016x} instead of {expected.cluster_id}")
    return found


def _member(view: ClusterView, member: MemberView) -> list[str]:
    assert member.status is not None
    found = [f"{member.label} says: {error}" for error in member.status.errors]
    if member.status.leader == NO_MEMBER:
        found.append(f"{member.label} knows no leader")
    lag = view.lag(member)
    if lag is not None and lag > LAG_MAX:
        what = "the learner " if member.is_learner else ""
        found.append(f"{what}{member.label} is {lag} log entries behind")
    return found


def hash_troubles(view: ClusterView) -> list[str]:
    """Members of one minor version whose hashes of the same revisions differ; over a minor version they may."""
    groups: dict[tuple[object, ...], dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for member in view.answering:
        if member.hash is None or member.status is None:
            continue
        line = member.status.version.rpartition(".")[0]
        same = (line, member.hash.hash_revision, member.hash.compact_revision)
        groups[same][member.hash.hash].append(member.label)
    return [
        "the data of the members differs at one revision: "
        + " against ".join(", ".join(labels) for labels in by_hash.values())
        for by_hash in groups.values()
        if len(by_hash) > 1
    ]


def not_back(view: ClusterView, name: str, target: Version | None) -> list[str]:
    """Why a member that was restarted is not back yet; empty: it is, and has caught up."""
    member = named(view, name)
    if member is None or member.status is None:
        return [f"{name} does not answer: {member.error if member is not None else 'it is no member'}"]
    found = _member(view, member)
    if target is not None and not meets(running_version(member.status.version), target):
        found.append(f"{name} runs {member.status.version}, not {target}")
    return found


def successor(view: ClusterView, leaving: MemberID, done: Collection[str]) -> MemberView | None:
    """Who is to lead instead: a voter that has caught up, one that is not restarted again if there is one."""
    fit = [m for m in view.voters if m.answered and m.id not in (None, leaving) and not _member(view, m)]

    def preference(member: MemberView) -> tuple[bool, int, str]:
        assert member.status is not None
        return member.name in done, member.status.raft_applied_index, member.name

    return max(fit, key=preference, default=None)


def named(view: ClusterView, name: str) -> MemberView | None:
    return next((member for member in view.members if member.name == name), None)


def _label(view: ClusterView, member: MemberID) -> str:
    found = view.member(member)
    return found.label if found is not None else f"{member:016x}"
