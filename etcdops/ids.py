"""The integers etcd works with, kept apart by type, and how members and clusters get their IDs.

All of them are 64-bit on the wire. `Revision` and `LeaseID` are signed there, the others unsigned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NewType

MemberID = NewType("MemberID", int)
ClusterID = NewType("ClusterID", int)
Term = NewType("Term", int)
LogIndex = NewType("LogIndex", int)
Revision = NewType("Revision", int)
LeaseID = NewType("LeaseID", int)

NO_MEMBER = MemberID(0)
"""Raft's "nobody": no leader known, no vote given."""


def format_id(number: int) -> str:
    """An ID as etcd prints it: lowercase hex without leading zeros."""
    return format(number & 0xFFFF_FFFF_FFFF_FFFF, "x")


def padded_id(number: int) -> str:
    """An ID as etcdops shows it, to people and in JSON: always 16 hex digits, so that columns and searches fit."""
    return format(number & 0xFFFF_FFFF_FFFF_FFFF, "016x")


def member_id(peer_urls: Iterable[str], cluster_token: str, *, added_at: int | None = None) -> MemberID:
    """The ID etcd gives a member: the first 8 bytes of a SHA-1 over what makes it unique.

    Args: peer_urls in any order; cluster_token as in `--initial-cluster-token` (empty when a running cluster adds
        the member); added_at is the Unix time in seconds of a `member add`, None for a bootstrap member.
    Source: etcd server/etcdserver/api/membership/member.go, computeMemberID.
    """
    seed = "".join(sorted(peer_urls)) + cluster_token
    if added_at is not None:
        seed += str(added_at)
    return MemberID(int.from_bytes(hashlib.sha1(seed.encode(), usedforsecurity=False).digest()[:8], "big"))


def cluster_id(initial_members: Iterable[MemberID]) -> ClusterID:
    """The ID of a cluster: a SHA-1 over the sorted IDs of its first members. Later changes do not touch it.

    Source: etcd server/etcdserver/api/membership/cluster.go, RaftCluster.genID.
    """
    seed = b"".join(number.to_bytes(8, "big") for number in sorted(initial_members))
    return ClusterID(int.from_bytes(hashlib.sha1(seed, usedforsecurity=False).digest()[:8], "big"))
