"""The steps that are about certificates. Each may be cut off anywhere and done again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from etcdops.certs.facts import Use, describe
from etcdops.errors import EtcdopsError, Unhealthy, VerificationFailed
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.certificates.leaves import FoundLeaf, read_leaf, read_operator, renew_leaf, renew_operator
from etcdops.playbooks.certificates.trust import Wanted, all_trust_faults
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.plan import Json, Plan, Result, StepSpec
from etcdops.playbooks.rolling.host_fleet import HostFleet
from etcdops.playbooks.rolling.member_ports import ask_port, client_url, operator_pair, peer_url, placed
from etcdops.playbooks.rolling.steps import KINDS as ROLLING_KINDS
from etcdops.playbooks.rolling.steps import RestartMember, RollingRun, read_plan
from etcdops.playbooks.rollout.certificates import bundle_difference
from etcdops.playbooks.rollout.desired import DesiredLeaf, DesiredMember, Signer, desired
from etcdops.playbooks.step import Step, StepKinds
from etcdops.remote.command import ROOT
from etcdops.remote.session import Session
from etcdops.services.managers import service_for
from etcdops.services.port import State

_WIRE_TIMEOUT_S = 15.0
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class CertificateRun:
    """What the steps work with."""

    hosts: RunHosts
    authorities: ClusterAuthorities
    rolling: RollingRun
    days: int
    new_keys: bool
    old: Mapping[Signer, str] = field(default_factory=dict)
    """Of a rotation: fingerprints of the authorities that are replaced."""

    def wanted(self, *, old_refused: bool) -> list[Wanted]:
        """Whom members shall take. Args: old_refused - and no longer the one before."""
        return [
            Wanted(
                signer,
                self.authorities.of(signer),
                self.authorities.of(signer).predecessor(fingerprint) if old_refused else None,
            )
            for signer, fingerprint in self.old.items()
        ]


def read_run(plan: Plan, run: RunHosts) -> CertificateRun:
    """The plan's inputs. Raises: KeyError, TypeError, ValueError - not made by this version."""
    old = cast("Mapping[str, Json]", plan.inputs.get("old", {}))
    return CertificateRun(
        hosts=run,
        authorities=ClusterAuthorities(run.pki, run.cluster.name, run.clock),
        rolling=read_plan(plan, HostFleet(run)),
        days=int(str(plan.inputs["days"])),
        new_keys=bool(plan.inputs["new_keys"]),
        old={Signer(name): str(fingerprint) for name, fingerprint in old.items()},
    )


class _CertificateStep(Step):
    def __init__(self, spec: StepSpec, run: CertificateRun) -> None:
        super().__init__(spec)
        self.run = run

    @property
    def member(self) -> str:
        return str(self.spec.inputs["member"])

    def desired(self) -> DesiredMember:
        hosts = self.run.hosts
        return desired(hosts.inventory, hosts.cluster, hosts.member(self.member))

    async def session(self) -> Session:
        return await self.run.hosts.session(self.run.hosts.member(self.member).host)

    @property
    def old(self) -> Mapping[str, Json]:
        """Path -> fingerprint that is to be replaced."""
        return cast("Mapping[str, Json]", self.spec.inputs["old"])


