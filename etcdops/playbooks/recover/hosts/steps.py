"""The steps of a recovery on hosts. Each may be cut off anywhere and done again; most can be taken back."""

from __future__ import annotations

import base64
import json
import posixpath
from collections.abc import Mapping
from typing import cast

from etcdops.client.client import Client
from etcdops.client.quorum import Quorum
from etcdops.client.view import observe
from etcdops.errors import ClusterUnsafe, EtcdopsError, VerificationFailed
from etcdops.inventory.edit import Edit, token_edit
from etcdops.playbooks import safety
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.plan import Json, Plan, Result
from etcdops.playbooks.recover import verifying
from etcdops.playbooks.recover.hosts.base import COPY_TIMEOUT_S, OnAll, OnHost
from etcdops.playbooks.recover.hosts.facts import FACTS_TIMEOUT_S
from etcdops.playbooks.recover.hosts.planned import PROCEDURE, HostRecovery, read_plan
from etcdops.playbooks.recover.hosts.preparing import CheckSnapshot, PrepareMember, RaiseRevision, ReadyHost
from etcdops.playbooks.rollout.desired import desired
from etcdops.playbooks.step import Step, StepKinds, UndoableStep
from etcdops.remote.command import ROOT
from etcdops.remote.session import Ownership, Session
from etcdops.rendering.files import RenderedFile
from etcdops.services.host_files import HostFiles
from etcdops.services.managers import service_for
from etcdops.services.member_process import find_members, running_config
from etcdops.services.port import START_TIMEOUT_S, Service, State
from etcdops.services.waiting import last_lines

_STOPPED = (State.STOPPED, State.FAILED, State.ABSENT)
_LOG_LINES = 5
_STARTED_AGAIN_S = 5.0


def build_steps(plan: Plan, hosts: RunHosts) -> list[Step]:
    """The steps of a saved plan. Raises: EtcdopsError - another version made it."""
    return KINDS.build(plan, read_plan(plan, hosts))


class StopMember(OnHost, UndoableStep):
    """An old member left running splits the cluster."""

    async def check(self) -> bool:
        status = await (await self.service()).status()
        return status.pid is None and status.state in (State.STOPPED, State.ABSENT)

    async def judge(self) -> safety.Verdict:
        """The quorum may have come back since the plan was made."""
        async with Client(self.run.recovered.settings) as client:
            view = await observe(client, timeout_s=FACTS_TIMEOUT_S)
        now = view.quorum if view.quorum.voters else Quorum(len(self.run.members), 0)
        return safety.judge_recovery(now, proven=view.serves_linearizable)

    async def act(self) -> None:
        await (await self.service()).stop()

    async def verify(self) -> Result:
        await require_stopped(self)
        return {"was_running": self.member.was_running}

    async def undo(self, result: Result) -> None:
        """Started as it was. It may wait for members that are gone: whether it serves is not the question."""
        if not self.member.was_running:
            return
        service = await self.service()
        try:
            await service.start(timeout_s=_STARTED_AGAIN_S)
        except EtcdopsError:
            if (await service.status()).state not in (State.RUNNING, State.STARTING):
                raise


async def require_stopped(step: OnHost) -> None:
    """No process of the service, and no other one that is this member. Raises: ClusterUnsafe, EtcdopsError."""
    session, service = await step.session(), await step.service()
    status = await service.status()
    if status.pid is not None or status.state not in _STOPPED:
        raise EtcdopsError(
            f"{step.host}: {service.name} is {status.state} again, process {status.pid or 'unknown'}",
            hint="see who starts it, and stop that first",
        )
    placed = step.run.placed(step.member.name)
    for pid in await find_members(session):
        config = await running_config(session, pid)
        if config is None:
            continue
        theirs = {posixpath.normpath(config.value("data-dir") or ""), config.value("initial-advertise-peer-urls")}
        ours = {placed.data_dir, step.member.data.path, ",".join(placed.initial_advertise_peer_urls)}
        if theirs & ours:
            raise ClusterUnsafe(
                f"{step.host}: process {pid} is {placed.name} too, and {service.name} did not start it",
                cause="started again by others, old members would split the recovered cluster",
                hint=f"end it for good on {step.host}, then go on",
            )


