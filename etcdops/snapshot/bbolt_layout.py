"""How a bbolt file is laid out: the numbers and structures reader and writer share.

    page 0, 1      meta pages; the valid one with the higher transaction number counts
    page 2 ...     leaf, branch and freelist pages; a large one spills over into the pages after it ("overflow")

    page           id u64 · kind u16 · count u16 · overflow u32 · elements · their data
    leaf element   flags u32 · pos u32 · key size u32 · value size u32      pos counts from the element itself
    branch element pos u32 · key size u32 · page id u64
    bucket value   root page id u64 · sequence u64 · (root 0: the bucket's only page follows, "inline")

Everything is little-endian on the machines etcd supports.
Source: etcd-io/bbolt internal/common page.go, meta.go, inode.go, bucket.go.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = 0xED0C_DAED
VERSION = 2

KIND_BRANCH = 0x01
KIND_LEAF = 0x02
KIND_META = 0x04
KIND_FREELIST = 0x10

ELEMENT_IS_BUCKET = 0x01
NO_FREELIST = 0xFFFF_FFFF_FFFF_FFFF
"""The freelist page of a file whose free pages are simply those nothing points to (how etcd opens bbolt)."""
COUNT_IN_FIRST_ID = 0xFFFF
"""A freelist page with this count holds its real count as its first number."""

PAGE_HEADER = struct.Struct("<QHHI")
LEAF_ELEMENT = struct.Struct("<IIII")
BRANCH_ELEMENT = struct.Struct("<IIQ")
BUCKET_HEADER = struct.Struct("<QQ")
META = struct.Struct("<IIIIQQQQQ")
META_CHECKSUM = struct.Struct("<Q")

PAGE_SIZE = 4096
PAGE_SIZE_MIN = 1024
PAGE_SIZE_MAX = 65536
KEY_SIZE_MAX = 32768
ELEMENTS_MAX = 0xFFFF - 1

_FNV_OFFSET = 0xCBF2_9CE4_8422_2325
_FNV_PRIME = 0x100_0000_01B3


@dataclass(frozen=True, slots=True)
class Meta:
    """The root of one state of the file."""

    page_size: int
    root: int
    """Page id of the root bucket, whose elements are the named buckets."""
    freelist: int
    """Page id of the freelist or NO_FREELIST."""
    high_water: int
    """Pages in use: every page id is below it, and `high_water * page_size` is the size of the database."""
    txid: int

    def encode(self) -> bytes:
        """The meta page's content after its header, checksum included."""
        body = META.pack(MAGIC, VERSION, self.page_size, 0, self.root, 0, self.freelist, self.high_water, self.txid)
        return body + META_CHECKSUM.pack(fnv1a_64(body))

    @staticmethod
    def decode(content: bytes) -> Meta | None:
        """The meta in `content` (at least 64 bytes), None when it is not one: wrong magic, version or checksum."""
        body = content[: META.size]
        if len(content) < META.size + META_CHECKSUM.size:
            return None
        magic, version, page_size, _, root, _, freelist, high_water, txid = META.unpack(body)
        (checksum,) = META_CHECKSUM.unpack_from(content, META.size)
        if magic != MAGIC or version != VERSION or checksum != fnv1a_64(body):
            return None
        return Meta(page_size, root, freelist, high_water, txid)


def fnv1a_64(data: bytes) -> int:
    """The 64-bit FNV-1a hash that guards a meta page."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFF_FFFF_FFFF_FFFF
    return value
