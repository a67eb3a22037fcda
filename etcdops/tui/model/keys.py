"""Keys by pages and as a tree, in bounded memory: which page a screen needs next, and what its rows say.

etcd has no offsets: a page is asked for by its first key, at one pinned revision, so page boundaries never move and a
page that was dropped from memory can be asked for again. Nothing here waits; `PageRequest`s are handed to a feed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from etcdops.client.kv import FROM_KEY, prefix_end
from etcdops.ids import Revision
from etcdops.numbers import show_count
from etcdops.tui.feed import NOW, KeyEntry, KeyPage
from etcdops.tui.model.table import Column, row_line
from etcdops.tui.model.text import Align, Line, Span, Tone, clip_middle, line, printable_bytes, width

PAGE_KEYS = 500
"""Keys asked for at once: several screens full, some 50 KB."""

PAGES_MAX = 40
"""Pages kept in memory; the ones not looked at for longest go."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Keys to ask for: at most `limit` from `start` to `end`, at `revision` (0 = pin the current one)."""

    number: int
    start: bytes
    end: bytes
    limit: int
    revision: Revision


@dataclass
class KeyPages:
    """A range of keys seen through a few pages. Owned by the Keys screen; changed only by `take`.

    Invariant: `starts[n]` is the first key of page n; every page but the last has exactly PAGE_KEYS keys.
    """

    prefix: bytes = b""
    start: bytes = b""
    """Where the list begins: the prefix, or the key that was jumped to."""
    revision: Revision = NOW
    """The pinned revision; 0 until the first page came."""
    count: int = 0
    """All keys of the range, as etcd counted them with the first page."""
    complete: bool = False
    known: int = 0
    """Keys from the beginning to the end of the last page that was seen."""
    starts: list[bytes] = field(default_factory=list)
    _pages: OrderedDict[int, tuple[KeyEntry, ...]] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.start = max(self.start, self.prefix) or b"\0"
        self.starts = [self.start]

    @property
    def jumped(self) -> bool:
        """Whether the list begins after the first key of its prefix."""
        return self.start != (self.prefix or b"\0")

    @property
    def rows(self) -> int:
        """Rows a list shows: the known keys, and one that stands for what is not known yet."""
        return self.known + (0 if self.complete else 1)

    def entry(self, row: int) -> KeyEntry | None:
        """The key in this row; None while its page is not here (or the row stands for the rest)."""
        number, offset = divmod(row, PAGE_KEYS)
        page = self._pages.get(number)
        if page is None or offset >= len(page):
            return None
        self._pages.move_to_end(number)
        return page[offset]

    def needed(self, first: int, last: int) -> PageRequest | None:
        """The page to ask for so that rows first..last can be shown; None when all are here."""
        for number in range(first // PAGE_KEYS, last // PAGE_KEYS + 1):
            if number < len(self.starts) and number not in self._pages:
                return self._request(number)
        beyond = not self.complete and last >= self.known
        return self._request(len(self.starts) - 1) if beyond and len(self.starts) - 1 not in self._pages else None

    def take(self, request: PageRequest, page: KeyPage) -> None:
        """Keep what came back for `request`. Pages of another revision than the pinned one are dropped."""
        if self.revision == 0:
            self.revision = page.revision
            self.count = page.count
        elif request.revision != self.revision:
            return
        self._pages[request.number] = page.entries
        self._pages.move_to_end(request.number)
        while len(self._pages) > PAGES_MAX:
            self._pages.popitem(last=False)
        if request.number == len(self.starts) - 1:
            self.known = request.number * PAGE_KEYS + len(page.entries)
            self.complete = not page.more
            if page.more:
                self.starts.append(page.entries[-1].key + b"\0")

    def row_of(self, key: bytes) -> int | None:
        """The row a key is in, among the pages that are here."""
        for number, page in self._pages.items():
            for offset, entry in enumerate(page):
                if entry.key == key:
                    return number * PAGE_KEYS + offset
        return None

    def _request(self, number: int) -> PageRequest:
        return PageRequest(number, self.starts[number], prefix_end(self.prefix), PAGE_KEYS, self.revision)


SCAN_KEYS = 100
"""Keys asked for at once when looking for the children of a branch: most of them are skipped."""

SCAN_REQUESTS_MAX = 20
"""Requests made before a branch shows what it has and offers the rest as a row of its own."""


@dataclass(frozen=True, slots=True)
class Child:
    """A branch (`entry` is None) or a key, directly below some branch."""

    name: bytes
    """The full key, or the full prefix of the branch including the separator."""
    entry: KeyEntry | None


@dataclass
class ChildScan:
    """Finds the children of a branch by skipping over theirs: one request for each page of keys or each big branch.

    Ask for `request()` until it is None, handing each answer to `take`.
    """

    branch: bytes
    separator: bytes
    revision: Revision
    cursor: bytes = b""
    children: list[Child] = field(default_factory=list)
    finished: bool = False
    requests: int = 0
    count: int = 0
    """All keys below the branch, as etcd counted them with the first page."""

    def __post_init__(self) -> None:
        self.cursor = self.cursor or self.branch or b"\0"

    def request(self) -> PageRequest | None:
        if self.finished or self.requests >= SCAN_REQUESTS_MAX:
            return None
        return PageRequest(self.requests, self.cursor, prefix_end(self.branch), SCAN_KEYS, self.revision)

    def take(self, page: KeyPage) -> None:
        self.count = self.count if self.requests else page.count
        self.requests += 1
        self.revision = page.revision if self.revision == 0 else self.revision
        skip = self.children[-1].name if self.children and self.children[-1].entry is None else None
        for entry in page.entries:
            if skip is not None and entry.key.startswith(skip):
                continue
            skip = self._branch_of(entry.key)
            self.children.append(Child(skip, None) if skip is not None else Child(entry.key, entry))
        self.finished = not page.more
        if page.more:
            self.cursor = prefix_end(skip) if skip is not None else page.entries[-1].key + b"\0"
            # A branch of 0xff bytes only has no end to skip to: it reaches to the last key.
            self.finished = self.cursor == FROM_KEY

    def _branch_of(self, key: bytes) -> bytes | None:
        """The child branch `key` is in; None when it is a child itself. A leading separator belongs to the name."""
        position = key.find(
            self.separator, len(self.branch) + len(self.separator) * key.startswith(self.separator, len(self.branch))
        )
        return None if position < 0 else key[: position + len(self.separator)]


@dataclass
class Branch:
    """A node of the tree that was shown once; its children are None until they were asked for."""

    prefix: bytes
    depth: int
    open: bool = False
    children: list[Child] | None = None
    rest: bytes | None = None
    """Where to go on, when not all children were read."""
    loading: bool = False
    count: int | None = None
    """Keys below it, once it was opened."""
    note: str = ""
    """Why it could not be read."""


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One visible row of the tree: a key, a branch, or the row that loads the rest of one."""

    depth: int
    name: bytes
    parent: bytes
    entry: KeyEntry | None = None
    branch: Branch | None = None
    rest_of: Branch | None = None


@dataclass
class KeyTree:
    """Keys folded by a separator. Owned by the Keys screen; branches are read when they are opened."""

    root: bytes
    separator: bytes
    revision: Revision = NOW
    branches: dict[bytes, Branch] = field(default_factory=dict)
    rows: list[TreeRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.branches[self.root] = Branch(self.root, -1, open=True)

    def scan_of(self, branch: Branch) -> ChildScan | None:
        """The scan that reads (more of) `branch`; None when there is nothing left to read or one is under way."""
        if branch.loading or (branch.children is not None and branch.rest is None):
            return None
        branch.loading = True
        return ChildScan(branch.prefix, self.separator, self.revision, branch.rest or b"")

    def take(self, branch: Branch, scan: ChildScan) -> None:
        """Keep what a scan found."""
        self.revision = self.revision or scan.revision
        branch.loading = False
        if branch.children is None:
            branch.count = scan.count
        branch.note = ""
        branch.children = [*(branch.children or []), *scan.children]
        branch.rest = None if scan.finished else scan.cursor
        self.fold()

    def toggle(self, branch: Branch) -> None:
        branch.open = not branch.open
        self.fold()

    def fold(self) -> None:
        """Make `rows` anew from what is open."""
        self.rows = list(self._walk(self.branches[self.root]))

    def _walk(self, branch: Branch) -> Iterator[TreeRow]:
        for child in branch.children or ():
            if child.entry is not None:
                yield TreeRow(branch.depth + 1, child.name, branch.prefix, entry=child.entry)
                continue
            inner = self.branches.get(child.name)
            if inner is None:
                inner = self.branches[child.name] = Branch(child.name, branch.depth + 1)
            yield TreeRow(branch.depth + 1, child.name, branch.prefix, branch=inner)
            if inner.open:
                yield from self._walk(inner)
        if branch.rest is not None:
            yield TreeRow(branch.depth + 1, branch.rest, branch.prefix, rest_of=branch)


def key_columns(cells: int) -> list[Column[KeyEntry]]:
    """The flat list: the key takes all that is left."""
    return [
        Column("key", "KEY", max(12, cells - 26), _key_cell),
        Column("mod", "MOD REV", 10, lambda e, _: line(Span(str(e.mod_revision), Tone.DIM)), Align.RIGHT, rank=1),
        Column("version", "VER", 6, lambda e, _: line(Span(str(e.version), Tone.DIM)), Align.RIGHT, rank=2),
        Column("lease", "LEASE", 7, _lease_cell, rank=3),
    ]


def _key_cell(entry: KeyEntry, cells: int) -> Line:
    return line(clip_middle(printable_bytes(entry.key), cells))


def _lease_cell(entry: KeyEntry, _: int) -> Line:
    return line(Span("● yes" if entry.lease else "-", Tone.ACCENT if entry.lease else Tone.DIM))


def key_row(pages: KeyPages, row: int, sized: list[tuple[Column[KeyEntry], int]], cells: int) -> Line:
    """One row of the flat list, also while its page is on the way."""
    entry = pages.entry(row)
    if entry is not None:
        return row_line(sized, entry)
    if row < pages.known:
        return line(Span("… reading this page again", Tone.DIM))
    return line(
        Span(f"… {show_count(max(0, pages.count - pages.known))} more" if pages.known else "… reading", Tone.DIM)
    )


def tree_row(row: TreeRow, cells: int) -> Line:
    """One row of the tree."""
    indent = "  " * row.depth
    if row.rest_of is not None:
        note = "… reading" if row.rest_of.loading else "… more: Enter reads on"
        return line(indent + "  ", Span(note, Tone.DIM))
    name = printable_bytes(row.name[len(row.parent) :])
    room = max(4, cells - width(indent) - 2)
    if row.branch is None:
        return line(indent + "  ", clip_middle(name, room))
    branch = row.branch
    mark = "▾ " if branch.open else "▸ "
    counted = "" if branch.count is None else show_count(branch.count)
    note = branch.note or ("reading" if branch.loading else counted)
    shown = clip_middle(name, room - (width(note) + 2 if note else 0))
    return line(indent, Span(mark, Tone.ACCENT), Span(shown, Tone.TITLE), Span(f"  {note}" if note else "", Tone.DIM))


def keys_title(pages: KeyPages, cells: int) -> Line:
    """What is listed: the prefix, how many keys, and as of when."""
    room = max(8, cells // 3)
    prefix = clip_middle(printable_bytes(pages.prefix), room) if pages.prefix else "all"
    spans = [Span("Keys ", Tone.TITLE), Span(prefix, Tone.STRONG)]
    if pages.jumped:
        spans += [Span(" from ", Tone.DIM), Span(clip_middle(printable_bytes(pages.start), room), Tone.STRONG)]
    if pages.revision:
        spans.append(Span(f"  {show_count(pages.count)}" + (" from here on" if pages.jumped else "")))
    if pages.revision and cells > 60:
        spans.append(Span(f" at revision {pages.revision}", Tone.DIM))
    return tuple(spans)


def position_note(row: int, pages: KeyPages) -> str:
    """Where the cursor is, e.g. `12 of 1 000 000`."""
    if not pages.revision or not pages.count:
        return ""
    return f"{show_count(min(row + 1, pages.count))} of {show_count(pages.count)}"
