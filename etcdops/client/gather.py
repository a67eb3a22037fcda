"""The work behind `view.observe`: ask everybody at once, then put the answers together without hiding anything."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etcdops.client.endpoints import parse_endpoint
from etcdops.client.failures import Compacted, Refused, failures_of
from etcdops.client.maintenance import to_hash_kv, to_member_status
from etcdops.client.view import (
    Alarm,
    ClusterView,
    EndpointView,
    HashKV,
    MemberStatus,
    MemberView,
    Silence,
    sort_members,
)
from etcdops.errors import AccessDenied, EtcdopsError, UsageError
from etcdops.ids import NO_MEMBER, ClusterID, MemberID, Revision
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.wording import Texts

if TYPE_CHECKING:
    from etcdops.client.client import Client

ENDPOINTS_MAX = 64
"""A bound on what a confused cluster can make us ask: etcd advises 7 members at most."""
SETTLE_S = 0.25
PROBE_KEY = b"\0"
"""Any key will do for the proof of a quorum; this one is nobody's."""


@dataclass(slots=True)
class _Answer:
    """What one address said. `failure` is why there is no status."""

    url: str
    given: bool
    status: MemberStatus | None = None
    member_id: MemberID | None = None
    cluster_id: ClusterID | None = None
    rtt_s: float | None = None
    failure: str = ""
    silence: Silence = Silence.NONE
    alarms: tuple[Alarm, ...] = ()
    members: tuple[pb.Member, ...] | None = None
    members_error: str = ""


@dataclass(slots=True)
class _Look:
    """One look in progress."""

    client: Client
    timeout_s: float
    answers: dict[str, _Answer] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def ask(self, group: asyncio.TaskGroup, url: str, *, given: bool) -> None:
        """Ask an address once, whoever names it."""
        try:
            endpoint = parse_endpoint(url, secure_default=self.client.settings.uses_tls).url
        except UsageError:
            return  # a member advertises nonsense; its row says that it has no usable URL
        if endpoint in self.answers or len(self.answers) >= ENDPOINTS_MAX:
            return
        answer = self.answers[endpoint] = _Answer(endpoint, given)
        self.tasks.add(group.create_task(self._interview(group, answer)))

    async def _interview(self, group: asyncio.TaskGroup, answer: _Answer) -> None:
        await asyncio.gather(self._ask_status(answer), self.ask_members(group, answer))

    async def _ask_status(self, answer: _Answer) -> None:
        started = time.monotonic()
        try:
            status = await self.client.maintenance.status(answer.url, timeout=self.timeout_s)
        except EtcdopsError as error:
            answer.failure, answer.silence = _describe(error)
            return
        answer.rtt_s = time.monotonic() - started
        answer.status, answer.alarms = _split_alarms(to_member_status(status))
        answer.member_id = MemberID(status.header.member_id)
        answer.cluster_id = ClusterID(status.header.cluster_id)

    async def ask_members(self, group: asyncio.TaskGroup, answer: _Answer) -> None:
        try:
            listed = await self.client.cluster.member_list(
                linearizable=False, timeout=self.timeout_s, endpoint=answer.url
            )
        except EtcdopsError as error:
            answer.members_error, _ = _describe(error)
            return
        answer.members = tuple(listed.members)
        answer.cluster_id = ClusterID(listed.header.cluster_id)
        answer.member_id = MemberID(listed.header.member_id)
        for member in listed.members:
            for url in member.clientURLs:
                self.ask(group, url, given=False)


async def gather(client: Client, *, timeout_s: float, hashes: bool = False) -> ClusterView:
    """See `etcdops.client.view.observe`."""
    taken_at, started = time.time(), time.monotonic()
    look = _Look(client, timeout_s)
    async with asyncio.TaskGroup() as group:
        quorum = group.create_task(_serves_linearizable(client, timeout_s))
        for url in client.endpoints:
            look.ask(group, url, given=True)
        group.create_task(_cut_short(look, quorum))
    await _settle(look)
    view = _assemble(list(look.answers.values()), taken_at)
    proof = False if quorum.cancelled() else quorum.result()
    if len({answer.cluster_id for answer in look.answers.values()} - {None}) > 1:
        proof = await _proved_here(client, view, timeout_s)
    view = dataclasses.replace(view, serves_linearizable=proof, took_s=time.monotonic() - started)
    return await _with_hashes(client, view, timeout_s) if hashes else view


