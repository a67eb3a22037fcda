"""Whether members keep up, by their own metrics.

Where an earlier reading is at hand, what counts is what happened since; else, since the member started.
"""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.client.metrics import (
    COMMIT,
    FSYNC,
    HEARTBEATS_LATE,
    LEADER_CHANGES,
    LEASES_GRANTED,
    LEASES_REVOKED,
    NO_SAMPLES,
    OPEN_FILES,
    OPEN_FILES_MAX,
    PROPOSALS,
    PROPOSALS_PENDING,
    READ_INDEXES_FAILED,
    SLOW_APPLIES,
    SLOW_READ_INDEXES,
    SLOW_WATCHERS,
    STARTED,
    WATCHERS,
    Histogram,
    MemberMetrics,
)
from etcdops.doctor.checks.cluster import unsafe_reason
from etcdops.doctor.finding import CLUSTER, Finding, finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.words import say
from etcdops.ids import MemberID

FSYNC_SLOW_S = 0.010
COMMIT_SLOW_S = 0.025
"""Source: etcd's FAQ, "What does the etcd warning 'failed to send out heartbeat on time' mean?": the 99th percentile of
wal_fsync_duration_seconds should be less than 10 ms, that of backend_commit_duration_seconds less than 25 ms."""
SAMPLES_MIN = 100
"""Fewer say nothing about a 99th percentile."""
PEER_RTT_SLOW_S = 0.100
"""Source: etcd's default heartbeat interval; the tuning guide wants it round the round-trip time between members."""
PEER_SAMPLES_MIN = 20
LEADER_CHANGES_MIN = 4
"""Source: etcd's monitoring mixin, alert etcdHighNumberOfLeaderChanges: four and more."""
LEADER_CHANGE_EVERY_S = 3600.0
"""... and more often than once an hour on average: a rolling upgrade alone makes a handful."""
PENDING_MANY = 500
"""A tenth of what etcd lets wait before it refuses. Source: v3_server.go, maxGapBetweenApplyAndCommitIndex."""
SLOW_SHARE = 0.01
COUNT_MIN = 10
OFTEN_EVERY_S = 600.0
"""Ours: what happens less than once in ten minutes on average is no state of a member, and a counter never forgets."""
OPEN_FILES_SHARE = 0.80
"""Source: server/etcdserver/metrics.go, monitorFileDescriptor: it warns at 80 %."""
LEASES_MANY = 100_000
"""Ours: etcd revokes a thousand a second (lessor.go, defaultLeaseRevokeRate), so these take minutes to end at once."""
WATCHERS_MANY = 1_000_000
SLOW_WATCHERS_MANY = 10_000
"""Ours: a member catches up 512 slow watchers at a time (watchable_store.go, maxWatchersPerSync)."""


def _since(observation: Observation, label: str, now: MemberMetrics, name: str) -> float:
    """How much a counter grew; what it shows, when the member restarted in between."""
    value = now.numbers.get(name, 0.0)
    earlier = observation.earlier_metrics.get(label)
    before = earlier.numbers.get(name, 0.0) if earlier is not None else 0.0
    return value - before if value >= before else value


def _samples(observation: Observation, label: str, now: MemberMetrics, name: str) -> Histogram:
    earlier = observation.earlier_metrics.get(label)
    return now.histogram(name).since(earlier.histogram(name) if earlier is not None else NO_SAMPLES)


def _often(observation: Observation, label: str, now: MemberMetrics, count: float) -> bool:
    """Whether something was counted often enough, in the time that the count is of."""
    span_s = _span_s(observation, label, now)
    return count >= COUNT_MIN and (span_s is None or span_s / count < OFTEN_EVERY_S)


def _span_s(observation: Observation, label: str, now: MemberMetrics) -> float | None:
    """The time that counts are of. None: not known."""
    earlier = observation.earlier_metrics.get(label)
    if earlier is not None:
        return now.taken_at_s - earlier.taken_at_s
    started = now.numbers.get(STARTED)
    return observation.taken_at - started if started else None


def slow_disk(observation: Observation) -> Iterator[Finding]:
    """What etcd's raft log and database wait for."""
    for member, now in observation.readings:
        for code, name, limit_s in (("W305", FSYNC, FSYNC_SLOW_S), ("W306", COMMIT, COMMIT_SLOW_S)):
            samples = _samples(observation, member.label, now, name)
            p99 = samples.quantile(0.99)
            if p99 is None or samples.counts[-1] < SAMPLES_MIN or p99 <= limit_s:
                continue
            yield finding(
                code,
                member.label,
                p99_s=p99,
                limit_s=limit_s,
                samples=samples.counts[-1],
                evidence=[say("seen.p99", member=member.label, metric=name, p99_s=p99)],
            )


def slow_applies(observation: Observation) -> Iterator[Finding]:
    for member, now in observation.readings:
        slow = _since(observation, member.label, now, SLOW_APPLIES)
        done = _since(observation, member.label, now, PROPOSALS)
        if slow >= COUNT_MIN and done > 0 and slow / done >= SLOW_SHARE:
            evidence = (f"{member.label}: {SLOW_APPLIES} {slow:.0f}",)
            yield finding("W307", member.label, slow=slow, applied=done, evidence=evidence)


