"""`Include` of ~/.ssh/config: the file as one text, as if all of it had been written there.

Source: ssh_config(5), Include. The library that reads the text passes such lines without a word.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from etcdops.errors import UsageError

_DEPTH_MAX = 16
_LINE = re.compile(r"\s*(?P<key>[A-Za-z]+)(?:\s*=\s*|\s+)(?P<value>.*?)\s*")
_BLOCKS = ("host", "match")
_EVERYBODY = "Host *"


def included(path: Path, text: str) -> str:
    """The text of the file at `path`, with those it includes in their places.

    Raises: UsageError - one of them cannot be read or leads back to itself, or stands where no text can take its place.
    """
    return "\n".join(_lines(path, text, path.parent, (), _EVERYBODY))


def _lines(path: Path, text: str, folder: Path, above: tuple[Path, ...], block: str) -> Iterator[str]:
    """Args: folder - of the first file, which relative names are below; block - the line that the text stands under."""
    if len(above) >= _DEPTH_MAX:
        raise UsageError(f"{path}: files include each other {_DEPTH_MAX} deep", hint="does one include itself?")
    inside = block
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        key = found["key"].lower() if found else ""
        if found is None or key != "include":
            if key in _BLOCKS:
                if above and block != _EVERYBODY:
                    raise UsageError(
                        f"{path} has `{line.strip()}`, and is included below `{block}`",
                        cause="both would have to hold at once",
                        hint="move the Include to the top of the file",
                    )
                inside = line.strip()
            yield line
            continue
        for one in _named(path, found["value"], folder):
            yield from _lines(one, _read(one), folder, (*above, path), inside)
            yield inside  # what an included file began ends with it


def _named(path: Path, value: str, folder: Path) -> Iterator[Path]:
    """In the order of their names; a pattern may mean none. Source: glob(3)."""
    try:
        patterns = shlex.split(value)
    except ValueError as error:
        raise UsageError(f"{path} is not understood: Include {value}", cause=str(error)) from error
    for pattern in patterns:
        whole = folder / Path(pattern).expanduser()
        found = sorted(glob.glob(str(whole)))
        yield from (Path(one) for one in found if Path(one).is_file())


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, which ~/.ssh/config includes, cannot be read", cause=str(error)) from error
