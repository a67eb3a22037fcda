"""Which ranges of keys cover a key: a treap of intervals, each node knowing the largest end below it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")

Range = tuple[bytes, bytes | None]
"""[start, end) of keys; None = no end."""


class _Node(Generic[V]):
    """Invariant: `reach` is the largest end in this subtree (None above all), `priority` not below the children's."""

    __slots__ = ("left", "priority", "range", "reach", "right", "value")

    def __init__(self, covered: Range, value: V, priority: float) -> None:
        self.range = covered
        self.value = value
        self.priority = priority
        self.reach = covered[1]
        self.left: _Node[V] | None = None
        self.right: _Node[V] | None = None

    def update(self) -> _Node[V]:
        reach = self.range[1]
        for child in (self.left, self.right):
            if child is not None and reach is not None and (child.reach is None or child.reach > reach):
                reach = child.reach
        self.reach = reach
        return self


class Intervals(Generic[V]):
    """A map from ranges to values that also answers: which values' ranges hold this key?

    `add`, `get`, `remove` and the search down to the first answer take O(log n) steps; each answer adds O(log n).
    """

    def __init__(self) -> None:
        self._root: _Node[V] | None = None
        self._values: dict[Range, V] = {}
        # Any priorities will do; from a seed of its own, so that equal histories build equal trees.
        self._random = random.Random(0)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, covered: Range) -> V | None:
        return self._values.get(covered)

    def values(self) -> Iterator[V]:
        return iter(self._values.values())

    def add(self, covered: Range, value: V) -> None:
        """Add a range that is not there yet."""
        if covered in self._values:
            raise ValueError(f"range {covered!r} is there already")
        self._values[covered] = value
        low, high = _split(self._root, _order(covered))
        node = _Node(covered, value, self._random.random())
        self._root = _merge(_merge(low, node), high)

    def remove(self, covered: Range) -> None:
        """Remove a range that is there."""
        del self._values[covered]
        self._root = _remove(self._root, _order(covered))

    def covering(self, key: bytes) -> list[V]:
        """The values of every range that holds `key`, in order of range start."""
        found: list[V] = []
        _collect(self._root, key, found)
        return found


def _order(covered: Range) -> tuple[bytes, bool, bytes]:
    start, end = covered
    return (start, end is None, end or b"")


def _split(node: _Node[V] | None, at: tuple[bytes, bool, bytes]) -> tuple[_Node[V] | None, _Node[V] | None]:
    """(everything before `at`, everything from it on)."""
    if node is None:
        return None, None
    if _order(node.range) < at:
        node.right, high = _split(node.right, at)
        return node.update(), high
    low, node.left = _split(node.left, at)
    return low, node.update()


def _merge(low: _Node[V] | None, high: _Node[V] | None) -> _Node[V] | None:
    if low is None or high is None:
        return low or high
    if low.priority > high.priority:
        low.right = _merge(low.right, high)
        return low.update()
    high.left = _merge(low, high.left)
    return high.update()


def _remove(node: _Node[V] | None, at: tuple[bytes, bool, bytes]) -> _Node[V] | None:
    if node is None:
        return None
    here = _order(node.range)
    if here == at:
        return _merge(node.left, node.right)
    if at < here:
        node.left = _remove(node.left, at)
    else:
        node.right = _remove(node.right, at)
    return node.update()


def _collect(node: _Node[V] | None, key: bytes, found: list[V]) -> None:
    while node is not None and (node.reach is None or key < node.reach):
        _collect(node.left, key, found)
        start, end = node.range
        if key < start:
            return
        if end is None or key < end:
            found.append(node.value)
        node = node.right
