"""Every error a client of the node can see: etcd's texts and gRPC codes, in one table.

Clients match on the text, so the words are protocol: a golden test pins all of them. The codes are those of etcd 3.5
as they *arrive*: two errors are declared with a code but leave the server without one, which gRPC turns into Unknown
(Go clients recover the declared code by looking the text up). Their rows say so in `declared`.

Source: etcd api/v3rpc/rpctypes/error.go; server/etcdserver/api/v3rpc/util.go, toGRPCErrorMap.
"""

from __future__ import annotations

from typing import NamedTuple

from etcdops.node.rpc.service import RpcError, StatusCode


class EtcdError(NamedTuple):
    """One row: a value that travels through the node. Call it for the exception: `raise NO_LEADER()`.

    A fresh exception each time, because a raised one keeps the frames it passed through alive.
    """

    code: StatusCode
    text: str
    declared: StatusCode | None = None
    """The code etcd's sources give, where the one on the wire differs."""

    def __call__(self) -> RpcError:
        return RpcError(self.code, self.text)

    def rendered(self) -> str:
        """As Go prints a status; it is what a watch's cancel_reason holds."""
        return f"rpc error: code = {GO_CODE_NAMES[self.code]} desc = {self.text}"


GO_CODE_NAMES = {
    StatusCode.OK: "OK",
    StatusCode.CANCELED: "Canceled",
    StatusCode.UNKNOWN: "Unknown",
    StatusCode.INVALID_ARGUMENT: "InvalidArgument",
    StatusCode.DEADLINE_EXCEEDED: "DeadlineExceeded",
    StatusCode.NOT_FOUND: "NotFound",
    StatusCode.ALREADY_EXISTS: "AlreadyExists",
    StatusCode.PERMISSION_DENIED: "PermissionDenied",
    StatusCode.RESOURCE_EXHAUSTED: "ResourceExhausted",
    StatusCode.FAILED_PRECONDITION: "FailedPrecondition",
    StatusCode.ABORTED: "Aborted",
    StatusCode.OUT_OF_RANGE: "OutOfRange",
    StatusCode.UNIMPLEMENTED: "Unimplemented",
    StatusCode.INTERNAL: "Internal",
    StatusCode.UNAVAILABLE: "Unavailable",
    StatusCode.DATA_LOSS: "DataLoss",
    StatusCode.UNAUTHENTICATED: "Unauthenticated",
}
"""grpc-go's names of the codes: they are in rendered texts and in the `grpc_code` label of the metrics."""


def _invalid(text: str) -> EtcdError:
    return EtcdError(StatusCode.INVALID_ARGUMENT, "etcdserver: " + text)


def _precondition(text: str) -> EtcdError:
    return EtcdError(StatusCode.FAILED_PRECONDITION, "etcdserver: " + text)


def _unavailable(text: str) -> EtcdError:
    return EtcdError(StatusCode.UNAVAILABLE, "etcdserver: " + text)


EMPTY_KEY = _invalid("key is not provided")
KEY_NOT_FOUND = _invalid("key not found")
VALUE_PROVIDED = _invalid("value is provided")
LEASE_PROVIDED = _invalid("lease is provided")
TOO_MANY_OPS = _invalid("too many operations in txn request")
DUPLICATE_KEY = _invalid("duplicate key given in txn request")
INVALID_CLIENT_API_VERSION = _invalid("invalid client api version")
INVALID_SORT_OPTION = _invalid("invalid sort option")
MEMBER_BAD_URLS = _invalid("given member URLs are invalid")
REQUEST_TOO_LARGE = _invalid("request is too large")
USER_EMPTY = _invalid("user name is empty")
ROLE_EMPTY = _invalid("role name is empty")
AUTH_FAILED = _invalid("authentication failed, invalid user ID or password")
PERMISSION_NOT_GIVEN = _invalid("permission not given")
INVALID_AUTH_MANAGEMENT = _invalid("invalid auth management")
AUTH_OLD_REVISION = _invalid("revision of auth store is old")
WRONG_DOWNGRADE_VERSION_FORMAT = _invalid("wrong downgrade target version format")
INVALID_DOWNGRADE_TARGET_VERSION = _invalid("invalid downgrade target version")

