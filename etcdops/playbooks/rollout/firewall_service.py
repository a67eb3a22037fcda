"""A host's rules for the member's ports, and the unit that loads them at every start of the host."""

from __future__ import annotations

from etcdops.errors import EtcdopsError
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.remote.command import ROOT, command
from etcdops.remote.session import Session
from etcdops.services.host_files import HostFiles
from etcdops.services.systemd import SystemdService


class FirewallOnHost:
    """The firewall of one member, if the inventory asks for one."""

    def __init__(self, session: Session, member: DesiredMember) -> None:
        self._session = session
        self._member = member
        self._name = f"{member.service.name}-firewall"
        self._files = HostFiles(session, "firewall", member.service.name)

    async def compare(self) -> dict[str, str]:
        """Path -> diff of what `apply` would write."""
        return await self._files.compare(self._member.firewall) if self._member.firewall else {}

    async def apply(self) -> None:
        """Write the rules and load them. Safe to repeat. Raises: EtcdopsError - the host's tool does not take them."""
        await self._files.write(self._member.firewall)
        unit = f"{self._name}.service"
        again = [self._load()] if await self.is_loaded() else []
        for words in (["systemctl", "daemon-reload"], ["systemctl", "enable", "--now", unit], *again):
            result = await self._session.run(command(*words, user=ROOT), check=False)
            if not result.ok:
                raise EtcdopsError(
                    f"{self._session.host}: its firewall does not take the rules",
                    cause=result.stderr.decode(errors="replace").strip(),
                    hint=f"see `journalctl -u {unit}` on {self._session.host}; is nft or iptables installed there?",
                )

    def _load(self) -> list[str]:
        """What the unit runs: rules are replaced in one go, where a restart would leave the ports open in between."""
        rules = self._member.firewall[0].path
        return ["/usr/sbin/nft", "-f", rules] if rules.endswith(".nft") else [rules, "start"]

    async def is_loaded(self) -> bool:
        """Whether the rules are in force."""
        status = await SystemdService(self._session, self._name).status()
        return status.state == "running"
