"""Every script below scripts/ plays out as written down. `pytest --rewrite tests/node/raft` writes them anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.raft.script import Stage, run
from tests.node.raft.script_confchange import Changes
from tests.node.raft.script_quorum import play_quorum

FOLDER = Path(__file__).parent / "scripts"


def check(path: Path, play: Callable[[str], list[str]], rewrite: bool) -> None:
    wrong = run(path, play, rewrite=rewrite)
    if wrong and not rewrite:
        pytest.fail("\n\n".join(wrong))


def stories(pattern: str) -> pytest.MarkDecorator:
    paths = sorted(FOLDER.glob(pattern))
    return pytest.mark.parametrize("path", paths, ids=[path.stem for path in paths])


@stories("*.txt")
def test_members_say_what_the_script_says(path: Path, rewrite: bool) -> None:
    """Source: the stories of etcd-io/raft's testdata, and some of our own."""
    check(path, Stage().play, rewrite)


@stories("confchange/*.txt")
def test_configurations_change_as_the_script_says(path: Path, rewrite: bool) -> None:
    """Source: the stories of etcd-io/raft's confchange/testdata."""
    check(path, Changes().play, rewrite)


@stories("quorum/*.txt")
def test_quorums_decide_as_the_script_says(path: Path, rewrite: bool) -> None:
    """Source: the stories of etcd-io/raft's quorum/testdata."""
    check(path, play_quorum, rewrite)
