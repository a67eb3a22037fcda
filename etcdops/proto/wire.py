"""Protobuf's wire format by hand, for the few places where an encoded message is put together from encoded parts.

Source: protobuf's encoding documentation. Everything here is pinned to the protobuf library by tests.
"""

from __future__ import annotations

_ONE_BYTE = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """An unsigned integer in base 128, least significant group first. Negative ones are taken as 64-bit two's
    complement.
    """
    if 0 <= number < 128:
        return _ONE_BYTE[number]
    if 0 <= number < 16_384:  # sizes of most messages
        return bytes((number & 0x7F | 0x80, number >> 7))
    number &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def varint_field(field: int, number: int) -> bytes:
    """A varint field (int32, int64, uint64, bool, enum), also when it is zero."""
    return varint(field << 3) + varint(number)


def bytes_field(field: int, data: bytes) -> bytes:
    """A length-delimited field (bytes, string, message), also when it is empty."""
    return varint(field << 3 | 2) + varint(len(data)) + data
