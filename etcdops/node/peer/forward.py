"""Questions that only the leader can answer, asked over its peer port until it does.

Sources: etcd server/etcdserver/v3_server.go, LeaseRenew and LeaseTimeToLive; server.go, PromoteMember;
lease/leasehttp/http.go; cluster_util.go, promoteMemberHTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp

from etcdops.ids import MemberID
from etcdops.node.peer.dialer import Dialer
from etcdops.node.peer.port import Answer

RETRY_INTERVAL_S = 0.05
"""How long until the leader, or whoever leads by then, is asked again."""

_ANSWER_BYTES_MAX = 100 * 1024 * 1024
_PROTOBUF = "application/protobuf"


class ForwardTimeout(Exception):
    """No leader answered in time. What was asked may still have happened there."""


@dataclass(frozen=True, slots=True)
class Question:
    """One kind of request to the leader: its path, and the statuses after which asking again is of no use."""

    path: str
    final: frozenset[int]
    content_type: str = _PROTOBUF


LEASE_RENEW = Question("/leases", frozenset({200, 404}))
"""LeaseKeepAliveRequest in, LeaseKeepAliveResponse out; 404 means that there is no such lease."""

LEASE_TIME_TO_LIVE = Question("/leases/internal", frozenset({200, 404}))
"""LeaseInternalRequest in, LeaseInternalResponse out; 404 means that there is no such lease."""


def promote(member: MemberID) -> Question:
    """No body in, the JSON member list out; 404: no such member; 412: no learner, or not caught up (the text says)."""
    return Question(f"/members/promote/{member}", frozenset({200, 404, 412}), "application/json")


async def ask_leader(
    dialer: Dialer,
    question: Question,
    body: bytes,
    leader_urls: Callable[[], Sequence[str]],
    *,
    timeout_s: float,
    authorization: str = "",
) -> Answer:
    """The leader's final answer to `question`. Its URLs are asked for anew each round, since leaders change.

    Args: leader_urls gives the leader's peer URLs, nothing while there is none. Raises: ForwardTimeout.
    """
    headers = {"Content-Type": question.content_type}
    if authorization:
        headers["Authorization"] = authorization
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                for url in leader_urls():
                    answer = await _post(dialer, url + question.path, body, headers)
                    if answer is not None and answer.status in question.final:
                        return answer
                await asyncio.sleep(RETRY_INTERVAL_S)
    except TimeoutError as error:
        raise ForwardTimeout(f"no leader answered {question.path} within {timeout_s} s") from error


async def _post(dialer: Dialer, url: str, body: bytes, headers: dict[str, str]) -> Answer | None:
    try:
        async with await dialer.request("POST", url, data=body, headers=headers) as response:
            answer = await read_bounded(response, _ANSWER_BYTES_MAX)
    except (aiohttp.ClientError, OSError):
        return None
    return Answer(response.status, answer)


async def read_bounded(response: aiohttp.ClientResponse, size_max: int) -> bytes:
    """The whole body of an answer. Raises: OSError - it is longer than `size_max`."""
    parts: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > size_max:
            raise OSError(f"the answer of {response.url} is longer than {size_max} bytes")
    return b"".join(parts)
