"""From a target to a logged-in connection, or to an error that says which of the many things went wrong.

Everything here blocks and runs in a thread.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import paramiko

from etcdops.errors import AccessDenied, EtcdopsError, Unreachable, UsageError
from etcdops.remote.host_keys import HostKeyPolicy, KnownHosts, known_as
from etcdops.remote.proxy_command import ProxyCommand, masked
from etcdops.remote.ssh_channel import OrderedTransport
from etcdops.remote.ssh_config import Resolved, SSHConfig
from etcdops.remote.target import Target
from etcdops.remote.way import USUAL, KeepAlive, Way

_JUMPS_MAX = 8
_USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_KEYS_MAX = 5
"""Tried in all: sshd ends the connection after six failures by default (MaxAuthTries)."""
_RSA = ("rsa-sha2-512", "rsa-sha2-256")


def log_in(
    target: Target, policy: HostKeyPolicy, config: SSHConfig, times: KeepAlive = USUAL, depth: int = 0
) -> tuple[OrderedTransport, ...]:
    """Connect, verify the host's key and authenticate, through its jump hosts if it has any.

    Returns: the connections, the one to the target first, then those it runs through; close them in this order.
    Raises: Unreachable, AccessDenied, UsageError; as `Connector.connect`.
    """
    resolved = config.resolve(target)
    if depth > _JUMPS_MAX:
        raise UsageError(f"{target.name}: its jump hosts lead in a circle", hint="see ProxyJump in ~/.ssh/config")
    jump = resolved.target.jump
    through = log_in(jump, policy, config, times, depth + 1) if jump is not None else ()
    way: Way | None = None
    transport: OrderedTransport | None = None
    try:
        way = _way(resolved, through[0] if through else None)
        transport = OrderedTransport(way)
        _negotiate(transport, resolved, policy)
        _authenticate(transport, resolved)
    except BaseException as error:
        for opened in (transport, way, *through):
            if opened is not None:
                opened.close()
        if isinstance(error, EtcdopsError) or not isinstance(error, Exception):
            raise
        spoke = transport is not None and bool(transport.remote_version)
        raise _explain(error, resolved, way.broke if way is not None else "", spoke=spoke) from error
    way.keep_alive(transport, times)
    return (transport, *through)


def _way(resolved: Resolved, jump: paramiko.Transport | None) -> Way:
    """To the host's sshd."""
    target = resolved.target
    end = f"{target.address}:{target.port}"
    if jump is not None:
        place = (target.address, target.port)
        return Way(jump.open_channel("direct-tcpip", place, ("127.0.0.1", 0), timeout=target.connect_timeout_s), end)
    if resolved.proxy_command:
        proxy = ProxyCommand(resolved.proxy_command)
        return Way(proxy, end, why_ended=proxy.why_ended)
    connected = socket.create_connection((target.address, target.port), timeout=target.connect_timeout_s)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Way(connected, end)


def _negotiate(transport: paramiko.Transport, resolved: Resolved, policy: HostKeyPolicy) -> None:
    """Agree on keys and verify the host's."""
    target = resolved.target
    known = KnownHosts(policy, target.name, resolved.known_as or known_as(target.address, target.port))
    options = transport.get_security_options()
    kinds = [name for kind in known.kinds() for name in (_RSA if kind == "ssh-rsa" else (kind,))]
    first = [kind for kind in options.key_types if kind in kinds]
    options.key_types = (*first, *(kind for kind in options.key_types if kind not in kinds))
    transport.banner_timeout = transport.auth_timeout = target.connect_timeout_s
    transport.start_client(timeout=target.connect_timeout_s)
    known.verify(transport.get_remote_server_key())


def _authenticate(transport: paramiko.Transport, resolved: Resolved) -> None:
    """Try keys, then the password. Raises: AccessDenied - what was tried and what the host would take."""
    target = resolved.target
    tried: list[str] = []
    allowed: list[str] = []
    with closing(_keys(resolved)) as keys:
        for label, key in keys:
            if len(tried) == _KEYS_MAX:
                break
            tried.append(label)
            try:
                if not transport.auth_publickey(target.user, key):
                    return
            except paramiko.BadAuthenticationType as error:
                allowed = list(error.allowed_types)
                break  # the host takes no keys at all
            except paramiko.AuthenticationException:
                if not transport.is_active():
                    break
    if target.password is not None and transport.is_active():
        tried.append("the password")
        try:
            if not transport.auth_password(target.user, target.password.reveal()):
                return
        except paramiko.BadAuthenticationType as error:
            allowed = list(error.allowed_types)
        except paramiko.AuthenticationException:
            pass
    raise AccessDenied(
        f"{target.name}: sshd does not let {target.user} in",
        cause=f"tried {', '.join(tried) or 'nothing: there is no key and no password'}"
        + (f"; it takes {', '.join(allowed)}" if allowed else ""),
        hint=f"see that `ssh -p {target.port} {target.user}@{target.address}` works; ssh.user and ssh.key of the"
        " inventory say who and with what",
    )


