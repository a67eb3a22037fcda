"""The archive: every text through the redaction, a manifest of what is in it and what is not, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import os
import secrets
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from etcdops.clock import rfc3339
from etcdops.diagnosis.reading import Source, opened
from etcdops.doctor.bundle.contents import Json
from etcdops.doctor.bundle.names import Names
from etcdops.doctor.bundle.redact import Redactor
from etcdops.files import sync_folder

MANIFEST = "MANIFEST.json"
SCHEMA = "etcdops.bundle/1"
NEVER = (
    ("private keys, passwords, tokens", "taken out of everything, wherever they stand"),
    ("keys' values", "taken out of requests in logs; nothing is read from the store"),
    ("the inventory file", "it says how to log in to hosts; only where members are is in inventory.json"),
)
"""What no archive has, and why."""
_LINE_MAX = 8 << 20
"""A longer line is looked at in pieces."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to go in."""

    title: str
    """Of the folder everything is in: letters, digits, dots, dashes."""
    made_at: float
    made_by: str
    """`etcdops 1.2.3`."""
    documents: Sequence[tuple[str, Json | str]] = ()
    """(path, JSON or text)."""
    logs: Sequence[tuple[str, Source, str]] = ()
    """(path, the log, where it is from)."""
    left_out: Sequence[tuple[str, str]] = ()
    """(what, why), beside what is never in."""


@dataclass(frozen=True, slots=True)
class Written:
    """An archive that is there."""

    path: Path
    size_bytes: int
    files: int
    taken: Mapping[str, int] = field(default_factory=dict)
    """What was taken out, and how often."""


def write_archive(path: Path, wanted: Wanted, redactor: Redactor, names: Names | None = None) -> Written:
    """Make `path`, readable by its owner only. Until it is whole, nothing has that name.

    Args: names - also replace addresses and names; it learns them here from everything that goes in.
    Raises: OSError; UsageError - a log cannot be read.
    """
    if names is not None:
        for line in _all_lines(wanted):
            names.learn(line)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            count = _Writer(wanted, redactor, names).write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return Written(path, path.stat().st_size, count, dict(sorted(redactor.taken.items())))


class _Writer:
    def __init__(self, wanted: Wanted, redactor: Redactor, names: Names | None) -> None:
        self._wanted, self._redactor, self._names = wanted, redactor, names
        self._contents: list[dict[str, Json]] = []

    def write(self, file: BinaryIO) -> int:
        """How many files went in."""
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
            for path, content in self._wanted.documents:
                text = content if isinstance(content, str) else _as_text(content)
                self._add(archive, path, io.BytesIO(self._clean_text(text).encode()), "")
            for path, source, where in self._wanted.logs:
                with tempfile.TemporaryFile() as clean:
                    self._redactor.begin()
                    for line in _lines(source):
                        clean.write(self._clean(line).encode() + b"\n")
                    clean.seek(0)
                    self._add(archive, path, clean, where)
            manifest = _as_text(self._manifest())
            self._add(archive, MANIFEST, io.BytesIO(self._clean_text(manifest).encode()), "")
        return len(self._contents)

    def _clean(self, line: str) -> str:
        line = self._redactor.line(line)
        return line if self._names is None else self._names.line(line)

    def _clean_text(self, text: str) -> str:
        self._redactor.begin()
        return "\n".join(self._clean(line) for line in text.split("\n"))

    def _add(self, archive: tarfile.TarFile, path: str, content: BinaryIO, where: str) -> None:
        digest, size = hashlib.sha256(), 0
        while chunk := content.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
        content.seek(0)
        name = self._clean(path)
        info = tarfile.TarInfo(f"{self._clean(self._wanted.title)}/{name}")
        info.size, info.mode, info.mtime = size, 0o600, int(self._wanted.made_at)
        archive.addfile(info, content)
        self._contents.append({"path": name, "bytes": size, "sha256": digest.hexdigest(), "from": where or None})

    def _manifest(self) -> Json:
        return {
            "schema": SCHEMA,
            "made_at": rfc3339(self._wanted.made_at),
            "made_by": self._wanted.made_by,
            "contents": self._contents,
            "left_out": [{"what": what, "why": why} for what, why in (*NEVER, *self._wanted.left_out)],
            "taken_out": dict(sorted(self._redactor.taken.items())),
            "names_replaced": self._names is not None,
        }


def _as_text(content: Json) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _all_lines(wanted: Wanted) -> Iterator[str]:
    yield wanted.title
    for path, content in wanted.documents:
        yield path
        yield from (content if isinstance(content, str) else _as_text(content)).split("\n")
    for _, source, where in wanted.logs:
        yield where
        yield from _lines(source)


def _lines(source: Source) -> Iterator[str]:
    """A file that ends early or badly just ends."""
    with opened(source) as (stream, _):
        reader = io.BufferedReader(cast(io.RawIOBase, stream))
        try:
            while line := reader.readline(_LINE_MAX):
                yield line.rstrip(b"\n").decode(errors="replace")
        except (EOFError, OSError, lzma.LZMAError):
            return
        finally:
            reader.detach()
