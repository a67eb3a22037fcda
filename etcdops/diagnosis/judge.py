"""From tallies to candidates: what is a trouble, how sure that is, and what is only a normal day.

Each judge is a function from one source's log to the tallies that count, so that thresholds stand in one place each.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import replace

from etcdops.diagnosis import planned
from etcdops.diagnosis.collect import Event, SourceLog
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.identify import is_id, member_of
from etcdops.diagnosis.loopback import loopback
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.answers import DEFRAG_UNANSWERED
from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE
from etcdops.diagnosis.tally import Tally

SLOW_APPLY_COUNT = 3
SLOW_APPLY_S = 1.0
"""One request over etcd's 100 ms is a normal day; three, or one over a second, are not."""
FLAPPING_CHANGES = STOPS_COUNT = 3
OFTEN_S = 3600.0
"""Leaders that change, or stops, as many within that time; one now and then, over months, is a normal day."""
REFUSED_VOTES_COUNT = 3
SLOW_COMPACTION_S = 10.0
SLOW_DEFRAG_S = 2.0
START_UP_S = 180.0
"""How long members that start one after another may fail to reach each other."""
WAITED_S, WAITED_COUNT = 30.0, 20
"""How long, and over how many lines, requests may wait for the end of one election."""
MOMENT_S = 1.0
JUST_NOW_S = 10.0
PROBED_S = 5.0
"""How old what a prober reports is at most, and what a question for a version waited for.

Source: rafthttp/probing_status.go, proberInterval; etcdserver/cluster_util.go, getVersion, which gives up earlier.
"""
SHUTDOWN_S = 30.0
"""How long before it is stopped itself a member may see the others go."""

Judge = Callable[[SourceLog], Iterator[Tally]]


def judge(log: SourceLog) -> Iterator[Tally]:
    """The tallies of `log` that speak for a cause, with the confidence they deserve."""
    for tally in list(log.tallies.values()):
        if not tally.sign.startswith("+"):
            verdict = _VERDICTS.get(tally.sign)
            if tally.sign.startswith(("peer-", "dns-lookup", "network-unreachable")):
                verdict = _reach
            kept = verdict(log, tally) if verdict else tally
            if kept is not None:
                yield kept
    for derive in (_elections, _signals, loopback, _peers_lost, _misplaced):
        yield from derive(log)


def _slow(log: SourceLog, tally: Tally) -> Tally | None:
    return tally if tally.count >= SLOW_APPLY_COUNT or tally.worst >= SLOW_APPLY_S else None


def _compaction(log: SourceLog, tally: Tally) -> Tally | None:
    return tally if tally.worst >= SLOW_COMPACTION_S else None


def _defrag(log: SourceLog, tally: Tally) -> Tally | None:
    unanswered = any(DEFRAG_UNANSWERED in line.text for line in tally.lines())
    return tally if unanswered or tally.worst >= SLOW_DEFRAG_S else None


def _once_is_weak(log: SourceLog, tally: Tally) -> Tally | None:
    return _trusted(tally, LIKELY) if tally.count == 1 else tally


def _beats(log: SourceLog, tally: Tally) -> Tally | None:
    """A leader says it once for each follower: what lies within a moment is one late heartbeat."""
    lasted = (tally.last - tally.first) if tally.first is not None and tally.last is not None else MOMENT_S
    return _trusted(tally, LIKELY) if lasted < MOMENT_S else _once_is_weak(log, tally)


def _overloaded(log: SourceLog, tally: Tally) -> Tally | None:
    return None if log.count("heartbeat-slow") else tally


def _until_ready(log: SourceLog, tally: Tally) -> Tally | None:
    """Doubts of a start that ended well are gone."""
    if tally.confidence >= LIKELY or not _after(log, facts.READY, tally.last_number):
        return tally
    return None


def _until_elected(log: SourceLog, tally: Tally) -> Tally | None:
    """What waited for a leader, and got one, is over; unless it took long or comes again and again."""
    kept = _until_ready(log, tally)
    if kept is None or not any(_after(log, kind, tally.last_number) for kind in (facts.ELECTED, facts.READY)):
        return kept
    lasted = (tally.last - tally.first) if tally.first is not None and tally.last is not None else 0.0
    return None if lasted < WAITED_S and tally.count <= WAITED_COUNT else _trusted(tally, LIKELY)