def _keys(resolved: Resolved) -> Generator[tuple[str, paramiko.PKey], None, None]:
    """Keys to try: the inventory's, else those of ~/.ssh/config, the agent's, the usual ones."""
    target = resolved.target
    passphrase = target.password.reveal() if target.password is not None else None
    if target.key is not None:
        yield str(target.key), _required_key(target.key.expanduser(), passphrase, target.name)
        return
    paths = list(resolved.keys)
    if not resolved.only_these_keys:
        with closing(paramiko.Agent()) as agent:
            for key in agent.get_keys():
                yield f"the agent's key {key.comment or key.get_name()}", key
        paths += [Path.home() / ".ssh" / name for name in _USUAL_KEYS]
    for path in dict.fromkeys(paths):
        loaded = _optional_key(path, passphrase)
        if loaded is not None:
            yield str(path), loaded


def _required_key(path: Path, passphrase: str | None, host: str) -> paramiko.PKey:
    try:
        return paramiko.PKey.from_path(path, passphrase)
    except FileNotFoundError as error:
        raise UsageError(f"{host}: there is no key file {path}", hint="correct ssh.key in the inventory") from error
    except (OSError, ValueError, TypeError, paramiko.SSHException) as error:
        raise UsageError(
            f"{host}: the key {path} cannot be used",
            cause=str(error) or type(error).__name__,
            hint="is it a private key? if it has a passphrase, give it as ssh.password, or use the agent",
        ) from error


def _optional_key(path: Path, passphrase: str | None) -> paramiko.PKey | None:
    """A key that may be there. One that is not, or has a passphrase we do not know, is passed, as OpenSSH does."""
    try:
        return paramiko.PKey.from_path(path, passphrase)
    except (OSError, ValueError, TypeError, paramiko.SSHException):
        return None


def _explain(error: Exception, resolved: Resolved, broke: str, *, spoke: bool) -> EtcdopsError:
    """What a failure to connect means. Args: broke - what its way said of it; spoke - an sshd has begun to answer."""
    target = resolved.target
    place = f"{target.address}:{target.port}"
    via = f" through {target.jump.name}" if target.jump is not None else ""
    said = broke or str(error) or type(error).__name__
    if resolved.proxy_command and not spoke:
        return Unreachable(
            f"{target.name}: its ProxyCommand does not lead to an sshd",
            cause=said if broke else f"`{masked(resolved.proxy_command)}`: {said}",
            hint="run it by hand: it should print a line that begins with SSH-2.0; it is written in ~/.ssh/config",
        )
    if isinstance(error, socket.gaierror):
        return Unreachable(
            f"{target.name}: the name {target.address} is not known",
            cause=said,
            hint="correct `address` in the inventory",
        )
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(
            f"{target.name}: nothing listens at {place}",
            cause="the host is up and refused the connection",
            hint="is sshd running there, and on this port?",
        )
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{target.name}: no answer from {place}{via} within {target.connect_timeout_s:.0f} s",
            cause="the host is down, or a firewall drops what we send",
            hint="try ping, and look at the rules on the way",
        )
    if isinstance(error, paramiko.ChannelException):
        return Unreachable(
            f"{target.name}: {target.jump.name if target.jump else 'the jump host'} cannot reach {place}",
            cause=said,
            hint="the address must be right as seen from the jump host, and it must allow forwarding",
        )
    if isinstance(error, paramiko.SSHException | EOFError | OSError):
        return Unreachable(
            f"{target.name}: {place}{via} does not talk SSH to us", cause=said, hint="is the port really sshd's?"
        )
    return EtcdopsError(f"{target.name}: the SSH library failed", cause=f"{type(error).__name__}: {said}")
