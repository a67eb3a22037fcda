"""Whether the cluster around a member that starts again is the one its data belongs to.

A member with the data of another cluster can do nothing: the others answer each of its requests with "cluster ID
mismatch", for ever. etcd starts it all the same; an operator learns of it from the log, if at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from etcdops.errors import StartRefused
from etcdops.ids import ClusterID, format_id
from etcdops.node.member.member import Member
from etcdops.node.peer.remote import RemoteCluster

ASK_TIMEOUT_S = 1.0
"""How long a start waits at most, when the others neither answer nor refuse. As for a member of a new cluster."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a member with data is at home, as far as its data and its flags say."""

    data_dir: Path
    cluster_id: ClusterID
    own_urls: frozenset[str]
    """Peer URLs of this member."""

    other_urls: tuple[str, ...]
    """Peer URLs of everybody else whom the data or the flags name."""

    def is_enough(self, found: RemoteCluster) -> bool:
        """Our own cluster runs and has us where we are: whoever else answers, the data is where it belongs."""
        return found.cluster_id == self.cluster_id and self.own_urls <= _urls(found)

    def refuse(self, answers: Iterable[RemoteCluster]) -> None:
        """Judge by what those at `other_urls` say. Raises: StartRefused - we stand where another cluster has a member.

        One of our own URLs in its list, which our own cluster does not claim, is what tells it from a stray: one that
        only came to live at the address of a member that is gone must not keep us from starting.
        """
        found = list(answers)
        claimed: set[str] = set()
        for answer in found:
            if answer.cluster_id == self.cluster_id:
                claimed |= _urls(answer)
        for answer in found:
            for member in answer.members:
                if answer.cluster_id != self.cluster_id and (self.own_urls - claimed).intersection(member.peer_urls):
                    raise self._refusal(answer, member, found)

    def _refusal(self, answer: RemoteCluster, member: Member, answers: list[RemoteCluster]) -> StartRefused:
        theirs = format_id(answer.cluster_id)
        said = ", ".join(one.source for one in answers if one.cluster_id == answer.cluster_id)
        known_as = f"{member.name} " if member.name else ""
        return StartRefused(
            f"the data directory {self.data_dir} belongs to cluster {format_id(self.cluster_id)}, "
            f"but the members around run cluster {theirs}",
            cause=f"{said} answered; that cluster has {', '.join(member.peer_urls)} as its member "
            f"{known_as}({format_id(member.id)})",
            hint=f"check --data-dir. If this member shall belong to cluster {theirs}: `member remove` "
            f"{format_id(member.id)}, `member add` it again, start it with an empty --data-dir and "
            "--initial-cluster-state existing. If this data is right (a restored snapshot): the others still run the "
            "old cluster; stop them, and start each on its restored data. Nothing was changed",
        )


def _urls(cluster: RemoteCluster) -> set[str]:
    return {url for member in cluster.members for url in member.peer_urls}


def surroundings(
    data_dir: Path,
    cluster_id: ClusterID,
    *,
    own: Member | None,
    others: Iterable[Member],
    advertised: Iterable[str],
    initial: Iterable[str],
) -> Surroundings:
    """Args: own, others - as the data has them; advertised, initial - peer URLs of the flags: ours, and everybody's."""
    own_urls = frozenset(advertised).union(own.peer_urls if own else ())
    named = [*(url for member in others for url in member.peer_urls), *initial]
    return Surroundings(
        data_dir, cluster_id, own_urls, tuple(url for url in dict.fromkeys(named) if url not in own_urls)
    )