def _reach(log: SourceLog, tally: Tally) -> Tally | None:
    """A peer that came up later was only late, one that stops shortly before us only earlier; both are a normal day.

    One that was removed is not to be reached any more, nor one of a cluster that this member has left.
    """
    last = max((line.number for line in tally.lines() if not _stopping_at(log, line)), default=0)
    if not last or last < _born_at(log) or _answered_next(log, tally) or planned.own_door(log, tally):
        return None
    back = _back_at(log, tally.peer)
    if back <= last and not _old_news(log, tally, back):
        return tally
    lasted = (tally.last - tally.first) if tally.first is not None and tally.last is not None else 0.0
    return None if lasted < START_UP_S else _trusted(tally, POSSIBLE)


def _answered_next(log: SourceLog, tally: Tally) -> bool:
    """Whether all that failed were questions for a version, and those that followed, seconds later, did not.

    As on a machine that was too busy for a moment. Source: etcdserver/server.go, monitorVersions; rafthttp's prober
    asks as often.
    """
    lines = list(tally.lines())
    if tally.last is None or log.last is None or len(lines) < tally.count:
        return False
    return log.last - tally.last > 3 * PROBED_S and all(_VERSION_ASKED.search(line.text) for line in lines)


def _back_at(log: SourceLog, peer: str) -> int:
    """The line at which a peer was there again, or was removed. One known by its address only is taken to be any."""
    if is_id(peer):
        ends = (*log.of(facts.PEER_BACK), *log.of(facts.PEER_GONE))
        return max((tally.last_number for tally in ends if tally.peer == peer), default=0)
    ready = max((event.number for event in log.events if event.kind == facts.READY), default=0)
    return max((tally.last_number for tally in log.of(facts.PEER_BACK)), default=ready)


def _born_at(log: SourceLog) -> int:
    """The line at which the member of today started, in a log that began as another's; else 0.

    So it is after a recovery, or when a member was removed and added anew: it has another ID, and so have its peers. A
    log in which several members speak in turns is of nobody's new life.
    """
    spoke = sorted((event.number, member_of(event.entry)) for event in log.events if event.entry is not None)
    spoke = [(number, member) for number, member in spoke if member]
    before = max((number for number, member in spoke if member != spoke[-1][1]), default=0)
    today = min((number for number, member in spoke if member == spoke[-1][1]), default=0)
    starts = (event.number for event in log.events if event.kind == facts.START and before < event.number <= today)
    return min(starts, default=0) if before else 0


def _old_news(log: SourceLog, tally: Tally, back: int) -> bool:
    """Whether after the return of a peer only those spoke that began before, and tell late."""
    times = [found.last for found in log.of(facts.PEER_BACK) if found.last_number == back and found.last is not None]
    if not times or tally.last is None or tally.last - times[0] > PROBED_S:
        return False
    return all(_TELLS_LATE.search(line.text) for line in tally.lines() if line.number > back)


def _shutdown_follows(log: SourceLog, tally: Tally) -> bool:
    """Whether this member was told to stop before its lines, or soon after: as when a whole cluster is stopped."""
    return all(_stopping_at(log, line) for line in tally.lines())


def _stopping_at(log: SourceLog, line: Entry) -> bool:
    stopped = False
    for event in log.events:
        if event.kind not in (facts.SIGNAL, facts.START):
            continue
        if event.number > line.number:
            soon = line.time is None or event.time is None or event.time - line.time < SHUTDOWN_S
            return stopped or (event.kind == facts.SIGNAL and soon)
        stopped = event.kind == facts.SIGNAL
    return stopped


def _unknown(log: SourceLog, tally: Tally) -> Tally | None:
    """A peer that is stopped says, at the end, that it knows nobody; afterwards it does not answer.

    It closes its streams at the same time. Source: rafthttp/transport.go, Stop, which forgets all peers.
    """
    kept = _reach(log, tally)
    if kept is None or kept.confidence >= LIKELY:
        return kept
    if any(_just_before(lost, tally) for lost in log.of(facts.PEER_LOST) if lost.peer == tally.peer):
        return replace(kept, sign="peer-unreachable")
    later = [other for other in log.tallies.values() if other.sign.startswith("peer-") and other.peer == tally.peer]
    return None if any(other.last_number > tally.last_number for other in later) else kept


