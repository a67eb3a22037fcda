"""Every script in scripts/ plays out as written down. `pytest --rewrite tests/node/raft` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.raft.script import run

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_script_plays_out_as_written(path: Path, rewrite: bool) -> None:
    """Source: the stories of etcd-io/raft's interaction tests, and some of our own."""
    wrong = run(path, rewrite=rewrite)
    if wrong and not rewrite:
        pytest.fail("\n\n".join(wrong))