class RenewLeaves(_CertificateStep):
    """A member's certificates are new ones, and what it shows to others is one of them."""

    async def check(self) -> bool:
        session = await self.session()
        found = await asyncio.gather(*(self._faults(session, leaf) for leaf in self._leaves()))
        return not any(found)

    def _leaves(self) -> tuple[DesiredLeaf, ...]:
        return tuple(leaf for leaf in self.desired().leaves if leaf.certificate in self.old)

    async def _faults(self, session: Session, leaf: DesiredLeaf) -> list[str]:
        found = await read_leaf(session, leaf)
        if found.fingerprint == self.old[leaf.certificate]:
            return ["it is the old one"]
        if found.parsed is not None and not self.run.authorities.of(leaf.signer).signed(found.parsed):
            return ["another authority signed it"]
        return self.run.authorities.problems(leaf, found.certificate, found.key)

    async def act(self) -> None:
        session = await self.session()
        for leaf in self._leaves():
            if await self._faults(session, leaf):
                await renew_leaf(session, leaf, self.run.authorities, new_key=self.run.new_keys, days=self.run.days)

    async def verify(self) -> Result:
        session = await self.session()
        service = service_for(session, self.run.hosts.cluster.service)
        runs = (await service.status()).state is State.RUNNING
        result: Result = {"proved_on_the_wire": runs}
        for leaf in self._leaves():
            if faults := await self._faults(session, leaf):
                raise VerificationFailed(
                    f"{session.host}: {leaf.certificate}: {faults[0]}", hint="does something else write that file?"
                )
            found = await read_leaf(session, leaf)
            assert found.parsed is not None
            result[leaf.certificate] = f"until {describe(found.parsed).not_after:%Y-%m-%d}"
            if runs:
                await self._shown(leaf, found)
        return result

    async def _shown(self, leaf: DesiredLeaf, found: FoundLeaf) -> None:
        """Wait until the running member shows it."""
        member = placed(self.run.hosts, self.member)
        if leaf.use is Use.CLIENT:
            return
        url = client_url(member) if leaf.use is Use.SERVER else peer_url(member)
        deadline = asyncio.get_running_loop().time() + _WIRE_TIMEOUT_S
        pair = operator_pair(self.run.hosts) if leaf.use is Use.SERVER else None
        while True:
            shown = await ask_port(self.run.hosts, member, url, pair)
            if shown.certificate == found.parsed:
                return
            if asyncio.get_running_loop().time() >= deadline:
                raise VerificationFailed(
                    f"{self.member} at {url} does not show what {leaf.certificate} holds",
                    hint="does it run with other files? etcdops cert list shows both",
                )
            await asyncio.sleep(_POLL_S)

    def safe_now(self) -> str:
        return f"connections that stand are not touched; the files of {self.member} are whole, old or new each"


class RenewOperator(_CertificateStep):
    """What the console itself shows is new."""

    async def check(self) -> bool:
        return self._faults() == []

    def _faults(self) -> list[str]:
        found = read_operator(self.run.hosts)
        if found.fingerprint == self.spec.inputs["old"]:
            return ["it is the old one"]
        if found.parsed is None or not self.run.authorities.of(Signer.CLIENT).signed(found.parsed):
            return ["another authority signed it"]
        return []

    async def act(self) -> None:
        await asyncio.to_thread(renew_operator, self.run.hosts, self.run.authorities, new_key=self.run.new_keys)

    async def verify(self) -> Result:
        if faults := self._faults():
            raise VerificationFailed(f"the console's certificate: {faults[0]}", hint="go on with the run")
        return {}


class BeginRotation(_CertificateStep):
    """A new authority signs from now on; both are to be trusted."""

    async def check(self) -> bool:
        return all(
            describe(self.run.authorities.of(signer).certificate).fingerprint != fingerprint
            for signer, fingerprint in self.run.old.items()
        )

    async def act(self) -> None:
        for signer, fingerprint in self.run.old.items():
            authority = self.run.authorities.of(signer)
            if describe(authority.certificate).fingerprint == fingerprint:
                await asyncio.to_thread(authority.begin_rotation)

    async def verify(self) -> Result:
        if not await self.check():
            raise VerificationFailed("an authority was not replaced", hint="go on with the run")
        return {
            str(signer): describe(self.run.authorities.of(signer).certificate).fingerprint for signer in self.run.old
        }


class WriteTrust(_CertificateStep):
    """The member's files name whom to trust now. It takes them in when it starts."""

    async def check(self) -> bool:
        session = await self.session()
        found = [await bundle_difference(session, one, self.run.authorities) for one in self.desired().bundles]
        return not any(found)

    async def act(self) -> None:
        session = await self.session()
        for bundle in self.desired().bundles:
            if await bundle_difference(session, bundle, self.run.authorities):
                file = self.run.authorities.bundle(bundle)
                await session.write_file(file.path, file.content, file.ownership, user=ROOT)

    async def verify(self) -> Result:
        if not await self.check():
            raise VerificationFailed(
                f"{self.member}: whom to trust was written, and yet the files say something else",
                hint="does something else write them?",
            )
        return {}