COMPACTED = EtcdError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")
FUTURE_REVISION = EtcdError(StatusCode.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")
LEASE_TTL_TOO_LARGE = EtcdError(StatusCode.OUT_OF_RANGE, "etcdserver: too large lease TTL")
NO_SPACE = EtcdError(StatusCode.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
TOO_MANY_REQUESTS = EtcdError(
    StatusCode.UNKNOWN, "etcdserver: too many requests", declared=StatusCode.RESOURCE_EXHAUSTED
)
LEASE_NOT_FOUND = EtcdError(StatusCode.NOT_FOUND, "etcdserver: requested lease not found")
MEMBER_NOT_FOUND = EtcdError(StatusCode.NOT_FOUND, "etcdserver: member not found")

LEASE_EXISTS = _precondition("lease already exists")
MEMBER_EXISTS = _precondition("member ID already exist")
PEER_URL_EXISTS = _precondition("Peer URLs already exists")
NOT_ENOUGH_STARTED_MEMBERS = EtcdError(
    StatusCode.UNKNOWN,
    "etcdserver: re-configuration failed due to not enough started members",
    declared=StatusCode.FAILED_PRECONDITION,
)
MEMBER_NOT_LEARNER = _precondition("can only promote a learner member")
LEARNER_NOT_READY = _precondition("can only promote a learner member which is in sync with leader")
TOO_MANY_LEARNERS = _precondition("too many learner members in cluster")
CLUSTER_ID_MISMATCH = _precondition("cluster ID mismatch")
ROOT_USER_NOT_EXIST = _precondition("root user does not exist")
ROOT_ROLE_NOT_EXIST = _precondition("root user does not have root role")
USER_EXISTS = _precondition("user name already exists")
USER_NOT_FOUND = _precondition("user name not found")
ROLE_EXISTS = _precondition("role name already exists")
ROLE_NOT_FOUND = _precondition("role name not found")
ROLE_NOT_GRANTED = _precondition("role is not granted to the user")
PERMISSION_NOT_GRANTED = _precondition("permission is not granted to the role")
AUTH_NOT_ENABLED = _precondition("authentication is not enabled")
NOT_LEADER = _precondition("not leader")
BAD_LEADER_TRANSFEREE = _precondition("bad leader transferee")
NOT_CAPABLE = _unavailable("not capable")
NOT_SUPPORTED_FOR_LEARNER = _unavailable("rpc not supported for learner")
CLUSTER_VERSION_UNAVAILABLE = _unavailable("cluster version not found during downgrade")
DOWNGRADE_IN_PROCESS = _precondition("cluster has a downgrade job in progress")
NO_INFLIGHT_DOWNGRADE = _precondition("no inflight downgrade job")

PERMISSION_DENIED = EtcdError(StatusCode.PERMISSION_DENIED, "etcdserver: permission denied")
INVALID_AUTH_TOKEN = EtcdError(StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")

NO_LEADER = _unavailable("no leader")
LEADER_CHANGED = _unavailable("leader changed")
STOPPED = _unavailable("server stopped")
TIMEOUT = _unavailable("request timed out")
TIMEOUT_LEADER_FAILED = _unavailable("request timed out, possibly due to previous leader failure")
TIMEOUT_CONNECTION_LOST = _unavailable("request timed out, possibly due to connection lost")
TIMEOUT_WAIT_APPLIED = _unavailable("request timed out, waiting for the applied index took too long")
UNHEALTHY = _unavailable("unhealthy cluster")
CORRUPT = EtcdError(StatusCode.DATA_LOSS, "etcdserver: corrupt cluster")
WATCH_CANCELED = EtcdError(StatusCode.CANCELED, "etcdserver: watch canceled")
REQUEST_CANCELED = EtcdError(StatusCode.CANCELED, "etcdserver: request canceled")
DEADLINE_EXCEEDED = EtcdError(StatusCode.DEADLINE_EXCEEDED, "etcdserver: context deadline exceeded")

# Errors that etcd does not map: Unknown, with the raw text of the Go error.
NOT_PRIMARY = EtcdError(StatusCode.UNKNOWN, "not a primary lessor")
TIMEOUT_LEADER_TRANSFER = EtcdError(StatusCode.UNKNOWN, "etcdserver: request timed out, leader transfer took too long")
UNKNOWN_METHOD = EtcdError(StatusCode.UNKNOWN, "etcdserver: unknown method")
CANCELED_UNMAPPED = EtcdError(StatusCode.UNKNOWN, "etcdserver: request cancelled")
NO_PASSWORD_USER = EtcdError(StatusCode.UNKNOWN, "auth: authentication failed, password was given for no password user")

# Of the lock and election services, which are clients of the member's own API: no error of theirs has a code.
SESSION_EXPIRED = EtcdError(StatusCode.UNKNOWN, "mutex: session is expired")
ELECTION_NOT_LEADER = EtcdError(StatusCode.UNKNOWN, "election: not leader")
ELECTION_NO_LEADER = EtcdError(StatusCode.UNKNOWN, "election: no leader")
LEADER_KEY_MISSING = EtcdError(StatusCode.UNKNOWN, '"leader" field must be provided')

UNKNOWN_HEALTH_SERVICE = EtcdError(StatusCode.NOT_FOUND, "unknown service")

# Our own, where etcd has none because it crashes, drops the connection or has the feature and we do not yet.
MALFORMED_REQUEST = EtcdError(
    StatusCode.INVALID_ARGUMENT, "etcdserver: the request cannot be decoded (nested too deep, or not this message)"
)
UNKNOWN_ALARM_ACTION = _invalid("unknown alarm action: use GET, ACTIVATE or DEACTIVATE")
UNKNOWN_ALARM_TYPE = _invalid("unknown alarm type: use NONE, NOSPACE or CORRUPT")
AUTH_MANAGEMENT_UNIMPLEMENTED = EtcdError(
    StatusCode.UNIMPLEMENTED, "etcdserver: users and roles are not available in this version of the etcdops node"
)
RANGE_STREAM_UNIMPLEMENTED = EtcdError(
    StatusCode.UNIMPLEMENTED, "unknown method RangeStream for service etcdserverpb.KV"
)
UNKNOWN_ENTRY = EtcdError(
    StatusCode.INTERNAL, "etcdserver: the log entry holds no request this version knows; nothing was changed"
)
OUT_OF_REVISIONS = EtcdError(
    StatusCode.RESOURCE_EXHAUSTED, "etcdserver: the store has used up its 2^40 revisions; it can only be read any more"
)
STORE_REFUSED = EtcdError(StatusCode.INTERNAL, "etcdserver: the store could not serve the request; see the log")

WATCH_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
WATCH_EMPTY_RANGE = "mvcc: watcher range is empty"
"""Reasons in the `cancel_reason` of a watch that could not be created: raw texts, not statuses."""
