"""The steps of a rollout. Each may be cut off anywhere and done again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import urlsplit

from etcdops.errors import ClusterUnsafe, EtcdopsError
from etcdops.facts.host import HostFacts, gather_facts
from etcdops.inventory.reach import needs
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.member_access import reach_members
from etcdops.playbooks.on_hosts import RunHosts, require_all, values_of
from etcdops.playbooks.plan import Plan, Result, StepSpec
from etcdops.playbooks.rollout import proving
from etcdops.playbooks.rollout.account import account_problems, make_account
from etcdops.playbooks.rollout.certificates import certificate_problems, write_certificates
from etcdops.playbooks.rollout.desired import DesiredMember, Signer, desired
from etcdops.playbooks.rollout.engine_install import EngineOnHost
from etcdops.playbooks.rollout.engine_pack import EnginePack, PythonOf, pack
from etcdops.playbooks.rollout.firewall_service import FirewallOnHost
from etcdops.playbooks.rollout.judging import Setting
from etcdops.playbooks.rollout.planning import PROCEDURE, START_TIMEOUT_S
from etcdops.playbooks.rollout.refusals import refusals
from etcdops.playbooks.rollout.registry import registries_of
from etcdops.playbooks.rollout.running import note_start
from etcdops.playbooks.step import Step, StepKinds
from etcdops.remote.pool import on_all
from etcdops.remote.session import Session
from etcdops.rendering.member import InitialClusterState
from etcdops.services.managers import service_for
from etcdops.services.port import Service, State

_START_GRACE_S = 10.0
"""Left of a start's deadline for saying why it failed."""


@dataclass(slots=True)
class RolloutRun:
    """What the steps work with."""

    hosts: RunHosts
    forced: frozenset[str] = frozenset()
    _pack: asyncio.Task[EnginePack | None] | None = field(default=None)

    @property
    def authorities(self) -> ClusterAuthorities:
        return ClusterAuthorities(self.hosts.pki, self.hosts.cluster.name, self.hosts.clock)

    def members(self, state: InitialClusterState = "existing") -> tuple[DesiredMember, ...]:
        hosts = self.hosts
        return tuple(desired(hosts.inventory, hosts.cluster, one, state=state) for one in hosts.cluster.members)

    def member(self, name: str, state: InitialClusterState = "existing") -> DesiredMember:
        return desired(self.hosts.inventory, self.hosts.cluster, self.hosts.member(name), state=state)

    async def pack(self) -> EnginePack | None:
        """The engine's archive, made once for all hosts."""
        if self._pack is None:
            first = self.hosts.source.paths[0]
            base = first if first.is_dir() else first.parent
            self._pack = asyncio.create_task(asyncio.to_thread(pack, self.hosts.cluster.engine, base))
        return await asyncio.shield(self._pack)


async def facts_of(run: RunHosts, members: tuple[DesiredMember, ...], *, probe: bool) -> dict[str, HostFacts]:
    """The facts of all hosts, asked at once. Raises: the error of the first host that does not answer, naming all."""
    urls = [url for m in members for url in (*m.member.advertise_client_urls, *m.member.initial_advertise_peer_urls)]
    names = sorted({host for url in urls if (host := urlsplit(url).hostname or "") and not _is_number(host)})

    async def one(session: Session) -> HostFacts:
        placed = [m.member for m in members if m.host == session.host]
        directories = [path for p in placed for path in (p.data_dir, p.wal_dir) if path]
        programs = [one for one in needs(run.inventory, run.inventory.hosts[session.host]) if one != "python3"]
        return await gather_facts(session, directories, names=names, programs=programs, probe=probe)

    found = values_of(await on_all(await require_all(run, run.hosts), one))
    return {facts.host: facts for facts in found}