class ConfigureMember(OnHost, UndoableStep):
    """The new token, and a state that never forms a cluster: with its data gone again a member waits for the others."""

    async def check(self) -> bool:
        return not await (await self.service()).compare(self._files())

    async def act(self) -> None:
        session = await self.session()
        if not await self.is_there(self.member.config_before):
            content = json.dumps(await self._before(session)).encode()
            await session.write_file(self.member.config_before, content, Ownership(0o600, "root", "root"), user=ROOT)
        await (await self.service()).install(self._files())

    async def verify(self) -> Result:
        left = await (await self.service()).compare(self._files())
        if left:
            raise VerificationFailed(
                f"{self.host}: {', '.join(left.diffs) or ', '.join(left.actions)} is not as it was written",
                hint="somebody else writes it too: stop that, then go on",
            )
        return {"files": [file.path for file in self._files()]}

    async def undo(self, result: Result) -> None:
        session, service = await self.session(), await self.service()
        kept = await session.read_file(self.member.config_before, user=ROOT)
        if kept is None:
            return
        before = cast("Mapping[str, Mapping[str, Json] | None]", json.loads(kept))
        files = [_kept_file(path, said) for path, said in before.items() if said is not None]
        if files:
            await service.install(files)
        else:
            await service.uninstall()

    def _files(self) -> tuple[RenderedFile, ...]:
        run = self.run
        member = run.hosts.member(self.member.name)
        return desired(run.hosts.inventory, run.cluster, member, state="existing").files

    async def _before(self, session: Session) -> dict[str, Json]:
        """Every file of the service as it is now; null: there is none."""
        ours = HostFiles(session, str(self.run.cluster.service.manager), self.run.cluster.service.name)
        found: dict[str, Json] = {}
        for path in dict.fromkeys((*(file.path for file in self._files()), *await ours.ours())):
            stat = await session.stat(path, user=ROOT)
            content = await session.read_file(path, user=ROOT) if stat is not None else None
            if stat is None or content is None:
                found[path] = None
                continue
            found[path] = {
                "content": base64.b64encode(content).decode(),
                "mode": stat.mode,
                "owner": stat.owner,
                "group": stat.group,
            }
        return found


def _kept_file(path: str, said: Mapping[str, Json]) -> RenderedFile:
    ownership = Ownership(int(str(said["mode"])), str(said["owner"]), str(said["group"]))
    return RenderedFile(path, base64.b64decode(str(said["content"])), ownership, secret=True)


class MoveAside(OnHost, UndoableStep):
    """Old data is moved, never deleted."""

    async def act(self) -> None:
        session = await self.session()
        # A host that was switched on meanwhile has started it again.
        await (await self.service()).stop()
        await require_stopped(self)
        for tree in self.member.trees:
            await session.run(tree.move_aside(), timeout_s=COPY_TIMEOUT_S)

    async def verify(self) -> Result:
        moved: list[Json] = [tree.aside for tree in self.member.trees if await self.is_there(tree.aside)]
        return {"moved_to": moved}

    async def undo(self, result: Result) -> None:
        session = await self.session()
        for tree in reversed(self.member.trees):
            await session.run(tree.move_back(), timeout_s=COPY_TIMEOUT_S)


class PlaceData(OnHost, UndoableStep):
    """A directory gets its name when it is complete; the data directory last."""

    async def act(self) -> None:
        session = await self.session()
        if await self.is_there(self.member.data.new):
            await (await self.service()).stop()
        for tree in reversed(self.member.trees):
            await session.run(tree.place(), timeout_s=COPY_TIMEOUT_S)

    async def verify(self) -> Result:
        if not await self.is_there(posixpath.join(self.member.data.path, "member")):
            raise VerificationFailed(
                f"{self.host}: the restored data is not in {self.member.data.path}",
                hint=f"look for it in {self.member.data.work}",
            )
        return {"data_dir": self.member.data.path}

    async def undo(self, result: Result) -> None:
        session = await self.session()
        await (await self.service()).stop()
        for tree in self.member.trees:
            await session.run(tree.take_out(), timeout_s=COPY_TIMEOUT_S)


