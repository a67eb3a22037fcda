"""What an operator owes a cluster: that not everybody may write to it, and that it can be brought back."""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.doctor.finding import CLUSTER, Finding
from etcdops.doctor.observation import Observation
from etcdops.doctor.urls import is_loopback, scheme_of
from etcdops.numbers import show_duration

BACKUP_AGE_S = 26 * 3600.0
"""Ours: a nightly backup, and two hours of grace."""


def open_to_all(observation: Observation) -> Iterator[Finding]:
    auth, view = observation.auth, observation.view
    if auth is None or auth.enabled is not False or view is None:
        return
    urls = sorted({url for member in view.members for url in member.client_urls})
    bare = [url for url in urls if scheme_of(url) == "http" and not is_loopback(url)]
    if bare:
        yield Finding(
            "W801",
            CLUSTER,
            "whoever reaches the client ports may read and write everything: no TLS, no authentication",
            "TLS with client certificates (etcdops rollout), or etcdctl auth enable; until then a firewall",
            evidence=(f"authentication is off; {', '.join(bare)}",),
        )


def backups(observation: Observation) -> Iterator[Finding]:
    if observation.backups is None:
        return
    if not observation.backups:
        yield Finding("W802", CLUSTER, "no backup was found", "etcdops snapshot save FILE, and have it done every day")
        return
    newest = max(observation.backups, key=lambda backup: backup.taken_at)
    age_s = observation.taken_at - newest.taken_at
    if age_s > BACKUP_AGE_S:
        yield Finding(
            "W803",
            CLUSTER,
            f"the newest backup is {show_duration(age_s)} old: what was written since cannot be brought back",
            "etcdops snapshot save FILE; then see why the regular backup does not run",
            evidence=(f"{newest.where}",),
        )
    view = observation.view
    if newest.revision is not None and view is not None and view.answering and newest.revision > view.max_revision:
        yield Finding(
            "W804",
            CLUSTER,
            f"the newest backup is at revision {newest.revision}, the cluster at {view.max_revision}: it went back",
            "find out which of the two is right before the backup is overwritten",
            evidence=(f"{newest.where}",),
        )


CHECKS = (open_to_all, backups)
