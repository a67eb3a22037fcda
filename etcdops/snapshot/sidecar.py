"""The file beside a snapshot: where it came from, which the snapshot itself does not say, or not all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from etcdops.files import sync_folder

SCHEMA = "etcdops.snapshot/1"


def sidecar_path(snapshot: Path) -> Path:
    """`backup.db.json` beside `backup.db`."""
    return snapshot.with_name(f"{snapshot.name}.json")


def write_sidecar(path: Path, body: Mapping[str, object]) -> None:
    """Replace the file as a whole, readable by its owner only. Raises: OSError."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(create_private(part), "w", encoding="utf-8") as file:
        json.dump({"schema": SCHEMA, **body}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted when a snapshot was saved; "" and None = that was not."""

    file: str
    """The snapshot's name then."""
    sha256: str
    """Of the database, without the checksum behind it."""
    cluster_id: str
    taken_at: str
    """RFC 3339."""
    revision: int | None
    members: tuple[Mapping[str, object], ...]


def read_sidecar(snapshot: Path) -> Noted | None:
    """Only a hint: None - there is none, or it cannot be read. Whether it is this file's, `sha256` tells."""
    try:
        body = json.loads(sidecar_path(snapshot).read_text(encoding="utf-8"))
        if body["schema"] != SCHEMA:
            return None
        revision, members = body.get("revision"), body.get("members", [])
        return Noted(
            file=str(body.get("file") or ""),
            sha256=str(body["sha256"]),
            cluster_id=str(body.get("cluster_id") or ""),
            taken_at=str(body.get("taken_at") or ""),
            revision=revision if isinstance(revision, int) else None,
            members=tuple(member for member in members if isinstance(member, dict)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def noted_client_urls(snapshot: Path, sha256: str, name: str, peer_urls: tuple[str, ...]) -> tuple[str, ...]:
    """Client URLs of the member with this name and these peer URLs when the snapshot was saved; () = not known.

    What is not known only costs the operator a look into the member's configuration.
    """
    noted = read_sidecar(snapshot)
    for member in noted.members if noted is not None and noted.sha256 == sha256 else ():
        if member.get("name") == name and set(_strings(member.get("peer_urls"))) == set(peer_urls):
            return _strings(member.get("client_urls"))
    return ()


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def create_private(path: Path) -> int:
    """A new file for its owner only, as a descriptor; one that was left by a transfer cut off is replaced."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
