"""What follows from what somebody did on purpose: a member was removed, a cluster upgraded, a snapshot restored.

Each is a judge as in `judge.py`: it gives the tally back that is a trouble all the same, or nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace

from etcdops.diagnosis.collect import SourceLog
from etcdops.diagnosis.identify import member_of
from etcdops.diagnosis.rules import facts
from etcdops.diagnosis.rules.rule import LIKELY, POSSIBLE
from etcdops.diagnosis.tally import Tally

LEAVES_S = 10.0
"""How long a member that was removed may go on before it has heard so, and stops.

Source: etcdserver/server.go, stopWithDelay, a second after a peer or the log told it.
"""

_MINOR = re.compile(
    r'(?:higher version|local etcd version)"? (\d+\.\d+)\.|member-version"?[:=] ?"?(\d+\.\d+)\.|'
    r'local-server-version"?[:=] ?"?(\d+\.\d+)\.'
)


def leaving(log: SourceLog, tally: Tally) -> Tally | None:
    """Who was removed dials until it knows; only who goes on was forgotten."""
    told = [gone.last for gone in log.of(facts.PEER_GONE) if gone.peer == tally.peer and gone.last is not None]
    return None if told and tally.last is not None and 0 <= tally.last - max(told) <= LEAVES_S else tally


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