def slow_reads(observation: Observation) -> Iterator[Finding]:
    for member, now in observation.readings:
        slow = _since(observation, member.label, now, SLOW_READ_INDEXES)
        failed = _since(observation, member.label, now, READ_INDEXES_FAILED)
        if _often(observation, member.label, now, slow + failed):
            evidence = (f"{member.label}: {SLOW_READ_INDEXES} {slow:.0f}, {READ_INDEXES_FAILED} {failed:.0f}",)
            yield finding("W308", member.label, reads=slow + failed, evidence=evidence)


def pending_proposals(observation: Observation) -> Iterator[Finding]:
    for member, now in observation.readings:
        pending = now.numbers.get(PROPOSALS_PENDING, 0.0)
        if pending >= PENDING_MANY:
            evidence = (f"{member.label}: {PROPOSALS_PENDING} {pending:.0f}",)
            yield finding("W309", member.label, pending=pending, evidence=evidence)


def late_heartbeats(observation: Observation) -> Iterator[Finding]:
    for member, now in observation.readings:
        late = _since(observation, member.label, now, HEARTBEATS_LATE)
        if _often(observation, member.label, now, late):
            evidence = (f"{member.label}: {HEARTBEATS_LATE} {late:.0f}",)
            yield finding("W310", member.label, late=late, evidence=evidence)


def leader_flapping(observation: Observation) -> Iterator[Finding]:
    """By the member that saw most changes in the least time."""
    worst: tuple[float, float, str] | None = None
    for member, now in observation.readings:
        seen = _since(observation, member.label, now, LEADER_CHANGES)
        span_s = _span_s(observation, member.label, now)
        if seen >= LEADER_CHANGES_MIN and span_s and span_s / seen < LEADER_CHANGE_EVERY_S:
            worst = max(worst or (0.0, 0.0, ""), (seen / span_s, span_s, member.label))
    if worst is not None:
        rate, span_s, label = worst
        changes = round(rate * span_s)
        evidence = [say("seen.grew", member=label, metric=LEADER_CHANGES, by=changes)]
        yield finding("W109", CLUSTER, changes=changes, span_s=span_s, evidence=evidence)


def slow_links(observation: Observation) -> Iterator[Finding]:
    """Round trips between members, as each measures them every few seconds."""
    view = observation.view
    for member, now in observation.readings:
        for peer, samples in sorted(now.peer_rtt.items()):
            # the half, not the worst: one pause of a busy host makes no slow link
            half = samples.quantile(0.5)
            if half is None or samples.counts[-1] < PEER_SAMPLES_MIN or half <= PEER_RTT_SLOW_S:
                continue
            try:
                other = view.member(MemberID(int(peer, 16))) if view is not None else None
            except ValueError:
                other = None
            yield finding(
                "W314",
                member.label,
                peer=other.label if other is not None else peer,
                median_s=half,
                evidence=[say("seen.round-trip", member=member.label, peer=peer, median_s=half)],
            )


def open_files(observation: Observation) -> Iterator[Finding]:
    for member, now in observation.readings:
        used, most = now.numbers.get(OPEN_FILES, 0.0), now.numbers.get(OPEN_FILES_MAX, 0.0)
        if most > 0 and used / most >= OPEN_FILES_SHARE:
            yield finding(
                "W311",
                member.label,
                used=used,
                limit=most,
                evidence=(f"{member.label}: {OPEN_FILES} {used:.0f}, {OPEN_FILES_MAX} {most:.0f}",),
                blocked=unsafe_reason(observation.view) if observation.view is not None else None,
            )


def many_leases(observation: Observation) -> Iterator[Finding]:
    count, source = observation.leases, "leases"
    if count is None:
        alive = [
            now.numbers[LEASES_GRANTED] - now.numbers.get(LEASES_REVOKED, 0.0)
            for _, now in observation.readings
            if LEASES_GRANTED in now.numbers
        ]
        count, source = (int(max(alive)), LEASES_GRANTED) if alive else (0, "")
    if count >= LEASES_MANY:
        yield finding("W312", CLUSTER, leases=count, evidence=(f"{source}: {count}",))


def many_watchers(observation: Observation) -> Iterator[Finding]:
    for member, now in observation.readings:
        watchers, slow = now.numbers.get(WATCHERS, 0.0), now.numbers.get(SLOW_WATCHERS, 0.0)
        if slow >= SLOW_WATCHERS_MANY or watchers >= WATCHERS_MANY:
            case = "slow" if slow >= SLOW_WATCHERS_MANY else ""
            evidence = (f"{member.label}: {WATCHERS} {watchers:.0f}, {SLOW_WATCHERS} {slow:.0f}",)
            yield finding("W313", member.label, case, watchers=watchers, slow=slow, evidence=evidence)


def unhealthy(observation: Observation) -> Iterator[Finding]:
    """What load balancers and probes see."""
    for label, reason in sorted(observation.health.items()):
        if reason:
            yield finding("E315", label, reason=reason, evidence=(f"{label}: /health: {reason}",))


CHECKS = (
    slow_disk,
    slow_applies,
    slow_reads,
    pending_proposals,
    late_heartbeats,
    leader_flapping,
    slow_links,
    open_files,
    many_leases,
    many_watchers,
    unhealthy,
)
