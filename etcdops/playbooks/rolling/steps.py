"""The steps of a rolling change. Each may be cut off anywhere and done again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etcdops.client.view import ClusterView
from etcdops.errors import ClusterUnsafe, EtcdopsError, Unhealthy, VerificationFailed
from etcdops.ids import NO_MEMBER
from etcdops.playbooks.plan import Json, Plan, Result, StepSpec
from etcdops.playbooks.rolling import health
from etcdops.playbooks.rolling.fleet import Fleet
from etcdops.playbooks.rolling.health import Expected
from etcdops.playbooks.rolling.member_lists import differences
from etcdops.playbooks.safety import Verdict
from etcdops.playbooks.step import Step, StepKinds, UndoableStep
from etcdops.rendering.flags import Version

POLL_S = 0.5
_CALM_TIMEOUT_S = 20.0
"""How long the cluster has to be well again before a restart: an election after the last one takes a moment."""
_HAND_OVER_TIMEOUT_S = 30.0
_VERSION_TIMEOUT_S = 60.0
"""The leader looks at the versions of all members every few seconds. Source: etcd monitorVersionInterval."""


@dataclass(frozen=True, slots=True)
class RollingRun:
    """What the steps work with."""

    fleet: Fleet
    expected: Expected
    target: Version | None
    """None: the version stays."""
    members: tuple[str, ...]
    """In the order of the change."""
    poll_s: float = POLL_S
    calm_timeout_s: float = _CALM_TIMEOUT_S
    back_timeout_s: float | None = None
    """How long a member may take to catch up; None: nearly as long as its step."""


def read_plan(plan: Plan, fleet: Fleet) -> RollingRun:
    """The plan's inputs. Raises: KeyError, TypeError - not made by this version."""
    inputs = plan.inputs
    target = str(inputs.get("target_version") or "")
    return RollingRun(
        fleet,
        Expected(frozenset(_texts(inputs["voters"])), str(inputs.get("cluster_id", ""))),
        Version.parse(target) if target else None,
        tuple(_texts(inputs["members"])),
    )


def _texts(value: Json) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError("a list of names was expected")
    return [str(one) for one in value]


class _RollingStep(Step):
    def __init__(self, spec: StepSpec, run: RollingRun) -> None:
        super().__init__(spec)
        self.run = run

    @property
    def member(self) -> str:
        return str(self.spec.inputs["member"])

    def other_way_back(self) -> str:
        return (
            "or end it forwards, then put the inventory back as it was and apply it (rollout apply): a version or an"
            " authority that members have left is not gone back to"
        )

    async def calm(self, *, hashes: bool = False, without: str = "") -> ClusterView:
        """A look at a cluster that is well, or, after a moment of patience, at one that is not."""
        deadline = asyncio.get_running_loop().time() + self.run.calm_timeout_s
        while True:
            view = await self.run.fleet.look(hashes=hashes)
            if not health.troubles(view, self.run.expected, without=without):
                return view
            if asyncio.get_running_loop().time() >= deadline:
                return view
            await asyncio.sleep(self.run.poll_s)


class LookAtCluster(_RollingStep):
    """Everything is as it must be before the first change, and after the last."""

    async def verify(self) -> Result:
        view = await self.calm(hashes=True)
        found = health.troubles(view, self.run.expected)
        if found:
            raise Unhealthy(
                f"the cluster is not well enough for a change: {found[0]}",
                cause="\n".join(found[1:]),
                hint="mend that first; etcdops status says more",
            )
        leader = view.leader_member
        return {
            "members": len(view.members),
            "leader": leader.label if leader is not None else "",
            "revision": view.max_revision,
            "versions": list(view.versions),
            "hashes_agree": view.hashes_agree(),
        }

    def safe_now(self) -> str:
        return "the cluster is as it was; nothing more is restarted until it is well"


class SaveSnapshot(_RollingStep, UndoableStep):
    """Before a minor version: the way back."""

    async def check(self) -> bool:
        return self._path.exists()

    async def act(self) -> None:
        await self.run.fleet.save(self._path)

    async def verify(self) -> Result:
        if not self._path.exists():
            raise VerificationFailed(f"the snapshot {self._path} is not there")
        return {"snapshot": str(self._path), "size_bytes": self._path.stat().st_size}

    async def undo(self, result: Result) -> None:
        """A snapshot harms nobody: it stays, and a run that went no further can be ended."""

    @property
    def _path(self) -> Path:
        return Path(str(self.spec.inputs["path"]))


