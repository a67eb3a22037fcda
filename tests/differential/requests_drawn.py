"""Requests as hypothesis draws them: few keys, so that they meet; revisions that mean something; some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message
from hypothesis import strategies as st

from etcdops.proto import authpb_pb2 as authpb
from etcdops.proto import etcdserverpb_pb2 as pb
from tests.node.api.random_requests import ENDS, KEYS, Request

SELF, LEARNER, NOBODY = 24095, 7844, 404
"""Members by name: each server's own IDs are put in their place."""

LEASES = (1, 2, 3, -5)
LONG_TTL_S = 86_400
VALUES = (b"", b"x", b"y", b"zz", b"\x00\xff" * 10)

_keys = st.sampled_from([*KEYS, b"a", b"b", b"c"] * 5 + [b""])
_ends = st.sampled_from(ENDS)
_leases = st.sampled_from((0, 0, 0, *LEASES, 999))
_flags = st.booleans()
_rarely = st.integers(0, 9).map(lambda drawn: drawn == 9)


@dataclass(frozen=True)
class Moment:
    """What revisions are drawn around."""

    revision: int
    compacted: int

    def some(self) -> st.SearchStrategy[int]:
        """0, wrong ones, and all that can be read and a little more."""
        near = [self.revision - 1, self.revision, self.revision + 1, self.compacted - 1, self.compacted, 1]
        return st.sampled_from([0, 0, 0, -5, *(max(revision, 0) for revision in near)])

    def readable(self) -> st.SearchStrategy[int]:
        """Neither compacted nor to come."""
        return st.integers(max(self.compacted, 1), max(self.revision, self.compacted, 1))


def ranges(moment: Moment) -> st.SearchStrategy[pb.RangeRequest]:
    orders = pb.RangeRequest.SortOrder.values()
    targets = pb.RangeRequest.SortTarget.values()
    bounds = st.sampled_from((0, 0, 0, 2, max(moment.revision - 2, 0), moment.revision))
    return st.builds(
        pb.RangeRequest,
        key=_keys,
        range_end=_ends,
        limit=st.sampled_from((0, 0, 1, 2, 5, -1)),
        revision=moment.some(),
        sort_order=st.sampled_from(orders),
        sort_target=st.sampled_from(targets),
        serializable=_flags,
        keys_only=_rarely,
        count_only=_rarely,
        min_mod_revision=bounds,
        max_mod_revision=bounds,
        min_create_revision=bounds,
        max_create_revision=bounds,
    ).map(_without_ties)


def _without_ties(request: pb.RangeRequest) -> pb.RangeRequest:
    """In which order etcd puts what is equal to it is not said; so what may be equal is not cut by a limit."""
    if request.sort_target not in (pb.RangeRequest.KEY, pb.RangeRequest.MOD):
        request.limit = 0
    return request


def puts() -> st.SearchStrategy[pb.PutRequest]:
    return st.builds(
        pb.PutRequest,
        key=_keys,
        value=st.sampled_from(VALUES),
        lease=_leases,
        prev_kv=_flags,
        ignore_value=_rarely,
        ignore_lease=_rarely,
    )


def deletes() -> st.SearchStrategy[pb.DeleteRangeRequest]:
    return st.builds(pb.DeleteRangeRequest, key=_keys, range_end=_ends, prev_kv=_flags)


def _compares(moment: Moment) -> st.SearchStrategy[pb.Compare]:
    revisions = st.sampled_from((0, 1, 2, moment.revision, max(moment.revision - 1, 0)))
    return st.one_of(
        *(
            st.builds(
                pb.Compare,
                key=_keys,
                range_end=st.sampled_from((b"", b"", *ENDS)),
                result=st.sampled_from((0, 1, 2, 3, 7)),
                target=st.sampled_from((0, 1, 2, 3, 4, 9)),
                **{field: values},
            )
            for field, values in (
                ("version", st.sampled_from((0, 1, 2))),
                ("create_revision", revisions),
                ("mod_revision", revisions),
                ("value", st.sampled_from(VALUES)),
                ("lease", _leases),
            )
        )
    )


def _ops(moment: Moment, depth: int) -> st.SearchStrategy[pb.RequestOp]:
    # A put with ignore_value into what the transaction itself deletes stops etcd: no open end here.
    bounded = deletes().filter(lambda request: request.range_end != b"\0")
    kinds = [
        st.builds(pb.RequestOp, request_range=ranges(moment)),
        st.builds(pb.RequestOp, request_put=puts()),
        st.builds(pb.RequestOp, request_delete_range=bounded),
    ]
    if depth:
        kinds.append(st.builds(pb.RequestOp, request_txn=txns(moment, depth - 1)))
    return _rarely.flatmap(lambda rare: st.just(pb.RequestOp()) if rare and not depth else st.one_of(*kinds))


def txns(moment: Moment, depth: int = 2) -> st.SearchStrategy[pb.TxnRequest]:
    return st.builds(
        pb.TxnRequest,
        compare=st.lists(_compares(moment), max_size=2),
        success=st.lists(_ops(moment, depth), max_size=3),
        failure=st.lists(_ops(moment, depth), max_size=2),
    )


def watches(moment: Moment) -> st.SearchStrategy[pb.WatchCreateRequest]:
    return st.builds(
        pb.WatchCreateRequest,
        key=_keys,
        range_end=_ends,
        start_revision=moment.some(),
        prev_kv=_flags,
        fragment=_flags,
        progress_notify=_rarely,
        watch_id=st.sampled_from((0, 0, 0, 7, 8, -7)),
        filters=st.lists(st.sampled_from(pb.WatchCreateRequest.FilterType.values()), max_size=1),
    )


