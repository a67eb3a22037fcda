"""Protobuf by hand, for the few messages that every request crosses: building and scanning them field by field.

Everything here agrees with the generated classes (property tests compare the two); what is not in the plain form that
etcd's clients send is left to them. Numbers are protobuf's: a negative int64 is ten bytes long.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from etcdops.proto.wire import varint

_MASK64 = 0xFFFF_FFFF_FFFF_FFFF
_SHORT = [bytes((number,)) for number in range(0x80)]


class Malformed(ValueError):
    """Bytes that are no protobuf message, or not in the plain form a scanner understands."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned varint at `at` and where it ends.

    Raises: Malformed - it does not end, or is longer than 64 bits.
    """
    shift = number = 0
    try:
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number & _MASK64, at
            shift += 7
            if shift > 63:
                raise Malformed("a varint of more than ten bytes")
    except IndexError:
        raise Malformed("the message ends within a varint") from None


def signed(number: int) -> int:
    """An unsigned 64-bit number read as int64."""
    return number - (1 << 64) if number >> 63 else number


def delimited(tag: bytes, payload: bytes) -> bytes:
    """A length-delimited field: `tag`, length, `payload`."""
    size = len(payload)
    return tag + (_SHORT[size] if size < 0x80 else varint(size)) + payload


def number_field(tag: bytes, number: int) -> bytes:
    """A varint field, left out when 0 as proto3 does."""
    return tag + varint(number) if number else b""


def repeated(tag: bytes, payloads: Iterable[bytes]) -> bytes:
    """A repeated message field from encoded messages."""
    parts: list[bytes] = []
    for payload in payloads:
        size = len(payload)
        parts.append(tag)
        parts.append(_SHORT[size] if size < 0x80 else varint(size))
        parts.append(payload)
    return b"".join(parts)


def fields(data: bytes) -> list[tuple[int, int, int | bytes]]:
    """Every field of a message as (number, wire type, value): ints for varints, bytes for the rest.

    Raises: Malformed.
    """
    found: list[tuple[int, int, int | bytes]] = []
    at, end = 0, len(data)
    while at < end:
        tag, at = read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0 or tag > 0xFFFF_FFFF:
            raise Malformed("field number 0" if number == 0 else "a field number above 2**29 - 1")
        value: int | bytes
        if wire_type == 0:
            value, at = read_varint(data, at)
        else:
            if wire_type == 2:
                size, at = read_varint(data, at)
            elif wire_type == 1:
                size = 8
            elif wire_type == 5:
                size = 4
            else:
                raise Malformed(f"wire type {wire_type}")
            value = data[at : at + size]
            at += size
            if at > end:
                raise Malformed("a field is longer than the message")
        found.append((number, wire_type, value))
    return found


class PutFields(NamedTuple):
    """A PutRequest."""

    key: bytes
    value: bytes
    lease: int
    prev_kv: bool
    ignore_value: bool
    ignore_lease: bool


def scan_put(request: bytes) -> PutFields:
    """A PutRequest in plain form: known fields, each of its own wire type; a repeated one counts the last time.

    Raises: Malformed - anything else; the generated class may still understand it.
    """
    key = value = b""
    lease = prev_kv = ignore_value = ignore_lease = 0
    at, end = 0, len(request)
    while at < end:
        tag = request[at]
        at += 1
        if tag == 0x0A or tag == 0x12:
            size = request[at] if at < end else 0x80
            if size < 0x80:
                at += 1
            else:
                size, at = read_varint(request, at)
            if at + size > end:
                raise Malformed("a field is longer than the message")
            if tag == 0x0A:
                key = request[at : at + size]
            else:
                value = request[at : at + size]
            at += size
            continue
        number, at = read_varint(request, at)
        if tag == 0x18:
            lease = number
        elif tag == 0x20:
            prev_kv = number
        elif tag == 0x28:
            ignore_value = number
        elif tag == 0x30:
            ignore_lease = number
        else:
            raise Malformed("a field this scanner does not know")
    return PutFields(key, value, signed(lease) if lease else 0, bool(prev_kv), bool(ignore_value), bool(ignore_lease))


class KeyValueFields(NamedTuple):
    """A stored mvccpb.KeyValue."""

    key: bytes
    create_revision: int
    mod_revision: int
    version: int
    value: bytes
    lease: int


def scan_key_value(kv: bytes) -> KeyValueFields:
    """An encoded mvccpb.KeyValue as the store keeps it. Raises: Malformed - other bytes."""
    key = value = b""
    numbers = [0, 0, 0, 0, 0, 0, 0]
    at, end = 0, len(kv)
    while at < end:
        tag = kv[at]
        number, at = read_varint(kv, at + 1)
        if tag == 0x0A or tag == 0x2A:
            if at + number > end:
                raise Malformed("a field is longer than the message")
            if tag == 0x0A:
                key = kv[at : at + number]
            else:
                value = kv[at : at + number]
            at += number
        elif tag in (0x10, 0x18, 0x20, 0x30):
            numbers[tag >> 3] = number
        else:
            raise Malformed("no mvccpb.KeyValue")
    return KeyValueFields(key, numbers[2], numbers[3], numbers[4], value, signed(numbers[6]))


def without_value(kv: bytes) -> bytes:
    """An encoded mvccpb.KeyValue minus its value, as keys_only answers show it."""
    at, end = 0, len(kv)
    while at < end:
        start = at
        tag = kv[at]
        number, at = read_varint(kv, at + 1)
        if tag == 0x2A:
            return kv[:start] + kv[at + number :]
        if tag == 0x0A:
            at += number
    return kv


class InternalRequest(NamedTuple):
    """An InternalRaftRequest: which request it holds (field number, 0 = none) and its bytes."""

    field: int
    request: bytes
    request_id: int


FIELD_RANGE = 3
FIELD_PUT = 4
FIELD_DELETE_RANGE = 5
FIELD_TXN = 6
FIELD_COMPACTION = 7
FIELD_LEASE_GRANT = 8
FIELD_LEASE_REVOKE = 9
FIELD_ALARM = 10
FIELD_LEASE_CHECKPOINT = 11
FIELD_CLUSTER_VERSION_SET = 1300
FIELD_CLUSTER_MEMBER_ATTR_SET = 1301
FIELD_DOWNGRADE_INFO_SET = 1302
"""Numbers of the members of InternalRaftRequest that the node proposes; etcd's."""

