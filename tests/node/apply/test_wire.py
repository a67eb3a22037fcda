"""The hand-written protobuf against the generated classes."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from etcdops.node.apply import wire
from etcdops.proto import etcdserverpb_pb2 as pb
from etcdops.proto import mvccpb_pb2 as mvccpb
from etcdops.proto.wire import bytes_field, varint, varint_field

int64 = st.integers(-(2**63), 2**63 - 1)
uint64 = st.integers(0, 2**64 - 1)
short = st.binary(max_size=200)
puts = st.builds(
    pb.PutRequest,
    key=short,
    value=short,
    lease=int64,
    prev_kv=st.booleans(),
    ignore_value=st.booleans(),
    ignore_lease=st.booleans(),
)


def fields_of(put: pb.PutRequest) -> wire.PutFields:
    return wire.PutFields(put.key, put.value, put.lease, put.prev_kv, put.ignore_value, put.ignore_lease)


@given(puts)
def test_a_put_is_scanned_as_protobuf_decodes_it(put: pb.PutRequest) -> None:
    """Every field, any bytes in keys and values."""
    assert wire.scan_put(put.SerializeToString()) == fields_of(put)


@given(st.lists(puts, max_size=3), short)
def test_a_put_of_any_bytes_is_scanned_as_protobuf_decodes_it_or_left_to_it(
    parts: list[pb.PutRequest], tail: bytes
) -> None:
    """Repeated fields (the last one counts), unknown ones, cut ones."""
    message = b"".join(part.SerializeToString() for part in parts) + tail
    with contextlib.suppress(wire.Malformed):
        scanned = wire.scan_put(message)
        assert scanned == fields_of(pb.PutRequest.FromString(message))


@given(st.binary(max_size=60))
def test_scanners_end_on_any_bytes(data: bytes) -> None:
    """With a result or Malformed, nothing else; a result agrees with protobuf."""
    with contextlib.suppress(wire.Malformed):
        assert wire.scan_put(data) == fields_of(pb.PutRequest.FromString(data))
    with contextlib.suppress(wire.Malformed):
        wire.scan_key_value(data)
    with contextlib.suppress(wire.Malformed):
        wire.fields(data)
    with contextlib.suppress(wire.Malformed, DecodeError):
        wire.decode_internal(data)
        pb.InternalRaftRequest.FromString(data)


@given(
    st.builds(
        mvccpb.KeyValue,
        key=short,
        create_revision=st.integers(0, 2**40),
        mod_revision=st.integers(0, 2**40),
        version=st.integers(0, 2**40),
        value=short,
        lease=int64,
    )
)
def test_a_pair_is_scanned_and_stripped_of_its_value(kv: mvccpb.KeyValue) -> None:
    """R15: keys_only answers keep everything else."""
    encoded = kv.SerializeToString()
    found = wire.scan_key_value(encoded)
    assert (found.key, found.value, found.lease) == (kv.key, kv.value, kv.lease)
    assert (found.create_revision, found.mod_revision, found.version) == (
        kv.create_revision,
        kv.mod_revision,
        kv.version,
    )
    kv.ClearField("value")
    assert wire.without_value(encoded) == kv.SerializeToString()


@given(st.integers(3, 15) | st.sampled_from([1300, 1301, 1302, 1100]), short, uint64)
def test_a_log_entry_is_split_into_its_request_and_its_id(field: int, request: bytes, request_id: int) -> None:
    """As the driver, and etcd, encode it: the request, then the header."""
    data = bytes_field(field, request) + bytes_field(100, varint_field(1, request_id))
    assert wire.decode_internal(data) == (field, request, request_id)
    other_order = bytes_field(100, varint_field(1, request_id)) + bytes_field(field, request)
    assert wire.decode_internal(other_order) == (field, request, request_id)


def test_a_log_entry_with_more_than_etcd_writes() -> None:
    """User names in the header, an ID of its own, several requests: the one etcd's switch would take first."""
    request = pb.InternalRaftRequest(ID=7, header=pb.RequestHeader(ID=9, username="u", auth_revision=3))
    request.put.key = b"a"
    assert wire.decode_internal(request.SerializeToString()) == (wire.FIELD_PUT, b"\x0a\x01a", 7)
    request.range.key = b"b"
    assert wire.decode_internal(request.SerializeToString()).field == wire.FIELD_RANGE
    request.cluster_version_set.ver = "3.5.0"
    assert wire.decode_internal(request.SerializeToString()).field == wire.FIELD_CLUSTER_VERSION_SET
    assert wire.decode_internal(b"") == (0, b"", 0)


@given(int64 | uint64)
def test_numbers_are_read_as_they_are_written(number: int) -> None:
    """Negative ones are ten bytes long."""
    encoded = varint(number)
    value, end = wire.read_varint(encoded, 0)
    assert end == len(encoded)
    assert value == number % 2**64
    if number < 2**63:
        assert wire.signed(value) == number


@pytest.mark.parametrize("cut", [b"", b"\x80", b"\xff" * 9, b"\x80" * 10 + b"\x01"])
def test_a_number_that_does_not_end_is_malformed(cut: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.read_varint(cut, 0)