async def _settle(look: _Look) -> None:
    """Ask for the member lists once more when they differ: a follower is some milliseconds late after every change."""
    ours = [answer for answer in look.answers.values() if answer.members is not None]
    lists = {(answer.cluster_id, _facts(answer.members or ())) for answer in ours}
    if len(lists) == len({answer.cluster_id for answer in ours}):
        return
    await asyncio.sleep(SETTLE_S)
    async with asyncio.TaskGroup() as group:
        for answer in ours:
            group.create_task(look.ask_members(group, answer))


async def _cut_short(look: _Look, quorum: asyncio.Task[bool | None]) -> None:
    """End the proof of a quorum as soon as all answers show that there is none: it would only time out."""
    while pending := {task for task in look.tasks if not task.done()}:
        await asyncio.wait(pending)
    statuses = [answer.status for answer in look.answers.values() if answer.status is not None]
    if any(status.leader != NO_MEMBER for status in statuses):
        return
    # Nobody was able to say that there is a leader, or everybody who answered says that there is none.
    if statuses or not any(answer.silence.alive for answer in look.answers.values()):
        quorum.cancel()


async def _proved_here(client: Client, view: ClusterView, timeout_s: float) -> bool | None:
    """The proof by a member of the view's own cluster: another cluster may have given the first one."""
    asked = next((member for member in view.members if member.status and member.status.leader != NO_MEMBER), None)
    return False if asked is None else await _serves_linearizable(client, timeout_s, asked.endpoint)


async def _serves_linearizable(client: Client, timeout_s: float, endpoint: str | None = None) -> bool | None:
    """Whether a read through the quorum works; None when we are not allowed to know."""
    try:
        await client.kv.get(PROBE_KEY, count_only=True, timeout=timeout_s, endpoint=endpoint)
    except AccessDenied as error:
        # As etcdctl's health check: "permission denied" comes from a member that asked its leader. A wrong or missing
        # password is refused before that.
        return True if "permission denied" in error.message else None
    except Refused:
        return None
    except EtcdopsError:
        return False
    return True


# `AlarmMember.String()`: members list all alarms of the cluster among the errors of their status. Unlike the Alarm RPC,
# which goes through the log, this costs nothing and works without quorum.
_ALARM = re.compile(r"memberID:(\d+)\s+alarm:(\w+)")


def _split_alarms(status: MemberStatus) -> tuple[MemberStatus, tuple[Alarm, ...]]:
    """The status without what its errors say about alarms, and the alarms."""
    found = {error: _ALARM.search(error) for error in status.errors}
    alarms = tuple(Alarm(MemberID(int(match[1])), match[2]) for match in found.values() if match)
    errors = tuple(error.removeprefix("etcdserver: ") for error, match in found.items() if not match)
    return dataclasses.replace(status, errors=errors), alarms


def _describe(error: EtcdopsError) -> tuple[str, Silence]:
    """Why there is no answer: (a short sentence, the kind)."""
    failures = failures_of(error)
    return (failures[-1].reason, failures[-1].silence) if failures else (error.message, Silence.FAILED)


