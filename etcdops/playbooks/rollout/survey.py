"""How a member's host differs from what it should be, without changing it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.rollout.account import account_problems
from etcdops.playbooks.rollout.certificates import certificate_problems
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.playbooks.rollout.engine_install import EngineOnHost, describe
from etcdops.playbooks.rollout.engine_pack import EnginePack
from etcdops.playbooks.rollout.firewall_service import FirewallOnHost
from etcdops.playbooks.rollout.running import outdated
from etcdops.remote.command import ROOT
from etcdops.remote.session import Session
from etcdops.rendering.member import AT_FIRST
from etcdops.services.managers import service_for
from etcdops.services.port import EffectiveConfig, ServiceStatus, State


@dataclass(frozen=True, slots=True)
class Survey:
    """What is to be done on one member's host. Everything empty: nothing."""

    engine: str = ""
    """What is installed, or switched to."""
    account: tuple[str, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    """Path -> what is wrong with the certificate there."""
    bundles: Mapping[str, str] = field(default_factory=dict)
    """Path -> diff of whom to trust."""
    firewall: Mapping[str, str] = field(default_factory=dict)
    """Path -> diff."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Path -> diff of the service's files."""
    actions: tuple[str, ...] = ()
    """Beside files: `enabled etcd.service`."""
    stopped: str = ""
    """Why it has to be started; empty: it runs."""
    restart: tuple[str, ...] = ()
    """Why the process that runs has to be replaced; empty: it runs with what it should."""
    token: str = ""
    """The cluster token that its next start has, where it is not the inventory's."""

    @property
    def diffs(self) -> dict[str, str]:
        return {**self.firewall, **self.bundles, **self.files}

    @property
    def changes_files(self) -> bool:
        return bool(
            self.engine
            or self.account
            or self.certificates
            or self.bundles
            or self.firewall
            or self.files
            or self.actions
        )

    def __bool__(self) -> bool:
        return self.changes_files or bool(self.stopped or self.restart)


async def survey(
    session: Session, member: DesiredMember, authorities: ClusterAuthorities, pack: EnginePack | None
) -> Survey:
    """Compare a host with what the inventory wants. Changes nothing."""
    service = service_for(session, member.service)
    firewall = FirewallOnHost(session, member)
    engine, account, changes, rules, status, config = await asyncio.gather(
        _engine(session, member, pack),
        account_problems(session, member),
        service.compare(member.files),
        firewall.compare(),
        service.status(),
        service.effective_config(),
    )
    leaves, bundles = await certificate_problems(session, member, authorities)
    found = Survey(
        engine=engine,
        account=tuple(account),
        certificates={path: "; ".join(problems) for path, problems in leaves.items()},
        bundles=bundles,
        firewall=rules,
        files=changes.diffs,
        actions=changes.actions,
        stopped="" if status.state in (State.RUNNING, State.STARTING) else str(status.state),
        token=_other_token(member, config),
    )
    if found.stopped:
        return found
    return replace(found, restart=tuple(await _reasons_to_restart(session, member, found, status, config)))


def _other_token(member: DesiredMember, config: EffectiveConfig) -> str:
    wanted = member.config.flags.get("initial-cluster-token")
    there = config.next_start.value("initial-cluster-token") if config.next_start is not None else None
    return there if there and wanted and there != wanted else ""


async def _engine(session: Session, member: DesiredMember, pack: EnginePack | None) -> str:
    if member.config.image:
        return ""
    engine = EngineOnHost(session, member.engine, pack)
    if not await engine.is_there() or not await engine.is_switched():
        return f"install {describe(member.engine)}"
    found = await engine.version()
    if pack is None and found is not None and not f"{found}.".startswith(f"{member.engine.version}."):
        return f"install {describe(member.engine)} in place of {found}"
    return ""


async def _reasons_to_restart(
    session: Session, member: DesiredMember, found: Survey, status: ServiceStatus, config: EffectiveConfig
) -> list[str]:
    """Whether the process has what it should have, and only its files were changed since it started."""
    reasons = [f"{path} is read at the start only" for path in found.bundles]
    if found.engine:
        reasons.append(found.engine)
    if config.running is not None:
        wanted = {name: value for name, value in member.config.flags.items() if name not in AT_FIRST}
        for name, value in wanted.items():
            has = config.running.value(name)
            if has != value:
                reasons.append(f"it runs with {name}={has if has is not None else '(default)'}, wanted is {value}")
        reasons += [
            f"it runs with {name}, which is not wanted"
            for name in config.running.flags
            if name not in wanted and name not in AT_FIRST and name != "config-file"
        ]
        reasons += await outdated(session, member, config.running, status.pid)
    for path in found.files:
        stat = await session.stat(path, user=ROOT)
        edited = stat is not None and status.since is not None and stat.modified_at > status.since
        if stat is not None and not edited and not _only_at_first(found.files[path]):
            reasons.append(f"it was started with {path} as it is now")
    return reasons


def _only_at_first(diff: str) -> bool:
    """Whether nothing but what etcd reads at its first start differs."""
    names = [name.upper().replace("-", "_") for name in AT_FIRST]
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    return all(any(name in line.upper().replace("-", "_") for name in names) for line in lines)
