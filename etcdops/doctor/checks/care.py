"""What an operator owes a cluster: that not everybody may write to it, and that it can be brought back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from etcdops.clock import rfc3339
from etcdops.doctor.finding import CLUSTER, Finding, finding
from etcdops.doctor.observation import BackupSeen, Observation
from etcdops.doctor.urls import is_loopback, scheme_of
from etcdops.doctor.words import Value, say
from etcdops.ids import padded_id

BACKUP_AGE_S = 26 * 3600.0
"""Ours: a nightly backup, and two hours of grace."""


def open_to_all(observation: Observation) -> Iterator[Finding]:
    """An advice: who keeps etcd behind a firewall has chosen so, and it is no state that comes and goes."""
    auth, view = observation.auth, observation.view
    if auth is None or auth.enabled is not False or view is None:
        return
    urls = sorted({url for member in view.members for url in member.client_urls})
    bare = tuple(url for url in urls if scheme_of(url) == "http" and not is_loopback(url))
    if bare:
        yield finding("I801", CLUSTER, evidence=[say("seen.open", urls=bare)])


def backups(observation: Observation) -> Iterator[Finding]:
    """By the newest that can be used; the one that cannot is a finding of its own."""
    if observation.backups is None:
        return
    if not observation.backups:
        yield finding("W802", CLUSTER)
        return
    ours = _of_this_cluster(observation, observation.backups)
    if not ours:
        yield _anothers(observation, _newest(observation.backups))
        return
    newest = _newest(ours)
    if newest.damage:
        where = newest.where
        yield finding("E805", CLUSTER, where=where, damage=newest.damage, evidence=_evidence(newest))
    sound = [backup for backup in ours if not backup.damage]
    if sound:
        yield from _judged(observation, _newest(sound))


def _judged(observation: Observation, backup: BackupSeen) -> Iterator[Finding]:
    age_s, view = observation.taken_at - backup.taken_at, observation.view
    if age_s > BACKUP_AGE_S:
        yield finding("W803", CLUSTER, age_s=age_s, evidence=_evidence(backup))
    if backup.revision is not None and view is not None and view.answering and backup.revision > view.max_revision:
        revision = view.max_revision
        yield finding("W804", CLUSTER, backup=backup.revision, revision=revision, evidence=_evidence(backup))


def _newest(backups: Iterable[BackupSeen]) -> BackupSeen:
    return max(backups, key=lambda backup: backup.taken_at)


def _of_this_cluster(observation: Observation, backups: Iterable[BackupSeen]) -> list[BackupSeen]:
    """Those that may be of it: a file does not say, what was noted beside it does."""
    view = observation.view
    known = padded_id(view.cluster_id) if view is not None and view.cluster_id is not None else ""
    return [backup for backup in backups if not (known and backup.cluster) or backup.cluster == known]


def _anothers(observation: Observation, backup: BackupSeen) -> Finding:
    return finding("W806", CLUSTER, cluster=backup.cluster, evidence=_evidence(backup))


def _evidence(backup: BackupSeen) -> list[Value]:
    told: list[Value] = [say("backup.size", size_bytes=backup.size_bytes)]
    if backup.revision is not None:
        told.append(say("backup.revision", revision=backup.revision))
    told.append(say(f"backup.{backup.proof.value}"))
    return [say("seen.backup", where=backup.where, taken_at=rfc3339(backup.taken_at) or "", told=tuple(told))]


CHECKS = (open_to_all, backups)