def _is_number(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


class _RolloutStep(Step):
    """What all steps know."""

    def __init__(self, spec: StepSpec, run: RolloutRun) -> None:
        super().__init__(spec)
        self.run = run

    def safe_now(self) -> str:
        return (
            "reading anything on the hosts, and repeating this run: each step looks first at what is there. Do not"
            " start members by hand before it has come to its end"
        )

    def other_way_back(self) -> str:
        """Only for who wants it: a rollout never stops a member, nor removes data."""
        cluster = self.run.hosts.cluster
        directories = ", ".join(dict.fromkeys(member.member.data_dir for member in self.run.members()))
        return (
            f"or, to have bare hosts again: on each of {', '.join(self.run.hosts.hosts)} stop and disable the"
            f" {cluster.service.manager} service {cluster.service.name}, move {directories} away, and put back what was"
            " replaced, which is below /var/lib/etcdops/services; give the run up with rollout apply --new-run"
        )


class _MemberStep(_RolloutStep):
    """A step about one member."""

    def __init__(self, spec: StepSpec, run: RolloutRun) -> None:
        super().__init__(spec, run)
        state = cast("InitialClusterState", spec.inputs.get("state", "existing"))
        self.member = run.member(str(spec.inputs["member"]), state)

    async def session(self) -> Session:
        return await self.run.hosts.session(self.member.host)

    async def service(self) -> Service:
        return service_for(await self.session(), self.member.service)


class Look(_RolloutStep):
    """Minutes may have passed since the plan was made, and somebody may have come first."""

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        members = self.run.members("new")
        facts = await facts_of(self.run.hosts, members, probe=False)
        registries = await registries_of(self.run.hosts, members)
        setting = Setting(self.run.hosts.cluster, members, facts, PythonOf.here(), registries)
        found = [one for one in refusals(setting) if one.id not in self.run.forced]
        if found:
            raise ClusterUnsafe(
                f"the hosts are not as they were when the plan was made: {found[0]}",
                cause="\n".join(map(str, found[1:])),
                hint=found[0].next_step,
            )
        return {name: one.os for name, one in facts.items()}


class MakeAuthorities(_RolloutStep):
    """On this machine: whoever has these folders can make members and clients."""

    async def check(self) -> bool:
        return all(self.run.authorities.exists(signer) for signer in self._signers)

    @property
    def _signers(self) -> list[Signer]:
        return [Signer(str(name)) for name in cast("list[str]", self.spec.inputs["signers"])]

    async def act(self) -> None:
        await asyncio.to_thread(self.run.authorities.create, self._signers)

    async def verify(self) -> Result:
        made = {str(signer): self.run.authorities.of(signer).certificate.serial_number for signer in self._signers}
        return {"folder": str(self.run.hosts.pki), **{name: f"{serial:x}" for name, serial in made.items()}}


class InstallEngine(_MemberStep):
    """Put it there and link to it; nothing that runs is touched."""

    async def _engine(self) -> EngineOnHost:
        return EngineOnHost(await self.session(), self.member.engine, await self.run.pack())

    async def check(self) -> bool:
        engine = await self._engine()
        return await engine.is_there() and await engine.is_switched()

    async def act(self) -> None:
        engine = await self._engine()
        if not await engine.is_there():
            await engine.put()
        await engine.switch()

    async def verify(self) -> Result:
        return {"version": await (await self._engine()).require_version()}


class MakeAccount(_MemberStep):
    async def check(self) -> bool:
        return not await account_problems(await self.session(), self.member)

    async def act(self) -> None:
        await make_account(await self.session(), self.member)

    async def verify(self) -> Result:
        _require_none(self.member, await account_problems(await self.session(), self.member))
        return {}


class WriteCertificates(_MemberStep):
    """Keys are made here and go to the host; none is kept."""

    async def check(self) -> bool:
        return not await self._problems()

    async def act(self) -> None:
        await write_certificates(await self.session(), self.member, self.run.authorities)

    async def verify(self) -> Result:
        _require_none(self.member, await self._problems())
        return {"certificates": [leaf.certificate for leaf in self.member.leaves]}

    async def _problems(self) -> list[str]:
        leaves, stale = await certificate_problems(await self.session(), self.member, self.run.authorities)
        found = [f"{path}: {'; '.join(problems)}" for path, problems in leaves.items()]
        return [*found, *(f"{path} does not hold our authority" for path in stale)]


class LoadFirewall(_MemberStep):
    async def check(self) -> bool:
        firewall = FirewallOnHost(await self.session(), self.member)
        return not await firewall.compare() and await firewall.is_loaded()

    async def act(self) -> None:
        await FirewallOnHost(await self.session(), self.member).apply()


class InstallService(_MemberStep):
    """Its files are written and its manager knows them; it is neither started nor stopped."""

    async def check(self) -> bool:
        return not await (await self.service()).compare(self.member.files)

    async def act(self) -> None:
        await (await self.service()).install(self.member.files)

    async def verify(self) -> Result:
        left = await (await self.service()).compare(self.member.files)
        _require_none(self.member, [*left.diffs, *left.actions])
        return {"files": [file.path for file in self.member.files]}


class StartMember(_MemberStep):
    """The first ones wait for each other: a member without a quorum is not ready, and all are started at once."""

    lasting = False

    async def check(self) -> bool:
        return (await (await self.service()).status()).state is State.RUNNING

    async def act(self) -> None:
        service = await self.service()
        await service.start(timeout_s=START_TIMEOUT_S - _START_GRACE_S)
        await note_start(await self.session(), self.member, (await service.status()).pid)

    def safe_now(self) -> str:
        said = (
            "other members may run already, and serve if they are most of them; nothing is lost by that. Mend what the"
            " log says, then repeat this run"
        )
        if "discovery" not in self.member.config.flags:
            return said
        return (
            f"{said}. Where it says that a member is registered already, the token is used up: on every host stop the"
            f" service and move {self.member.member.data_dir} away, write another token into the inventory, and begin"
            " anew with rollout apply --new-run"
        )


class WaitHealthy(_RolloutStep):
    lasting = False

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        async with reach_members(self.run.hosts) as access:
            return await proving.wait_healthy(access, list(access.endpoints), START_TIMEOUT_S)


class Prove(_RolloutStep):
    lasting = False

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        members = self.run.members()
        async with reach_members(self.run.hosts) as access:
            if self.spec.inputs["what"] == "members":
                return await proving.check_members(access, members)
            return await proving.check_hashes(access, members)


def _require_none(member: DesiredMember, problems: list[str]) -> None:
    if problems:
        raise EtcdopsError(
            f"{member.host}: it is still not as it should be: {'; '.join(problems)}",
            hint="see whether something on the host changes it back",
        )


KINDS: StepKinds[RolloutRun] = StepKinds(PROCEDURE)
_MAKERS: Mapping[str, Callable[[StepSpec, RolloutRun], Step]] = {
    "look": Look,
    "authorities": MakeAuthorities,
    "engine": InstallEngine,
    "account": MakeAccount,
    "certificates": WriteCertificates,
    "firewall": LoadFirewall,
    "service": InstallService,
    "start": StartMember,
    "healthy": WaitHealthy,
    "prove": Prove,
}
for _name, _maker in _MAKERS.items():
    KINDS.add(_name, _maker)


def build_steps(plan: Plan, hosts: RunHosts) -> list[Step]:
    """The steps of a saved plan. Raises: EtcdopsError - another version made it."""
    return KINDS.build(plan, RolloutRun(hosts, plan.forced))
