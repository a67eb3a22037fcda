"""Where a host is and how to get in: what the inventory, `~/.ssh/config` and defaults come down to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from etcdops.remote.become import Become
from etcdops.secret import Secret

CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """One host. Empty and None: as `~/.ssh/config` says, and else OpenSSH's default."""

    name: str
    """In the inventory: for messages, and what `Host` patterns of `~/.ssh/config` are compared with."""
    address: str = ""
    """Host name or IP address; empty: the name."""
    port: int = 0
    user: str = ""
    key: Path | None = None
    """A private key. Keys of the agent and the usual ones in ~/.ssh are tried without."""
    password: Secret | None = None
    """For the login, or the passphrase of the key."""
    jump: Target | None = None
    become: Become = field(default_factory=Become)
    connect_timeout_s: float = CONNECT_TIMEOUT_S
