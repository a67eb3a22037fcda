"""Requests that carry a message to a peer, and what its answers mean."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import aiohttp

from etcdops.ids import MemberID, format_id
from etcdops.node.peer.environment import Environment, error_words
from etcdops.node.peer.identity import CLUSTER_ID_MISMATCH, INCOMPATIBLE_VERSION
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

_ANSWER_BYTES_MAX = 4096
_OTHER_TARGET = "mismatch member"
"""Part of what etcd would say with a 403 to a message for another member."""


class PostFailed(Exception):
    """The peer did not take what was sent; the text is why."""


async def post(
    environment: Environment,
    peer: MemberID,
    url: str,
    *,
    body: bytes | AsyncIterator[bytes],
    content_type: str,
    timeout: aiohttp.ClientTimeout,
) -> None:
    """POST `body` to `url`; returns once the peer has taken it. Raises: PostFailed.

    Source: etcd server/etcdserver/api/rafthttp/util.go, createPostRequest and checkPostResponse.
    """
    try:
        async with await environment.dialer.request(
            "POST",
            url,
            data=body,
            headers={**environment.identity.headers, "Content-Type": content_type},
            timeout=timeout,
        ) as response:
            answer = await response.content.read(_ANSWER_BYTES_MAX)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise PostFailed(error_words(error)) from error
    if response.status != 204:
        raise PostFailed(_refusal(environment, peer, response, answer.decode(errors="replace").strip()))


def _refusal(environment: Environment, peer: MemberID, response: aiohttp.ClientResponse, body: str) -> str:
    if response.status == 412 and body == INCOMPATIBLE_VERSION:
        _logger.error("request sent was ignored by peer", extra=fields(remote_peer_id=format_id(peer)))
        return body
    if response.status == 412 and body == CLUSTER_ID_MISMATCH:
        _logger.error(
            "request sent was ignored due to cluster ID mismatch",
            extra=fields(
                remote_peer_id=format_id(peer),
                remote_peer_cluster_id=response.headers.get("X-Etcd-Cluster-ID", ""),
                local_member_cluster_id=environment.identity.cluster,
            ),
        )
        return body
    if response.status == 403 and _OTHER_TARGET not in body:
        # etcd takes every 403 for its own removal and stops, also when only the URL leads to another member.
        environment.handler.removed_from_cluster()
        return "the member has been permanently removed from the cluster"
    return f'unexpected http status {response.reason} while posting to "{response.url}" ({body})'
