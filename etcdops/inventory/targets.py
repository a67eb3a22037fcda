"""From a host of the inventory to a way in. Reading its secrets may ask a person."""

from __future__ import annotations

from etcdops.inventory.model import Host, Inventory
from etcdops.inventory.secrets import SecretSource
from etcdops.remote.become import Become
from etcdops.remote.ssh_config import parse_jump
from etcdops.remote.target import Target
from etcdops.secret import Secret

_JUMPS_MAX = 8


class Secrets:
    """Each source is read once, however many hosts share it: nobody types a password three times."""

    def __init__(self) -> None:
        self._read: dict[SecretSource, Secret] = {}

    def read(self, source: SecretSource | None) -> Secret | None:
        """Raises: UsageError, AccessDenied - as `SecretSource.read`."""
        if source is None:
            return None
        if source not in self._read:
            self._read[source] = source.read()
        return self._read[source]


def target(inventory: Inventory, host: Host, secrets: Secrets, depth: int = 0) -> Target:
    """How to log in to a host. Raises: UsageError, AccessDenied - a secret cannot be had; UsageError - no jump host."""
    return Target(
        name=host.name,
        address=host.address,
        port=host.ssh.port or 0,
        user=host.ssh.user,
        key=host.ssh.key,
        password=secrets.read(host.ssh.password),
        jump=_jump(inventory, host, secrets, depth),
        become=Become(secrets.read(host.ssh.become.password), needed=host.ssh.become.method == "sudo"),
    )


def _jump(inventory: Inventory, host: Host, secrets: Secrets, depth: int) -> Target | None:
    named = host.ssh.jump
    if not named or depth > _JUMPS_MAX:
        return None
    if named in inventory.hosts:
        return target(inventory, inventory.hosts[named], secrets, depth + 1)
    return parse_jump(named)
