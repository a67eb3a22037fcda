"""Why a request is no message, in the words that etcd's decoder finds for it.

The answer of the protobuf library is yes or no, so the bytes are gone through a second time, by hand, when it is no.
What only the library refuses (text that is no UTF-8, more levels than it reads) has words of our own.
Source: gogo/protobuf's generated Unmarshal and skip functions, as in etcd api/etcdserverpb/rpc.pb.go, skipRpc.
"""

from __future__ import annotations

from typing import cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from etcdops.node.api.errors import MALFORMED_REQUEST
from etcdops.node.rpc.service import RpcError, StatusCode

SCANNED_BYTES_MAX = 64 * 1024
"""Of a longer request the reason is not looked for: it is the client's trouble, and the loop's time."""

_DEPTH_MAX = 90  # levels; the library stops at 100
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_NUMBERS = frozenset(
    {
        FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM,
    }
)  # fmt: skip


class _Reason(Exception):
    """What is wrong."""


def unreadable_request(message_type: type[Message], data: bytes) -> RpcError:
    """How a unary call ends whose request is none. Source: grpc-go server.go, Server.processUnaryRPC."""
    return _refusal("grpc: error unmarshalling request", message_type, data)


def unreadable_message(message_type: type[Message], data: bytes) -> RpcError:
    """How a stream ends whose client sends what is no message. Source: grpc-go rpc_util.go, recv."""
    return _refusal("grpc: failed to unmarshal the received message", message_type, data)


def _refusal(what: str, message_type: type[Message], data: bytes) -> RpcError:
    why = reason(message_type, data)
    return RpcError(StatusCode.INTERNAL, f"{what}: {why}") if why else MALFORMED_REQUEST()


def reason(message_type: type[Message], data: bytes) -> str:
    """What is wrong with `data`, or "" when nothing is that etcd would see."""
    if len(data) > SCANNED_BYTES_MAX:
        return ""
    try:
        _scan(cast(Descriptor, message_type.DESCRIPTOR), data, 0)
    except _Reason as found:
        return str(found)
    return ""


def _scan(kind: Descriptor, data: bytes, depth: int) -> None:
    at = 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _END_GROUP:
            raise _Reason(f"proto: {kind.name}: wiretype end group for non-group")
        if not 0 < number < 1 << 31:
            raise _Reason(f"proto: {kind.name}: illegal tag {number} (wire type {tag})")
        field = kind.fields_by_number.get(number)
        at = _skip(data, start) if field is None else _field(field, wire_type, data, at, depth)


def _field(field: FieldDescriptor, wire_type: int, data: bytes, at: int, depth: int) -> int:
    """One field that is known. Returns: where it ends."""
    if field.type in _NUMBERS and wire_type == _VARINT:
        return _varint(data, at)[1]
    packed = field.type in _NUMBERS and field.is_repeated
    if wire_type != _BYTES or (field.type in _NUMBERS and not packed):
        raise _Reason(f"proto: wrong wireType = {wire_type} for field {_go_name(field.name)}")
    size, at = _varint(data, at)
    if size >= 1 << 63:
        raise _Reason("proto: negative length found during unmarshaling")
    if at + size > len(data):
        raise _Reason("unexpected EOF")
    if field.message_type is not None and depth < _DEPTH_MAX:
        _scan(field.message_type, data[at : at + size], depth + 1)
    return at + size


def _skip(data: bytes, at: int) -> int:
    """A field that is not known, and what it holds if it is a group. Returns: where it ends."""
    groups = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire_type = tag & 7
        if wire_type == _VARINT:
            at = _varint(data, at)[1]
        elif wire_type in _FIXED_BYTES:
            at += _FIXED_BYTES[wire_type]
        elif wire_type == _BYTES:
            size, at = _varint(data, at)
            if size >= 1 << 63:
                raise _Reason("proto: negative length found during unmarshaling")
            at += size
        elif wire_type == _GROUP:
            groups += 1
        elif wire_type == _END_GROUP:
            groups -= 1
        else:
            raise _Reason(f"proto: illegal wireType {wire_type}")
        if groups == 0:
            if at > len(data):
                break
            return at
    raise _Reason("unexpected EOF")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            raise _Reason("unexpected EOF")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
    raise _Reason("proto: integer overflow")


def _go_name(name: str) -> str:
    """`range_end` as Go's generated code calls it."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
