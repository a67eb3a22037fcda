"""Which keys the Keys screen lists, and reading them page by page: a flat list or a tree, at one pinned revision."""

from __future__ import annotations

from collections.abc import Callable

from etcdops.client.failures import Compacted
from etcdops.errors import EtcdopsError
from etcdops.ids import Revision
from etcdops.tui.feed import ClusterFeed, KeyEntry, KeyPage
from etcdops.tui.model.keys import (
    Branch,
    KeyPages,
    KeyTree,
    PageRequest,
    TreeRow,
    key_columns,
    key_row,
    keys_title,
    position_note,
    tree_row,
)
from etcdops.tui.model.table import header_line, layout_columns
from etcdops.tui.model.text import Line, clean

SEPARATORS = (b"/", b":", b".", b"-", b"_")


class KeyBrowser:
    """The list's state. Calls `changed` whenever there is something new to draw; `say` for what the user must know.

    `window` tells which rows are visible, so that nothing is read that nobody looks at.
    """

    def __init__(
        self,
        feed: ClusterFeed,
        *,
        window: Callable[[], tuple[int, int]],
        changed: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._feed = feed
        self._window = window
        self._changed = changed
        self._say = say
        self.pages = KeyPages()
        self.tree: KeyTree | None = None
        self.error = ""
        """Why the list could not be read."""
        self.may_be_old = False
        """Whether it was read without a quorum."""
        self._separator = 0
        self._reopen: set[bytes] = set()

    @property
    def revision(self) -> Revision:
        """The pinned revision; 0 until something was read."""
        return self.pages.revision or (self.tree.revision if self.tree else Revision(0))

    @property
    def separator(self) -> str:
        return SEPARATORS[self._separator].decode()

    def row_count(self) -> int:
        return len(self.tree.rows) if self.tree else self.pages.rows

    def row_line(self, index: int, cells: int) -> Line:
        if self.tree:
            return tree_row(self.tree.rows[index], cells)
        return key_row(self.pages, index, layout_columns(key_columns(cells), cells), cells)

    def head(self, cells: int) -> Line | None:
        return None if self.tree else header_line(layout_columns(key_columns(cells), cells))

    def title(self, cells: int) -> Line:
        return keys_title(self.pages, cells)

    def note(self, cursor: int, newest: Revision) -> str:
        """What the frame says about the list. `newest` is the cluster's revision as of the last look."""
        if self.error:
            return self.error
        parts = [f"folded at {self.separator}" if self.tree else position_note(cursor, self.pages)]
        if 0 < self.revision < newest:
            parts.append("r reads newer")
        if self.may_be_old:
            parts.append("no quorum: may be old")
        return " · ".join(part for part in parts if part)

    def entry(self, row: int) -> KeyEntry | None:
        """The key in a row; None for a branch, or while its page is not here."""
        if self.tree is None:
            return self.pages.entry(row)
        found = self.tree_row(row)
        return found.entry if found else None

    def tree_row(self, row: int) -> TreeRow | None:
        return self.tree.rows[row] if self.tree and row < len(self.tree.rows) else None

    def restart(self, *, prefix: bytes | None = None, start: bytes = b"") -> None:
        """Begin anew at the newest revision; open branches will be opened again."""
        self.pages = KeyPages(self.pages.prefix if prefix is None else prefix, start)
        if self.tree:
            self._reopen = {name for name, branch in self.tree.branches.items() if branch.open}
            self.tree = KeyTree(self.pages.prefix, SEPARATORS[self._separator])
        self.error = ""

    def toggle_tree(self) -> None:
        """The tree instead of the list, or the other way round, at the same revision."""
        self.tree = None if self.tree else KeyTree(self.pages.prefix, SEPARATORS[self._separator], self.pages.revision)

    def next_separator(self) -> None:
        """Fold at the next separator."""
        self._separator = (self._separator + 1) % len(SEPARATORS)
        if self.tree:
            self.tree = KeyTree(self.pages.prefix, SEPARATORS[self._separator], self.pages.revision)

    def _needed(self) -> PageRequest | None:
        if self.tree:
            # The tree reads for itself; the first page tells how many keys there are.
            return None if self.pages.revision else self.pages.needed(0, 0)
        return self.pages.needed(*self._window())

    async def read_pages(self) -> None:
        """Read until everything visible is here, one page after the other."""
        while request := self._needed():
            pages = self.pages
            try:
                page = await self._read(request)
            except Compacted:
                self._say("the revision shown was compacted away: reading at the newest one")
                self.restart()
                continue
            except EtcdopsError as error:
                self.error = clean(error.message)
                self._changed()
                return
            pages.take(request, page)
            if pages is self.pages:
                self.error = ""
                self._changed()

    async def read_branch(self, branch: Branch | None = None) -> None:
        """Read the children of a branch (of the root without one), and of those in it that were open before."""
        tree = self.tree
        if tree is None:
            return
        branch = branch or tree.branches[tree.root]
        scan = tree.scan_of(branch)
        if scan is None:
            return
        try:
            while request := scan.request():
                scan.take(await self._read(request))
            tree.take(branch, scan)
        except EtcdopsError as error:
            branch.note = "✖ " + clean(error.message)
            self.error = clean(error.message)
        finally:
            branch.loading = False
        if tree is not self.tree:
            return
        self._changed()
        for name in [child.name for child in branch.children or () if child.entry is None]:
            if name in self._reopen:
                self._reopen.discard(name)
                tree.toggle(tree.branches[name])
                await self.read_branch(tree.branches[name])

    async def _read(self, request: PageRequest) -> KeyPage:
        page = await self._feed.page(request.start, request.end, limit=request.limit, revision=request.revision)
        self.may_be_old = page.serializable
        return page
