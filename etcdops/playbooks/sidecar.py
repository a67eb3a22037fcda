"""The file beside a snapshot: where it came from, which the snapshot itself does not say, or not all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from etcdops.files import sync_folder
from etcdops.playbooks.plan import Json

SCHEMA = "etcdops.snapshot/1"


def sidecar_path(snapshot: Path) -> Path:
    """`backup.db.json` beside `backup.db`."""
    return snapshot.with_name(f"{snapshot.name}.json")


def write_sidecar(path: Path, body: Mapping[str, Json]) -> None:
    """Replace the file as a whole, readable by its owner only. Raises: OSError."""
    part = path.with_name(f"{path.name}.part")
    with os.fdopen(create_private(part), "w", encoding="utf-8") as file:
        json.dump({"schema": SCHEMA, **body}, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def noted_client_urls(snapshot: Path, sha256: str, name: str, peer_urls: tuple[str, ...]) -> tuple[str, ...]:
    """Client URLs of the member with this name and these peer URLs when the snapshot was saved; () = not known.

    Only a hint: a missing file, one of another snapshot, and one that cannot be read all say nothing.
    """
    try:
        noted = json.loads(sidecar_path(snapshot).read_text(encoding="utf-8"))
        if noted["schema"] != SCHEMA or noted["sha256"] != sha256:
            return ()
        for member in noted["members"]:
            if member["name"] == name and set(member["peer_urls"]) == set(peer_urls):
                return tuple(str(url) for url in member["client_urls"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it would only have saved the operator a look into the member's configuration
    return ()


def create_private(path: Path) -> int:
    """A new file for its owner only, as a descriptor; one that was left by a transfer cut off is replaced."""
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
