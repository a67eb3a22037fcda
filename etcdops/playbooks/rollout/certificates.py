"""Certificates on a host: what is wrong with those that are there, and those it should have."""

from __future__ import annotations

import asyncio

from etcdops.certs.authority import Issued
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.rollout.desired import DesiredBundle, DesiredLeaf, DesiredMember
from etcdops.remote.command import ROOT
from etcdops.remote.session import FileStat, Ownership, Session
from etcdops.rendering.files import difference


async def leaf_problems(session: Session, leaf: DesiredLeaf, authorities: ClusterAuthorities) -> list[str]:
    """What is wrong with one certificate, its key, or their permissions; empty when it will do."""
    certificate, key, stat = await asyncio.gather(
        session.read_file(leaf.certificate, user=ROOT),
        session.read_file(leaf.key, user=ROOT),
        session.stat(leaf.key, user=ROOT),
    )
    if not authorities.exists(leaf.signer):
        return ["its authority is not made yet"]
    found = authorities.problems(leaf, certificate, key)
    return found or _permissions(stat, leaf.ownership)


async def bundle_difference(session: Session, bundle: DesiredBundle, authorities: ClusterAuthorities) -> str:
    """How the file that says whom to trust differs from what it should be, as a diff; empty: it does not."""
    if not authorities.exists(bundle.signer):
        return f"{bundle.path}: its authority is not made yet"
    wanted = authorities.bundle(bundle)
    return difference(bundle.path, await session.read_file(bundle.path, user=ROOT), wanted.content)


async def write_certificates(session: Session, member: DesiredMember, authorities: ClusterAuthorities) -> list[str]:
    """Write what is missing or will not do. Safe to repeat. Returns: the paths that were written."""
    written: list[str] = []
    for bundle in member.bundles:
        if await bundle_difference(session, bundle, authorities):
            file = authorities.bundle(bundle)
            await session.write_file(file.path, file.content, file.ownership, user=ROOT)
            written.append(file.path)
    for leaf in member.leaves:
        if await leaf_problems(session, leaf, authorities):
            await write_leaf(session, leaf, authorities.issue(leaf))
            written.append(leaf.certificate)
    return written


async def write_leaf(session: Session, leaf: DesiredLeaf, issued: Issued) -> None:
    """Replace a pair. Cut off in between, the pair does not fit, which `leaf_problems` sees."""
    await session.write_file(leaf.key, issued.key.reveal().encode(), leaf.ownership, user=ROOT)
    await session.write_file(leaf.certificate, issued.certificate, leaf.ownership, user=ROOT)


def _permissions(there: FileStat | None, wanted: Ownership) -> list[str]:
    if there is None or (there.mode, there.owner, there.group) == (wanted.mode, wanted.owner, wanted.group):
        return []
    return [f"permissions of its key: {there.mode:04o} {there.owner}:{there.group}"]
