"""What an operator is told when a member ends by itself."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from etcdops.ids import MemberID
from etcdops.node.raft.errors import CoreCorrupt
from etcdops.node.server.ending import failure
from etcdops.node.storage.errors import NoSpace, StorageFailed
from etcdops.node.zap_log import PANIC

MEMBER, DATA = MemberID(0x8E9E), Path("/var/lib/m1")


def test_a_lost_log_is_told_in_etcds_words_with_the_way_back(caplog: pytest.LogCaptureFixture) -> None:
    """The log line is the one that operators and tools know (panic, raft/log.go)."""
    words = "tocommit(9) is out of range [lastIndex(3)]. Was the raft log corrupted, truncated, or lost?"
    ending = failure(CoreCorrupt(words), MEMBER, DATA)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(PANIC, words)]
    assert ending.error is not None
    what, why, following = ending.error.lines()
    assert what == f"error member-failed: {words}"
    assert why.startswith("cause: /var/lib/m1 lacks entries")
    assert "move /var/lib/m1 away" in following
    assert "member remove 8e9e" in following
    assert "--initial-cluster-state existing" in following


def test_a_full_disk_ends_the_member_and_says_that_nothing_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    """What the store says about going on by itself is not true of the raft log."""
    ending = failure(NoSpace("wal.db: no space left", cause="SQLite: full", hint="it goes on"), MEMBER, DATA)
    assert ending.reason == "the disk is full"
    assert ending.error is not None
    assert ending.error.lines()[0] == "error no-space: wal.db: no space left"
    assert "free some space" in ending.error.hint
    assert caplog.records[0].levelno == logging.CRITICAL


def test_a_broken_disk_is_told_as_the_storage_said_it() -> None:
    """It knows the file and what to look at."""
    broken = StorageFailed("state.db: failed", hint="look at dmesg")
    assert failure(broken, MEMBER, DATA).error is broken


def test_an_error_of_our_own_is_named_and_its_stack_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody should have to guess."""
    ending = failure(KeyError("x"), MEMBER, DATA)
    assert ending.error is not None
    assert "internal error: KeyError: 'x'" in ending.error.message
    assert ending.error.hint
    assert caplog.records[0].exc_info is not None
