"""The bbolt reader and writer against each other; real etcd judges them in test_real_etcd.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etcdops.errors import SnapshotCorrupt
from etcdops.snapshot.bbolt_reader import BboltFile
from etcdops.snapshot.bbolt_writer import write_bbolt

Buckets = dict[bytes, dict[bytes, bytes]]


def write(path: Path, buckets: Buckets) -> Path:
    path.unlink(missing_ok=True)
    write_bbolt(path, [(name, sorted(items.items())) for name, items in sorted(buckets.items())])
    return path


def read(path: Path) -> Buckets:
    with BboltFile(path) as file:
        file.check()
        return {name: dict(file.items(name)) for name in file.bucket_names}


@pytest.mark.parametrize("count", [0, 1, 2, 3, 50, 121, 122, 123, 5000, 30_000])
def test_what_is_written_is_read_back(tmp_path: Path, count: int) -> None:
    """Goal: any number of levels, with page borders hit exactly. Source: bbolt node.go."""
    items = {index.to_bytes(8, "big"): b"v" * (index % 300) for index in range(1, count + 1)}
    buckets = {b"key": items, b"meta": {b"term": b"\0" * 8}}
    assert read(write(tmp_path / "db", buckets)) == buckets


def test_every_branch_page_has_two_children(tmp_path: Path) -> None:
    """Goal: bbolt asserts this when it rebalances. Source: bbolt node.go, rebalance."""
    for count in range(118 * 3, 118 * 3 + 8):
        items = {index.to_bytes(17, "big"): b"x" * 4000 for index in range(1, count + 1)}
        path = write(tmp_path / "db", {b"key": items})
        raw = path.read_bytes()
        for start in range(0, len(raw), 4096):
            if int.from_bytes(raw[start + 8 : start + 10], "little") == 1:
                assert int.from_bytes(raw[start + 10 : start + 12], "little") >= 2
        assert len(read(path)[b"key"]) == count


def test_large_values_and_long_keys_spill_over_pages(tmp_path: Path) -> None:
    """Goal: overflow pages of leaves and of branches."""
    buckets: Buckets = {
        b"authUsers": {bytes([65 + index]) * 30_000: b"u" for index in range(9)},
        b"key": {b"a": b"1" * 2_000_000, b"b": b"", b"c": b"2" * 4064, b"d": b"3" * 4063},
    }
    assert read(write(tmp_path / "db", buckets)) == buckets


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=12),
        st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=900), max_size=60),
        max_size=8,
    )
)
def test_any_buckets_survive_the_round_trip(tmp_path_factory: pytest.TempPathFactory, buckets: Buckets) -> None:
    """Goal: reader and writer agree on anything a bucket may hold."""
    path = write(tmp_path_factory.getbasetemp() / "any.db", buckets)
    assert read(path) == buckets


def test_keys_out_of_order_are_refused(tmp_path: Path) -> None:
    """Goal: the writer never makes a file bbolt would call corrupt."""
    with pytest.raises(ValueError, match="not after"):
        write_bbolt(tmp_path / "db", [(b"key", [(b"b", b""), (b"a", b"")])])


def test_a_file_that_is_no_database_is_named_as_such(tmp_path: Path) -> None:
    """Goal: the commonest mistake (a wrong file) gets the right words."""
    path = tmp_path / "not.db"
    path.write_bytes(b"hello" * 5000)
    with pytest.raises(SnapshotCorrupt, match="no valid meta page"):
        BboltFile(path)
