"""Writes a bbolt file in one pass: sorted buckets go in, full pages come out, and etcd opens and serves the result.

Memory holds one page a level of the tree being written, whatever the size of the file. Pages are never freed, so the
file carries no freelist, as etcd itself opens bbolt (`NoFreelistSync`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from etcdops.snapshot import bbolt_layout as layout
from etcdops.snapshot.bbolt_layout import Meta

_CHILDREN_MIN = 2
"""Children of a branch page: with fewer, bbolt stops with an assertion when it later rebalances the tree."""


def write_bbolt(path: Path, buckets: Iterable[tuple[bytes, Iterable[tuple[bytes, bytes]]]]) -> None:
    """Create `path` (mode 0600, synced) with these buckets.

    Args: names and the keys of each bucket strictly ascending, keys of 1 to 32768 bytes; both may be generators, and
        an error they raise is passed on (the unfinished file stays: it has no meta page, nothing opens it).
    Raises: ValueError - keys out of order or too large, FileExistsError - `path` is there already.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        pages = _Pages(file)
        root = _Tree(pages)
        for name, items in buckets:
            bucket = _Tree(pages)
            for key, value in items:
                bucket.add(key, value)
            root.add(name, bucket.finish_as_bucket(), flags=layout.ELEMENT_IS_BUCKET)
        root_page = root.finish()
        pages.write_metas(root_page)
        file.flush()
        os.fsync(file.fileno())


