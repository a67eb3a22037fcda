"""Certificates of members, where they are on their hosts: missing, damaged, expired, or about to. No key is read."""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Mapping

from etcdops.certs.facts import describe, read_certificates
from etcdops.errors import EtcdopsError, UsageError
from etcdops.inventory.model import Host, Inventory
from etcdops.remote.command import ROOT
from etcdops.remote.session import Session
from etcdops.rendering.member import CERTIFICATES, member_config


async def certificate_problems(
    session: Session, paths: Mapping[str, str], *, root: str = "", may_be_missing: bool = False
) -> list[str]:
    """What is wrong with files, by the flags that name them. Args: root - put before paths, such as a container's."""
    found: list[str] = []
    for flag, path in paths.items():
        if not path.startswith("/"):
            continue
        try:
            problem = await _problem(session, root + path, key=flag.endswith("key-file"), may_be_missing=may_be_missing)
        except EtcdopsError as error:
            problem = f"it cannot be read: {error.message}"
        if problem:
            found.append(f"{flag} {path}: {problem}")
    return found


async def _problem(session: Session, path: str, *, key: bool, may_be_missing: bool) -> str:
    if await session.stat(path, user=ROOT) is None:
        return "" if may_be_missing else "it is not there"
    if key:
        return ""
    content = await session.read_file(path, user=ROOT)
    now = datetime.datetime.now(datetime.UTC)
    facts = [describe(one) for one in read_certificates(content or b"", source=path)]
    return "; ".join(dict.fromkeys(problem for one in facts for problem in one.time_problems(now)))


def certificates_on(inventory: Inventory) -> Callable[[Host, Session], Awaitable[tuple[str, ...]]]:
    """For `reach_all`: looks at the certificates of all members that an inventory has on a host.

    Those that a rollout would make need not be there yet.
    """

    async def look(host: Host, session: Session) -> tuple[str, ...]:
        found: list[str] = []
        for cluster in inventory.clusters.values():
            for member in cluster.members if cluster.tls is not None else ():
                if member.host != host.name:
                    continue
                try:
                    flags = member_config(inventory, cluster, member).flags
                except UsageError:
                    continue  # the check of the inventory itself says so
                paths = {flag: flags[flag] for flag in CERTIFICATES if flag in flags}
                own = cluster.tls is not None and cluster.tls.files is None
                problems = await certificate_problems(session, paths, may_be_missing=own)
                found += [f"{cluster.name}/{member.label}: {problem}" for problem in problems]
        return tuple(found)

    return look
