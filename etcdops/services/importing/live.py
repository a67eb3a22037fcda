"""A running cluster, as its members describe it."""

from __future__ import annotations

from etcdops.client.client import Client
from etcdops.client.view import observe
from etcdops.errors import Unreachable
from etcdops.services.importing.clusters import Live, LiveMember


async def ask_cluster(client: Client) -> Live:
    """Members, versions, health. Raises: Unreachable - nobody gives a member list; as the client."""
    view = await observe(client, timeout_s=client.settings.command_timeout_s)
    if not view.members_known or not any(member.peer_urls for member in view.members):
        said = "; ".join(f"{one.endpoint}: {one.error}" for one in view.endpoints if one.error)
        raise Unreachable(
            f"no member of {', '.join(client.endpoints)} gives the member list", cause=said,
            hint="etcdops status with the same options says why",
        )  # fmt: skip
    members = tuple(
        LiveMember(
            f"{member.id:x}" if member.id is not None else "",
            member.name,
            member.peer_urls,
            member.client_urls,
            member.is_learner,
            member.status.version if member.status is not None else "",
            member.error,
        )
        for member in sorted(view.members, key=lambda one: (one.name, one.peer_urls))
    )
    cluster_id = f"{view.cluster_id:x}" if view.cluster_id is not None else ""
    answer = sum(1 for member in members if not member.error)
    notes = (
        f"cluster {cluster_id or 'without an ID'}: {answer} of {len(members)} members answer",
        *map(str, view.problems),
    )
    return Live(cluster_id, members, notes)
