"""HPACK for a server of few, repeating headers: a decoder that remembers whole blocks, an encoder without state.

Source: RFC 7541. The static table and the Huffman code are the `hpack` library's.
"""

from __future__ import annotations

from collections import deque

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from etcdops.node.rpc.http2 import HEADER_BYTES_MAX, Headers

_STATIC: tuple[tuple[bytes, bytes], ...] = tuple((name, value) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_COUNT = len(_STATIC)
_TABLE_BYTES_MAX = 4096  # what our SETTINGS allow (the default)
_ENTRY_OVERHEAD = 32
_BLOCKS_MAX = 512
_TEXTS_MAX = 1024
_TEXT_BYTES_MAX = 128  # longer Huffman texts are not worth remembering


class BadBlock(Exception):
    """A header block that cannot be decoded: the connection's header state is lost."""


class ListTooLong(Exception):
    """A header list above HEADER_BYTES_MAX. The block was decoded, so the connection can go on."""


class BlockDecoder:
    """Header blocks of one connection, in order.

    A client repeats the same block for the same call as long as the dynamic table stands still; such a block costs one
    dictionary look-up. A block that changes the table makes all others mean something else, so they are forgotten.
    """

    def __init__(self) -> None:
        self._dynamic: deque[tuple[bytes, bytes]] = deque()
        self._table_bytes = 0
        self._table_bytes_max = _TABLE_BYTES_MAX
        self._changed = False
        self._blocks: dict[bytes, Headers] = {}
        self._texts: dict[bytes, bytes] = {}

    def decode(self, block: bytes) -> Headers:
        """Raises: BadBlock - nothing after it can be understood; ListTooLong."""
        headers = self._blocks.get(block)
        if headers is not None:
            return headers
        self._changed = False
        try:
            headers, size = self._decode(block)
        except (IndexError, HPACKDecodingError) as error:
            raise BadBlock("a damaged header block") from error
        if self._changed:
            self._blocks.clear()
        if size > HEADER_BYTES_MAX:
            raise ListTooLong(f"a header list of {size} bytes")
        if not self._changed:
            if len(self._blocks) >= _BLOCKS_MAX:
                self._blocks.clear()
            self._blocks[block] = headers
        return headers

    def _decode(self, block: bytes) -> tuple[Headers, int]:
        fields: list[tuple[bytes, bytes]] = []
        position, end, size = 0, len(block), 0
        while position < end:
            first = block[position]
            if first >= 0x80:  # one of the tables
                index, position = (first & 0x7F, position + 1) if first != 0xFF else _integer(block, position, 7)
                field = self._field(index)
            elif first >= 0x40:  # a literal, to be added to the table
                field, position = self._literal(block, position, 6)
                self._add(field)
            elif first >= 0x20:
                if fields:
                    raise BadBlock("a table size update after the first header")
                position = self._resize(block, position)
                continue
            else:
                field, position = self._literal(block, position, 4)
            size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
            if size <= HEADER_BYTES_MAX:  # beyond it the list is only counted
                fields.append(field)
        return tuple(fields), size

    def _field(self, index: int) -> tuple[bytes, bytes]:
        if index == 0:
            raise BadBlock("header index 0")
        if index <= _STATIC_COUNT:
            return _STATIC[index - 1]
        return self._dynamic[index - _STATIC_COUNT - 1]

    def _literal(self, block: bytes, position: int, bits: int) -> tuple[tuple[bytes, bytes], int]:
        index, position = _integer(block, position, bits)
        if index:
            name = self._field(index)[0]
        else:
            name, position = self._text(block, position)
        value, position = self._text(block, position)
        return (name, value), position

    def _text(self, block: bytes, position: int) -> tuple[bytes, int]:
        huffman = block[position] & 0x80
        length, start = _integer(block, position, 7)
        end = start + length
        if end > len(block):
            raise BadBlock("a header text beyond its block")
        raw = block[start:end]
        if not huffman:
            return raw, end
        text = self._texts.get(raw)
        if text is None:
            text = bytes(decode_huffman(raw))
            if length <= _TEXT_BYTES_MAX:
                if len(self._texts) >= _TEXTS_MAX:
                    self._texts.clear()
                self._texts[raw] = text
        return text, end

    def _add(self, field: tuple[bytes, bytes]) -> None:
        self._changed = True
        self._dynamic.appendleft(field)
        self._table_bytes += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        self._evict()

    def _resize(self, block: bytes, position: int) -> int:
        size, position = _integer(block, position, 5)
        if size > _TABLE_BYTES_MAX:
            raise BadBlock(f"a table of {size} bytes")
        self._changed = True
        self._table_bytes_max = size
        self._evict()
        return position

    def _evict(self) -> None:
        while self._table_bytes > self._table_bytes_max:
            name, value = self._dynamic.pop()
            self._table_bytes -= len(name) + len(value) + _ENTRY_OVERHEAD


def _integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
    """An integer that begins in the low `bits` of a byte; and where it ends. Source: RFC 7541 section 5.1."""
    limit = (1 << bits) - 1
    number = block[position] & limit
    position += 1
    if number < limit:
        return number, position
    shift = 0
    while True:
        byte = block[position]
        position += 1
        number += (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
        if shift > 28:
            raise BadBlock("an integer beyond any use")


def _encode_integer(number: int, bits: int, flags: int) -> bytes:
    limit = (1 << bits) - 1
    if number < limit:
        return bytes((flags | number,))
    number -= limit
    encoded = bytearray((flags | limit,))
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_STATIC_FIELDS = {field: index for index, field in reversed(list(enumerate(_STATIC, 1)))}
_STATIC_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC, 1)))}


def encode_block(headers: Headers) -> bytes:
    """A block that leaves the client's table as it is, so that it may be sent again and again."""
    block = bytearray()
    for field in headers:
        index = _STATIC_FIELDS.get(field)
        if index is not None:
            block += _encode_integer(index, 7, 0x80)
            continue
        name, value = field
        index = _STATIC_NAMES.get(name, 0)
        block += _encode_integer(index, 4, 0x00)
        if not index:
            block += _encode_integer(len(name), 7, 0x00) + name
        block += _encode_integer(len(value), 7, 0x00) + value
    return bytes(block)