class _Pages:
    """Hands out page ids in ascending order and puts the pages into the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next = 2
        file.write(bytes(2 * layout.PAGE_SIZE))

    def write(self, kind: int, count: int, content: bytes) -> int:
        """Append one page (spilling over as needed) of elements and their data; its id."""
        page_id = self._next
        size = layout.PAGE_HEADER.size + len(content)
        page_count = -(-size // layout.PAGE_SIZE)
        self._file.write(layout.PAGE_HEADER.pack(page_id, kind, count, page_count - 1))
        self._file.write(content)
        self._file.write(bytes(page_count * layout.PAGE_SIZE - size))
        self._next += page_count
        return page_id

    def write_metas(self, root: int) -> None:
        """Both meta pages, pointing at the same root: the even transaction in page 0, the one before it in page 1."""
        for page_id, txid in ((0, 2), (1, 1)):
            meta = Meta(layout.PAGE_SIZE, root, layout.NO_FREELIST, self._next, txid)
            self._file.seek(page_id * layout.PAGE_SIZE)
            self._file.write(layout.PAGE_HEADER.pack(page_id, layout.KIND_META, 0, 0) + meta.encode())


class _Tree:
    """One bucket while it is written: a leaf being filled, and above it one branch being filled per level."""

    def __init__(self, pages: _Pages) -> None:
        self._pages = pages
        self._leaf: list[tuple[int, bytes, bytes]] = []
        self._leaf_size = layout.PAGE_HEADER.size
        self._levels: list[_Branch] = []
        self._last_key = b""

    def add(self, key: bytes, value: bytes, *, flags: int = 0) -> None:
        if key <= self._last_key or len(key) > layout.KEY_SIZE_MAX:
            raise ValueError(f"key {key[:40]!r} is empty, too long or not after {self._last_key[:40]!r}")
        size = layout.LEAF_ELEMENT.size + len(key) + len(value)
        if self._leaf and (self._leaf_size + size > layout.PAGE_SIZE or len(self._leaf) == layout.ELEMENTS_MAX):
            self._flush_leaf()
        self._leaf.append((flags, key, value))
        self._leaf_size += size
        self._last_key = key

    def finish_as_bucket(self) -> bytes:
        """Write what is left; the value of the bucket's element, with the bucket in it when it is small.

        Source: bbolt bucket.go, Bucket.inlineable (a quarter of a page).
        """
        if not self._levels and self._leaf_size <= layout.PAGE_SIZE // 4:
            page = layout.PAGE_HEADER.pack(0, layout.KIND_LEAF, len(self._leaf), 0) + _leaf_content(self._leaf)
            return layout.BUCKET_HEADER.pack(0, 0) + page
        return layout.BUCKET_HEADER.pack(self.finish(), 0)

    def finish(self) -> int:
        """Write what is left; the id of the root page."""
        if not self._levels:
            return self._pages.write(layout.KIND_LEAF, len(self._leaf), _leaf_content(self._leaf))
        self._flush_leaf()
        level = 0
        while True:
            written = self._levels[level].finish()
            if level + 1 == len(self._levels) and len(written) == 1:
                return written[0][1]
            for key, page_id in written:
                self._add_child(level + 1, key, page_id)
            level += 1

    def _flush_leaf(self) -> None:
        page_id = self._pages.write(layout.KIND_LEAF, len(self._leaf), _leaf_content(self._leaf))
        first_key = self._leaf[0][1]
        self._leaf = []
        self._leaf_size = layout.PAGE_HEADER.size
        self._add_child(0, first_key, page_id)

    def _add_child(self, level: int, key: bytes, page_id: int) -> None:
        if level == len(self._levels):
            self._levels.append(_Branch(self._pages))
        full = self._levels[level].add(key, page_id)
        if full is not None:
            self._add_child(level + 1, *full)


class _Branch:
    """Branch pages of one level. Holds back two children more than fit, so that the last page is never too short."""

    def __init__(self, pages: _Pages) -> None:
        self._pages = pages
        self._children: list[tuple[bytes, int]] = []
        self._size = layout.PAGE_HEADER.size
        self._fitting = 0

    def add(self, key: bytes, page_id: int) -> tuple[bytes, int] | None:
        """Take a child; (first key, id) of the page this made full, if it did."""
        self._append(key, page_id)
        if len(self._children) < self._fitting + _CHILDREN_MIN:
            return None
        kept = self._children[self._fitting :]
        full = self._write(self._children[: self._fitting])
        self._children, self._size, self._fitting = [], layout.PAGE_HEADER.size, 0
        for kept_key, kept_id in kept:
            self._append(kept_key, kept_id)
        return full

    def finish(self) -> list[tuple[bytes, int]]:
        """Write the rest as one or two pages; (first key, id) of each."""
        children = self._children
        if len(children) == self._fitting or len(children) < 2 * _CHILDREN_MIN:
            return [self._write(children)]
        return [self._write(children[:-_CHILDREN_MIN]), self._write(children[-_CHILDREN_MIN:])]

    def _append(self, key: bytes, page_id: int) -> None:
        self._children.append((key, page_id))
        self._size += layout.BRANCH_ELEMENT.size + len(key)
        count = len(self._children)
        if self._fitting == count - 1 and (self._size <= layout.PAGE_SIZE or count <= _CHILDREN_MIN):
            self._fitting = count

    def _write(self, children: list[tuple[bytes, int]]) -> tuple[bytes, int]:
        elements, keys = bytearray(), bytearray()
        position = layout.BRANCH_ELEMENT.size * len(children)
        for key, page_id in children:
            elements += layout.BRANCH_ELEMENT.pack(position, len(key), page_id)
            keys += key
            position += len(key) - layout.BRANCH_ELEMENT.size
        return children[0][0], self._pages.write(layout.KIND_BRANCH, len(children), bytes(elements + keys))


def _leaf_content(leaf: list[tuple[int, bytes, bytes]]) -> bytes:
    elements, data = bytearray(), bytearray()
    position = layout.LEAF_ELEMENT.size * len(leaf)
    for flags, key, value in leaf:
        elements += layout.LEAF_ELEMENT.pack(flags, position, len(key), len(value))
        data += key
        data += value
        position += len(key) + len(value) - layout.LEAF_ELEMENT.size
    return bytes(elements + data)
