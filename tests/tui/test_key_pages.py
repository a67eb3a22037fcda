"""Keys by pages: bounded requests, bounded memory, one revision."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from etcdops.ids import Revision
from etcdops.tui.model.keys import PAGE_KEYS, PAGES_MAX, Branch, ChildScan, KeyPages, KeyTree
from tests.fakes.cluster_feed import FakeFeed, NumberedKeys

MILLION = NumberedKeys(b"/k/", 1_000_000)


def read(pages: KeyPages, feed: FakeFeed, first: int, last: int) -> int:
    """Answer what the pages need for some rows; how many requests that took."""
    asked = 0
    while request := pages.needed(first, last):
        page = asyncio.run(feed.page(request.start, request.end, limit=request.limit, revision=request.revision))
        pages.take(request, page)
        asked += 1
    return asked


def scan_all(keys: Sequence[bytes], prefix: bytes = b"", separator: bytes = b"/") -> tuple[ChildScan, int]:
    feed = FakeFeed(keys=keys)
    scan = ChildScan(prefix, separator, Revision(0))
    while request := scan.request():
        scan.take(asyncio.run(feed.page(request.start, request.end, limit=request.limit, revision=request.revision)))
    return scan, len(feed.requests)


def test_the_first_screen_of_a_million_keys_takes_one_request() -> None:
    pages, feed = KeyPages(), FakeFeed(keys=MILLION)
    assert read(pages, feed, 0, 60) == 1
    assert pages.count == 1_000_000
    assert pages.rows == PAGE_KEYS + 1
    entry = pages.entry(40)
    assert entry is not None
    assert entry.key == b"/k/0000040"


def test_walking_far_keeps_few_pages_and_reads_dropped_ones_again() -> None:
    """Page boundaries never move at one revision, so a dropped page comes back the same."""
    pages, feed = KeyPages(), FakeFeed(keys=MILLION)
    for page in range(PAGES_MAX + 20):
        assert read(pages, feed, page * PAGE_KEYS, page * PAGE_KEYS + 30) == 1
    assert pages.entry(0) is None
    assert read(pages, feed, 0, 30) == 1
    entry = pages.entry(7)
    assert entry is not None
    assert entry.key == b"/k/0000007"
    assert len(pages._pages) == PAGES_MAX


def test_all_pages_are_of_the_revision_of_the_first() -> None:
    """So a write in between neither moves nor doubles a key."""
    pages, feed = KeyPages(), FakeFeed(keys=MILLION)
    read(pages, feed, 0, 10)
    feed.revision = Revision(9_999)
    request = pages.needed(PAGE_KEYS, PAGE_KEYS + 5)
    assert request is not None
    assert request.revision == 5_000


def test_a_prefix_is_the_servers_work() -> None:
    keys = [b"/a/1", b"/a/2", b"/b/1", b"\xff", b"\xff\xff/x"]
    for prefix, expected in ((b"/a/", 2), (b"/", 3), (b"\xff", 2), (b"\xff\xff", 1), (b"", 5), (b"none", 0)):
        pages, feed = KeyPages(prefix), FakeFeed(keys=keys)
        read(pages, feed, 0, 10)
        assert (pages.count, pages.known, pages.complete) == (expected, expected, True), prefix


def test_a_jump_begins_at_the_key_or_the_next_one() -> None:
    pages, feed = KeyPages(b"/k/", b"/k/0999990"), FakeFeed(keys=MILLION)
    read(pages, feed, 0, 30)
    assert pages.jumped
    assert pages.count == 10
    assert pages.complete


def test_a_branch_with_a_million_keys_is_skipped_in_one_request() -> None:
    """Only what is on the screen costs requests."""
    scan, asked = scan_all(MILLION)
    assert [child.name for child in scan.children] == [b"/k/"]
    assert asked == 2
    assert scan.count == 1_000_000


@given(st.lists(st.text("ab/", max_size=6), max_size=40), st.sampled_from([b"", b"a", b"/", b"a/"]))
def test_children_are_what_a_full_reading_would_find(texts: list[str], prefix: bytes) -> None:
    """Skipping over branches loses and doubles nothing."""
    keys = sorted({text.encode() for text in texts if text})
    scan, _ = scan_all(keys, prefix)
    expected: list[bytes] = []
    for key in keys:
        if not key.startswith(prefix):
            continue
        rest = key[len(prefix) :]
        end = rest.find(b"/", 1 if rest.startswith(b"/") else 0)
        name = key if end < 0 else prefix + rest[: end + 1]
        if name not in expected:
            expected.append(name)
    assert [child.name for child in scan.children] == expected


def test_a_tree_with_very_many_children_offers_the_rest_as_a_row() -> None:
    """Opening a branch never takes more than a bounded number of requests."""
    feed = FakeFeed(keys=MILLION)
    tree = KeyTree(b"/k/", b"/")
    root = tree.branches[b"/k/"]
    scan = tree.scan_of(root)
    assert scan is not None
    assert tree.scan_of(root) is None, "one scan at a time"
    while request := scan.request():
        scan.take(asyncio.run(feed.page(request.start, request.end, limit=request.limit, revision=request.revision)))
    tree.take(root, scan)
    assert len(feed.requests) <= 20
    assert tree.rows[-1].rest_of is root
    assert len(tree.rows) == len(feed.requests) * 100 + 1


def test_folding_shows_the_children_of_open_branches_only() -> None:
    tree = KeyTree(b"", b"/")
    root = tree.branches[b""]
    for branch, keys in ((root, [b"a/1", b"a/2", b"b"]),):
        scan, _ = scan_all(keys)
        tree.take(branch, scan)
    assert [row.name for row in tree.rows] == [b"a/", b"b"]
    inner: Branch = tree.branches[b"a/"]
    scan, _ = scan_all([b"a/1", b"a/2", b"b"], b"a/")
    tree.take(inner, scan)
    tree.toggle(inner)
    assert [(row.depth, row.name) for row in tree.rows] == [(0, b"a/"), (1, b"a/1"), (1, b"a/2"), (0, b"b")]
