"""The members of a cluster on hosts of an inventory, as a rolling change works on them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from etcdops.client.view import ClusterView, MemberView, observe
from etcdops.errors import EtcdopsError, Unreachable
from etcdops.ids import MemberID
from etcdops.inventory.model import EngineKind
from etcdops.playbooks.authorities import ClusterAuthorities
from etcdops.playbooks.member_access import reach_members
from etcdops.playbooks.on_hosts import RunHosts
from etcdops.playbooks.plan import Result
from etcdops.playbooks.rolling.member_ports import ask_port, client_url, operator_pair, placed
from etcdops.playbooks.rolling.planning import FIXED
from etcdops.playbooks.rolling.versions import meets, running_version
from etcdops.playbooks.rollout.certificates import bundle_difference
from etcdops.playbooks.rollout.desired import DesiredMember, desired
from etcdops.playbooks.rollout.engine_install import EngineOnHost, describe
from etcdops.playbooks.rollout.engine_pack import EnginePack, pack
from etcdops.playbooks.rollout.running import in_container, note_start, outdated
from etcdops.playbooks.snapshot_save import save_snapshot
from etcdops.remote.command import ROOT, script
from etcdops.remote.session import Session
from etcdops.rendering.flags import Version
from etcdops.rendering.member import AT_FIRST
from etcdops.services.managers import service_for
from etcdops.services.port import Changes, EffectiveConfig, Service
from etcdops.snapshot.buckets import read_facts
from etcdops.snapshot.facts import SnapshotFacts
from etcdops.snapshot.file import open_snapshot

LOOK_TIMEOUT_S = 5.0
_CHECK_TIMEOUT_S = 600.0
_CHECK_V2STORE = """
tool=$(command -v etcdutl) || exit 127
exec "$tool" check v2store --data-dir="$1" ${2:+--wal-dir="$2"} 2>&1
"""
_NO_TOOL = 127
_CANNOT_LOOK = re.compile(r"unknown (?:command|flag).*")
"""Of an etcdutl before 3.5.18, of one of 3.6 and later, or, with a WAL directory of its own, before 3.5.25."""


class HostFleet:
    """`fleet.Fleet` over sessions and the cluster's own API."""

    def __init__(self, run: RunHosts) -> None:
        self.run = run
        self._packing: asyncio.Task[EnginePack | None] | None = None

    def desired(self, member: str) -> DesiredMember:
        """What the inventory says of it."""
        return desired(self.run.inventory, self.run.cluster, self.run.member(member))

    async def service(self, member: str) -> Service:
        session = await self.run.session(self.run.member(member).host)
        return service_for(session, self.run.cluster.service)

    async def look(self, *, hashes: bool = False) -> ClusterView:
        async with reach_members(self.run) as access:
            return await observe(access.client, timeout_s=LOOK_TIMEOUT_S, hashes=hashes)

    async def move_leader(self, leader: MemberView, to: MemberID) -> None:
        async with reach_members(self.run) as access:
            await access.client.maintenance.move_leader(to, endpoint=access.endpoints.get(leader.name, leader.endpoint))

    async def compare(self, member: str) -> Changes:
        """Files that differ, as diffs; and, as actions, the engine that would be brought."""
        wanted = self.desired(member)
        session, service = await asyncio.gather(self.run.session(wanted.host), self.service(member))
        changes, engine, bundles = await asyncio.gather(
            service.compare(wanted.files), self._engine_missing(session, wanted), self._bundles(session, wanted)
        )
        return Changes({**bundles, **changes.diffs}, (*changes.actions, *engine))

    async def unwritten(self, member: str) -> list[str]:
        changes = await self.compare(member)
        return [*changes.diffs, *changes.actions]

    async def _bundles(self, session: Session, wanted: DesiredMember) -> dict[str, str]:
        """Path -> diff of whom to trust, as far as the authorities are on this machine."""
        authorities = self._authorities
        ours = [bundle for bundle in wanted.bundles if authorities.exists(bundle.signer)]
        diffs = await asyncio.gather(*(bundle_difference(session, one, authorities) for one in ours))
        return {one.path: diff for one, diff in zip(ours, diffs, strict=True) if diff}

    @property
    def _authorities(self) -> ClusterAuthorities:
        return ClusterAuthorities(self.run.pki, self.run.cluster.name, self.run.clock)

    async def _engine_missing(self, session: Session, wanted: DesiredMember) -> list[str]:
        if in_container(wanted):
            return []  # the image is in the arguments
        engine = EngineOnHost(session, wanted.engine, await self._pack(wanted))
        if await engine.is_there() and await engine.is_switched():
            found = await engine.version()
            if found is not None and _is_wanted(found, wanted):
                return []
        return [f"program: {describe(wanted.engine)}"]

    async def _pack(self, wanted: DesiredMember) -> EnginePack | None:
        """Made once, in a thread: it is tens of megabytes."""
        if self._packing is None:
            first = self.run.source.paths[0]
            base = first if first.is_dir() else first.parent
            self._packing = asyncio.create_task(asyncio.to_thread(pack, wanted.engine, base))
        return await self._packing

    async def lacks_program(self, member: str) -> bool:
        wanted = self.desired(member)
        packed = None if in_container(wanted) else await self._pack(wanted)
        if packed is None:
            return False  # in the image, or in a package: that replaces what is there, so it waits for its turn
        return not await EngineOnHost(await self.run.session(wanted.host), wanted.engine, packed).is_there()

    async def bring_program(self, member: str) -> None:
        wanted = self.desired(member)
        session = await self.run.session(wanted.host)
        await EngineOnHost(session, wanted.engine, await self._pack(wanted)).put()

    async def write(self, member: str) -> list[str]:
        wanted = self.desired(member)
        session, service = await asyncio.gather(self.run.session(wanted.host), self.service(member))
        missing = await self._engine_missing(session, wanted)
        if missing:
            packed = await self._pack(wanted)
            engine = EngineOnHost(session, wanted.engine, packed)
            if packed is None or not await engine.is_there():
                await engine.put()
            # First the program is there as a whole, then it is the one that starts next.
            await engine.switch()
            await engine.require_version()
        stale = await self._bundles(session, wanted)
        for bundle in wanted.bundles:
            if bundle.path in stale:
                file = self._authorities.bundle(bundle)
                await session.write_file(file.path, file.content, file.ownership, user=ROOT)
        changes = await service.install(wanted.files)
        return [*missing, *stale, *changes.diffs, *changes.actions]

    async def outdated(self, member: str) -> list[str]:
        wanted = self.desired(member)
        session, service = await asyncio.gather(self.run.session(wanted.host), self.service(member))
        config, status = await asyncio.gather(service.effective_config(), service.status())
        if config.running is None:
            return ["it does not run"]
        found = [f"runs without: {', '.join(names)}"] if (names := waiting_flags(config)) else []
        return found + await outdated(session, wanted, config.running, status.pid)

    async def fixed(self, member: str) -> list[str]:
        """Settings that make it who it is and that would change."""
        service = await self.service(member)
        config = await service.effective_config()
        flags = self.desired(member).config.flags
        return [
            name
            for name in FIXED
            if config.running is not None and (config.running.value(name) or "") != flags.get(name, "")
        ]

    async def running_flags(self, member: str) -> dict[str, str]:
        """What it runs with now."""
        config = await (await self.service(member)).effective_config()
        return {name: setting.value for name, setting in config.running.flags.items()} if config.running else {}

    async def restart(self, member: str) -> None:
        service = await self.service(member)
        await service.restart()
        wanted = self.desired(member)
        await note_start(await self.run.session(wanted.host), wanted, (await service.status()).pid)

    async def cluster_version(self) -> str:
        errors: list[EtcdopsError] = []
        pair = operator_pair(self.run)
        for member in self.run.cluster.members:
            one = placed(self.run, member.label)
            try:
                answer = await ask_port(self.run, one, client_url(one), pair)
            except EtcdopsError as error:
                errors.append(error)
                continue
            if answer.versions[1]:
                return answer.versions[1]
            errors.append(Unreachable(f"{member.label} does not tell its version: {answer.refusal or 'no answer'}"))
        raise errors[0]

    async def save(self, path: Path) -> Result:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with reach_members(self.run) as access:
            saved = await save_snapshot(access.client, path, clock=self.run.clock)
        return {"snapshot": str(path), "member": saved.member}

    async def stored(self, path: Path) -> SnapshotFacts:
        def read() -> SnapshotFacts:
            with open_snapshot(path) as file:
                return read_facts(file)

        return await asyncio.to_thread(read)

    async def check_v2store(self, member: str) -> str:
        wanted = self.desired(member)
        session = await self.run.session(wanted.host)
        asked = script(_CHECK_V2STORE, wanted.config.data_dir, wanted.config.wal_dir, user=ROOT)
        result = await session.run(asked, check=False, timeout_s=_CHECK_TIMEOUT_S)
        old = _CANNOT_LOOK.search(result.text) if not result.ok else None
        if old or result.exit_status == _NO_TOOL:
            raise EtcdopsError(
                f"{member}: there is no etcdutl on {wanted.host} that can see whether it holds data of v2, with which"
                " no 3.6 starts",
                cause=f"etcdutl: {old[0]}" if old else "",
                hint="put etcdutl of 3.5.32 or a later 3.5, which reads the log too, first into root's PATH there"
                " (/usr/local/bin), then go on; 3.6 and later have no such check",
            )
        return "" if result.ok else (result.text.splitlines() or ["etcdutl check v2store failed"])[-1]


def waiting_flags(config: EffectiveConfig) -> list[str]:
    """Flags that a restart would change and that etcd reads at every start."""
    return [name for name in config.pending if name not in AT_FIRST]


def _is_wanted(found: str, wanted: DesiredMember) -> bool:
    if wanted.engine.kind is EngineKind.NODE:
        return True
    return meets(running_version(found), Version.parse(wanted.engine.version))