class CompareMemberLists(_RollingStep):
    """3.6 goes by another list of its members than 3.5 did; a snapshot has it."""

    async def verify(self) -> Result:
        path = Path(str(self.spec.inputs["path"]))
        view, stored = await self.run.fleet.look(), await self.run.fleet.stored(path)
        found = differences(view, stored)
        if found:
            raise Unhealthy(
                f"3.6 would read another list of members than the cluster has now: {found[0]}",
                cause="\n".join(found[1:]),
                hint="end this run (etcdops runs rollback), bring all members to the newest 3.5, which puts its lists"
                " right when it starts, then go on to 3.6",
            )
        return {"members": len(view.members)}


class CheckV2Store(_RollingStep):
    """3.6 refuses to start on a store with data of the v2 API."""

    async def verify(self) -> Result:
        why = await self.run.fleet.check_v2store(self.member)
        if why:
            raise Unhealthy(
                f"{self.member} cannot become 3.6: {why}",
                hint="remove the data of v2 with etcdctl of 3.4 or 3.5 (ETCDCTL_API=2), then go on with this run; or"
                " end it (etcdops runs rollback): no member was restarted",
            )
        return {"v2store": "empty"}


class HandOver(_RollingStep):
    """A member that is about to be restarted does not lead: its restart costs no election."""

    async def check(self) -> bool:
        return not await self._in_the_way()

    async def act(self) -> None:
        await hand_over(self.run, self.member)

    async def verify(self) -> Result:
        if await self._in_the_way():
            raise VerificationFailed(f"{self.member} leads still", hint="go on with the run: it is tried again")
        leader = (await self.calm(without=self.member)).leader_member
        return {"leader": leader.label if leader is not None else ""}

    async def _in_the_way(self) -> bool:
        """It leads, others could, and it has to be restarted."""
        view = await self.calm(without=self.member)
        leader = view.leader_member
        leads = leader is not None and leader.name == self.member and len(view.voters) > 1
        return leads and bool(await self.run.fleet.outdated(self.member))


async def hand_over(run: RollingRun, name: str) -> None:
    """Move leadership off a member, if it has it and somebody can take it. Raises: ClusterUnsafe - nobody can."""
    view = await run.fleet.look()
    leader = view.leader_member
    if leader is None or leader.id is None or leader.name != name or len(view.voters) == 1:
        return
    done = run.members[: run.members.index(name)] if name in run.members else ()
    to = health.successor(view, leader.id, done)
    if to is None or to.id is None:
        raise ClusterUnsafe(
            f"{name} leads, and no other voter has caught up with it", hint="wait until one has, then go on"
        )
    await run.fleet.move_leader(leader, to.id)
    deadline = asyncio.get_running_loop().time() + _HAND_OVER_TIMEOUT_S
    while (await run.fleet.look()).leader in (leader.id, NO_MEMBER):
        if asyncio.get_running_loop().time() >= deadline:
            raise EtcdopsError(
                f"{name} did not hand leadership to {to.label} within {_HAND_OVER_TIMEOUT_S:.0f} s",
                hint="nothing was stopped; see its log, then go on with the run",
            )
        await asyncio.sleep(run.poll_s)


class BringProgram(_RollingStep):
    """The new program lies on the host. The old one runs, and is the one that would be started."""

    async def check(self) -> bool:
        return not await self.run.fleet.lacks_program(self.member)

    async def act(self) -> None:
        await self.run.fleet.bring_program(self.member)

    async def verify(self) -> Result:
        if not await self.check():
            raise VerificationFailed(f"{self.member}: the program was brought and is not there", hint="try again")
        return {}


class WriteMember(_RollingStep):
    """Files and program are on the host as wanted. What runs is not touched."""

    async def check(self) -> bool:
        return not await self.run.fleet.unwritten(self.member)

    async def act(self) -> None:
        self._written = await self.run.fleet.write(self.member)

    async def verify(self) -> Result:
        left = await self.run.fleet.unwritten(self.member)
        if left:
            raise VerificationFailed(
                f"{self.member}: written, and yet not as wanted: {', '.join(left)}",
                hint="does something else on that host write them too?",
            )
        return {"written": list(getattr(self, "_written", ()))}

    def safe_now(self) -> str:
        return f"{self.member} runs as before; it would start with what is written so far, so do not restart it by hand"


