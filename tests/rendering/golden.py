"""Golden files: what is rendered, held to what was looked at once."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from etcdops.rendering.files import RenderedFile

GOLDEN = Path(__file__).parent / "golden"


def compare(case: str, files: Sequence[RenderedFile], *, rewrite: bool) -> None:
    """With the files in the golden folder of that name, which are written anew first with `pytest --rewrite`."""
    folder = GOLDEN / case
    if rewrite:
        shutil.rmtree(folder, ignore_errors=True)
        for file in files:
            path = folder / file.path.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
    expected = {f"/{path.relative_to(folder)}": path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {file.path: file.content.decode() for file in files} == expected
