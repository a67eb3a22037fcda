"""What a client is told whose request is no message."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdops.node.api.errors import MALFORMED_REQUEST
from etcdops.node.api.undecodable import SCANNED_BYTES_MAX, reason, unreadable_message, unreadable_request
from etcdops.proto import etcdserverpb_pb2 as pb

EOF = "unexpected EOF"
OVERFLOW = "proto: integer overflow"


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (pb.RangeRequest, b"\x0a\x05ab", EOF),
        (pb.RangeRequest, b"\x98", EOF),
        (pb.RangeRequest, b"\x0a\x01a\x18", EOF),
        (pb.RangeRequest, b"\x9b\x06\x08\x01", EOF),
        (pb.RangeRequest, b"\x9d\x06ab", EOF),
        (pb.RangeRequest, b"\xff" * 11, OVERFLOW),
        (pb.RangeRequest, b"\x18" + b"\xff" * 11, OVERFLOW),
        (pb.RangeRequest, b"\x0a" + b"\xff" * 11, OVERFLOW),
        (pb.RangeRequest, b"\x0a" + b"\xff" * 9 + b"\x01", "proto: negative length found during unmarshaling"),
        (pb.RangeRequest, b"\x9c\x06", "proto: RangeRequest: wiretype end group for non-group"),
        (pb.RangeRequest, b"\x00\x01", "proto: RangeRequest: illegal tag 0 (wire type 0)"),
        (pb.RangeRequest, b"\x9e\x06", "proto: illegal wireType 6"),
        (pb.RangeRequest, b"\x08\x01", "proto: wrong wireType = 0 for field Key"),
        (pb.RangeRequest, b"\x12\x01a\x1a\x01a", "proto: wrong wireType = 2 for field Limit"),
        (pb.RangeRequest, b"\x13", "proto: wrong wireType = 3 for field RangeEnd"),
        (pb.MemberAddRequest, b"\x08\x01", "proto: wrong wireType = 0 for field PeerURLs"),
        (pb.WatchCreateRequest, b"\x2d", "proto: wrong wireType = 5 for field Filters"),
        (pb.TxnRequest, b"\x12\x03\x12\x05a", EOF),
        (pb.TxnRequest, b"\x0a\x02\x18\x05", "proto: wrong wireType = 0 for field Key"),
    ],
)
def test_the_reason_is_etcds(kind: type[Message], data: bytes, expected: str) -> None:
    """As real etcd answers (tests/differential/test_wire.py)."""
    assert reason(kind, data) == expected


def test_unary_calls_and_streams_say_it_in_their_own_words() -> None:
    """grpc-go has two sentences for it, both INTERNAL."""
    assert str(unreadable_request(pb.RangeRequest, b"\x98")) == (
        "rpc error: code = INTERNAL desc = grpc: error unmarshalling request: unexpected EOF"
    )
    assert str(unreadable_message(pb.WatchRequest, b"\x98")) == (
        "rpc error: code = INTERNAL desc = grpc: failed to unmarshal the received message: unexpected EOF"
    )


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (pb.AuthUserGetRequest, b"\x0a\x01\xff"),
        (pb.RangeRequest, b"\x98" * (SCANNED_BYTES_MAX + 1)),
        (pb.WatchCreateRequest, b"\x2a\x01\x01\x28\x01"),
    ],
)
def test_without_a_reason_of_etcds_there_is_one_of_our_own(kind: type[Message], data: bytes) -> None:
    """Text that is no UTF-8, levels beyond the library's, requests too long to look through."""
    assert reason(kind, data) == ""
    assert unreadable_request(kind, data).message == MALFORMED_REQUEST.text


def test_many_levels_are_no_trouble() -> None:
    """X21: the reason is looked for no deeper than the library reads."""
    message = b""
    for _ in range(300):
        message = b"\x12" + _sized(b"\x22" + _sized(message))
    with pytest.raises(DecodeError):
        pb.TxnRequest.FromString(message)
    assert reason(pb.TxnRequest, message) == ""


def _sized(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])) + data


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40))
def test_what_the_library_reads_is_refused_for_a_known_fields_wire_type_only(data: bytes) -> None:
    """The one thing that etcd refuses and protobuf takes for an unknown field; all else they agree on."""
    try:
        pb.TxnRequest.FromString(data)
    except DecodeError:
        return
    found = reason(pb.TxnRequest, data)
    assert found == "" or found.startswith("proto: wrong wireType")