_FIELD_ID = 1
_FIELD_HEADER = 100
_FIELD_HEADER_ID = 1
_SET_FIRST = (FIELD_CLUSTER_VERSION_SET, FIELD_CLUSTER_MEMBER_ATTR_SET, FIELD_DOWNGRADE_INFO_SET)
_HEADER_TAG = varint(_FIELD_HEADER << 3 | 2)


def decode_internal(data: bytes) -> InternalRequest:
    """The request in a log entry. With several in one (etcd never does that) the one etcd would take.

    Raises: Malformed.
    Source: etcd server/etcdserver/apply.go, applierV3backend.Apply.
    """
    plain = _decode_plain(data)
    if plain is not None:
        return plain
    requests: dict[int, bytes] = {}
    request_id = header_id = 0
    for number, wire_type, value in fields(data):
        if number == _FIELD_ID and isinstance(value, int):
            request_id = value
        elif wire_type == 2 and isinstance(value, bytes):
            if number == _FIELD_HEADER:
                for inner, _, inner_value in fields(value):
                    if inner == _FIELD_HEADER_ID and isinstance(inner_value, int):
                        header_id = inner_value
            else:
                requests[number] = value
    if not requests:
        return InternalRequest(0, b"", request_id or header_id)
    field = next((number for number in _SET_FIRST if number in requests), None) or min(requests)
    return InternalRequest(field, requests[field], request_id or header_id)


def _decode_plain(data: bytes) -> InternalRequest | None:
    """The common case of `decode_internal`: one request numbered 3 to 15, then the header with nothing but an ID."""
    try:
        tag = data[0]
        if tag & 0x87 != 2 or tag < 0x1A:
            return None
        size, at = read_varint(data, 1)
        end = at + size
        if data[end : end + 2] != _HEADER_TAG or data[end + 2] != len(data) - end - 3 or data[end + 3] != 0x08:
            return None
        request_id, stop = read_varint(data, end + 4)
    except (IndexError, Malformed):
        return None
    return InternalRequest(tag >> 3, data[at:end], request_id) if stop == len(data) else None