def _assemble(answers: list[_Answer], taken_at: float) -> ClusterView:
    cluster_id = _main_cluster(answers)
    ours = [answer for answer in answers if answer.cluster_id in (cluster_id, None)]
    listed, members_problem = _member_list([answer for answer in ours if answer.members])
    by_url = {answer.url: answer for answer in answers}
    if listed is None:
        members = [_member_without_list(answer, taken_at) for answer in ours if answer.given]
    else:
        members = [_member(member, by_url, cluster_id, taken_at) for member in listed]
    view = ClusterView(
        cluster_id=cluster_id,
        members=sort_members(members),
        alarms=tuple(sorted({alarm for a in ours for alarm in a.alarms}, key=lambda alarm: (alarm.member, alarm.type))),
        taken_at=taken_at,
        endpoints=tuple(EndpointView(a.url, a.given, a.member_id, a.cluster_id, a.failure, a.silence) for a in answers),
        members_known=listed is not None,
    )
    problems = (*_cluster_problems(answers, cluster_id), *members_problem, *_leader_problems(view))
    return dataclasses.replace(view, problems=problems)


def _main_cluster(answers: Iterable[_Answer]) -> ClusterID | None:
    """The cluster most addresses the user named belong to; a tie goes to the one named first."""
    votes = Counter(answer.cluster_id for answer in answers if answer.cluster_id is not None and answer.given)
    return votes.most_common(1)[0][0] if votes else None


def _member_list(answers: list[_Answer]) -> tuple[tuple[pb.Member, ...] | None, tuple[Texts, ...]]:
    """The list of the member that has applied most, and a sentence for each member that says otherwise."""
    if not answers:
        return None, ()
    newest = max(answers, key=lambda a: (a.status.raft_term, a.status.raft_applied_index) if a.status else (0, 0))
    assert newest.members is not None
    expected = _facts(newest.members)
    problems = []
    for answer in answers:
        difference = expected ^ _facts(answer.members or ())
        if difference:
            ids = ", ".join(sorted({format(number, "016x") for number, *_ in difference}))
            problems.append(
                Texts(
                    f"{answer.url} has another member list than {newest.url}: they differ in {ids}",
                    f"{answer.url} 与 {newest.url} 的成员列表不一致：差异在 {ids}",
                )
            )
    return newest.members, tuple(problems)


def _facts(members: Iterable[pb.Member]) -> frozenset[tuple[int, tuple[str, ...], bool]]:
    """What members must agree on. Client URLs are left out: a member publishes them a moment after it has joined."""
    return frozenset((member.ID, tuple(sorted(member.peerURLs)), member.isLearner) for member in members)


def _member(
    member: pb.Member, by_url: Mapping[str, _Answer], cluster_id: ClusterID | None, taken_at: float
) -> MemberView:
    member_id = MemberID(member.ID)
    base = MemberView(
        id=member_id,
        name=member.name,
        peer_urls=tuple(member.peerURLs),
        client_urls=tuple(member.clientURLs),
        is_learner=member.isLearner,
        started=bool(member.name or member.clientURLs),
        endpoint="",
        status=None,
    )
    # An address the user named may lead to the member where its advertised one does not (NAT, port forwarding).
    itself = [a for a in by_url.values() if a.member_id == member_id and a.cluster_id == cluster_id]
    advertised = [by_url[url] for url in map(_normal, member.clientURLs) if url in by_url]
    answered = next((a for a in (*itself, *advertised) if a.status is not None and a in itself), None)
    if answered is not None:
        return dataclasses.replace(
            base,
            endpoint=answered.url,
            status=answered.status,
            last_status=answered.status,
            rtt_s=answered.rtt_s,
            last_seen=taken_at,
        )
    if not base.started:
        return dataclasses.replace(base, error="added, but never started", silence=Silence.UNSTARTED)
    candidates = [*itself, *advertised]
    if not candidates:
        return dataclasses.replace(base, error="it advertises no usable client URL", silence=Silence.NO_URL)
    return _silent(base, candidates[0], member_id, cluster_id)


