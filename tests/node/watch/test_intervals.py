"""The interval tree against asking every range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.node.watch.intervals import Intervals, Range

keys = st.binary(max_size=3)
ranges: st.SearchStrategy[Range] = st.tuples(keys, st.none() | keys)


@given(st.lists(st.tuples(st.booleans(), ranges), max_size=60), st.lists(keys, max_size=10))
def test_covering_finds_exactly_the_ranges_that_hold_a_key(steps: list[tuple[bool, Range]], asked: list[bytes]) -> None:
    """Any sequence of additions and removals."""
    tree: Intervals[Range] = Intervals()
    model: set[Range] = set()
    for adds, covered in steps:
        if adds and covered not in model:
            tree.add(covered, covered)
            model.add(covered)
        elif not adds and covered in model:
            tree.remove(covered)
            model.remove(covered)
    assert len(tree) == len(model)
    for key in asked:
        expected = {one for one in model if one[0] <= key and (one[1] is None or key < one[1])}
        found = tree.covering(key)
        assert set(found) == expected
        assert len(found) == len(expected)
        assert [one[0] for one in found] == sorted(one[0] for one in found)


def test_a_range_is_added_once() -> None:
    """Watchers of one range share its entry."""
    tree: Intervals[int] = Intervals()
    tree.add((b"a", None), 1)
    with pytest.raises(ValueError, match="is there already"):
        tree.add((b"a", None), 2)
    assert tree.get((b"a", None)) == 1
