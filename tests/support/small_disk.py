"""File systems that are small or read-only: a tmpfs of its own, which takes root to mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def remount(self, options: str) -> None:
        """Change its options: `size=64m`, `ro`, `rw`."""
        subprocess.run(["mount", "-o", f"remount,{options}", os.fspath(self.folder)], check=True, timeout=10)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[SmallDisk]:
    """Mount one for the time of the block. Skips the test where that is not possible."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", os.fspath(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False, timeout=10).returncode != 0:
        pytest.skip("a disk of its own needs root and the right to mount a tmpfs")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", os.fspath(folder)], check=True, timeout=10)
