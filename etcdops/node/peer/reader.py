"""The receiving end of a stream: dials the peer, reads what it writes into its answer, and dials again.

Source: etcd server/etcdserver/api/rafthttp/stream.go, streamReader.
"""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from etcdops.ids import MemberID, format_id
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.environment import Environment, error_words
from etcdops.node.peer.identity import CLUSTER_ID_MISMATCH, INCOMPATIBLE_VERSION, OLDEST_VERSION, parse_version
from etcdops.node.peer.status import PeerStatus
from etcdops.node.peer.stream import IO_TIMEOUT_S, StreamKind
from etcdops.node.peer.urls import UrlPicker
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

DIAL_INTERVAL_S = 0.1
"""The least time between two dials of one stream. Source: etcd rafthttp/transport.go, DialRetryFrequency."""

_FIRST_WITH_STREAMS = (2, 1)
_READ_BUFFER_BYTES = 256 * 1024
_REFUSAL_BYTES_MAX = 4096


class _NotDialled(Exception):
    """The peer did not answer with a stream."""


class StreamReader:
    """Keeps one kind of stream from one peer open as long as `run` runs."""

    def __init__(
        self, kind: StreamKind, environment: Environment, peer: MemberID, picker: UrlPicker, status: PeerStatus
    ) -> None:
        self._kind = kind
        self._environment = environment
        self._peer = peer
        self._picker = picker
        self._status = status
        identity = environment.identity
        self._names = {"local-member-id": identity.name, "remote-peer-id": format_id(peer)}
        self._log_names = {"stream-reader-type": kind.label, **self._names}
        self._headers = {**identity.headers, "X-Raft-To": format_id(peer)}
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=environment.dial_timeout_s, sock_read=IO_TIMEOUT_S
        )

    async def run(self) -> None:
        """Dial, read until the stream ends, and again. Ends only by being cancelled."""
        _logger.info("started stream reader with remote peer", extra=fields(self._log_names))
        loop = asyncio.get_running_loop()
        try:
            while True:
                next_dial = loop.time() + DIAL_INTERVAL_S
                await self._dial_and_read()
                await asyncio.sleep(max(0.0, next_dial - loop.time()))
        finally:
            _logger.info("stopped stream reader with remote peer", extra=fields(self._log_names))

    async def _dial_and_read(self) -> None:
        url = self._picker.pick()
        try:
            response = await self._dial(url)
        except _NotDialled as error:
            self._picker.unreachable(url)
            self._status.deactivate(self._kind.label, "dial", error)
            return
        try:
            self._status.activate()
            _logger.info("established TCP streaming connection with remote peer", extra=fields(self._log_names))
            await self._read(response)
        finally:
            response.close()

    async def _dial(self, url: str) -> aiohttp.ClientResponse:
        environment = self._environment
        try:
            response = await environment.dialer.request(
                "GET",
                url + self._kind.path + environment.identity.name,
                headers=self._headers,
                timeout=self._timeout,
                read_buffer_bytes=_READ_BUFFER_BYTES,
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _NotDialled(error_words(error)) from error
        if response.status == 200 and self._speaks_streams(response):
            return response
        try:
            body = await response.content.read(_REFUSAL_BYTES_MAX)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _NotDialled(error_words(error)) from error
        finally:
            response.close()
        raise _NotDialled(self._refusal(response, body.decode(errors="replace").strip()))

    def _speaks_streams(self, response: aiohttp.ClientResponse) -> bool:
        try:
            return parse_version(response.headers.get("X-Server-Version", OLDEST_VERSION)) >= _FIRST_WITH_STREAMS
        except ValueError:
            return False

    def _refusal(self, response: aiohttp.ClientResponse, body: str) -> str:
        """Why there is no stream, in etcd's words; logs what concerns the operator."""
        names = self._names
        if response.status == 200:
            return "unsupported stream type"
        if response.status == 410:
            self._environment.handler.removed_from_cluster()
            return "the member has been permanently removed from the cluster"
        if response.status == 404:
            return f"peer {names['remote-peer-id']} failed to find local node {names['local-member-id']}"
        if response.status != 412:
            return f"unhandled http status {response.status}"
        if body == INCOMPATIBLE_VERSION:
            _logger.warning(
                "request sent was ignored by remote peer due to server version incompatibility",
                extra=fields(names, error=body),
            )
            return body
        if body == CLUSTER_ID_MISMATCH:
            _logger.warning(
                "request sent was ignored by remote peer due to cluster ID mismatch",
                extra=fields(
                    names,
                    remote_peer_cluster_id=response.headers.get("X-Etcd-Cluster-ID", ""),
                    local_member_cluster_id=self._environment.identity.cluster,
                    error=body,
                ),
            )
            return body
        return f'unhandled error "{body}" when precondition failed'

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        decoder = self._kind.decoder(self._environment.identity.member_id, self._peer)
        receive, stats = self._environment.admission.receive, self._status.stats
        reason = "EOF"
        try:
            async for chunk in response.content.iter_any():
                stats.received_bytes += len(chunk)
                for message in decoder.feed(chunk):
                    receive(message)
        except (aiohttp.ClientError, OSError, TimeoutError, MalformedMessage) as error:
            reason = error_words(error)
            stats.received_failures += 1
        _logger.warning("lost TCP streaming connection with remote peer", extra=fields(self._log_names, error=reason))
        if reason != "EOF":
            self._status.deactivate(self._kind.label, "read", reason)