def _just_before(lost: Tally, tally: Tally) -> bool:
    """Whether all of the second was said within a moment after a line of the first."""
    since, until = lost.first, tally.last
    before = min(line.number for line in lost.lines()) < min(line.number for line in tally.lines())
    return before and since is not None and until is not None and until - since <= MOMENT_S


def _srv(log: SourceLog, tally: Tally) -> Tally | None:
    """One of the two kinds of records (with TLS, without) is enough."""
    return None if tally.confidence < LIKELY and log.count(facts.SRV_FOUND) else _until_ready(log, tally)


def _join(log: SourceLog, tally: Tally) -> Tally | None:
    """Members ask the others while they start; only who ends with it could not join."""
    kept = _until_ready(log, tally)
    tried = any(other.sign.startswith(("peer-", "tls-", "dns-")) for other in log.tallies.values())
    return None if kept is not None and not kept.deadly and tried else kept


def _incompatible(log: SourceLog, tally: Tally) -> Tally | None:
    kept = _until_ready(log, tally)
    return kept and planned.upgraded(log, kept)


def _removed(log: SourceLog, tally: Tally) -> Tally | None:
    kept = _until_ready(log, tally)
    return kept and planned.leaving(log, kept)


_VERDICTS: dict[str, Callable[[SourceLog, Tally], Tally | None]] = {
    "slow-range": _slow,
    "apply-slow": _slow,
    "compaction-slow": _compaction,
    "defrag-stall": _defrag,
    "disk-slow": _once_is_weak,
    "heartbeat-slow": _beats,
    "server-overloaded": _overloaded,
    "request-timeout": _until_elected,
    "read-index-timeout": _until_elected,
    "no-leader": _until_elected,
    "dns-srv-failure": _srv,
    "join-cluster-unreachable": _join,
    "force-new-cluster-left-on": planned.forced,
    "version-incompatible": _incompatible,
    "removed-peer-dialing": _removed,
    "watch-compacted": _until_ready,
    "member-not-found": _unknown,
    "member-id-mismatch": _reach,
}


def _trusted(tally: Tally, confidence: float) -> Tally:
    return replace(tally, confidence=min(tally.confidence, confidence))


def _after(log: SourceLog, kind: str, number: int) -> bool:
    return any(event.number > number for event in log.events if event.kind == kind)


def _elections(log: SourceLog) -> Iterator[Tally]:
    """Endless campaigns, leaders that come and go, or one change of hands."""
    campaigns = [event for event in log.events if event.kind == facts.CAMPAIGN]
    elected = [event for event in log.events if event.kind == facts.ELECTED]
    lost = [event for event in log.events if event.kind == facts.LOST]
    last_elected = max((event.number for event in elected), default=0)
    open_campaigns = [event for event in campaigns if event.number > last_elected]
    leaderless = log.count(facts.NO_LEADER_NOW)
    stepped_down = [event for event in lost if event.number > last_elected]
    if _quorum_gone(log, open_campaigns, leaderless, stepped_down):
        yield _tally_of(
            log, "quorum-lost", [*stepped_down, *open_campaigns], CERTAIN if len(open_campaigns) > 3 else LIKELY
        )
    elif not campaigns and log.count(facts.REFUSED_VOTES) >= REFUSED_VOTES_COUNT and not elected:
        yield from (replace(tally, sign="quorum-lost", confidence=POSSIBLE) for tally in log.of(facts.REFUSED_VOTES))
    elif leaderless and not elected:
        yield from (replace(tally, sign="no-leader", confidence=LIKELY) for tally in log.of(facts.NO_LEADER_NOW))
    changes = _changes(log)
    if changes >= FLAPPING_CHANGES:
        yield _tally_of(log, "leader-flapping", [*lost, *campaigns] or elected, CERTAIN if changes > 4 else LIKELY)
    elif lost and elected and last_elected > lost[-1].number and not _shortly_after_start(log, lost[0]):
        yield _tally_of(log, "leader-election", [*lost, *elected], LIKELY)


def _changes(log: SourceLog) -> int:
    """How often, at worst within OFTEN_S, the leadership moved to another term while this member ran.

    Its own restarts do not count, nor what a leader handed over to it, or it to another.
    """
    changes: list[float] = []
    term, planned = 0, False
    for event in log.events:
        if event.kind == facts.START:
            term, planned = 0, False
        elif event.kind in (facts.HANDOVER, facts.SIGNAL):
            planned = True
        elif event.kind == facts.ELECTED and event.term:
            if 0 < term < event.term and not planned:
                changes.append(event.time or 0.0)
            planned = planned and event.term == term
            term = event.term
    return _most_within(changes, OFTEN_S)


