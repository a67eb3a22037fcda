"""One other member, and the ways to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from etcdops.ids import MemberID, format_id
from etcdops.node.peer import pipeline
from etcdops.node.peer.environment import Environment
from etcdops.node.peer.pipeline import Pipeline
from etcdops.node.peer.probe import Probe
from etcdops.node.peer.reader import StreamReader
from etcdops.node.peer.snapshot_sender import SnapshotSender
from etcdops.node.peer.status import PeerStatus
from etcdops.node.peer.stream import StreamKind
from etcdops.node.peer.urls import UrlPicker
from etcdops.node.peer.writer import StreamWriter
from etcdops.node.raft.types import Message, MessageType
from etcdops.node.zap_log import fields

_logger = logging.getLogger(__name__)

_DROPPED = "dropped Raft message since sending buffer is full (overloaded network)"
_DROPPED_ACTIVE = "dropped internal Raft message since sending buffer is full (overloaded network)"


class Peer:
    """A member of the cluster: two streams each way, a pipeline as long as it has not dialled, databases, probes.

    Source: etcd server/etcdserver/api/rafthttp/peer.go.
    """

    def __init__(self, environment: Environment, member: MemberID, urls: Sequence[str], executor: Executor) -> None:
        self.status = PeerStatus(member, environment.clock)
        self._environment = environment
        self._member = member
        self._name = format_id(member)
        self._picker = UrlPicker(urls)
        self._pipeline = Pipeline(environment, member, self._picker, self.status)
        self._snapshots = SnapshotSender(environment, member, self._picker, self.status, executor)
        self._probe = Probe(environment, member, urls, self.status)
        local, lost = environment.identity.member_id, environment.handler.report_unreachable
        self._message_writer = StreamWriter(StreamKind.MESSAGE, local, member, self.status, lost)
        self._msgapp_writer = StreamWriter(StreamKind.MSGAPP, local, member, self.status, lost)
        self._tasks = self._start()

    def _start(self) -> list[asyncio.Task[None]]:
        _logger.info("starting remote peer", extra=fields(remote_peer_id=self._name))
        environment, keep = self._environment, self._environment.tasks.keep
        tasks = self._pipeline.start()
        for kind in StreamKind:
            reader = StreamReader(kind, environment, self._member, self._picker, self.status)
            tasks.append(keep(reader.run, f"{kind.label} from {self._name}"))
        tasks.append(keep(self._probe.run, f"probe of {self._name}"))
        _logger.info("started remote peer", extra=fields(remote_peer_id=self._name))
        return tasks

    def stop(self) -> None:
        """End all traffic with this member; its tasks end in the loop's next turns."""
        _logger.info("stopping remote peer", extra=fields(remote_peer_id=self._name))
        for task in self._tasks:
            task.cancel()
        self._message_writer.stop()
        self._msgapp_writer.stop()
        _logger.info("stopped remote peer", extra=fields(remote_peer_id=self._name))

    def update(self, urls: Sequence[str]) -> None:
        """Use other URLs from the next dial on. Raises: ValueError."""
        self._picker.update(urls)
        self._probe.update(urls)

    @property
    def streaming(self) -> bool:
        """Whether this member has dialled both streams, so that nothing needs the pipeline."""
        return self._message_writer.working and self._msgapp_writer.working

    def writer(self, kind: StreamKind) -> StreamWriter:
        """The sending end that this member dials for `kind`."""
        return self._msgapp_writer if kind is StreamKind.MSGAPP else self._message_writer

    def send(self, message: Message) -> None:
        """Queue `message` on the best way there is; a full queue drops it and tells raft."""
        assert message.type is not MessageType.SNAP, "a snapshot travels with its database"
        if message.type is MessageType.APP and self._msgapp_writer.working:
            sent, way = self._msgapp_writer.send(message), StreamKind.MSGAPP.queue_name
        elif self._message_writer.working:
            sent, way = self._message_writer.send(message), StreamKind.MESSAGE.queue_name
        else:
            sent, way = self._pipeline.send(message), pipeline.QUEUE_NAME
        if not sent:
            self._dropped(message, way)

    def send_snapshot(self, message: Message, path: Path) -> None:
        """See Transport.send_snapshot."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(self._snapshots.start(message, path))

    def _dropped(self, message: Message, way: str) -> None:
        self.status.stats.sent_failures += 1
        log_dropped(self._environment, message, self.status, remote_peer_name=way)
        self._environment.handler.report_unreachable(self._member)


class Remote:
    """A member that knows us before we know it: it gets answers, so that it can catch up, and nothing else.

    Source: etcd server/etcdserver/api/rafthttp/remote.go.
    """

    def __init__(self, environment: Environment, member: MemberID, urls: Sequence[str]) -> None:
        self.status = PeerStatus(member, environment.clock)
        self._environment = environment
        self._pipeline = Pipeline(environment, member, UrlPicker(urls), self.status)
        self._tasks = self._pipeline.start()

    def stop(self) -> None:
        """Forget this member; its tasks end in the loop's next turns."""
        for task in self._tasks:
            task.cancel()

    def send(self, message: Message) -> None:
        """Queue `message`, or drop it."""
        if not self._pipeline.send(message):
            self.status.stats.sent_failures += 1
            log_dropped(self._environment, message, self.status)


def log_dropped(environment: Environment, message: Message, status: PeerStatus, **more: object) -> None:
    """Say that a queue was full. etcd's words differ by whether the link works."""
    _logger.warning(
        _DROPPED_ACTIVE if status.active else _DROPPED,
        extra=fields(
            {"message-type": _etcd_name(message.type), "from": format_id(message.from_)},
            local_member_id=environment.identity.name,
            remote_peer_id=format_id(message.to),
            remote_peer_active=status.active,
            **more,
        ),
    )


def _etcd_name(kind: MessageType) -> str:
    """`MsgAppResp` for APP_RESP."""
    return "Msg" + kind.name.title().replace("_", "")
