"""Raft's paths on the peer port: /raft, /raft/stream/..., /raft/snapshot and /raft/probing.

Source: etcd server/etcdserver/api/rafthttp/http.go.
"""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from aiohttp import HttpVersion11, web

from etcdops.ids import MemberID, format_id
from etcdops.node.peer import codec, probe
from etcdops.node.peer.admission import TARGET_MISMATCH
from etcdops.node.peer.answers import (
    BODY_ERRORS,
    BODY_TIMEOUT_S,
    chunks,
    not_found,
    plain,
    read_body,
    refused,
    wrong_method,
)
from etcdops.node.peer.codec import MalformedMessage
from etcdops.node.peer.environment import Environment, error_words
from etcdops.node.peer.identity import parse_id
from etcdops.node.peer.peer import Peer
from etcdops.node.peer.port import Answer
from etcdops.node.peer.snapshot_file import received_path, save_database
from etcdops.node.peer.status import PeerStats, SavedImages
from etcdops.node.peer.stream import StreamKind
from etcdops.node.raft.types import Message, MessageType
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

PREFIX = "/raft"

MESSAGE_BYTES_MAX = 64 * 1024 * 1024
"""The longest message taken from a POST, alone or before a database. Anybody can post; only those we dial may send
longer ones (framing.MESSAGE_BYTES_MAX).
"""

_LENGTH = struct.Struct(">Q")


class Book(Protocol):
    """The transport's list of members."""

    def find_peer(self, member: MemberID) -> Peer | None:
        """The peer of that ID."""

    def add_remote(self, member: MemberID, urls: Sequence[str]) -> None:
        """See Transport.add_remote. Raises: ValueError."""


