"""Damaged and hostile bbolt files: always SnapshotCorrupt, in bounded time and memory."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.errors import SnapshotCorrupt
from etcdops.proto import mvccpb_pb2
from etcdops.snapshot import bbolt_layout as layout
from etcdops.snapshot.bbolt_layout import Meta
from etcdops.snapshot.bbolt_reader import BboltFile
from etcdops.snapshot.bbolt_writer import write_bbolt
from etcdops.snapshot.checksum import append_checksum
from etcdops.snapshot.inspect import inspect_snapshot
from etcdops.snapshot.records import encode_revision

PAGE = layout.PAGE_SIZE


def small_snapshot(path: Path, records: int = 400) -> bytes:
    """A snapshot with two tree levels and large values, without a checksum, so that damage reaches the reader."""

    def kv(index: int) -> bytes:
        return mvccpb_pb2.KeyValue(
            key=b"/k/%d" % (index % 50),
            value=b"v" * (9000 if index % 97 == 0 else index % 60),
            create_revision=index % 50 + 2,
            mod_revision=index + 2,
            version=index // 50 + 1,
        ).SerializeToString()

    items = [(encode_revision(index + 2), kv(index)) for index in range(records)]
    meta = [(b"consistent_index", bytes(7) + b"\x09"), (b"term", bytes(7) + b"\x02")]
    path.unlink(missing_ok=True)
    write_bbolt(path, [(b"alarm", []), (b"key", items), (b"meta", meta)])
    return path.read_bytes()


def with_metas(raw: bytes, **changes: int) -> bytes:
    """The file with a field of both metas changed and their checksums made right."""
    changed = bytearray(raw)
    for page in (0, 1):
        meta = Meta.decode(raw[page * PAGE + 16 : page * PAGE + 80])
        assert meta is not None
        fields = {name: getattr(meta, name) for name in meta.__slots__} | changes
        fields["txid"] = meta.txid
        changed[page * PAGE + 16 : page * PAGE + 80] = Meta(**fields).encode()
    return bytes(changed)


def verdict(path: Path, raw: bytes) -> str:
    """`ok` or `corrupt` as the full inspection says; anything else it does fails the test."""
    path.write_bytes(raw)
    try:
        inspect_snapshot(path)
    except SnapshotCorrupt:
        return "corrupt"
    return "ok"


def first_page(raw: bytes, kind: int, minimum: int = 2) -> int:
    for page in range(2, len(raw) // PAGE):
        page_id, found, count, _ = layout.PAGE_HEADER.unpack_from(raw, page * PAGE)
        if page_id == page and found == kind and count >= minimum:
            return page
    raise AssertionError("no such page")


def test_the_undamaged_file_is_fine(tmp_path: Path) -> None:
    """Goal: the other tests prove something."""
    path = tmp_path / "snap"
    assert verdict(path, small_snapshot(path)) == "ok"


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """Goal: no cut anywhere passes, on page borders neither."""
    path = tmp_path / "snap"
    raw = small_snapshot(path, 60)
    for size in [*range(0, len(raw), 512), *range(1, len(raw), 1711)]:
        assert verdict(path, raw[:size]) == "corrupt", size


def test_a_checksum_finds_any_flipped_bit(tmp_path: Path) -> None:
    """Goal: what carries a checksum is trusted by it alone."""
    path = tmp_path / "snap"
    small_snapshot(path, 60)
    append_checksum(path)
    raw = path.read_bytes()
    draw = random.Random(1)
    for _ in range(40):
        place = draw.randrange(len(raw))
        damaged = raw[:place] + bytes([raw[place] ^ 1 << draw.randrange(8)]) + raw[place + 1 :]
        assert verdict(path, damaged) == "corrupt", place


@pytest.mark.slow
def test_random_damage_never_crashes_the_reader(tmp_path: Path) -> None:
    """Goal: SnapshotCorrupt, or a file whose content may differ, but never another error or a long wait."""
    path = tmp_path / "snap"
    raw = small_snapshot(path, 250)
    draw = random.Random(7)
    seen = {"ok": 0, "corrupt": 0}
    started = time.monotonic()
    for _ in range(1500):
        damaged = bytearray(raw)
        for _ in range(draw.choice((1, 1, 2, 8))):
            # Half of the damage goes to page headers and elements, where it hurts.
            page = draw.randrange(len(raw) // PAGE) * PAGE
            place = page + draw.randrange(200) if draw.random() < 0.5 else draw.randrange(len(raw))
            damaged[place] = draw.randrange(256)
        if draw.random() < 0.2:
            a, b = (draw.randrange(2, len(raw) // PAGE) * PAGE for _ in range(2))
            damaged[a : a + PAGE] = damaged[b : b + PAGE]
        seen[verdict(path, bytes(damaged))] += 1
    assert seen["corrupt"] > 300
    assert time.monotonic() - started < 45


def set_overflow(raw: bytes, page: int, overflow: int) -> bytes:
    return raw[: page * PAGE + 12] + struct.pack("<I", overflow) + raw[page * PAGE + 16 :]


def branch_to_itself(raw: bytes) -> bytes:
    page = first_page(raw, layout.KIND_BRANCH)
    return raw[: page * PAGE + 24] + struct.pack("<Q", page) + raw[page * PAGE + 32 :]


def branch_twice_to_one_leaf(raw: bytes) -> bytes:
    page = first_page(raw, layout.KIND_BRANCH)
    child = raw[page * PAGE + 24 : page * PAGE + 32]
    return raw[: page * PAGE + 40] + child + raw[page * PAGE + 48 :]


def count_too_high(raw: bytes) -> bytes:
    page = first_page(raw, layout.KIND_LEAF)
    return raw[: page * PAGE + 10] + b"\xff\xff" + raw[page * PAGE + 12 :]


def value_past_the_page(raw: bytes) -> bytes:
    page = first_page(raw, layout.KIND_LEAF)
    return raw[: page * PAGE + 28] + b"\xff\xff\xff\xff" + raw[page * PAGE + 32 :]


def elements_share_their_data(raw: bytes) -> bytes:
    """The second element points at the first one's data: the way to make one page yield gigabytes."""
    page = first_page(raw, layout.KIND_LEAF)
    (position,) = struct.unpack_from("<I", raw, page * PAGE + 20)
    return raw[: page * PAGE + 36] + struct.pack("<I", position - 16) + raw[page * PAGE + 40 :]


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "a branch that is its own child": branch_to_itself,
    "two branch elements with one leaf": branch_twice_to_one_leaf,
    "more elements than fit": count_too_high,
    "a value that leaves its page": value_past_the_page,
    "elements that share data": elements_share_their_data,
    "a page of 16 TiB": lambda raw: set_overflow(raw, first_page(raw, layout.KIND_LEAF), 0xFFFF_FFFF),
    "a page that takes the next one's place": lambda raw: set_overflow(raw, first_page(raw, layout.KIND_LEAF), 1),
    "a root outside of the file": lambda raw: with_metas(raw, root=1 << 60),
    "a root that is a meta page": lambda raw: with_metas(raw, root=0),
    "a high-water mark of 2^63 pages": lambda raw: with_metas(raw, high_water=1 << 63),
    "no pages at all": lambda raw: with_metas(raw, high_water=0),
    "pages of 2 GiB": lambda raw: with_metas(raw, page_size=1 << 31),
    "pages of zero bytes": lambda raw: with_metas(raw, page_size=0),
    "pages of 4097 bytes": lambda raw: with_metas(raw, page_size=4097),
    "a freelist outside of the file": lambda raw: with_metas(raw, freelist=1 << 40),
    "a freelist that is a leaf": lambda raw: with_metas(raw, freelist=first_page(raw, layout.KIND_LEAF)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_little_memory(tmp_path: Path, name: str) -> None:
    """Goal: lies about sizes, cycles and shared pages are found before they cost anything."""
    path = tmp_path / "snap"
    raw = HOSTILE[name](small_snapshot(path))
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with pytest.raises(SnapshotCorrupt, match="damaged"), BboltFile(path) as file:
            file.check()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("bucket", "key", "value"),
    [
        (b"key", b"short", b""),
        (b"key", encode_revision(3).replace(b"_", b"-"), b""),
        (b"key", encode_revision(3) + b"x", b""),
        (b"key", encode_revision(9), b"\xff\xff\xff"),
        (b"meta", b"consistent_index", b"123"),
        (b"meta", b"scheduledCompactRev", b"1"),
        (b"members", b"xyz", b"{}"),
        (b"members", b"1f", b"[" * 100_000),
        (b"members", b"1f", b"[]"),
        (b"alarm", b"\xff\xff", b""),
    ],
)
def test_content_etcd_never_writes_is_refused(tmp_path: Path, bucket: bytes, key: bytes, value: bytes) -> None:
    """Goal: the tree may be sound and the content still nonsense; that too is SnapshotCorrupt."""
    path = tmp_path / "snap"
    buckets = {b"key": [(encode_revision(2), b"")]} | {bucket: [(key, value)]}
    write_bbolt(path, sorted(buckets.items()))
    with pytest.raises(SnapshotCorrupt):
        inspect_snapshot(path)


def test_a_bucket_inside_a_bucket_is_refused(tmp_path: Path) -> None:
    """Goal: etcd has one level; a deeper one would hide keys from the hash."""
    path = tmp_path / "snap"
    raw = small_snapshot(path)
    page = first_page(raw, layout.KIND_LEAF)
    path.write_bytes(raw[: page * PAGE + 16] + b"\x01\0\0\0" + raw[page * PAGE + 20 :])
    with pytest.raises(SnapshotCorrupt, match="another bucket"):
        inspect_snapshot(path)
