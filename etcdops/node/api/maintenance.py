"""The Maintenance service: how this member is, its alarms, hashes and file, and who leads.

Source: etcd server/etcdserver/api/v3rpc/maintenance.go.
"""

from __future__ import annotations

import logging
from functools import partial
from time import perf_counter

from etcdops.ids import NO_MEMBER, MemberID
from etcdops.node.api.answer import Answer, Handler, Headers, decode
from etcdops.node.api.content_hash import content_hash
from etcdops.node.api.downgrade import Downgrade
from etcdops.node.api.errors import (
    BAD_LEADER_TRANSFEREE,
    NO_LEADER,
    NOT_LEADER,
    STORE_REFUSED,
    UNKNOWN_ALARM_ACTION,
    UNKNOWN_ALARM_TYPE,
    EtcdError,
)
from etcdops.node.api.port import ServerPort
from etcdops.node.api.store_errors import store_error
from etcdops.node.api.work_files import WorkFiles
from etcdops.node.apply import wire
from etcdops.node.apply.alarms import Alarm, AlarmType
from etcdops.node.storage.errors import StorageFailed
from etcdops.node.storage.hash_kv import HashKV
from etcdops.node.storage.reader import StateReader
from etcdops.node.zap_log import fields
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto.wire import varint_field

log = logging.getLogger(__name__)

_HASH, _COMPACT_REVISION, _HASH_REVISION = 2, 3, 4


class MaintenanceService:
    """Handlers of etcdserverpb.Maintenance but Snapshot, which is in `snapshot.py`."""

    def __init__(self, server: ServerPort, headers: Headers, work_files: WorkFiles) -> None:
        self._server = server
        self._headers = headers
        self._work_files = work_files
        self._downgrade = Downgrade(server)

    def handlers(self) -> dict[str, Handler]:
        return {
            "/etcdserverpb.Maintenance/Alarm": self.alarm,
            "/etcdserverpb.Maintenance/Status": self.status,
            "/etcdserverpb.Maintenance/Defragment": self.defragment,
            "/etcdserverpb.Maintenance/Hash": self.hash,
            "/etcdserverpb.Maintenance/HashKV": self.hash_kv,
            "/etcdserverpb.Maintenance/MoveLeader": self.move_leader,
            "/etcdserverpb.Maintenance/Downgrade": self._downgrade.handle,
        }

    def alarm(self, message: bytes, answer: Answer) -> None:
        """Reading alarms goes through the log too, so that the answer is not an old one."""
        request = decode(pb.AlarmRequest, message)
        if request.action not in pb.AlarmRequest.AlarmAction.values():
            answer.fail(UNKNOWN_ALARM_ACTION)
        elif request.alarm not in pb.AlarmType.values():
            answer.fail(UNKNOWN_ALARM_TYPE)
        else:
            self._server.propose(wire.FIELD_ALARM, message, answer.outcome)

    def status(self, message: bytes, answer: Answer) -> None:
        decode(pb.StatusRequest, message)
        server = self._server
        errors = [NO_LEADER.text] if server.leader == NO_MEMBER else []
        errors += map(alarm_text, server.applier.alarms.raised())
        status = pb.StatusResponse(
            version=server.version,
            dbSize=server.state.size_bytes,
            leader=server.leader,
            raftIndex=server.commit_index,
            raftTerm=server.term,
            raftAppliedIndex=server.applied_index,
            errors=errors,
            dbSizeInUse=server.state.size_in_use_bytes,
            isLearner=server.is_learner,
            # etcd says this from 3.6 on; a console wants it from every version.
            dbSizeQuota=max(server.applier.quota.limit_bytes, 0),
        )
        answer.ok(status.SerializeToString())

    def defragment(self, message: bytes, answer: Answer) -> None:
        """Blocks this member while it lasts, as in etcd; the content does not change."""
        decode(pb.DefragmentRequest, message)
        log.info("starting defragment")
        metrics, monotonic = self._server.metrics, self._server.clock.monotonic
        started, metrics.defragmenting = monotonic(), True
        try:
            self._server.state.defragment()
        except StorageFailed as error:
            log.warning("failed to defragment", extra=fields(error=str(error)))
            answer.fail(STORE_REFUSED)
            return
        finally:
            metrics.defragmenting = False
        metrics.defragment_s.observe(monotonic() - started)
        log.info("finished defragment")
        answer.raw(b"")

    def hash(self, message: bytes, answer: Answer) -> None:
        decode(pb.HashRequest, message)
        state, path = self._server.state, self._work_files.new("hash")
        if not self._committed(answer):
            return

        def work() -> int:
            started = perf_counter()
            try:
                state.write_snapshot(path)
                return content_hash(path)
            finally:
                hash_s.observe(perf_counter() - started)
                path.unlink(missing_ok=True)

        revision, hash_s = state.mvcc.revision, self._server.metrics.hash_s

        def done(found: int | None, error: BaseException | None) -> None:
            if found is None:
                self._failed(answer, error)
            else:
                answer.ok(varint_field(_HASH, found), revision)

        self._server.run_in_background(work, done)

    def hash_kv(self, message: bytes, answer: Answer) -> None:
        """On a background thread, because it reads every key."""
        revision = decode(pb.HashKVRequest, message).revision
        state = self._server.state
        stored = state.mvcc.stored_hash(revision)
        if stored is not None:
            self._answer_hash_kv(answer, stored, None)
        elif self._committed(answer):
            path, hash_kv_s = state.path, self._server.metrics.hash_kv_s

            def work() -> HashKV:
                started = perf_counter()
                with StateReader(path) as reader:
                    found = reader.hash_kv(revision)
                hash_kv_s.observe(perf_counter() - started)
                return found

            self._server.run_in_background(work, partial(self._answer_hash_kv, answer))

    def _answer_hash_kv(self, answer: Answer, found: HashKV | None, error: BaseException | None) -> None:
        if found is None:
            self._failed(answer, error)
            return
        body = varint_field(_HASH, found.hash) + varint_field(_COMPACT_REVISION, found.compact_revision)
        answer.ok(body + varint_field(_HASH_REVISION, found.revision))

    def _committed(self, answer: Answer) -> bool:
        """Let other connections see everything applied so far. If that fails the call has been answered."""
        try:
            self._server.state.commit()
        except StorageFailed as error:
            self._failed(answer, error)
            return False
        return True

    def _failed(self, answer: Answer, error: BaseException | None) -> None:
        answer.fail(store_error(error))

    def move_leader(self, message: bytes, answer: Answer) -> None:
        server = self._server
        target = MemberID(decode(pb.MoveLeaderRequest, message).targetID)
        known = server.members.get(target)
        if not server.is_leader:
            answer.fail(NOT_LEADER)
        elif known is None or known.is_learner:
            answer.fail(BAD_LEADER_TRANSFEREE)
        elif target == server.member_id:
            answer.raw(b"")
        else:
            server.transfer_leader(target, partial(_answer_moved, answer))


def _answer_moved(answer: Answer, error: EtcdError | None) -> None:
    if error is not None:
        answer.fail(error)
    else:
        answer.raw(b"")


def alarm_text(alarm: Alarm) -> str:
    """As Go prints an AlarmMember, in a member's status: the blank at the end is part of it."""
    parts = []
    if alarm.member:
        parts.append(f"memberID:{alarm.member} ")
    if alarm.type is not AlarmType.NONE:
        parts.append(f"alarm:{alarm.type.name} ")
    return "".join(parts)