class RaftRoutes:
    """Requests of other members' raft. Every one is checked for version and cluster first."""

    def __init__(
        self, environment: Environment, book: Book, snapshot_dir: Path, executor: Executor, saved_images: SavedImages
    ) -> None:
        self._environment = environment
        self._identity = environment.identity
        self._admission = environment.admission
        self._book = book
        self._snapshot_dir = snapshot_dir
        self._executor = executor
        self.saved_images = saved_images
        self._cluster = {"X-Etcd-Cluster-ID": self._identity.cluster}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request whose path is PREFIX or below it."""
        path = request.path
        if path == "/raft":
            return await self._message(request)
        if path.startswith("/raft/stream/"):
            return await self._stream(request)
        if path == "/raft/snapshot":
            return await self._snapshot(request)
        if path == "/raft/probing":
            return web.Response(body=probe.answer(self._environment.clock) + b"\n", content_type="application/json")
        return not_found()

    # One message

    async def _message(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return wrong_method("POST")
        if refusal := self._identity.refusal(request.headers):
            return refused(refusal, self._cluster)
        self._note_sender(request)
        try:
            body = await read_body(request, size_max=MESSAGE_BYTES_MAX)
        except BODY_ERRORS as error:
            self._warn("failed to read Raft message", error)
            return plain(400, "error reading raft message", self._cluster)
        try:
            message = codec.decode_message(body)
            return self._taken(self._admission.receive(message))
        except MalformedMessage as error:
            self._warn("failed to unmarshal Raft message", error)
            return plain(400, "error unmarshalling raft message", self._cluster)

    def _taken(self, refusal: Answer | None) -> web.Response:
        if refusal is None:
            return web.Response(status=204, headers=self._cluster)
        if refusal.status != 403:
            return refused(refusal, self._cluster)
        body = json.dumps({"message": refusal.body.decode()}, separators=(",", ":")).encode()
        return web.Response(
            status=refusal.status, body=body, headers={**self._cluster, "Content-Type": "application/json"}
        )

    # A stream

    async def _stream(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "GET":
            return wrong_method("GET")
        headers = {**self._cluster, "X-Server-Version": self._identity.version}
        if refusal := self._identity.refusal(request.headers) or self._stream_refusal(request):
            return refused(refusal, headers)
        kind, member = self._stream_target(request.path)
        peer = self._book.find_peer(member)
        assert peer is not None
        return await peer.writer(kind).serve(request, headers)

    def _stream_target(self, path: str) -> tuple[StreamKind, MemberID]:
        """Kind of stream and dialling member. Raises: KeyError - no such stream; ValueError - no such ID."""
        folder, _, name = path.rpartition("/")
        return _STREAMS[folder + "/"], MemberID(parse_id(name))

    def _stream_refusal(self, request: web.BaseRequest) -> Answer | None:
        try:
            _, member = self._stream_target(request.path)
        except KeyError:
            return Answer(404, b"invalid path")
        except ValueError as error:
            self._warn("failed to parse path into ID", error, path=request.path.rpartition("/")[2])
            return Answer(404, b"invalid from")
        names = {
            "local-member-id": self._identity.name,
            "remote-peer-id-stream-handler": self._identity.name,
            "remote-peer-id-from": format_id(member),
        }
        if self._environment.handler.is_removed(member):
            _logger.warning("rejected stream from remote peer because it was removed", extra=fields(names))
            return Answer(410, b"removed member")
        if self._book.find_peer(member) is None:
            self._note(member, request.headers.get("X-PeerURLs", ""))
            _logger.warning(
                "failed to find remote peer in cluster", extra=fields(names, cluster_id=self._identity.cluster)
            )
            return Answer(404, b"error sender not found")
        meant = request.headers.get("X-Raft-To", "")
        if meant != self._identity.name:
            _logger.warning(
                "ignored streaming request; ID mismatch",
                extra=fields(names, remote_peer_id_header=meant, cluster_id=self._identity.cluster),
            )
            return Answer(412, TARGET_MISMATCH.encode())
        if request.version < HttpVersion11:
            return Answer(400, b"a stream needs HTTP/1.1")
        return None

    # A database

    async def _snapshot(self, request: web.BaseRequest) -> web.Response:
        if request.method != "POST":
            return wrong_method("POST")
        if refusal := self._identity.refusal(request.headers):
            return refused(refusal, self._cluster)
        self._note_sender(request)
        try:
            message = await self._read_envelope(request)
            if message.type is not MessageType.SNAP:
                self._warn("unexpected Raft message type", None, message_type=message.type.name)
                return plain(400, "wrong raft message type", self._cluster)
            # etcd asks this only once the database is on its disk
            if refused_by := self._admission.refusal(message):
                return self._taken(refused_by)
        except (*BODY_ERRORS, MalformedMessage) as error:
            self._warn("failed to decode Raft message", error)
            return plain(400, f"failed to decode raft message ({error_words(error)})", self._cluster)
        return await self._receive_database(request, message)

    async def _read_envelope(self, request: web.BaseRequest) -> Message:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            (size,) = _LENGTH.unpack(await request.content.readexactly(_LENGTH.size))
            if size > MESSAGE_BYTES_MAX:
                raise MalformedMessage("rafthttp: error limit exceeded")
            return codec.decode_message(await request.content.readexactly(size))

    async def _receive_database(self, request: web.BaseRequest, message: Message) -> web.Response:
        assert message.snapshot is not None
        index, clock = message.snapshot.metadata.index, self._environment.clock
        names = {
            "local-member-id": self._identity.name,
            "remote-snapshot-sender-id": format_id(message.from_),
            "incoming-snapshot-index": index,
        }
        _logger.info("receiving database snapshot", extra=fields(names))
        peer = self._book.find_peer(message.from_)
        stats = peer.status.stats if peer is not None else PeerStats()
        started = clock.monotonic()
        stats.snapshots_arriving += 1
        try:
            size = await save_database(chunks(request), self._snapshot_dir, index, self._executor, self.saved_images)
        except BODY_ERRORS as error:
            words = error_words(error)
            _logger.warning("failed to save incoming database snapshot", extra=fields(names, error=words))
            stats.snapshot_receive_failures += 1
            return plain(500, f"failed to save KV snapshot ({words})", self._cluster)
        finally:
            stats.snapshots_arriving -= 1
        _logger.info(
            "saved database snapshot to disk",
            extra=fields(path=str(received_path(self._snapshot_dir, index)), bytes=size),
        )
        _logger.info(
            "received and saved database snapshot",
            extra=fields(
                names,
                incoming_snapshot_size_bytes=size,
                download_took=timedelta(seconds=clock.monotonic() - started),
            ),
        )
        stats.snapshots_received += 1
        stats.snapshot_receives_s.observe(clock.monotonic() - started)
        stats.received_bytes += size
        return self._taken(self._admission.receive_snapshot(message))

    # Senders

    def _note_sender(self, request: web.BaseRequest) -> None:
        """A sender we do not know says where to answer it. Source: rafthttp/util.go, addRemoteFromRequest."""
        try:
            member = MemberID(parse_id(request.headers.get("X-Server-From", "")))
        except ValueError:
            return
        self._note(member, request.headers.get("X-PeerURLs", ""))

    def _note(self, member: MemberID, urls: str) -> None:
        if not urls:
            return
        try:
            self._book.add_remote(member, urls.split(","))
        except ValueError as error:  # etcd stops on it
            self._warn("failed to add remote peer", error, remote_peer_id=format_id(member))

    def _warn(self, text: str, error: BaseException | None, **more: object) -> None:
        about: Mapping[str, object] = {"error": error_words(error)} if error is not None else {}
        _logger.warning(text, extra=fields({"local-member-id": self._identity.name}, **more, **about))


_STREAMS = {kind.path: kind for kind in StreamKind}
