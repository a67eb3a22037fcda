"""Requests that are refused without anything to prepare: the rows of the error table, and who produces them."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from google.protobuf.message import Message

from etcdops.proto import authpb_pb2 as authpb
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto.wire import bytes_field
from tests.differential.checklist import Server, executes
from tests.differential.statements import REFUSALS

pytestmark = [pytest.mark.real, pytest.mark.slow]

MISSING = b"/never written"
_NESTED = pb.RequestOp.REQUEST_TXN_FIELD_NUMBER
MANY = [pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))] * 129


class Row(NamedTuple):
    statement: str
    path: str
    request: Message
    refusal: str
    """A number of the error table, or what arrives word for word."""

    @property
    def expected(self) -> str:
        return REFUSALS.get(self.refusal, self.refusal)

    @property
    def statements(self) -> set[str]:
        return {self.statement.split(".")[0], *({self.refusal} & REFUSALS.keys())}


def put(**fields: object) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(**{"key": MISSING, **fields}))  # type: ignore[arg-type]  # any field


def nested(*success: pb.RequestOp) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=success))


def txn(*success: pb.RequestOp, key: bytes = MISSING) -> pb.TxnRequest:
    return pb.TxnRequest(compare=[pb.Compare(key=key)], success=success, failure=success)


DELETE = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=MISSING))
HALF = pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 64, success=[nested(*MANY[:65])])

KEYS = [
    Row("R01", "KV/Range", pb.RangeRequest(), "E01"),
    Row("R07", "KV/Range", pb.RangeRequest(key=b"a", revision=1 << 40), "E20"),
    Row("P01", "KV/Put", pb.PutRequest(), "E01"),
    Row("P02", "KV/Put", pb.PutRequest(key=MISSING, value=b"v", ignore_value=True), "E03"),
    Row("P03", "KV/Put", pb.PutRequest(key=MISSING, lease=1, ignore_lease=True), "E04"),
    Row("P04", "KV/Put", pb.PutRequest(key=MISSING, ignore_value=True), "E02"),
    Row("P05", "KV/Put", pb.PutRequest(key=MISSING, ignore_lease=True), "E02"),
    Row("P08", "KV/Put", pb.PutRequest(key=MISSING, lease=404), "E24"),
    Row("P17", "KV/Put", pb.PutRequest(value=b"v", ignore_value=True), "E01"),
    Row("P17", "KV/Put", pb.PutRequest(key=b"a", value=b"v", lease=1, ignore_value=True, ignore_lease=True), "E03"),
    Row("P17", "KV/Put", pb.PutRequest(key=b"a", value=b"v" * 1_572_864, lease=1, ignore_lease=True), "E04"),
    Row("P17", "KV/Put", pb.PutRequest(key=b"a", value=b"v" * 1_572_864, lease=404), "E10"),
    Row("D01", "KV/DeleteRange", pb.DeleteRangeRequest(), "E01"),
    Row("C02", "KV/Compact", pb.CompactionRequest(revision=1 << 40), "E20"),
    Row("C16", "Maintenance/HashKV", pb.HashKVRequest(revision=1 << 40), "E20"),
    Row("X01", "KV/Put", pb.PutRequest(key=b"a", value=b"v" * 1_572_864), "E10"),
    Row("X01", "KV/Txn", pb.TxnRequest(success=[put(value=b"v" * 1_572_864)]), "E10"),
    Row("X13", "KV/Nonsense", pb.RangeRequest(), "UNIMPLEMENTED: unknown method Nonsense for service etcdserverpb.KV"),
    Row("X13", "Nope/Range", pb.RangeRequest(), "UNIMPLEMENTED: unknown service etcdserverpb.Nope"),
    Row("R31", "KV/RangeStream", pb.RangeRequest(key=b"a"),
        "UNIMPLEMENTED: unknown method RangeStream for service etcdserverpb.KV"),
]  # fmt: skip

TRANSACTIONS = [
    Row("T01", "KV/Txn", pb.TxnRequest(success=MANY), "E05"),
    Row("T01", "KV/Txn", pb.TxnRequest(failure=MANY), "E05"),
    Row("X04", "KV/Txn", pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 129), "E05"),
    Row("T02", "KV/Txn", HALF, "E05"),
    Row("T03", "KV/Txn", txn(key=b""), "E01"),
    Row("T04", "KV/Txn", txn(pb.RequestOp()), "E02"),
    Row("T05", "KV/Txn", txn(pb.RequestOp(request_range=pb.RangeRequest())), "E01"),
    Row("T05", "KV/Txn", txn(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest())), "E01"),
    Row("T05", "KV/Txn", txn(put(key=b"")), "E01"),
    Row("T05", "KV/Txn", txn(put(value=b"v", ignore_value=True)), "E03"),
    Row("T05", "KV/Txn", txn(nested(put(lease=1, ignore_lease=True))), "E04"),
    Row("T16", "KV/Txn", txn(put(), pb.RequestOp(request_range=pb.RangeRequest(key=b"a", revision=1 << 40))), "E20"),
    Row("T18", "KV/Txn", txn(put(), put(key=MISSING + b"1", lease=404)), "E24"),
    Row("T18", "KV/Txn", txn(put(), put(key=MISSING + b"1", ignore_value=True)), "E02"),
    Row("T18", "KV/Txn", txn(put(), nested(put(key=MISSING + b"1", ignore_lease=True))), "E02"),
    Row("T19", "KV/Txn", txn(put(), put()), "E06"),
    Row("V05", "KV/Txn", txn(put(), nested(put())), "E06"),
    Row("T19", "KV/Txn", txn(put(), DELETE), "E06"),
    Row("T21", "KV/Txn", txn(nested(DELETE), nested(put())), "E06"),
]

LEASES = [
    Row("L04", "Lease/LeaseGrant", pb.LeaseGrantRequest(TTL=9_000_000_001), "E21"),
    Row("L07", "Lease/LeaseRevoke", pb.LeaseRevokeRequest(ID=404), "E24"),
    Row("L07", "Lease/LeaseRevoke", pb.LeaseRevokeRequest(), "E24"),
]

ADD = "Cluster/MemberAdd"
MEMBERS = [
    *(
        Row("M01", ADD, pb.MemberAddRequest(peerURLs=urls), "E09")
        for urls in ([], ["ftp://a:1"], ["http://a"], ["http://a:1/path"], ["a:1"])
    ),
    Row("M10", "Cluster/MemberRemove", pb.MemberRemoveRequest(ID=404), "E25"),
    Row("M18", "Cluster/MemberUpdate", pb.MemberUpdateRequest(ID=404, peerURLs=["http://a:1"]), "E25"),
    Row("M22", "Cluster/MemberPromote", pb.MemberPromoteRequest(ID=404), "E25"),
    Row("S12", "Maintenance/MoveLeader", pb.MoveLeaderRequest(targetID=404), "E44"),
]

DOWNGRADE = "Maintenance/Downgrade"
DOWNGRADES = [
    Row("S16.format", DOWNGRADE, pb.DowngradeRequest(version="junk"), "E17"),
    Row("S16.target", DOWNGRADE, pb.DowngradeRequest(version="3.2.0"), "E18"),
    Row("S16.cancel", DOWNGRADE, pb.DowngradeRequest(action=pb.DowngradeRequest.CANCEL), "E49"),
    *(
        Row(statement, DOWNGRADE, pb.DowngradeRequest(action=9, version="3.4.0"),  # type: ignore[arg-type]  # unknown
            "UNKNOWN: etcdserver: unknown method")
        for statement in ("S17", "Q02")
    ),
]  # fmt: skip

USERS = [
    Row("A01", "Auth/AuthEnable", pb.AuthEnableRequest(), "E34"),
    Row("A07", "Auth/UserAdd", pb.AuthUserAddRequest(), "E11"),
    Row("A11", "Auth/UserGet", pb.AuthUserGetRequest(name="nobody"), "E37"),
    Row("A11", "Auth/UserDelete", pb.AuthUserDeleteRequest(name="nobody"), "E37"),
    Row("A11", "Auth/UserChangePassword", pb.AuthUserChangePasswordRequest(name="nobody", password="x"), "E37"),
    Row("A11", "Auth/UserGrantRole", pb.AuthUserGrantRoleRequest(user="nobody", role="none"), "E37"),
    Row("A11", "Auth/UserRevokeRole", pb.AuthUserRevokeRoleRequest(name="nobody", role="none"), "E37"),
    Row("A19", "Auth/RoleAdd", pb.AuthRoleAddRequest(), "E12"),
    Row("A20", "Auth/RoleDelete", pb.AuthRoleDeleteRequest(role="none"), "E39"),
    Row("A23", "Auth/RoleGet", pb.AuthRoleGetRequest(role="none"), "E39"),
    Row("A23", "Auth/RoleGet", pb.AuthRoleGetRequest(role="root"), "E39"),
    Row("A24", "Auth/RoleGrantPermission",
        pb.AuthRoleGrantPermissionRequest(name="none", perm=authpb.Permission(key=b"a")), "E39"),
    Row("A27", "Auth/RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(role="none", key=b"a"), "E39"),
    Row("A32", "Auth/Authenticate", pb.AuthenticateRequest(name="root", password="x"), "E42"),
]  # fmt: skip

ROWS = [*KEYS, *TRANSACTIONS, *LEASES, *MEMBERS, *DOWNGRADES, *USERS]


@executes(*sorted(set().union(*(row.statements for row in ROWS))))
@pytest.mark.parametrize("row", ROWS, ids=[f"{row.statement}-{row.refusal.partition(':')[0]}" for row in ROWS])
def test_it_is_refused_and_changes_nothing(server: Server, row: Row) -> None:
    """Code and words arrive as the table has them, and the revision stays."""
    before = server.client.revision()
    server.check(row.statement, server.client.refusal(row.path, row.request), row.expected)
    assert server.client.revision() == before
    assert server.client.range(pb.RangeRequest(key=MISSING, range_end=MISSING + b"\xff")).count == 0


@executes("X02", "Q05")
def test_a_message_over_the_receive_limit_is_refused_by_the_transport(server: Server) -> None:
    """2 MiB by default, said in the words of grpc."""
    refusal = server.client.refusal("KV/Put", pb.PutRequest(key=b"a", value=b"v" * 2_200_000))
    server.check("Q05", refusal, "RESOURCE_EXHAUSTED: grpc: received message larger than max (2200008 vs. 2097152)")


@executes("X01")
def test_the_largest_put_is_taken(server: Server, prefix: bytes) -> None:
    """A key of three bytes leaves room for a value of 1,572,824."""
    key = prefix[:3]
    server.check("X01", server.client.refusal("KV/Put", pb.PutRequest(key=key, value=b"v" * 1_572_824)), "OK")
    server.client.delete(pb.DeleteRangeRequest(key=key))


@executes("X12", "R23", "E08")
@pytest.mark.parametrize("order", pb.RangeRequest.SortOrder.values())
def test_an_unknown_sort_target_is_refused(server: Server, order: int) -> None:
    """Alone and within a transaction; one such request ends etcd up to 3.5."""
    server.runs("X12")
    request = pb.RangeRequest(key=b"a", sort_order=order, sort_target=9)  # type: ignore[arg-type]  # unknown on purpose
    server.check("R23", server.client.refusal("KV/Range", request), REFUSALS["E08"])
    inner = pb.TxnRequest(success=[pb.RequestOp(request_range=request)])
    server.check("X12", server.client.refusal("KV/Txn", inner), REFUSALS["E08"])


@executes("A31", "E14")
def test_a_permission_that_is_not_given_is_refused(server: Server) -> None:
    """3.4 stops at it, and stops again at every start."""
    server.runs("A31")
    refusal = server.client.refusal("Auth/RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(name="none"))
    server.check("A31", refusal, REFUSALS["E14"])


@executes("N13")
def test_an_unknown_alarm_action_is_refused(server: Server) -> None:
    """etcd takes an answer for it that is not there."""
    server.runs("N13")
    request = pb.AlarmRequest(action=9)  # type: ignore[arg-type]  # unknown on purpose
    refusal = server.client.refusal("Maintenance/Alarm", request)
    assert refusal.startswith("INVALID_ARGUMENT: etcdserver: unknown alarm action")


@executes("X21")
@pytest.mark.parametrize("depth", [40, 60, 100])
def test_transactions_nested_deep_are_answered_or_refused(server: Server, depth: int) -> None:
    """etcd goes as deep as operations are allowed; the node as deep as protobuf reads. The connection stays."""
    request = b""  # protobuf could not write it either
    for _ in range(depth):
        request = bytes_field(pb.TxnRequest.SUCCESS_FIELD_NUMBER, bytes_field(_NESTED, request))
    server.check(f"X21.{depth}", server.client.refusal("KV/Txn", request), "OK")
    assert server.client.revision() > 0


@executes("X03")
def test_an_answer_may_be_longer_than_four_mebibytes(server: Server, prefix: bytes) -> None:
    """Six values of a mebibyte in one range."""
    for number in range(6):
        server.client.put(pb.PutRequest(key=prefix + b"%d" % number, value=b"v" * (1 << 20)))
    found = server.client.range(pb.RangeRequest(key=prefix, range_end=prefix + b"\xff"))
    server.check("X03", sum(len(pair.value) for pair in found.kvs), 6 << 20)
    server.client.delete(pb.DeleteRangeRequest(key=prefix, range_end=prefix + b"\xff"))


@executes("X07")
def test_a_token_is_taken_while_nobody_asks_for_one(server: Server) -> None:
    """With authentication off, either metadata key is fine, whatever it says."""
    for metadata in ([("token", "junk")], [("authorization", "Bearer junk")]):
        server.check("X07", server.client.refusal("KV/Range", pb.RangeRequest(key=b"a"), metadata=metadata), "OK")
