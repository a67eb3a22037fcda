"""The applier: committed log entries become state, in order, the same on every member.

Total: any bytes in an entry give a result, never an exception, because an entry that stops one member stops all of
them, and again at every restart. Deterministic: no clock, no randomness, no setting of this member decides what is
stored (the quota only decides what the proposer is told). Each entry's data and the consistent index change in one
SQLite transaction; entries at or below that index were applied in an earlier life and are skipped.

The one exception that leaves is StorageFailed: the disk is broken or full and the member must stop.
Source: etcd server/etcdserver/apply.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic  # for the log only

from google.protobuf.message import DecodeError

from etcdops.ids import LeaseID, MemberID, Revision
from etcdops.node.api.errors import (
    COMPACTED,
    CORRUPT,
    FUTURE_REVISION,
    KEY_NOT_FOUND,
    LEASE_NOT_FOUND,
    NO_SPACE,
    OUT_OF_REVISIONS,
    TOO_MANY_OPS,
    UNKNOWN_ALARM_ACTION,
    UNKNOWN_ALARM_TYPE,
    UNKNOWN_ENTRY,
    EtcdError,
)
from etcdops.node.api.metrics import NodeMetrics
from etcdops.node.apply import legacy, reports, txn, wire
from etcdops.node.apply.alarms import Alarm, Alarms, AlarmType
from etcdops.node.apply.compactor import CallLater, Compactor
from etcdops.node.apply.outcome import Applied, Outcome
from etcdops.node.apply.quota import LEASE_BYTES, Quota, put_cost, txn_cost
from etcdops.node.apply.ranges import range_outcome
from etcdops.node.histogram import exponential
from etcdops.node.lease.lessor import Lessor
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.raft.types import ConfChange, Entry
from etcdops.node.storage.errors import Compacted, FutureRevision, StorageFailed, TooManyChanges
from etcdops.node.storage.mvcc import EventType, WriteTxn
from etcdops.node.storage.state import StateStore
from etcdops.node.watch.hub import WatchHub
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import membershippb_pb2 as membershippb
from etcdops.proto.wire import varint
from etcdops.snapshot.sqlite_schema import Meta, RevisionLimit

_ALREADY_APPLIED = Outcome()
_LEASE_ID_TAG, _LEASE_TTL_TAG = b"\x10", b"\x18"
_ALARMS_TAG = b"\x12"
_PREV_KV_TAG = b"\x12"


class Applier:
    """Applies entries to one member's state."""

    def __init__(
        self,
        state: StateStore,
        *,
        lessor: Lessor,
        hub: WatchHub,
        members: MemberRegistry,
        alarms: Alarms,
        quota: Quota,
        metrics: NodeMetrics,
        call_later: CallLater,
        on_storage_failure: Callable[[StorageFailed], None],
    ) -> None:
        """`recover` must follow. `on_storage_failure` hears of a disk that broke outside of `apply`."""
        self._lessor = lessor
        self._hub = hub
        self._members = members
        self.alarms = alarms
        self.quota = quota
        self.compactor = Compactor(state, call_later, on_storage_failure)
        self._metrics = metrics
        self.slow_after_s = reports.SLOW_APPLY_S
        self.over_quota: Callable[[], None] = lambda: None
        """Called when an applied request found this member over its quota: the API raises the NOSPACE alarm."""
        self.keys_count = 0
        """How many keys there are now."""
        self._handlers: dict[int, Callable[[bytes], Outcome]] = {
            wire.FIELD_RANGE: self._range,
            wire.FIELD_PUT: self._put,
            wire.FIELD_DELETE_RANGE: self._delete_range,
            wire.FIELD_TXN: self._txn,
            wire.FIELD_COMPACTION: self._compact,
            wire.FIELD_LEASE_GRANT: self._lease_grant,
            wire.FIELD_LEASE_REVOKE: self._lease_revoke,
            wire.FIELD_LEASE_CHECKPOINT: self._lease_checkpoint,
            wire.FIELD_ALARM: self._alarm,
            wire.FIELD_CLUSTER_VERSION_SET: self._cluster_version_set,
            wire.FIELD_CLUSTER_MEMBER_ATTR_SET: self._member_attr_set,
            wire.FIELD_DOWNGRADE_INFO_SET: self._downgrade_info_set,
        }
        metrics.applies_s = {number: (exponential(0.0001, 20), exponential(0.0001, 20)) for number in self._handlers}
        metrics.compactions = self.compactor.stats
        self._use(state)

    def _use(self, state: StateStore) -> None:
        self._state = state
        self._mvcc = state.mvcc
        self.compactor.use(state)
        self._cluster_version = str(state.meta.get(Meta.CLUSTER_VERSION) or "")
        self._downgrade_target = str(state.meta.get(Meta.DOWNGRADE_TARGET) or "")

    def recover(self, state: StateStore) -> None:
        """Everything replicated from what `state` holds: after a start, and after a snapshot was installed.

        Watchers read on from what they last saw. Raises: BadMember - a stored row is damaged.
        """
        self._use(state)
        self.keys_count = state.mvcc.range(b"\x00", b"\x00", count_only=True).count
        # Who is attached is found by looking at every key: not without a lease that it could be attached to.
        self._lessor.recover(state.leases, state.mvcc.leased() if state.leases.all() else ())
        self._members.recover(state.members)
        self.alarms.recover(state.alarms)
        self._hub.restored(state.mvcc)
        if state.mvcc.compaction_pending:
            self.compactor.start()

    @property
    def cluster_version(self) -> str:
        """The version all members have agreed to speak, "3.5.0"; empty before they did."""
        return self._cluster_version

    @property
    def downgrade_target(self) -> str:
        """The cluster version a downgrade is going to, "3.4.0"; empty when none is under way."""
        return self._downgrade_target

    def apply(self, entry: Entry) -> Applied:
        """Apply one NORMAL entry. Raises: StorageFailed and nothing else."""
        state = self._state
        if entry.index <= state.consistent_index:
            return Applied(0, _ALREADY_APPLIED)
        if not entry.data:
            state.mark_applied(entry.index, entry.term)
            return Applied(0, _ALREADY_APPLIED)
        try:
            request = wire.decode_internal(entry.data)
        except wire.Malformed:
            request = wire.InternalRequest(0, b"", 0)
        handler = self._handlers.get(request.field)
        if handler is None:
            applied = self._apply_legacy(entry.data) or Applied(request.request_id, Outcome(error=UNKNOWN_ENTRY))
        else:
            started = monotonic()
            try:
                outcome = self._within_limits(handler, request.request)
            except DecodeError:
                # A v2 request can look like one of ours until its contents are read.
                applied = self._apply_legacy(entry.data) or Applied(request.request_id, Outcome(error=UNKNOWN_ENTRY))
            else:
                applied = Applied(request.request_id, outcome)
                self._report(request, outcome.error, monotonic() - started)
        state.mark_applied(entry.index, entry.term)
        return applied

    def _within_limits(self, handler: Callable[[bytes], Outcome], request: bytes) -> Outcome:
        """A store that has used up its revisions refuses changes, on every member alike; it can still be read."""
        try:
            return handler(request)
        except RevisionLimit:
            return Outcome(error=OUT_OF_REVISIONS)

    def _report(self, request: wire.InternalRequest, error: EtcdError | None, took_s: float) -> None:
        self._metrics.applies_s[request.field][error is None].observe(took_s)
        if error is not None:
            reports.failed(request, error)
        if took_s > self.slow_after_s:
            self._metrics.slow_applies += 1
            reports.slow(request, took_s, self.slow_after_s)

    def apply_conf_change(self, entry: Entry, change: ConfChange) -> EtcdError | None:
        """The membership part of a configuration entry.

        Returns: None when the change counts; an error when every member ignores it: the driver then tells raft that
        the entry changed nothing. Raises: StorageFailed.
        """
        if entry.index <= self._state.consistent_index:
            return None
        error = self._members.apply(change) if change.changes else None
        self._state.mark_applied(entry.index, entry.term)
        return error

    def _apply_legacy(self, data: bytes) -> Applied | None:
        request = legacy.decode(data)
        if request is None:
            return None
        if isinstance(request, legacy.PublishedAttributes):
            self._members.set_attributes(request.member, request.name, request.client_urls)
        elif isinstance(request, legacy.ClusterVersion):
            self._set_cluster_version(request.version)
        return Applied(request.request_id, Outcome())

    # Keys and values.

    def _range(self, request: bytes) -> Outcome:
        """etcd's log may hold ranges although nobody proposes them any more; the answer is for its caller at most."""
        try:
            return range_outcome(self._mvcc, pb.RangeRequest.FromString(request))
        except Compacted:
            return Outcome(error=COMPACTED)
        except FutureRevision:
            return Outcome(error=FUTURE_REVISION)

    def _put(self, request: bytes) -> Outcome:
        alarms = self.alarms
        if alarms.corrupt:
            return Outcome(error=CORRUPT)
        if alarms.no_space:
            return Outcome(error=NO_SPACE)
        try:
            put = wire.scan_put(request)
        except wire.Malformed:
            decoded = pb.PutRequest.FromString(request)
            put = wire.PutFields(
                decoded.key, decoded.value, decoded.lease, decoded.prev_kv, decoded.ignore_value, decoded.ignore_lease
            )
        key, value, lease = put.key, put.value, LeaseID(put.lease)
        if lease and lease not in self._lessor:
            return Outcome(error=LEASE_NOT_FOUND)
        available = self.quota.available(put_cost(key, value))
        body = b""
        if put.prev_kv or put.ignore_value or put.ignore_lease:
            current = self._mvcc.get(key)
            if current is not None:
                if put.ignore_value:
                    value = wire.scan_key_value(current.kv).value
                if put.ignore_lease:
                    lease = current.lease
                if put.prev_kv:
                    body = wire.delimited(_PREV_KV_TAG, current.kv)
            elif put.ignore_value or put.ignore_lease:
                return Outcome(error=KEY_NOT_FOUND)
        writer = self._mvcc.begin()
        writer.put(key, value, lease)
        metrics = self._metrics
        metrics.puts += 1
        metrics.put_bytes += len(key) + len(value)
        lessor = self._lessor
        if lease or lessor.has_attachments:
            return self._finish(writer, [(key, lease)], body, available)
        return self._finish(writer, (), body, available)

    def _delete_range(self, request: bytes) -> Outcome:
        if self.alarms.corrupt:
            return Outcome(error=CORRUPT)
        decoded = pb.DeleteRangeRequest.FromString(request)
        attachments: txn.Attachments = []
        writer = self._mvcc.begin()
        try:
            body, _ = txn.delete_range(writer, decoded, attachments)
        except TooManyChanges:
            writer.abort()
            return Outcome(error=TOO_MANY_OPS)
        self._metrics.deletes += 1
        return self._finish(writer, attachments, body, True)

    def _txn(self, request: bytes) -> Outcome:
        if self.alarms.corrupt:
            return Outcome(error=CORRUPT)
        decoded = pb.TxnRequest.FromString(request)
        cost = txn_cost(decoded)
        if self.alarms.no_space and cost > 0:
            return Outcome(error=NO_SPACE)
        available = self.quota.available(cost)
        branch = txn.decide(self._mvcc, decoded)
        error = txn.check(self._mvcc, branch, self._lessor)
        if error is not None:
            return Outcome(error=error)
        attachments: txn.Attachments = []
        writer = self._mvcc.begin()
        try:
            body = txn.run(writer, writer, branch, attachments)
        except txn.Refused as refused:
            writer.abort()
            return Outcome(error=refused.error)
        except TooManyChanges:
            writer.abort()
            return Outcome(error=TOO_MANY_OPS)
        self._metrics.txns += 1
        return self._finish(writer, attachments, body, available)

    def _finish(
        self, writer: WriteTxn, attachments: Sequence[tuple[bytes, LeaseID]], body: bytes, available: bool
    ) -> Outcome:
        """End a write: tie keys to leases, tell the watchers. Over the quota the change stands, the caller is told."""
        events = writer.end()
        revision = self._mvcc.revision
        for key, lease in attachments:
            self._lessor.attach(key, lease)
        if events:
            for event in events:
                if event.create:
                    self.keys_count += 1
                elif event.type is EventType.DELETE:
                    self.keys_count -= 1
            self._hub.notify(revision, events)
        if not available:
            self.over_quota()
            return Outcome(error=NO_SPACE)
        return Outcome(body, revision)

    def _compact(self, request: bytes) -> Outcome:
        if self.alarms.corrupt:
            return Outcome(error=CORRUPT)
        decoded = pb.CompactionRequest.FromString(request)
        try:
            self._hub.flush()  # while the values before them can still be looked up
            self._mvcc.compact(Revision(decoded.revision))
        except Compacted:
            return Outcome(error=COMPACTED)
        except FutureRevision:
            return Outcome(error=FUTURE_REVISION)
        self.compactor.start()
        return Outcome(b"", self._mvcc.revision)

    # Leases.

    def _lease_grant(self, request: bytes) -> Outcome:
        if self.alarms.corrupt:
            return Outcome(error=CORRUPT)
        if self.alarms.no_space:
            return Outcome(error=NO_SPACE)
        decoded = pb.LeaseGrantRequest.FromString(request)
        available = self.quota.available(LEASE_BYTES)
        lease = LeaseID(decoded.ID)
        error = self._lessor.grant(lease, decoded.TTL)
        if error is not None:
            return Outcome(error=error)
        metrics, granted = self._metrics, self._lessor.get(lease)
        assert granted is not None
        metrics.leases_granted += 1
        metrics.lease_ttls_s.observe(granted.ttl_s)
        if not available:
            self.over_quota()
            return Outcome(error=NO_SPACE)
        return Outcome(_LEASE_ID_TAG + varint(lease) + _LEASE_TTL_TAG + varint(granted.ttl_s), self._mvcc.revision)

    def _lease_revoke(self, request: bytes) -> Outcome:
        if self.alarms.corrupt:
            return Outcome(error=CORRUPT)
        decoded = pb.LeaseRevokeRequest.FromString(request)
        lease = LeaseID(decoded.ID)
        found = self._lessor.get(lease)
        if found is None:
            return Outcome(error=LEASE_NOT_FOUND)
        writer = self._mvcc.begin()
        try:
            for key in sorted(found.keys):  # The same order on every member: it is the order of sub-revisions.
                writer.delete_range(key, b"")
        except TooManyChanges:
            writer.abort()
            return Outcome(error=TOO_MANY_OPS)
        self._lessor.revoke(lease)
        self._metrics.leases_revoked += 1
        return self._finish(writer, (), b"", True)

    def _lease_checkpoint(self, request: bytes) -> Outcome:
        for checkpoint in pb.LeaseCheckpointRequest.FromString(request).checkpoints:
            self._lessor.checkpoint(LeaseID(checkpoint.ID), checkpoint.remaining_TTL)
        return Outcome()

    # The cluster.

    def _alarm(self, request: bytes) -> Outcome:
        decoded = pb.AlarmRequest.FromString(request)
        try:
            alarm = Alarm(MemberID(decoded.memberID), AlarmType(decoded.alarm))
        except ValueError:
            return Outcome(error=UNKNOWN_ALARM_TYPE)
        shown: list[Alarm] = []
        match decoded.action:
            case pb.AlarmRequest.GET:
                shown = self.alarms.raised(alarm.type)
            case pb.AlarmRequest.ACTIVATE:
                if alarm.type is not AlarmType.NONE:
                    shown = [alarm]
                    if self.alarms.activate(alarm):
                        reports.alarm_raised(alarm)
            case pb.AlarmRequest.DEACTIVATE:
                if self.alarms.deactivate(alarm):
                    shown = [alarm]
                    reports.alarm_disarmed(alarm)
            case _:
                return Outcome(error=UNKNOWN_ALARM_ACTION)
        encoded = (
            pb.AlarmMember(memberID=one.member, alarm=pb.AlarmType.ValueType(one.type)).SerializeToString()
            for one in shown
        )
        return Outcome(wire.repeated(_ALARMS_TAG, encoded))

    def _cluster_version_set(self, request: bytes) -> Outcome:
        self._set_cluster_version(membershippb.ClusterVersionSetRequest.FromString(request).ver)
        return Outcome()

    def _set_cluster_version(self, version: str) -> None:
        reports.cluster_version(self._members.cluster_id, self._cluster_version, version)
        self._cluster_version = version
        self._state.meta.put(Meta.CLUSTER_VERSION, version)

    def _member_attr_set(self, request: bytes) -> Outcome:
        decoded = membershippb.ClusterMemberAttrSetRequest.FromString(request)
        attributes = decoded.member_attributes
        self._members.set_attributes(MemberID(decoded.member_ID), attributes.name, attributes.client_urls)
        return Outcome()

    def _downgrade_info_set(self, request: bytes) -> Outcome:
        decoded = membershippb.DowngradeInfoSetRequest.FromString(request)
        self._downgrade_target = decoded.ver if decoded.enabled else ""
        self._state.meta.put(Meta.DOWNGRADE_TARGET, self._downgrade_target)
        return Outcome()