def _silent(base: MemberView, answer: _Answer, member_id: MemberID, cluster_id: ClusterID | None) -> MemberView:
    error, silence = answer.failure, answer.silence
    if answer.cluster_id is not None and answer.cluster_id != cluster_id:
        error, silence = f"answers for another cluster, {answer.cluster_id:016x}", Silence.WRONG_CLUSTER
    elif answer.status is not None and answer.member_id != member_id:
        error, silence = f"another member answers there, {answer.member_id:016x}", Silence.WRONG_CLUSTER
    return dataclasses.replace(base, endpoint=answer.url, error=error or "no answer", silence=silence or Silence.FAILED)


def _member_without_list(answer: _Answer, taken_at: float) -> MemberView:
    return MemberView(
        id=answer.member_id,
        name="",
        peer_urls=(),
        client_urls=(),
        is_learner=answer.status.is_learner if answer.status else False,
        started=True,
        endpoint=answer.url,
        status=answer.status,
        error=answer.failure,
        silence=answer.silence,
        rtt_s=answer.rtt_s,
        last_seen=taken_at if answer.status else None,
        last_status=answer.status,
    )


def _normal(url: str) -> str:
    try:
        return parse_endpoint(url).url
    except UsageError:
        return url


def _cluster_problems(answers: Iterable[_Answer], cluster_id: ClusterID | None) -> list[Texts]:
    others: dict[ClusterID, list[str]] = {}
    for answer in answers:
        if answer.cluster_id is not None and answer.cluster_id != cluster_id:
            others.setdefault(answer.cluster_id, []).append(answer.url)
    return [
        Texts(
            f"two clusters: {', '.join(urls)} {'belongs' if len(urls) == 1 else 'belong'} to cluster {other:016x}, "
            f"not to {cluster_id or 0:016x}",
            f"存在两个集群：{'、'.join(urls)} 属于集群 {other:016x}，而非 {cluster_id or 0:016x}",
        )
        for other, urls in sorted(others.items())
    ]


def _leader_problems(view: ClusterView) -> list[Texts]:
    leaders = view.leaders
    if len(leaders) > 1:
        said = ", ".join(f"{m.label} (term {m.status.raft_term})" for m in leaders if m.status)
        return [
            Texts(
                f"{len(leaders)} members call themselves leader: {said}; the one of the highest term is right",
                f"{len(leaders)} 个成员自称 leader：{said}；以 term 最高者为准",
            )
        ]
    newest = {m.status.leader for m in view.members if m.status and m.status.raft_term == view.term} - {NO_MEMBER}
    if len(newest) > 1:
        return [
            Texts(
                f"members disagree about who leads in term {view.term}",
                f"各成员对 term {view.term} 的 leader 说法不一",
            )
        ]
    return []


async def _with_hashes(client: Client, view: ClusterView, timeout_s: float) -> ClusterView:
    """The view with each answering member's HashKV at the newest revision that all of them have."""
    revisions = [member.status.revision for member in view.members if member.status]
    if not revisions:
        return view
    revision = Revision(min(revisions))
    results = await asyncio.gather(*(_hash(client, member, revision, timeout_s) for member in view.members))
    members = tuple(
        dataclasses.replace(member, hash=found if isinstance(found, HashKV) else None, hash_error=_text(found))
        for member, found in zip(view.members, results, strict=True)
    )
    view = dataclasses.replace(view, members=members, hashes_revision=revision)
    if view.hashes_agree() is False:
        problem = Texts(
            f"the members' data differs: unequal hashes at revision {revision}",
            f"各成员数据不一致：revision {revision} 处的哈希不同",
        )
        view = dataclasses.replace(view, problems=(*view.problems, problem))
    return view


def _text(found: HashKV | str) -> str:
    return found if isinstance(found, str) else ""


async def _hash(client: Client, member: MemberView, revision: Revision, timeout_s: float) -> HashKV | str:
    """The hash, or why there is none."""
    if member.status is None:
        return "no answer"
    try:
        answer = await client.maintenance.hash_kv(member.endpoint, revision=revision, timeout=timeout_s)
    except Compacted:
        return f"revision {revision} was compacted meanwhile"
    except EtcdopsError as error:
        return _describe(error)[0]
    return to_hash_kv(answer, revision)