def leases() -> st.SearchStrategy[Request]:
    ids = st.sampled_from((*LEASES, 999))
    ttls = st.sampled_from((LONG_TTL_S, LONG_TTL_S, 2 * LONG_TTL_S, 9_000_000_001))
    return st.one_of(
        _request("Lease/LeaseGrant", st.builds(pb.LeaseGrantRequest, ID=st.sampled_from(LEASES), TTL=ttls)),
        _request("Lease/LeaseRevoke", st.builds(pb.LeaseRevokeRequest, ID=ids | st.just(0))),
        _request("Lease/LeaseTimeToLive", st.builds(pb.LeaseTimeToLiveRequest, ID=ids, keys=_flags)),
        _request("Lease/LeaseLeases", st.builds(pb.LeaseLeasesRequest)),
    )


def keys(moment: Moment, *, full: bool = False) -> st.SearchStrategy[Request]:
    """What reads and writes keys. `full` - an alarm says that there is no space."""
    # What nested transactions put costs nothing before the fixes of 2026: T30 is a test of its own.
    depth = 0 if full else 2
    return st.one_of(
        _request("KV/Put", puts()),
        _request("KV/Range", ranges(moment)),
        _request("KV/DeleteRange", deletes()),
        _request("KV/Txn", txns(moment, depth)),
    )


def hashes(moment: Moment) -> st.SearchStrategy[Request]:
    # Below the compaction etcd answers from what it noted when it compacted, as long as it runs.
    revisions = moment.readable() | st.sampled_from((0, moment.revision, moment.revision + 1))
    return _request("Maintenance/HashKV", st.builds(pb.HashKVRequest, revision=revisions))


def members() -> st.SearchStrategy[Request]:
    """A learner comes and goes; nothing that takes the only member its quorum."""
    ids = st.sampled_from((LEARNER, LEARNER, NOBODY))
    urls = st.sampled_from((["http://127.0.0.1:1"], ["http://127.0.0.1:2"], ["ftp://a:1"], ["http://a"], []))
    good = st.sampled_from((["http://127.0.0.1:1"], ["http://127.0.0.1:3"]))
    return st.one_of(
        _request("Cluster/MemberList", st.builds(pb.MemberListRequest, linearizable=_flags)),
        _request("Cluster/MemberAdd", st.builds(pb.MemberAddRequest, peerURLs=urls, isLearner=st.just(True))),
        _request("Cluster/MemberRemove", st.builds(pb.MemberRemoveRequest, ID=ids)),
        _request("Cluster/MemberPromote", st.builds(pb.MemberPromoteRequest, ID=ids | st.just(SELF))),
        # An update makes a voter of a learner, up to 3.5.30: M19 is a test of its own.
        _request("Cluster/MemberUpdate", st.builds(pb.MemberUpdateRequest, ID=st.just(NOBODY), peerURLs=good)),
        _request("Maintenance/MoveLeader", st.builds(pb.MoveLeaderRequest, targetID=ids | st.just(SELF))),
        _request("Maintenance/Status", st.builds(pb.StatusRequest)),
        _request("Maintenance/Defragment", st.builds(pb.DefragmentRequest)),
    )


def alarms() -> st.SearchStrategy[Request]:
    return _request(
        "Maintenance/Alarm",
        st.builds(
            pb.AlarmRequest,
            action=st.sampled_from(pb.AlarmRequest.AlarmAction.values()),
            memberID=st.sampled_from((0, 5, SELF)),
            alarm=st.sampled_from((pb.NONE, pb.NOSPACE, pb.CORRUPT)),
        ).filter(lambda request: not (request.action == pb.AlarmRequest.ACTIVATE and request.alarm == pb.NONE)),
    )


def users() -> st.SearchStrategy[Request]:
    """Calls about users and roles that are refused while there are none and authentication is off."""
    name = "nobody"
    return st.sampled_from(
        [
            _of("Auth/AuthEnable", pb.AuthEnableRequest()),
            _of("Auth/AuthDisable", pb.AuthDisableRequest()),
            _of("Auth/Authenticate", pb.AuthenticateRequest(name="root", password="x")),
            _of("Auth/UserAdd", pb.AuthUserAddRequest()),
            _of("Auth/UserGet", pb.AuthUserGetRequest(name=name)),
            _of("Auth/UserList", pb.AuthUserListRequest()),
            _of("Auth/UserDelete", pb.AuthUserDeleteRequest(name=name)),
            _of("Auth/UserChangePassword", pb.AuthUserChangePasswordRequest(name=name, password="x")),
            _of("Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user=name, role="r")),
            _of("Auth/UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=name, role="r")),
            _of("Auth/RoleAdd", pb.AuthRoleAddRequest()),
            _of("Auth/RoleGet", pb.AuthRoleGetRequest(role="r")),
            _of("Auth/RoleList", pb.AuthRoleListRequest()),
            _of("Auth/RoleDelete", pb.AuthRoleDeleteRequest(role="r")),
            _of(
                "Auth/RoleGrantPermission",
                pb.AuthRoleGrantPermissionRequest(name="r", perm=authpb.Permission(key=b"a")),
            ),
            _of("Auth/RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role="r", key=b"a")),
            _of("KV/RangeStream", pb.RangeRequest(key=b"a")),
        ]
    )


def _request(name: str, messages: st.SearchStrategy[Message] | st.SearchStrategy) -> st.SearchStrategy[Request]:
    return messages.map(lambda message: _of(name, message))


def _of(name: str, message: Message) -> Request:
    answer = getattr(pb, type(message).__name__.replace("Request", "Response"))
    return f"/etcdserverpb.{name}", message, answer
