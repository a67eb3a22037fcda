"""What `~/.ssh/config` says about a host. The inventory comes first, then the file, then OpenSSH's defaults."""

from __future__ import annotations

import dataclasses
import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import paramiko

from etcdops.errors import UsageError
from etcdops.remote.proxy_command import proxy_line
from etcdops.remote.ssh_includes import included
from etcdops.remote.target import Target

USER_FILE = Path("~/.ssh/config")


@dataclass(frozen=True, slots=True)
class Resolved:
    """A target with nothing left open, and what only the file can say."""

    target: Target
    keys: tuple[Path, ...] = ()
    """Private keys to try, beside the usual ones."""
    only_these_keys: bool = False
    """`IdentitiesOnly yes`: neither the agent's nor the usual ones."""
    known_as: str = ""
    """`HostKeyAlias`, if any."""
    proxy_command: str = ""
    """For a shell, with everything filled in."""


class _AsWritten(paramiko.SSHConfig):
    """Leaves the tokens of `ProxyCommand`: it knows neither address nor port nor user of the inventory."""

    TOKENS_BY_CONFIG_KEY = {  # noqa: RUF012 - as in paramiko
        key: tokens for key, tokens in paramiko.SSHConfig.TOKENS_BY_CONFIG_KEY.items() if key != "proxycommand"
    }


class SSHConfig:
    """The file, read once. Without one it says nothing.

    Raises: UsageError - there is one and it cannot be read.
    """

    def __init__(self, path: Path = USER_FILE) -> None:
        self._path = path.expanduser()
        self._config: paramiko.SSHConfig | None = None
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        except OSError as error:
            raise UsageError(f"{self._path} cannot be read", cause=error.strerror or "") from error
        try:
            self._config = _AsWritten.from_text(included(self._path, text))
        except (paramiko.ConfigParseError, paramiko.SSHException, UnicodeDecodeError) as error:
            raise UsageError(f"{self._path} is not understood", cause=str(error)) from error

    def resolve(self, target: Target) -> Resolved:
        """Fill in what the inventory leaves open; a jump host is resolved when it is connected to.

        Raises: UsageError - a value that is none.
        """
        said = self._lookup(target.address or target.name) | self._lookup(target.name)
        jump = target.jump or self._jump(target.name, str(said.get("proxyjump", "")))
        filled = dataclasses.replace(
            target,
            address=_host_name(target, said),
            port=target.port or self._number(target.name, said, "port", 22),
            user=target.user or str(said.get("user", "")) or getpass.getuser(),
            jump=jump,
        )
        files = () if target.key is not None else tuple(Path(one).expanduser() for one in said.get("identityfile", ()))
        return Resolved(
            filled,
            keys=files,
            only_these_keys=target.key is not None or str(said.get("identitiesonly", "no")).lower() == "yes",
            known_as=str(said.get("hostkeyalias", "")),
            proxy_command="" if jump is not None else _proxy_command(str(said.get("proxycommand", "")), filled),
        )

    def _lookup(self, name: str) -> dict[str, str | list[str]]:
        if self._config is None:
            return {}
        try:
            return dict(self._config.lookup(name))
        except (paramiko.SSHException, KeyError, ValueError) as error:
            raise UsageError(f"{self._path} is not understood for the host {name}", cause=str(error)) from error

    def _jump(self, name: str, said: str) -> Target | None:
        """The chain that `ProxyJump a,b` means: through a to b."""
        chain: Target | None = None
        for hop in said.split(",") if said and said.lower() != "none" else ():
            chain = dataclasses.replace(parse_jump(hop.strip()), jump=chain)
        return chain

    def _number(self, host: str, said: Mapping[str, str | list[str]], key: str, default: int) -> int:
        text = str(said.get(key, default))
        if not text.isdigit():
            raise UsageError(f"{self._path}: the {key} of {host} is {text!r}, not a number")
        return int(text)


def parse_jump(text: str) -> Target:
    """`[user@]host[:port]`, IPv6 addresses in brackets. Raises: UsageError."""
    user, _, place = text.rpartition("@")
    address, colon, port = place, "", ""
    if place.startswith("["):
        address, _, tail = place[1:].partition("]")
        colon, port = tail[:1], tail[1:]
    elif place.count(":") == 1:
        address, colon, port = place.partition(":")
    if not address or (colon and not port.isdigit()):
        raise UsageError(f"{text!r} is no jump host", hint="write it as [user@]host[:port]")
    return Target(name=address, user=user, port=int(port) if port else 0)


def _host_name(target: Target, said: Mapping[str, str | list[str]]) -> str:
    """An address of the inventory stands; a bare name may have a HostName in the file."""
    return target.address or str(said.get("hostname", "")) or target.name


def _proxy_command(written: str, target: Target) -> str:
    if written.lower() in ("", "none"):
        return ""
    values = {"h": target.address, "n": target.name, "p": str(target.port), "r": target.user}
    return proxy_line(written, target.name, values)
