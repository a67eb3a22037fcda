"""Whether a host is who it says: `known_hosts`, as OpenSSH keeps it.

A changed key is refused always. A new one is asked about, or accepted when the policy says so, and then added as a line
of its own: nothing else in the file is touched.
"""

from __future__ import annotations

import base64
import fcntl
import fnmatch
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeys

from etcdops.errors import AccessDenied
from etcdops.files import sync_folder

SYSTEM_FILE = Path("/etc/ssh/ssh_known_hosts")
_REVOKED = "@revoked"


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """A key that a host showed and nobody knows yet."""

    host: str
    """The name in the inventory."""
    known_as: str
    """What it is called in known_hosts: `address`, or `[address]:port`."""
    kind: str
    """Such as `ssh-ed25519`."""
    fingerprint: str
    """As `ssh-keygen -l` prints it: `SHA256:...`."""


def _refuse_all(key: OfferedKey) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class HostKeyPolicy:
    """Which files to believe and what to do with a host that is in none of them."""

    files: tuple[Path, ...] = ()
    """Empty: ~/.ssh/known_hosts and the system's. New keys go into the first one."""
    accept_new: bool = False
    ask: Callable[[OfferedKey], bool] = field(default=_refuse_all)
    """Asks a person, in a thread of its own; one question at a time."""

    @property
    def paths(self) -> tuple[Path, ...]:
        return self.files or (Path.home() / ".ssh" / "known_hosts", SYSTEM_FILE)


_ONE_QUESTION = threading.Lock()


class KnownHosts:
    """The keys known for one host."""

    def __init__(self, policy: HostKeyPolicy, host: str, known_as: str) -> None:
        self._policy = policy
        self._host = host
        self._known_as = known_as

    def kinds(self) -> list[str]:
        """Of the keys we know it by: to be negotiated first, or the host shows one that cannot be compared."""
        return [key.get_name() for key in self._known()[0]]

    def verify(self, offered: paramiko.PKey) -> None:
        """Raises: AccessDenied - the key is another one than we know, was revoked, or is new and not accepted."""
        known, revoked, places = self._known()
        fingerprint = fingerprint_of(offered)
        if any(key == offered for key in revoked):
            raise AccessDenied(
                f"{self._host}: its host key {fingerprint} is marked as revoked in {_names(places)}",
                hint="somebody else may have this key: give the host a new one before you trust it",
            )
        if any(key == offered for key in known):
            return
        same_kind = [key for key in known if key.get_name() == offered.get_name()]
        if known:
            was = ", ".join(f"{key.get_name()} {fingerprint_of(key)}" for key in same_kind or known)
            raise AccessDenied(
                f"{self._host}: its host key changed, or another machine answers at {self._known_as}",
                cause=f"known: {was} ({_names(places)}); shown now: {offered.get_name()} {fingerprint}",
                hint=f"if the host was really set up anew: ssh-keygen -R '{self._known_as}', and connect again",
            )
        self._accept_new(offered, fingerprint)

    def _accept_new(self, offered: paramiko.PKey, fingerprint: str) -> None:
        key = OfferedKey(self._host, self._known_as, offered.get_name(), fingerprint)
        with _ONE_QUESTION:
            if any(known == offered for known in self._known()[0]):
                return  # accepted meanwhile, for another host at the same address
            if not self._policy.accept_new and not self._policy.ask(key):
                raise AccessDenied(
                    f"{self._host}: its host key is not known: {key.kind} {fingerprint}",
                    hint="compare it with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host, then connect with"
                    f" --accept-new, or: ssh-keyscan '{self._known_as}' >> {self._policy.paths[0]}",
                )
            _append(self._policy.paths[0], f"{self._known_as} {offered.get_name()} {offered.get_base64()}\n")

    def _known(self) -> tuple[list[paramiko.PKey], list[paramiko.PKey], list[Path]]:
        """(keys it may show, keys it must not show, files with a line about it)."""
        known: list[paramiko.PKey] = []
        revoked: list[paramiko.PKey] = []
        places: list[Path] = []
        for path in self._policy.paths:
            for marker, key in _lines_about(path, self._known_as):
                (revoked if marker == _REVOKED else known).append(key)
                if path not in places:
                    places.append(path)
        return known, revoked, places


def known_as(address: str, port: int) -> str:
    """What OpenSSH calls a host in known_hosts."""
    return address if port == 22 else f"[{address}]:{port}"


def fingerprint_of(key: paramiko.PKey) -> str:
    """As OpenSSH prints it: SHA-256 in base64 without padding."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _lines_about(path: Path, name: str) -> list[tuple[str, paramiko.PKey]]:
    """(marker or "", key) of each line of a file that is about a host, hashed names included.

    Lines that cannot be read, and authorities (`@cert-authority`: certificates of hosts are not supported), are passed.
    """
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    found: list[tuple[str, paramiko.PKey]] = []
    for line in text.splitlines():
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", _REVOKED):
            continue
        if _is_about(fields[0], name):
            try:
                key = paramiko.PKey.from_type_string(fields[1], base64.b64decode(fields[2]))
            except (paramiko.SSHException, ValueError):
                continue
            found.append((marker, key))
    return found


def _is_about(names: str, name: str) -> bool:
    """Whether the first field of a line means `name`: a list of names and patterns, or one hashed name."""
    if names.startswith("|1|"):
        return HostKeys.hash_host(name, names) == names
    listed = names.lower().split(",")
    name = name.lower()
    if any(fnmatch.fnmatchcase(name, _pattern(one[1:])) for one in listed if one.startswith("!")):
        return False
    return any(fnmatch.fnmatchcase(name, _pattern(one)) for one in listed if not one.startswith("!"))


def _pattern(text: str) -> str:
    """OpenSSH's patterns know `*` and `?` only: a bracket means itself."""
    return text.replace("[", "[[]")


def _append(path: Path, line: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "rb+") as file:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                line = f"\n{line}"
        file.write(line.encode())
        file.flush()
        os.fsync(descriptor)
    sync_folder(path.parent)


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(str(path) for path in paths)
