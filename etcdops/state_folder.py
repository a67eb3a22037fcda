"""Where etcdops keeps files of its own."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """$ETCDOPS_HOME, else etcdops under $XDG_STATE_HOME (~/.local/state). It may not exist yet."""
    home = os.environ.get("ETCDOPS_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "etcdops"