def _most_within(times: list[float], span: float) -> int:
    """How many of these times lie within so many seconds of each other, at most."""
    times.sort()
    return max((at + 1 - bisect_left(times, times[at] - span) for at in range(len(times))), default=0)


def _quorum_gone(log: SourceLog, open_campaigns: list[Event], leaderless: int, stepped_down: list[Event]) -> bool:
    if len(open_campaigns) >= 3 or (stepped_down and len(open_campaigns) >= 2):
        return True
    troubled = any(
        tally.sign.startswith(("peer-", "tls-", "dns-", "network-", "cluster-id")) or tally.sign == facts.PEER_LOST
        for tally in log.tallies.values()
        if not planned.own_door(log, tally)
    )
    return bool(open_campaigns) and (troubled or leaderless > 0 or len(open_campaigns) == 2)


def _shortly_after_start(log: SourceLog, event: Event) -> bool:
    starts = [start for start in log.events if start.kind == facts.START and start.number < event.number]
    if not starts:
        return False
    start = starts[-1]
    return start.time is None or event.time is None or event.time - start.time < START_UP_S


def _signals(log: SourceLog) -> Iterator[Tally]:
    """Stops that nobody here asked for: again and again, or for good.

    Two within a minute, and the member is back, is what who changes a setting does; a probe does not leave it at two.
    """
    signals = [event for event in log.events if event.kind == facts.SIGNAL and not _asked_for(log, event)]
    ended = bool(signals) and not _after(log, facts.START, signals[-1].number)
    often = _most_within([event.time or 0.0 for event in signals], OFTEN_S) >= STOPS_COUNT
    if often or (ended and _shortly_after_start(log, signals[-1])):
        yield _tally_of(log, "terminated-by-signal", signals, LIKELY)
    elif ended:
        yield _tally_of(log, "terminated-by-signal", signals, POSSIBLE)


def _asked_for(log: SourceLog, signal: Event) -> bool:
    """systemd says `Stopping etcd` before it sends the signal, when a person or another unit asked."""
    return any(event.kind == facts.STOPPING and abs(event.number - signal.number) < 50 for event in log.events)


_TELLS_LATE = re.compile(
    r"prober detected unhealthy status|health check for peer \S+ could not connect|"
    r"failed to reach the peer ?URL|failed to get version|cannot get the version of member"
)

_VERSION_ASKED = re.compile(r"failed to reach the peer ?URL|failed to get version|cannot get the version of member")


def _peers_lost(log: SourceLog) -> Iterator[Tally]:
    """A stream that broke and did not come back, when no line says why."""
    known = {tally.peer for tally in log.tallies.values() if not tally.sign.startswith("+")}
    stops = [event.number for event in log.events if event.kind in (facts.SIGNAL, facts.STOPPING)]
    for tally in log.of(facts.PEER_LOST):
        stopping = any(number <= tally.last_number for number in stops) or _shutdown_follows(log, tally)
        gone = max(_back_at(log, tally.peer), _born_at(log)) < tally.last_number
        if tally.count > 1 and tally.peer not in known and gone and not stopping and not _just_now(log, tally):
            yield replace(tally, sign="peer-unreachable", confidence=POSSIBLE)


def _just_now(log: SourceLog, tally: Tally) -> bool:
    """Whether a log that has its start ends with the trouble: too early to tell. An excerpt may end anywhere."""
    whole = any(event.kind == facts.START for event in log.events)
    return whole and log.last is not None and tally.first is not None and log.last - tally.first < JUST_NOW_S


def _misplaced(log: SourceLog) -> Iterator[Tally]:
    """A restore into the default directory, which no unit file names."""
    for tally in log.of(facts.RESTORED):
        lines = [line for line in tally.lines() if re.search(r"data-dir\W+default\.etcd", line.raw)]
        if lines and len(list(tally.lines())) > FEW_LINES:
            yield replace(tally, sign="restore-misplaced", confidence=POSSIBLE)


FEW_LINES = 4


def _tally_of(log: SourceLog, sign: str, events: list[Event], confidence: float) -> Tally:
    tally = Tally(sign, log.name)
    for event in events:
        if event.entry is not None:
            tally.add(event.entry, confidence, False, 0.0)
    return tally
