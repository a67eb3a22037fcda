"""Certificates on a host: what is wrong with those that are there, and those it should have."""

from __future__ import annotations

from collections.abc import Mapping

from etcdops.certs.authority import Issued
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.rollout.desired import DesiredBundle, DesiredLeaf, DesiredMember
from etcdops.remote.command import ROOT
from etcdops.remote.session import FileStat, FileToWrite, Ownership, SeenFile, Session
from etcdops.rendering.files import difference


async def certificate_problems(
    session: Session, member: DesiredMember, authorities: ClusterAuthorities
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """What is wrong on a host: (path of a certificate -> problems, path of a bundle -> diff); both empty: nothing."""
    paths = [path for leaf in member.leaves for path in (leaf.certificate, leaf.key)]
    seen = await session.look([*paths, *(bundle.path for bundle in member.bundles)], user=ROOT)
    leaves = {leaf.certificate: _leaf_problems(leaf, seen, authorities) for leaf in member.leaves}
    bundles = {bundle.path: _bundle_difference(bundle, seen[bundle.path], authorities) for bundle in member.bundles}
    return (
        {path: problems for path, problems in leaves.items() if problems},
        {path: diff for path, diff in bundles.items() if diff},
    )


async def bundle_difference(session: Session, bundle: DesiredBundle, authorities: ClusterAuthorities) -> str:
    """How the file that says whom to trust differs from what it should be, as a diff; empty: it does not."""
    return _bundle_difference(bundle, (await session.look([bundle.path], user=ROOT))[bundle.path], authorities)


async def write_certificates(session: Session, member: DesiredMember, authorities: ClusterAuthorities) -> list[str]:
    """Write what is missing or will not do. Safe to repeat. Returns: the paths that were written."""
    leaves, bundles = await certificate_problems(session, member, authorities)
    files: list[FileToWrite] = []
    for bundle in member.bundles:
        if bundle.path in bundles:
            file = authorities.bundle(bundle)
            files.append(FileToWrite(file.path, file.content, file.ownership))
    for leaf in member.leaves:
        if leaf.certificate in leaves:
            files += _pair(leaf, authorities.issue(leaf))
    await session.write_files(files, user=ROOT)
    return [*bundles, *leaves]


def _pair(leaf: DesiredLeaf, issued: Issued) -> list[FileToWrite]:
    """Cut off between the two, they do not fit, which is seen the next time."""
    return [
        FileToWrite(leaf.key, issued.key.reveal().encode(), leaf.ownership),
        FileToWrite(leaf.certificate, issued.certificate, leaf.ownership),
    ]


def _leaf_problems(
    leaf: DesiredLeaf, seen: Mapping[str, SeenFile | None], authorities: ClusterAuthorities
) -> list[str]:
    certificate, key = seen[leaf.certificate], seen[leaf.key]
    if not authorities.exists(leaf.signer):
        return ["its authority is not made yet"]
    found = authorities.problems(leaf, _content(certificate), _content(key))
    return found or _permissions(key.stat if key is not None else None, leaf.ownership)


def _bundle_difference(bundle: DesiredBundle, seen: SeenFile | None, authorities: ClusterAuthorities) -> str:
    if not authorities.exists(bundle.signer):
        return f"{bundle.path}: its authority is not made yet"
    return difference(bundle.path, _content(seen), authorities.bundle(bundle).content)


def _content(seen: SeenFile | None) -> bytes | None:
    return seen.content if seen is not None else None


def _permissions(there: FileStat | None, wanted: Ownership) -> list[str]:
    if there is None or (there.mode, there.owner, there.group) == (wanted.mode, wanted.owner, wanted.group):
        return []
    return [f"permissions of its key: {there.mode:04o} {there.owner}:{there.group}"]
