"""The open transaction: what was written stands, what failed leaves nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from etcdops.node.storage import batch as batch_module
from etcdops.node.storage.batch import Batch
from etcdops.node.storage.errors import NoSpace, StorageFailed

ADD = "INSERT INTO t (x) VALUES (?)"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    made = apsw.Connection(str(tmp_path / "t.db"))
    made.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
    yield made
    made.close(True)


def rows(connection: apsw.Connection) -> list[int]:
    return [x for (x,) in list(connection.execute("SELECT x FROM t ORDER BY x"))]


def test_a_statement_that_fails_half_way_has_no_effect(connection: apsw.Connection, tmp_path: Path) -> None:
    """Rows of one write_many come together or not at all; what was written before stays."""
    batch = Batch(connection, tmp_path / "t.db")
    with pytest.raises(StorageFailed):
        batch.write_many(ADD, [(1,), (2,), (1,)])
    assert (rows(connection), len(batch), connection.in_transaction) == ([], 0, False)
    batch.write(ADD, (7,))
    with pytest.raises(StorageFailed):
        batch.write_many(ADD, [(1,), (2,), (7,)])
    with pytest.raises(StorageFailed):
        batch.write(ADD, (7,))
    assert rows(connection) == [7]
    assert batch.commit()
    assert not batch.commit()
    assert rows(connection) == [7]


def test_everything_since_a_mark_can_be_undone(connection: apsw.Connection, tmp_path: Path) -> None:
    """Also everything since the last commit."""
    batch = Batch(connection, tmp_path / "t.db")
    batch.write_many(ADD, [(1,), (2,)])
    mark = batch.mark()
    batch.write(ADD, (3,))
    batch.rewind(mark)
    assert rows(connection) == [1, 2]
    batch.commit()
    batch.write(ADD, (4,))
    batch.rewind(0)
    assert (rows(connection), connection.in_transaction) == ([1, 2], False)


def test_a_lost_transaction_is_repeated(connection: apsw.Connection, tmp_path: Path) -> None:
    """SQLite rolls back by itself after some errors; nobody who reads may notice."""
    batch = Batch(connection, tmp_path / "t.db")
    batch.write_many(ADD, [(1,), (2,)])
    connection.execute("ROLLBACK")
    with pytest.raises(StorageFailed):
        batch.commit()
    assert rows(connection) == [1, 2]
    batch.commit()
    assert (rows(connection), connection.in_transaction) == ([1, 2], False)


def test_what_waits_for_a_full_disk_is_bounded(
    connection: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others go on agreeing, and this member applies it; a commit that succeeds starts the count anew."""
    monkeypatch.setattr(batch_module, "HELD_BYTES_MAX", 1000)
    batch = Batch(connection, tmp_path / "t.db")
    batch.write_many(ADD, [(1,), (2,)])
    _lose_the_disk(connection, batch)
    batch.write(ADD, (3,))
    batch.commit()
    batch.write_many(ADD, [(number,) for number in range(10, 30)])
    _lose_the_disk(connection, batch)
    with pytest.raises(NoSpace, match="no space left for too long"):
        batch.write(ADD, (4,))
    assert 4 not in rows(connection)


def _lose_the_disk(connection: apsw.Connection, batch: Batch) -> None:
    connection.execute("ROLLBACK")
    with pytest.raises(StorageFailed):
        batch.commit()
