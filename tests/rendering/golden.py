"""Golden files: what is rendered, held to what was looked at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from etcdops.rendering.files import RenderedFile

GOLDEN = Path(__file__).parent / "golden"
REWRITE = bool(os.environ.get("ETCDOPS_REWRITE_GOLDEN"))
"""Write what is rendered now as what is expected; look at `git diff` then."""


def compare(case: str, files: Sequence[RenderedFile]) -> None:
    """With the files in the golden folder of that name."""
    folder = GOLDEN / case
    if REWRITE:
        shutil.rmtree(folder, ignore_errors=True)
        for file in files:
            path = folder / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
    expected = {f"/{path.relative_to(folder)}": path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {file.path: file.content.decode() for file in files} == expected
