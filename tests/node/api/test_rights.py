"""One row for every RPC, and none without."""

from __future__ import annotations

from etcdops.node.api.rights import RIGHTS, Kind, Right
from etcdops.node.rpc.service import Stream, Unary
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import v3electionpb_pb2 as electionpb
from etcdops.proto import v3lockpb_pb2 as lockpb
from tests.fakes.calls import Api

_SERVICES = {
    service.full_name: service
    for file in (pb.DESCRIPTOR, lockpb.DESCRIPTOR, electionpb.DESCRIPTOR)
    for service in file.services_by_name.values()
}
_HEALTH = "/grpc.health.v1.Health/"
"""gRPC's own; its messages are so small that there is no .proto of it here."""


def test_every_rpc_in_the_proto_has_a_row() -> None:
    """An RPC without a decision on who may call it cannot go live."""
    declared = {f"/{service.full_name}/{method.name}" for service in _SERVICES.values() for method in service.methods}
    assert set(RIGHTS) == declared | {_HEALTH + "Check", _HEALTH + "Watch"}


def test_rows_say_how_the_proto_streams() -> None:
    """The metrics' grpc_type label and the handler's shape come from the row."""
    for path, row in RIGHTS.items():
        if path.startswith(_HEALTH):
            continue
        _, service_name, method_name = path.split("/")
        method = _SERVICES[service_name].methods_by_name[method_name]
        expected = {
            (False, False): Kind.UNARY,
            (False, True): Kind.SERVER_STREAM,
            (True, True): Kind.BIDI_STREAM,
        }[method.client_streaming, method.server_streaming]
        assert row.kind is expected, path


def test_every_row_is_served(api: Api) -> None:
    """Registered as what it is: unary or stream."""
    assert set(api.methods) == set(RIGHTS)
    for path, method in api.methods.items():
        assert isinstance(method, Unary if RIGHTS[path].kind is Kind.UNARY else Stream), path


def test_calls_that_change_a_cluster_need_root() -> None:
    """A52."""
    for name in ("Defragment", "Hash", "HashKV", "Snapshot", "MoveLeader", "Downgrade", "Alarm"):
        assert RIGHTS[f"/etcdserverpb.Maintenance/{name}"].right is Right.ROOT
    for name in ("MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"):
        assert RIGHTS[f"/etcdserverpb.Cluster/{name}"].right is Right.ROOT
    assert RIGHTS["/etcdserverpb.KV/Compact"].right is Right.ROOT
