"""Reads a bbolt file nobody vouches for: every page id, offset, size and key order is checked before it is used.

A damaged or hostile file ends in `SnapshotCorrupt`, in time and memory bounded by the size of the file: one walk takes
every page at most once, and the data of a page's elements may not overlap. Pages are read with `pread`, not mapped,
so that a file cut short under us is an error too and not a signal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from etcdops.errors import SnapshotCorrupt
from etcdops.snapshot import bbolt_layout as layout
from etcdops.snapshot.bbolt_layout import Meta

_DEPTH_MAX = 32
"""Levels of one tree. Two keys a page at least make 32 levels more pages than a disk holds."""
_RUN_SIZE_MAX = 256 << 20
"""Bytes of one page with its overflow: some four requests of the largest size anybody configures."""
_BUCKETS_MAX = 1024
"""Named buckets read from one file; etcd has ten."""


class PageClaims:
    """Which pages a walk has met, so that no page is taken twice."""

    def __init__(self, high_water: int) -> None:
        self._taken = bytearray(high_water)

    def take(self, first: int, count: int) -> int | None:
        """Mark pages [first, first + count); the first one already taken, or None when all were new."""
        taken_before = self._taken.find(1, first, first + count)
        if taken_before >= 0:
            return taken_before
        self._taken[first : first + count] = b"\x01" * count
        return None

    def first_free(self) -> int | None:
        """The lowest page nobody took, None when all are taken."""
        free = self._taken.find(0)
        return None if free < 0 else free


class BboltFile:
    """An open bbolt file, read only. Use as a context manager.

    Args: path; size_bytes is how much of the file is database (a snapshot's checksum trailer is not).
    Raises: SnapshotCorrupt - no valid meta page, or a size that cannot be; OSError - the file cannot be read.
    """

    def __init__(self, path: Path, *, size_bytes: int | None = None) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            on_disk = os.fstat(self._descriptor).st_size
            self._file_size = on_disk if size_bytes is None else min(size_bytes, on_disk)
            self.meta = self._load_meta()
            self._roots = self._load_buckets()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> BboltFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back; the object is of no use afterwards."""
        os.close(self._descriptor)

    @property
    def size_bytes(self) -> int:
        """Size of the database as bbolt counts it: all pages below the high-water mark."""
        return self.meta.high_water * self.meta.page_size

    @property
    def bucket_names(self) -> list[bytes]:
        """Names of the buckets, ascending."""
        return list(self._roots)

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket in key order; nothing when the bucket does not exist.

        Raises: SnapshotCorrupt - once the walk meets something wrong; what it yielded before may be used no more.
        """
        value = self._roots.get(bucket)
        if value is None:
            return iter(())
        return self._bucket_items(bucket, value, PageClaims(self.meta.high_water))

    def get(self, bucket: bytes, key: bytes) -> bytes | None:
        """One value of a small bucket, None when bucket or key is absent."""
        return next((value for found, value in self.items(bucket) if found == key), None)

    def check(self) -> None:
        """Walk all buckets: every page is used once or free, all keys in order, all offsets inside their page.

        Raises: SnapshotCorrupt - names the page and what is wrong with it.
        Source: bbolt tx_check.go, Tx.check (what `etcdutl snapshot status` runs first).
        """
        claims = PageClaims(self.meta.high_water)
        claims.take(0, 2)
        for _ in self._leaves(self.meta.root, claims):
            pass
        for name, value in self._roots.items():
            for _ in self._bucket_items(name, value, claims):
                pass
        if self.meta.freelist == layout.NO_FREELIST:
            return
        for page in self._free_pages(claims):
            if not 2 <= page < self.meta.high_water:
                raise self._corrupt(f"free page {page} is outside of the file")
            if claims.take(page, 1) is not None:
                raise self._corrupt(f"page {page} is listed as free and in use, or listed twice")
        lost = claims.first_free()
        if lost is not None:
            raise self._corrupt(f"page {lost} is neither in use nor free")

    def _load_meta(self) -> Meta:
        found = [meta for offset in self._meta_offsets() if (meta := Meta.decode(self._read(offset, 64))) is not None]
        if not found:
            raise self._corrupt(
                "it has no valid meta page, so it is not a bbolt file",
                hint="check that this is the file written by a snapshot, and that its copy is complete",
            )
        meta = max(found, key=lambda candidate: candidate.txid)
        size = meta.page_size
        if not layout.PAGE_SIZE_MIN <= size <= layout.PAGE_SIZE_MAX or size & (size - 1):
            raise self._corrupt(f"its page size of {size} bytes cannot be")
        if meta.high_water < 3 or meta.high_water * size > self._file_size:
            raise self._corrupt(
                f"it is cut short: {meta.high_water} pages of {size} bytes do not fit into {self._file_size} bytes"
            )
        return meta

    def _meta_offsets(self) -> Iterator[int]:
        """Where meta contents may be: page 0, and page 1 for any page size (page 0 may be the damaged one)."""
        header = layout.PAGE_HEADER.size
        yield header
        size = layout.PAGE_SIZE_MIN
        while size <= layout.PAGE_SIZE_MAX:
            yield size + header
            size *= 2

    def _load_buckets(self) -> dict[bytes, bytes]:
        roots: dict[bytes, bytes] = {}
        claims = PageClaims(self.meta.high_water)
        claims.take(0, 2)
        for flags, name, value in self._walk(self.meta.root, claims):
            if not flags & layout.ELEMENT_IS_BUCKET:
                raise self._corrupt(f"{name[:40]!r} at its top level is not a bucket")
            if len(value) < layout.BUCKET_HEADER.size:
                raise self._corrupt(f"bucket {name[:40]!r} has no header")
            if len(roots) == _BUCKETS_MAX:
                raise self._corrupt(f"it has more than {_BUCKETS_MAX} buckets")
            roots[name] = value
        return roots

    def _bucket_items(self, name: bytes, value: bytes, claims: PageClaims) -> Iterator[tuple[bytes, bytes]]:
        root, _ = layout.BUCKET_HEADER.unpack_from(value)
        if root == 0:
            inline = value[layout.BUCKET_HEADER.size :]
            if len(inline) < layout.PAGE_HEADER.size:
                raise self._corrupt(f"inline bucket {name!r} is cut short")
            page_id, kind, count, overflow = layout.PAGE_HEADER.unpack_from(inline)
            if page_id != 0 or kind != layout.KIND_LEAF or overflow != 0:
                raise self._corrupt(f"inline bucket {name!r} does not hold a leaf page")
            elements = self._leaf_elements(0, inline, count, b"", None)
        else:
            elements = self._walk(root, claims)
        for flags, key, item in elements:
            if flags:
                raise self._corrupt(f"bucket {name!r} holds another bucket, which etcd never writes")
            yield key, item

    def _walk(self, root: int, claims: PageClaims) -> Iterator[tuple[int, bytes, bytes]]:
        """(flags, key, value) of all leaf elements below page `root`, in order."""
        for page_id, run, count, low, high in self._leaves(root, claims):
            yield from self._leaf_elements(page_id, run, count, low, high)

    def _leaves(self, root: int, claims: PageClaims) -> Iterator[tuple[int, bytes, int, bytes, bytes | None]]:
        """Leaf pages below page `root`: id, bytes, count, and the range [low, high) their keys must be in."""
        stack: list[tuple[int, bytes, bytes | None, int]] = [(root, b"", None, 1)]
        while stack:
            page_id, low, high, depth = stack.pop()
            kind, count, run = self._page(page_id, claims)
            if kind == layout.KIND_LEAF:
                if count == 0 and depth > 1:
                    raise self._corrupt(f"leaf page {page_id} below a branch is empty")
                yield page_id, run, count, low, high
            elif kind == layout.KIND_BRANCH:
                if depth == _DEPTH_MAX:
                    raise self._corrupt(f"its tree is deeper than {_DEPTH_MAX} levels at page {page_id}")
                children = self._branch_elements(page_id, run, count, low, high)
                bounds = [key for key, _ in children[1:]]
                for (key, child), upper in zip(reversed(children), reversed([*bounds, high]), strict=True):
                    stack.append((child, key, upper, depth + 1))
            else:
                raise self._corrupt(f"page {page_id} should be a branch or a leaf and is of kind {kind:#x}")

    def _page(self, page_id: int, claims: PageClaims) -> tuple[int, int, bytes]:
        """Kind, count and bytes (overflow included) of a page, taken for this walk."""
        high_water, page_size = self.meta.high_water, self.meta.page_size
        if not 2 <= page_id < high_water:
            raise self._corrupt(f"page {page_id} is referred to but is not one of its {high_water} pages")
        header = self._read(page_id * page_size, layout.PAGE_HEADER.size)
        found_id, kind, count, overflow = layout.PAGE_HEADER.unpack(header)
        if found_id != page_id:
            raise self._corrupt(f"page {page_id} says it is page {found_id}")
        if page_id + overflow >= high_water or (overflow + 1) * page_size > _RUN_SIZE_MAX:
            raise self._corrupt(f"page {page_id} says it spills over {overflow} pages")
        taken = claims.take(page_id, overflow + 1)
        if taken is not None:
            raise self._corrupt(f"page {taken} is used twice")
        return kind, count, self._read(page_id * page_size, (overflow + 1) * page_size)

    def _leaf_elements(
        self, page_id: int, run: bytes, count: int, low: bytes, high: bytes | None
    ) -> Iterator[tuple[int, bytes, bytes]]:
        element_size, size = layout.LEAF_ELEMENT.size, len(run)
        offset = layout.PAGE_HEADER.size
        floor = offset + count * element_size
        if floor > size:
            raise self._corrupt(f"leaf page {page_id} says it has {count} elements, more than it can hold")
        previous = b""
        for flags, position, key_size, value_size in layout.LEAF_ELEMENT.iter_unpack(run[offset:floor]):
            start = offset + position
            middle = start + key_size
            end = middle + value_size
            if start < floor or end > size:
                raise self._corrupt(f"an element of leaf page {page_id} points outside of its page or into another one")
            key = run[start:middle]
            if key <= previous or key < low or (high is not None and key >= high):
                raise self._corrupt(f"key {key[:40]!r} on leaf page {page_id} is out of order")
            if key_size > layout.KEY_SIZE_MAX or flags & ~layout.ELEMENT_IS_BUCKET:
                raise self._corrupt(f"an element of leaf page {page_id} has a size or flags that cannot be")
            yield flags, key, run[middle:end]
            previous, floor = key, end
            offset += element_size

    def _branch_elements(
        self, page_id: int, run: bytes, count: int, low: bytes, high: bytes | None
    ) -> list[tuple[bytes, int]]:
        element_size, size = layout.BRANCH_ELEMENT.size, len(run)
        offset = layout.PAGE_HEADER.size
        floor = offset + count * element_size
        if count == 0 or floor > size:
            raise self._corrupt(f"branch page {page_id} says it has {count} elements")
        children: list[tuple[bytes, int]] = []
        previous = b""
        for position, key_size, child in layout.BRANCH_ELEMENT.iter_unpack(run[offset:floor]):
            start = offset + position
            end = start + key_size
            if start < floor or end > size:
                raise self._corrupt(
                    f"an element of branch page {page_id} points outside of its page or into another one"
                )
            key = run[start:end]
            if key <= previous or key < low or (high is not None and key >= high):
                raise self._corrupt(f"key {key[:40]!r} on branch page {page_id} is out of order")
            children.append((key, child))
            previous, floor = key, end
            offset += element_size
        return children

    def _free_pages(self, claims: PageClaims) -> Iterator[int]:
        kind, count, run = self._page(self.meta.freelist, claims)
        if kind != layout.KIND_FREELIST:
            raise self._corrupt(f"page {self.meta.freelist} should be the freelist and is of kind {kind:#x}")
        first = layout.PAGE_HEADER.size
        if count == layout.COUNT_IN_FIRST_ID:
            count = int.from_bytes(run[first : first + 8], "little")
            first += 8
        if first + count * 8 > len(run):
            raise self._corrupt(f"the freelist says it has {count} pages, more than it can hold")
        for offset in range(first, first + count * 8, 8):
            yield int.from_bytes(run[offset : offset + 8], "little")

    def _read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes at `offset`, fewer only for a probe beyond the end of the database."""
        wanted = max(0, min(size, self._file_size - offset))
        data = os.pread(self._descriptor, wanted, offset)
        if len(data) != wanted:
            raise self._corrupt("it was cut short while it was read")
        return data

    def _corrupt(
        self, what: str, *, hint: str = "use another snapshot; this one must not be restored"
    ) -> SnapshotCorrupt:
        return SnapshotCorrupt(f"{self.path} is damaged: {what}", hint=hint)
