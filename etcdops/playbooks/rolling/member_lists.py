"""Whether etcd's two lists of its members are the same, before 3.6 goes over from one to the other. Pure.

Up to 3.5 a member goes by the list in its v2 store, which is what it answers with; the one in its backend, which a
snapshot has, is kept beside it. From 3.6 on it is the other way round. Where they differ, members that were removed
long ago come back with the upgrade, and voters that were learners once become learners again.

Source: etcd server/etcdserver/api/membership/cluster.go; its reports on zombie members and on promoted learners.
"""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.client.view import ClusterView, MemberView
from etcdops.snapshot.facts import SnapshotFacts, SnapshotMember


def differences(view: ClusterView, stored: SnapshotFacts) -> list[str]:
    """What would become of each member by 3.6, where that is not what it is now. Args: stored - of a snapshot."""
    kept = {member.id: member for member in stored.members}
    serving = {member.id: member for member in view.members if member.id is not None}
    found = []
    for id, member in serving.items():
        label = member.label
        if id in stored.removed_members:
            found.append(f"{label} counts as removed")
        elif id not in kept:
            found.append(f"{label} would be no member any more")
        else:
            found += [f"{label} {what}" for what in _changes(member, kept[id])]
    found += [
        f"{member.name or f'{id:x}'}, which is no member now, would come back"
        for id, member in kept.items()
        if id not in serving
    ]
    return found


def _changes(now: MemberView, stored: SnapshotMember) -> Iterator[str]:
    if now.is_learner != stored.is_learner:
        yield "would be a learner again, without a vote" if stored.is_learner else "would be a voter"
    if sorted(now.peer_urls) != sorted(stored.peer_urls):
        yield f"would be looked for at {', '.join(stored.peer_urls) or 'no address'}"
