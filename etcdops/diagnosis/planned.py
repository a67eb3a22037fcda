"""What follows from what somebody did on purpose: a member was removed, a cluster upgraded, a snapshot restored.

Each is a judge as in `judge.py`: it gives the tally back that is a trouble all the same, or nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace

from etcdops.diagnosis.collect import Event, SourceLog
from etcdops.diagnosis.entry import Entry
from etcdops.diagnosis.identify import member_of
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.rule import LIKELY, POSSIBLE
from etcdops.diagnosis.tally import Tally

LEAVES_S = 10.0
"""How long a member that was removed may go on before it has heard so, and stops.

Source: etcdserver/server.go, stopWithDelay, a second after a peer or the log told it.
"""
QUIET_S = 1.0
"""Without a word of it after that time it has stopped: it dials ten times a second. Source: rafthttp/stream.go, run."""
STARTS_S = 10.0
"""How long a start may take of which no end is told."""

_MINOR = re.compile(
    r'(?:higher version|local etcd version)"? (\d+\.\d+)\.|member-version"?[:=] ?"?(\d+\.\d+)\.|'
    r'local-server-version"?[:=] ?"?(\d+\.\d+)\.'
)


def leaving(log: SourceLog, tally: Tally) -> Tally | None:
    """Who was removed dials until it knows; only who goes on, or of whom no more is told, may have been forgotten."""
    told = [gone.last for gone in log.of(facts.PEER_GONE) if gone.peer == tally.peer and gone.last is not None]
    if not told or tally.last is None or log.last is None:
        return tally
    return None if tally.last - max(told) <= LEAVES_S and log.last - tally.last >= QUIET_S else tally


def upgraded(log: SourceLog, tally: Tally) -> Tally | None:
    """Members of one minor release may differ in their patches as long as they like.

    Each of the two lines names one version. Source: etcdserver/cluster_util.go, decideClusterVersion.
    """
    if tally.confidence >= LIKELY:
        return tally
    doubts = (other for other in log.of(tally.sign) if other.confidence < LIKELY)
    told = [_MINOR.findall(line.raw) for other in doubts for line in other.lines()]
    minors = {minor for found in told for groups in found for minor in groups if minor}
    count = sum(len(found) for found in told)
    return None if count > 1 and len(minors) == 1 else tally


def forced(log: SourceLog, tally: Tally) -> Tally | None:
    """One start with force-new-cluster is a recovery, a second one of the same member was forgotten.

    k3s and rke2 start so themselves, before and after they restore a snapshot.
    """
    members = [member_of(line) for line in tally.lines()]
    if tally.count > len(set(members)) or "" in members:
        return tally if tally.count > 1 else replace(tally, confidence=min(tally.confidence, POSSIBLE))
    if log.count(facts.RESTORED):
        return None
    return replace(tally, confidence=min(tally.confidence, POSSIBLE))


def own_door(log: SourceLog, tally: Tally) -> bool:
    """Whether it is this process that calls at its own door while nobody is in: it starts, or has closed.

    As the gateway from HTTP to gRPC does, and k3s, of which etcd is a part. Source: embed/serve.go, registerGateway.
    """
    lines = list(tally.lines())
    if not tally.peer.startswith(_OWN) or len(lines) < tally.count:
        return False
    life = [event for event in log.events if event.kind in _LIFE]
    return all(_nobody_in(life, line, log.last) for line in lines)


def _nobody_in(life: list[Event], line: Entry, end: float | None) -> bool:
    before = [event for event in life if event.number < line.number]
    if not before or before[-1].kind == facts.READY:
        return False
    began = before[-1].time
    if before[-1].kind != facts.START or any(event.number > line.number for event in life):
        return True
    return began is not None and end is not None and end - began < STARTS_S


_OWN = ("127.0.0.1:", "localhost:", "[::1]:")
_LIFE = (facts.START, facts.READY, facts.SIGNAL, facts.CLOSING)
