"""Questions to members of a running cluster, asked by one that wants to join it or is not part of it yet.

Source: etcd server/etcdserver/cluster_util.go, GetClusterFromRemotePeers and getVersions.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import aiohttp

from etcdops.ids import ClusterID, MemberID, format_id
from etcdops.node.member.member import Member, parse_members
from etcdops.node.peer.dialer import Dialer
from etcdops.node.peer.environment import error_words
from etcdops.node.peer.forward import read_bounded
from etcdops.node.peer.identity import parse_id
from etcdops.node.tls.client import ClientTls
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

_ANSWER_BYTES_MAX = 4 * 1024 * 1024
_MEMBERS = "/members"
_GRACE_S = 1.0
"""How long the others are waited for once one has answered: only to see whether they agree."""


class FetchFailed(Exception):
    """No member could be asked; the text says what each one answered."""


class Reachable(Protocol):
    """Whoever has an ID and addresses."""

    @property
    def id(self) -> MemberID: ...
    @property
    def peer_urls(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class RemoteCluster:
    """A cluster as one of its members describes it."""

    cluster_id: ClusterID
    members: tuple[Member, ...]
    source: str
    """The URL that said so."""

    disagreements: tuple[str, ...] = ()
    """What other URLs say differently: a stale member, or one of another cluster."""


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    event: str
    """In etcd's words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Versions:
    """What a member answers to GET /version. `cluster` is "not_decided" until a leader has set it."""

    server: str
    cluster: str


async def fetch_cluster(urls: Sequence[str], *, timeout_s: float = 10.0, tls: ClientTls | None = None) -> RemoteCluster:
    """The cluster that the members at `urls` belong to, in the words of the first of them that answered.

    All are asked at once. Raises: FetchFailed - none answered with a member list within `timeout_s`.
    """
    async with _dialing(timeout_s, tls) as dialer:
        answers, failures = await _gather(dialer, urls)
    for url, failed in failures.items():
        _logger.warning(failed.event, extra=fields(address=url + _MEMBERS, error=failed.reason))
    if not answers:
        tried = "; ".join(f"{url}: {failed.reason}" for url, failed in failures.items()) or "no URLs were given"
        raise FetchFailed(f"could not retrieve cluster information from the given URLs ({tried})")
    first = answers[0]
    disagreements = tuple(filter(None, (_difference(first, other) for other in answers[1:])))
    return RemoteCluster(first.cluster_id, first.members, first.source, disagreements)


async def ask_clusters(
    urls: Sequence[str], *, timeout_s: float, enough: Callable[[RemoteCluster], bool], tls: ClientTls | None = None
) -> list[RemoteCluster]:
    """What the members at `urls` say of their clusters, all asked at once, in the order in which they answered.

    Nobody is waited for after an answer that is `enough`, nor longer than `timeout_s`; silence is not told to the log.
    """
    async with _dialing(timeout_s, tls) as dialer:
        answers, _ = await _gather(dialer, urls, grace_s=timeout_s, enough=enough)
    return answers


async def fetch_versions(
    members: Iterable[Reachable], *, timeout_s: float = 10.0, tls: ClientTls | None = None
) -> dict[MemberID, Versions | None]:
    """The versions of `members`, all asked at once; None for one that did not answer."""
    async with _dialing(timeout_s, tls) as dialer:
        asked = {member.id: member for member in members}
        found = await asyncio.gather(*(_version(dialer, member) for member in asked.values()))
    return dict(zip(asked, found, strict=True))


def parse_version_answer(body: bytes) -> Versions:
    """The answer to GET /version. Raises: ValueError. Source: etcd api/version/version.go, Versions."""
    parsed = _load(body)
    server, cluster = (
        (parsed.get("etcdserver"), parsed.get("etcdcluster")) if isinstance(parsed, dict) else (None, None)
    )
    if not isinstance(server, str) or not isinstance(cluster, str):
        raise ValueError("not a version")
    return Versions(server, cluster)


def _load(body: bytes) -> object:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


@asynccontextmanager
async def _dialing(timeout_s: float, tls: ClientTls | None) -> AsyncIterator[Dialer]:
    dialer = Dialer(tls, timeout=aiohttp.ClientTimeout(total=timeout_s))
    try:
        yield dialer
    finally:
        await dialer.close()


async def _gather(
    dialer: Dialer,
    urls: Sequence[str],
    *,
    grace_s: float = _GRACE_S,
    enough: Callable[[RemoteCluster], bool] = lambda _: False,
) -> tuple[list[RemoteCluster], dict[str, _NoAnswer]]:
    """Answers in the order in which they came, and why the other URLs gave none."""
    answers: list[RemoteCluster] = []
    failures: dict[str, _NoAnswer] = {}
    tasks = {asyncio.create_task(_cluster(dialer, url)): url for url in dict.fromkeys(urls)}
    waiting = set(tasks)
    try:
        while waiting and not any(map(enough, answers)):
            done, waiting = await asyncio.wait(
                waiting, timeout=grace_s if answers else None, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in sorted(done, key=lambda ended: urls.index(tasks[ended])):
                outcome = task.result()
                if isinstance(outcome, RemoteCluster):
                    answers.append(outcome)
                else:
                    failures[tasks[task]] = outcome
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return answers, failures


async def _cluster(dialer: Dialer, url: str) -> RemoteCluster | _NoAnswer:
    """What the member at `url` says, or why it says nothing."""
    try:
        async with await dialer.request("GET", url + _MEMBERS) as response:
            body = await read_bounded(response, _ANSWER_BYTES_MAX)
    except (aiohttp.ClientError, OSError) as error:
        return _NoAnswer("failed to get cluster response", error_words(error))
    try:
        members = parse_members(body)
    except ValueError as error:
        return _NoAnswer("failed to unmarshal cluster response", error_words(error))
    try:
        cluster = ClusterID(parse_id(response.headers.get("X-Etcd-Cluster-ID", "")))
    except ValueError as error:
        return _NoAnswer("failed to parse cluster ID", error_words(error))
    if not members:
        return _NoAnswer("failed to get cluster response", "it lists no members")
    return RemoteCluster(cluster, tuple(members), url)


def _difference(first: RemoteCluster, other: RemoteCluster) -> str:
    if first.cluster_id != other.cluster_id:
        return (
            f"{other.source} belongs to cluster {format_id(other.cluster_id)}, "
            f"{first.source} to {format_id(first.cluster_id)}"
        )
    one, two = ({(member.id, member.peer_urls) for member in side.members} for side in (first, other))
    if one == two:
        return ""
    unknown = ", ".join(sorted(format_id(member) for member, _ in one ^ two))
    return f"{other.source} and {first.source} list different members or peer URLs: {unknown}"


async def _version(dialer: Dialer, member: Reachable) -> Versions | None:
    name, reason = format_id(member.id), "it has no peer URLs"
    for url in member.peer_urls:
        address = url + "/version"
        try:
            async with await dialer.request("GET", address) as response:
                return parse_version_answer(await read_bounded(response, _ANSWER_BYTES_MAX))
        except (aiohttp.ClientError, OSError) as error:
            reason = error_words(error)
            _logger.warning(
                "failed to reach the peer URL", extra=fields(address=address, remote_member_id=name, error=reason)
            )
        except ValueError as error:
            reason = str(error)
            _logger.warning(
                "failed to unmarshal response", extra=fields(address=address, remote_member_id=name, error=reason)
            )
    _logger.warning("failed to get version", extra=fields(remote_member_id=name, error=reason))
    return None