class RestartForTrust(RestartMember):
    """The member takes the new authority, and, in the second pass, no longer the old one: proved at its ports."""

    def __init__(self, spec: StepSpec, run: CertificateRun) -> None:
        super().__init__(spec, run.rolling)
        self._certificates = run

    async def check(self) -> bool:
        if "it does not run" in await self.run.fleet.outdated(self.member):
            return False
        return not await self._faults()

    async def _faults(self) -> list[str]:
        run = self._certificates
        wanted = run.wanted(old_refused=bool(self.spec.inputs.get("old_refused")))
        return await all_trust_faults(run.hosts, placed(run.hosts, self.member), wanted)

    async def verify(self) -> Result:
        deadline = asyncio.get_running_loop().time() + _WIRE_TIMEOUT_S
        while faults := await self._faults():
            if asyncio.get_running_loop().time() >= deadline:
                raise VerificationFailed(
                    f"{self.member} was restarted, and {faults[0]}", hint="see its log, and what it runs with"
                )
            await asyncio.sleep(_POLL_S)
        return {"proved_at": [signer.value for signer in self._certificates.old]}


class RequireNewLeaves(_CertificateStep):
    """Nothing in use is of the old authority: only now it may go."""

    async def verify(self) -> Result:
        faults: list[str] = []
        for member in self.run.hosts.cluster.members:
            faults += await self._of(member.label)
        found = read_operator(self.run.hosts)
        signer = self.run.authorities.of(Signer.CLIENT) if Signer.CLIENT in self.run.old else None
        if signer is not None and found.parsed is not None and not signer.signed(found.parsed):
            faults.append("the console's own certificate is of the old authority")
        if faults:
            raise Unhealthy(
                f"the old authority is in use: {faults[0]}",
                cause="\n".join(faults[1:]),
                hint="renew that certificate, then go on with the run",
            )
        return {}

    async def _of(self, name: str) -> list[str]:
        hosts = self.run.hosts
        wanted = desired(hosts.inventory, hosts.cluster, hosts.member(name))
        session = await hosts.session(wanted.host)
        found = []
        for leaf in wanted.leaves:
            if leaf.signer not in self.run.old:
                continue
            there = await read_leaf(session, leaf)
            if there.parsed is None or not self.run.authorities.of(leaf.signer).signed(there.parsed):
                found.append(f"{wanted.host}:{leaf.certificate}")
        return found


class FinishRotation(_CertificateStep):
    """The old authority is trusted no more, by what is handed out from now on."""

    async def check(self) -> bool:
        return not any(self.run.authorities.of(signer).rotating for signer in self.run.old)

    async def act(self) -> None:
        for signer in self.run.old:
            await asyncio.to_thread(self.run.authorities.of(signer).finish_rotation)

    async def verify(self) -> Result:
        if not await self.check():
            raise EtcdopsError("an authority is in the middle of a rotation still", hint="go on with the run")
        return {}


_KINDS = {
    "renew-leaves": RenewLeaves,
    "renew-operator": RenewOperator,
    "begin-rotation": BeginRotation,
    "write-trust": WriteTrust,
    "restart-for-trust": RestartForTrust,
    "require-new-leaves": RequireNewLeaves,
    "finish-rotation": FinishRotation,
}


def kinds_for(procedure: str) -> StepKinds[CertificateRun]:
    """Those of certificates, and of rolling changes."""
    kinds: StepKinds[CertificateRun] = StepKinds(procedure)
    for name, kind in _KINDS.items():
        kinds.add(name, kind)
    for name, rolling in ROLLING_KINDS.items():
        kinds.add(name, _adapted(rolling))
    return kinds


def _adapted(kind: Callable[[StepSpec, RollingRun], Step]) -> Callable[[StepSpec, CertificateRun], Step]:
    """A step of rolling changes, which knows nothing of certificates."""
    return lambda spec, run: kind(spec, run.rolling)
