"""What one look at a cluster shows: every known member, the silent ones with the reason, and what may still fail.

Values only: no network, no grpc at import. `observe` takes such a look (its work is in `etcdops.client.gather`).
"""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etcdops.client.quorum import Quorum
from etcdops.ids import NO_MEMBER, ClusterID, LogIndex, MemberID, Revision, Term
from etcdops.wording import Texts

if TYPE_CHECKING:
    from etcdops.client.client import Client


class Silence(enum.StrEnum):
    """Why a member did not answer. `NONE` means it did."""

    NONE = ""
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    TLS = "TLS"
    NAME = "name not found"
    UNREACHABLE = "unreachable"
    ACCESS_DENIED = "access denied"
    NOT_ETCD = "not etcd"
    WRONG_CLUSTER = "wrong cluster"
    UNSTARTED = "not started"
    NO_URL = "no client URL"
    FAILED = "failed"

    @property
    def alive(self) -> bool:
        """Whether etcd spoke to us though it gave no status: "down" and "not allowed" are different things."""
        return self is Silence.ACCESS_DENIED


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """A member's own answer to Maintenance/Status. It speaks for that member only."""

    version: str
    db_size_bytes: int
    db_size_in_use_bytes: int
    db_quota_bytes: int
    """0 = the member does not say (before 3.6)."""
    leader: MemberID
    """Whom this member follows; NO_MEMBER while it knows no leader."""
    raft_term: Term
    raft_index: LogIndex
    """The committed index this member knows."""
    raft_applied_index: LogIndex
    revision: Revision
    errors: tuple[str, ...] = ()
    is_learner: bool = False


@dataclass(frozen=True, slots=True)
class HashKV:
    """The hash of a member's keys up to `hash_revision`. Comparable only where both revisions are equal."""

    hash: int
    compact_revision: Revision
    hash_revision: Revision


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm some member raised; all members know all alarms. `type` is etcd's name: NOSPACE or CORRUPT."""

    member: MemberID
    type: str


@dataclass(frozen=True, slots=True)
class MemberView:
    """One member as seen now. A silent member is listed too: `status` is None, `silence` and `error` say why."""

    id: MemberID | None
    """None = an endpoint that did not answer while nobody could tell which member it is."""
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool
    started: bool
    """False = added to the cluster, but it never joined: etcd knows no name and no client URL of it."""
    endpoint: str
    """The address that was asked (the one that answered, if any did); "" when there is none to ask."""
    status: MemberStatus | None
    error: str = ""
    """Why there is no status, for people; "" = it answered."""
    silence: Silence = Silence.NONE
    rtt_s: float | None = None
    hash: HashKV | None = None
    hash_error: str = ""
    last_seen: float | None = None
    """Unix time of the last answer, also of an earlier look (see `ClusterView.remembering`)."""
    last_status: MemberStatus | None = None
    """The answer at `last_seen`: equals `status` while the member answers."""

    @property
    def answered(self) -> bool:
        return self.status is not None

    @property
    def label(self) -> str:
        """The best name there is: the member's own, else its ID, else the endpoint."""
        return self.name or (format(self.id, "016x") if self.id else "") or self.endpoint


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One address that was asked, and who spoke behind it."""

    endpoint: str
    given: bool
    """True = the user named it; False = it is a member's advertised client URL."""
    member_id: MemberID | None = None
    cluster_id: ClusterID | None = None
    error: str = ""
    silence: Silence = Silence.NONE


