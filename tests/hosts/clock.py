"""Clocks that are off, one host at a time. The kernel has one clock for all, so a library shifts what programs see.

It goes into the environment of ssh sessions, of programs under sudo and of services. The host-wide preload list would
be shorter, but sshd's sandbox kills a process that opens a file to learn the time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PRELOAD: Final = "LD_PRELOAD=/usr/local/lib/clock-skew.so"
_FILES: Final = {
    "etc/ssh/sshd_config.d/skew.conf": f"SetEnv {_PRELOAD}\n",
    "etc/sudoers.d/skew": "Defaults env_file=/etc/skew.environment\n",
    "etc/skew.environment": f"{_PRELOAD}\n",
    "etc/systemd/system.conf.d/skew.conf": f"[Manager]\nDefaultEnvironment={_PRELOAD}\n",
    "etc/systemd/system/ssh.service.d/skew.conf": "[Service]\nUnsetEnvironment=LD_PRELOAD\n",
}


def write_skew(root: Path, seconds: float) -> None:
    """Write a host's files so that what starts later is `seconds` ahead; 0 takes them away again."""
    for name, text in _FILES.items():
        target = root / name
        if seconds:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
            target.chmod(0o440 if "sudoers" in name else 0o644)
        else:
            target.unlink(missing_ok=True)
    # Stays with 0, for the programs that look at it.
    (root / "etc/clock-skew").write_text(f"{round(seconds * 1e9):+d}\n")