class RestartMember(_RollingStep):
    """The member runs with what is written."""

    async def check(self) -> bool:
        return not await self.run.fleet.outdated(self.member)

    async def judge(self) -> Verdict:
        view = await self.calm(without=self.member, hashes=True)
        return health.judge(view, self.member, self.run.expected)

    async def act(self) -> None:
        # Asked again: since the step that moved it, an election may have brought leadership back.
        await hand_over(self.run, self.member)
        await self.run.fleet.restart(self.member)

    async def verify(self) -> Result:
        left = await self.run.fleet.outdated(self.member)
        if left:
            raise VerificationFailed(
                f"{self.member} was restarted and does not run with what is written: {', '.join(left)}",
                hint="see what its unit really starts: etcdops rollout plan shows the differences",
            )
        return {}

    def safe_now(self) -> str:
        return (
            f"leave every other member alone: {self.member} may be down, and one more could take the quorum away."
            f" Bring {self.member} back (its log says why it stopped), then go on with this run"
        )


class AwaitMember(_RollingStep):
    """The member serves, has caught up, and has the same data as the others."""

    async def verify(self) -> Result:
        given = self.run.back_timeout_s
        # the step's own deadline would end it without a reason
        deadline = asyncio.get_running_loop().time() + (self.spec.timeout_s * 0.9 if given is None else given)
        while True:
            view = await self.run.fleet.look(hashes=True)
            target = self.run.target if self.spec.inputs.get("new_version", True) else None
            missing = health.not_back(view, self.member, target)
            others = health.troubles(view, self.run.expected)
            if not missing and not others:
                return self._found(view)
            if grave := health.hash_troubles(view):
                raise VerificationFailed(
                    grave[0], hint="stop here: find out which member is right before anything else"
                )
            if asyncio.get_running_loop().time() >= deadline:
                raise Unhealthy(
                    f"{self.member} was restarted and the cluster is not well: {(missing + others)[0]}",
                    cause="\n".join((missing + others)[1:]),
                    hint=f"see the log of {self.member}",
                )
            await asyncio.sleep(self.run.poll_s)

    def _found(self, view: ClusterView) -> Result:
        member = health.named(view, self.member)
        assert member is not None
        assert member.status is not None
        return {
            "version": member.status.version,
            "revision": member.status.revision,
            "behind": view.lag(member),
            "hashes_agree": view.hashes_agree(),
        }

    def safe_now(self) -> str:
        return f"leave every other member alone until {self.member} is well again, then go on with this run"


class AwaitClusterVersion(_RollingStep):
    """All members run the new minor version, and the cluster knows it."""

    async def verify(self) -> Result:
        assert self.run.target is not None
        wanted = f"{self.run.target.line[0]}.{self.run.target.line[1]}."
        deadline = asyncio.get_running_loop().time() + _VERSION_TIMEOUT_S
        while not (found := await self.run.fleet.cluster_version()).startswith(wanted):
            if asyncio.get_running_loop().time() >= deadline:
                raise VerificationFailed(
                    f"the cluster's version is {found or 'not known'} and should be {wanted}0",
                    hint="one member still runs the old version, or the leader cannot ask one: etcdops status",
                )
            await asyncio.sleep(self.run.poll_s)
        return {"cluster_version": found}


KINDS: Mapping[str, type[_RollingStep]] = {
    "look-at-cluster": LookAtCluster,
    "save-snapshot": SaveSnapshot,
    "compare-member-lists": CompareMemberLists,
    "check-v2store": CheckV2Store,
    "hand-over": HandOver,
    "bring-program": BringProgram,
    "write-member": WriteMember,
    "restart-member": RestartMember,
    "await-member": AwaitMember,
    "await-cluster-version": AwaitClusterVersion,
}


def add_kinds(kinds: StepKinds[RollingRun]) -> StepKinds[RollingRun]:
    """For every procedure that restarts members one by one."""
    for name, kind in KINDS.items():
        kinds.add(name, kind)
    return kinds
