"""What the steps of a recovery on hosts have in common."""

from __future__ import annotations

from etcdops.playbooks.plan import StepSpec
from etcdops.playbooks.recover.hosts.planned import HostRecovery
from etcdops.playbooks.recover.recovered import SAFE_NOW
from etcdops.playbooks.step import Step
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.services.managers import service_for
from etcdops.services.port import Service

COPY_TIMEOUT_S = 3 * 3600.0
"""Of what reads or writes the whole snapshot, or moves all data of a member."""
_THERE = '[ -e "$1" ]'
_REMOVE = 'exec rm -rf -- "$@"'


class OnAll(Step):
    """What all steps of a recovery know."""

    def __init__(self, spec: StepSpec, run: HostRecovery) -> None:
        super().__init__(spec)
        self.run = run

    def safe_now(self) -> str:
        return SAFE_NOW


class OnHost(OnAll):
    """A step about one member on its host."""

    def __init__(self, spec: StepSpec, run: HostRecovery) -> None:
        super().__init__(spec, run)
        self.member = run.members[str(spec.inputs["member"])]
        self.host = self.member.host

    async def session(self) -> Session:
        return await self.run.hosts.session(self.host)

    async def service(self) -> Service:
        return service_for(await self.session(), self.run.cluster.service)

    async def is_there(self, path: str) -> bool:
        found = await (await self.session()).run(script(_THERE, path, user=ROOT), check=False)
        return found.ok

    async def remove_work(self) -> None:
        """Remove what was prepared beside the member's data, and nothing else."""
        trees = [tree.work for tree in self.member.trees]
        await (await self.session()).run(script(_REMOVE, *trees, user=ROOT), timeout_s=COPY_TIMEOUT_S)