class Health(enum.StrEnum):
    """The verdict over the whole cluster, worst last."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    UNKNOWN = "UNKNOWN"
    NO_LEADER = "NO LEADER"
    QUORUM_LOST = "QUORUM LOST"
    UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """One look at a cluster. `members` holds every member anybody told us about, the silent ones too."""

    cluster_id: ClusterID | None
    """None = nobody who answered said which cluster this is."""
    members: tuple[MemberView, ...]
    """In the order of their names. Without a member list: one entry for each endpoint."""
    alarms: tuple[Alarm, ...] = ()
    taken_at: float = 0.0
    """Unix time when the look began."""
    took_s: float = 0.0
    endpoints: tuple[EndpointView, ...] = ()
    problems: tuple[Texts, ...] = ()
    """What does not fit together, in plain sentences: two clusters, several leaders, differing member lists."""
    members_known: bool = True
    """False = no member list could be had, so `members` are only the endpoints and no quorum can be computed."""
    serves_linearizable: bool | None = None
    """Whether a read through the quorum succeeded just now: the only proof of one. None = could not be tried."""
    hashes_revision: Revision | None = None
    """The revision all `MemberView.hash` were asked for; None when hashes were not asked for."""

    @property
    def voters(self) -> tuple[MemberView, ...]:
        return tuple(member for member in self.members if not member.is_learner)

    @property
    def learners(self) -> tuple[MemberView, ...]:
        return tuple(member for member in self.members if member.is_learner)

    @property
    def answering(self) -> tuple[MemberView, ...]:
        """The members, learners included, that gave their status."""
        return tuple(member for member in self.members if member.answered)

    @property
    def silent(self) -> tuple[MemberView, ...]:
        return tuple(member for member in self.members if not member.answered)

    @property
    def quorum(self) -> Quorum:
        """The arithmetic over voters that answered us. `present` can be too low: a voter may be hidden from us only."""
        voters = self.voters if self.members_known else ()
        return Quorum(len(voters), sum(1 for voter in voters if voter.answered))

    @property
    def has_quorum(self) -> bool:
        """Whether the cluster has a working majority: by proof where one was tried, else by counting answers."""
        if self.serves_linearizable is not None:
            return self.serves_linearizable
        return self.quorum.holds and self.leader != NO_MEMBER

    @property
    def tolerates(self) -> int:
        """How many more voters may fail; 0 when no one may or the quorum is gone."""
        return self.quorum.tolerates if self.has_quorum else 0

    @property
    def term(self) -> Term:
        return max((member.status.raft_term for member in self.members if member.status), default=Term(0))

    @property
    def leader(self) -> MemberID:
        """Whom most answering members of the highest term follow; NO_MEMBER when they know nobody."""
        votes = Counter(
            member.status.leader
            for member in self.members
            if member.status and member.status.raft_term == self.term and member.status.leader != NO_MEMBER
        )
        # Sorted, so that a tie is decided the same way every time.
        return max(sorted(votes), key=votes.__getitem__) if votes else NO_MEMBER

    @property
    def leaders(self) -> tuple[MemberView, ...]:
        """The members that call themselves leader: more than one means an old leader that has not noticed, or worse."""
        return tuple(member for member in self.members if member.status and member.status.leader == member.id)

    @property
    def leader_member(self) -> MemberView | None:
        return self.member(self.leader) if self.leader != NO_MEMBER else None

    @property
    def max_revision(self) -> Revision:
        return max((member.status.revision for member in self.members if member.status), default=Revision(0))

    @property
    def max_raft_index(self) -> LogIndex:
        return max((member.status.raft_index for member in self.members if member.status), default=LogIndex(0))

    @property
    def versions(self) -> tuple[str, ...]:
        """The different versions that answered, sorted as text."""
        return tuple(sorted({member.status.version for member in self.members if member.status}))

    @property
    def health(self) -> Health:
        """HEALTHY only when every member answers, the quorum is proved, no alarm is raised and nothing is at odds."""
        if not self.answering:
            return Health.UNKNOWN if any(member.silence.alive for member in self.members) else Health.UNREACHABLE
        if not self.has_quorum:
            if not self.members_known:
                return Health.NO_LEADER if self.serves_linearizable is False else Health.UNKNOWN
            alive = sum(1 for voter in self.voters if voter.answered or voter.silence.alive)
            if Quorum(len(self.voters), alive).holds:
                # Enough voters are there. If some would not talk to us, only the probe can tell.
                return Health.NO_LEADER if self.serves_linearizable is False or self.quorum.holds else Health.UNKNOWN
            return Health.QUORUM_LOST
        differs = self.hashes_agree() is False
        troubled = self.silent or self.alarms or self.problems or differs or not self.members_known
        return Health.DEGRADED if troubled or any(m.status.errors for m in self.members if m.status) else Health.HEALTHY

    def member(self, member_id: MemberID) -> MemberView | None:
        """The member with this ID, None when nobody told us of one."""
        return next((member for member in self.members if member.id == member_id), None)

    def votes(self, member: MemberView) -> bool | None:
        """Whether a member is a voter; None when nobody said so: it is silent, and no member list could be had."""
        return None if member.status is None and not self.members_known else not member.is_learner

    def lag(self, member: MemberView) -> int | None:
        """Log entries this member has not applied of those anybody committed; None for a silent one.

        Answers arrive milliseconds apart, so a busy cluster always shows a few.
        """
        return None if member.status is None else max(0, self.max_raft_index - member.status.raft_applied_index)

    def alarms_of(self, member: MemberView) -> tuple[str, ...]:
        return tuple(alarm.type for alarm in self.alarms if alarm.member == member.id)

    def hashes_agree(self) -> bool | None:
        """Whether all hashes that were taken and can be compared are equal; None with fewer than two of them."""
        hashes = [member.hash for member in self.members if member.hash]
        if len(hashes) < 2 or len({(h.hash_revision, h.compact_revision) for h in hashes}) != 1:
            return None
        return len({h.hash for h in hashes}) == 1

    def remembering(self, previous: ClusterView | None) -> ClusterView:
        """This view with what an earlier one knew: when a silent member was last seen, and what it said then."""
        if previous is None or previous.cluster_id != self.cluster_id:
            return self
        known = {_identity(member): member for member in previous.members}
        return dataclasses.replace(self, members=tuple(_remember(m, known.get(_identity(m))) for m in self.members))


def _identity(member: MemberView) -> MemberID | str:
    return member.id if member.id is not None else member.endpoint


def _remember(now: MemberView, before: MemberView | None) -> MemberView:
    if now.answered or before is None:
        return now
    return dataclasses.replace(now, last_seen=before.last_seen, last_status=before.last_status)


def sort_members(members: Iterable[MemberView]) -> tuple[MemberView, ...]:
    """The order members are shown in: by name, then ID; unstarted ones last."""
    return tuple(sorted(members, key=lambda member: (not member.started, member.name, member.id or 0, member.endpoint)))


async def observe(client: Client, *, timeout_s: float, hashes: bool = False) -> ClusterView:
    """Ask every endpoint of `client` and every member's client URL at once and say what came back.

    Never raises for what a cluster may do: unreachable members, refused credentials and contradictions are in the view.
    Works without quorum. Takes at most about `timeout_s` seconds for the look, and as much again for `hashes`.

    Args: hashes - also ask each member for the HashKV at one revision that all of them have.
    """
    # Late, so that code that only shows views does not load grpc.
    from etcdops.client.gather import gather

    return await gather(client, timeout_s=timeout_s, hashes=hashes)
