"""What makes hosts different from each other and from those of another run: names, identities and keys.

Each host's seed is a read-only layer of its disk: it survives the host's reinstallation, so host keys stay true.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_USERS: Final = {"root": ("root", 0), "home/ops": ("ops", 1000), "home/deploy": ("deploy", 1001)}
_PASSWORD_TAIL: Final = "'\"$ \\"
"""What a careless shell or prompt would trip over."""


def write_seeds(run: Path, addresses: Mapping[str, str], operator_address: str, base: Path) -> None:
    """The run's key, ops' password, known hosts and client configuration, and `<run>/<host>/seed` for each host."""
    key = _new_key(base, run / "id_ed25519", "test run")
    password = secrets.token_urlsafe(9) + _PASSWORD_TAIL
    _write(run / "ops_password", password, 0o600)
    shadow = _shadow(base, password)
    known = []
    for name, address in addresses.items():
        seed = run / name / "seed"
        _write(seed / "etc/hostname", f"{name}\n")
        _write(seed / "etc/hosts", _hosts_file(addresses, operator_address, name))
        _write(seed / "etc/machine-id", f"{uuid.uuid4().hex}\n", 0o444)
        _write(seed / "etc/shadow", shadow, 0o640, group=42)
        host_key = _new_key(base, seed / "etc/ssh/ssh_host_ed25519_key", name)
        known.append(f"{name},{address} {' '.join(host_key.split()[:2])}\n")
        for home, (_user, uid) in _USERS.items():
            _write(seed / home / ".ssh/authorized_keys", key, 0o600, uid, uid)
            for folder in (seed / home / ".ssh", seed / home):
                folder.chmod(0o700)
                os.chown(folder, uid, uid)
    _write(run / "known_hosts", "".join(known), 0o600)
    _write(run / "ssh_config", _ssh_config(run, addresses), 0o600)


def _hosts_file(addresses: Mapping[str, str], operator_address: str, own: str) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", f"{operator_address} operator"]
    lines += [f"{address} {name}" for name, address in addresses.items()]
    assert own in addresses
    return "\n".join(lines) + "\n"


def _ssh_config(run: Path, addresses: Mapping[str, str]) -> str:
    each = "".join(f"Host {name}\n  HostName {address}\n" for name, address in addresses.items())
    return each + (
        "Host *\n"
        f'  IdentityFile "{run / "id_ed25519"}"\n'
        "  IdentitiesOnly yes\n  IdentityAgent none\n  BatchMode yes\n  ConnectTimeout 10\n"
        f'  UserKnownHostsFile "{run / "known_hosts"}"\n'
        "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  LogLevel ERROR\n"
    )


def _new_key(base: Path, path: Path, comment: str) -> str:
    """An ed25519 key pair at `path`; the public half as text. The machine need not have ssh-keygen: the base has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _in_base(
        base,
        "k=$(mktemp -d); ssh-keygen -q -t ed25519 -N '' -C \"$1\" -f $k/key; cat $k/key $k/key.pub; rm -r $k",
        comment,
    )
    private, _, public = made.partition("-----END OPENSSH PRIVATE KEY-----\n")
    _write(path, f"{private}-----END OPENSSH PRIVATE KEY-----\n", 0o600)
    _write(path.with_name(f"{path.name}.pub"), public)
    return public


def _shadow(base: Path, password: str) -> str:
    """The base's password file with a password for ops."""
    hashed = _in_base(base, "openssl passwd -6 -stdin", stdin=password).strip()
    lines = (base / "etc/shadow").read_text().splitlines()
    return "".join(
        f"ops:{hashed}:{line.split(':', 2)[2]}\n" if line.startswith("ops:") else f"{line}\n" for line in lines
    )


def _in_base(base: Path, script: str, *arguments: str, stdin: str = "") -> str:
    """Run a shell script with the base's programs; its /tmp is a file system that goes with it."""
    apart = (
        'mount -t tmpfs tmpfs "$1/tmp"; root=$1; script=$2; shift 2; exec chroot "$root" /bin/sh -c "$script" sh "$@"'
    )
    command = ["unshare", "--mount", "--", "sh", "-c", apart, "sh", os.fspath(base), script, *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, timeout=30).stdout


def _write(path: Path, text: str, mode: int = 0o644, owner: int = 0, group: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, owner, group)