class StartMember(OnHost, UndoableStep):
    """All at once: each waits for the others."""

    lasting = False

    async def check(self) -> bool:
        return (await (await self.service()).status()).state is State.RUNNING

    async def act(self) -> None:
        await (await self.service()).start(timeout_s=START_TIMEOUT_S)

    async def undo(self, result: Result) -> None:
        await (await self.service()).stop()


class _Services:
    """`Processes` of the hosts."""

    def __init__(self, run: HostRecovery) -> None:
        self._run = run

    async def _service(self, name: str) -> Service:
        session = await self._run.hosts.session(self._run.members[name].host)
        return service_for(session, self._run.cluster.service)

    async def ended(self, name: str) -> bool:
        return (await (await self._service(name)).status()).state in _STOPPED

    async def last_said(self, name: str) -> tuple[str, str]:
        service = await self._service(name)
        lines = await last_lines(service)  # type: ignore[arg-type]  # every service has a host
        return "\n".join(lines[-_LOG_LINES:]), f"that of {service.name} on {self._run.members[name].host}"


class WaitServing(OnAll):
    """All members know a leader and answer a read through the quorum."""

    lasting = False

    async def act(self) -> None:
        await verifying.wait_serving(self.run.recovered, _Services(self.run), START_TIMEOUT_S)


class Verify(OnAll):
    """One of `verifying.CHECKS`."""

    lasting = False

    async def check(self) -> bool:
        return True

    async def verify(self) -> Result:
        checks = {name: check for name, _, check in verifying.CHECKS}
        return await checks[str(self.spec.inputs["check"])](self.run.recovered)


class CleanUp(OnHost):
    """The copies go; old data stays until somebody removes it. All is proved by now, and there is no way back."""

    async def check(self) -> bool:
        return not any([await self.is_there(tree.work) for tree in self.member.trees])

    async def act(self) -> None:
        await self.remove_work()
        if self.run.raised is not None:
            self.run.raised.unlink(missing_ok=True)


class NoteToken(OnAll):
    """So that the next rollout finds on the hosts what the inventory says. The file is kept as it was, beside it."""

    async def check(self) -> bool:
        return not self._edit()

    async def act(self) -> None:
        self._edit().write(self._suffix)

    async def verify(self) -> Result:
        edit = self._edit()
        if edit:
            raise VerificationFailed(
                f"{edit.path} does not have the new token",
                hint=f"write it there: clusters.{self.run.cluster.name}.token: {self.run.recovered.token}",
            )
        return {"file": str(edit.path), "kept": f"{edit.path.resolve()}.{self._suffix}"}

    @property
    def _suffix(self) -> str:
        """Of one recovery, however often it was cut off."""
        return f"before-{self.run.recovered.token.rpartition('-')[2]}"

    def _edit(self) -> Edit:
        return token_edit(self.run.hosts.source.paths, self.run.cluster.name, self.run.recovered.token)

    def safe_now(self) -> str:
        return "everything: the cluster is recovered and proved, and only the inventory does not say so yet"


KINDS: StepKinds[HostRecovery] = StepKinds(PROCEDURE)
for _name, _kind in (
    ("check-snapshot", CheckSnapshot),
    ("ready-host", ReadyHost),
    ("raise-revision", RaiseRevision),
    ("prepare-member", PrepareMember),
    ("stop-member", StopMember),
    ("configure-member", ConfigureMember),
    ("move-aside", MoveAside),
    ("place-data", PlaceData),
    ("start-member", StartMember),
    ("wait-serving", WaitServing),
    ("verify", Verify),
    ("clean-up", CleanUp),
    ("note-token", NoteToken),
):
    KINDS.add(_name, _kind)
