"""The story in six chapters. A `checked` line is told after its proof; the first proof that fails ends the story."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from etcdops.client.client import Client
from etcdops.client.view import ClusterView, Health, observe
from etcdops.errors import EtcdopsError, VerificationFailed
from etcdops.ids import NO_MEMBER, MemberID, format_id
from etcdops.playbooks.cluster_file import ClusterSpec, load_cluster
from etcdops.playbooks.demo import load, writers
from etcdops.playbooks.demo.teller import Teller
from etcdops.playbooks.journal import run_lock
from etcdops.playbooks.local_cluster import LocalCluster, LocalMember
from etcdops.playbooks.recover.procedure import RecoverRequest, carry_out, prepare
from etcdops.playbooks.snapshot_save import SavedSnapshot, save_snapshot
from etcdops.snapshot.inspect import SnapshotReport, inspect_snapshot

WRITERS = 8
WRITES_BEFORE = 300
"""Acknowledged writes before the leader dies, and again after a new one leads."""
REQUEST_TIMEOUT_S = 30.0
LOOK_TIMEOUT_S = 2.0
NEW_LEADER_TIMEOUT_S = 30.0
WRITE_WITHOUT_QUORUM_TIMEOUT_S = 3.0
BOUND_SLACK_S = 2.0
"""How much later than its timeout a failing write may end on a busy machine."""


@dataclass(slots=True)
class Story:
    """One telling. `cluster` changes its token when the cluster is recovered."""

    spec: ClusterSpec
    tree: load.Tree
    teller: Teller
    seed: int
    local: LocalCluster = field(init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.local = LocalCluster(self.spec)
        self._random = random.Random(self.seed)

    @property
    def snapshot_path(self) -> Path:
        return self.spec.directory / "snapshot.db"

    async def tell(self) -> None:
        """All of it. Raises: EtcdopsError - a claim did not hold, or something could not be done at all."""
        async with Client(self.spec.connection()) as client:
            await self._start(client)
            await self._load(client)
            snapshot = await self._save(client)
            await self._lose_leader(client)
            await self._lose_quorum(client)
        # New connections: the old ones belong to members of a cluster that is no more.
        await self._recover(snapshot)

    async def _start(self, client: Client) -> None:
        teller = self.teller
        teller.chapter(1, f"Start three members ({self.spec.engine.label})")
        started = time.monotonic()
        teller.waiting("until all members serve ...")
        self.local.start(tethered=True)
        await self.local.wait_healthy()
        view = await self._look(client, lambda seen: seen.health is Health.HEALTHY, "all members healthy")
        teller.members(view)
        leader = view.leader_member
        assert leader is not None
        _require(len(view.members) == len(self.spec.members), "the member list is not the one that was started")
        teller.checked(
            f"{len(view.members)} members answer, {leader.label} leads in term {view.term};"
            f" ready after {time.monotonic() - started:.1f} s"
        )

    async def _load(self, client: Client) -> None:
        teller, tree = self.teller, self.tree
        teller.chapter(2, f"Load real input: {len(tree.files)} files of {tree.root}")
        for path in tree.skipped:
            teller.say(f"skipped, larger than a request may be: {path}")
        order = list(tree.files)
        self._random.shuffle(order)
        started = time.monotonic()
        loaded = await load.load_tree(
            client,
            tree,
            order,
            lambda done, total: teller.progress(done, total, "files"),
            timeout_s=REQUEST_TIMEOUT_S,
        )
        took_s = max(time.monotonic() - started, 0.001)
        rate = loaded.keys / took_s
        teller.say(f"{loaded.keys} keys, {loaded.size_bytes / 1e6:.1f} MB in {took_s:.1f} s ({rate:.0f} puts/s)")
        counted = await client.kv.get(load.PREFIX, prefix=True, count_only=True, timeout=REQUEST_TIMEOUT_S)
        _require(counted.count == len(tree.files), f"{counted.count} keys are there, {len(tree.files)} were put")
        teller.checked(f"the cluster counts {counted.count} keys below {load.PREFIX.decode()}")

    async def _save(self, client: Client) -> SnapshotReport:
        teller = self.teller
        teller.chapter(3, f"Save a snapshot: etcdops snapshot save {self.snapshot_path.name}")
        saved: SavedSnapshot = await save_snapshot(
            client,
            self.snapshot_path,
            progress=lambda at: teller.progress(at.received_bytes, at.total_bytes, "bytes"),
        )
        teller.say(f"{saved.report.total_size_bytes / 1e6:.1f} MB from {saved.member}, as {saved.report.path}")
        report = await asyncio.to_thread(inspect_snapshot, self.snapshot_path)
        teller.checked(
            f"without any server: checksum and structure are right, hash {report.hash:08x},"
            f" revision {report.current_revision}, {report.live_keys} keys, {report.total_key} entries"
        )
        _require(report.has_checksum, "the snapshot carries no checksum")
        _require(report.live_keys == len(self.tree.files), "the snapshot does not hold every key that was put")
        endpoint = self.spec.members[0].client_url
        answer = await client.maintenance.hash_kv(endpoint, revision=report.current_revision, timeout=REQUEST_TIMEOUT_S)
        _require(answer.hash == report.hash_kv.hash, "HashKV of file and member differ")
        teller.checked(f"HashKV computed from the file is what a member answers: {answer.hash}")
        return report

    async def _lose_leader(self, client: Client) -> None:
        teller = self.teller
        teller.chapter(4, "Keep writing, kill the leader")
        view = await self._look(client, lambda seen: seen.leader != NO_MEMBER, "a leader")
        leader = self._local_of(view, view.leader)
        async with writers.Writers(client, count=WRITERS, name="leader-loss") as busy:
            teller.waiting(f"until {WRITES_BEFORE} writes are acknowledged ...")
            await busy.wait_acknowledged(WRITES_BEFORE, REQUEST_TIMEOUT_S)
            killed = time.monotonic()
            await asyncio.to_thread(leader.kill)
            teller.say(f"SIGKILL to {leader.name}, the leader of term {view.term}, while {WRITERS} writers write")
            teller.waiting("until another member leads ...")
            after = await self._look(
                client,
                lambda seen: seen.leader not in (NO_MEMBER, view.leader) and seen.term > view.term,
                "a new leader",
                timeout_s=NEW_LEADER_TIMEOUT_S,
            )
            took_s = time.monotonic() - killed
            teller.waiting(f"until {WRITES_BEFORE} more are acknowledged ...")
            await busy.wait_acknowledged(WRITES_BEFORE, REQUEST_TIMEOUT_S)
            await busy.stop()
        new = after.leader_member
        assert new is not None
        teller.checked(f"{new.label} leads in term {after.term}, {took_s:.1f} s after the kill")
        record = busy.record
        verdict = await writers.compare(
            client,
            busy.prefix,
            record,
            lambda done: teller.progress(done, len(record.acknowledged), "keys"),
            timeout_s=REQUEST_TIMEOUT_S,
        )
        teller.checked(
            f"no acknowledged write is lost: {verdict.acknowledged} compared key by key, value and revision"
            f" (longest pause {record.longest_pause_s:.1f} s)"
        )
        if record.unknown:
            teller.say(
                f"writes that got no answer: {len(record.unknown)}, of which {verdict.unknown_present} took effect and"
                f" {verdict.unknown_absent} did not; both is right"
            )

    async def _lose_quorum(self, client: Client) -> None:
        teller = self.teller
        teller.chapter(5, "Lose the quorum: kill a second member, destroy both data directories")
        dead = next(member for member in self.local.members if not member.running)
        second = self._random.choice([member for member in self.local.members if member.running])
        await asyncio.to_thread(second.kill)
        for member in (dead, second):
            await asyncio.to_thread(shutil.rmtree, member.spec.data_dir)
        teller.say(f"SIGKILL to {second.name}; the data of {dead.name} and {second.name} is gone for good")
        view = await self._look(client, lambda seen: seen.health is Health.QUORUM_LOST, "the loss of the quorum")
        teller.say("etcdops status:")
        teller.status(view)
        quorum = view.quorum
        _require((quorum.present, quorum.needed) == (1, 2), f"status counts {quorum.present} of {quorum.needed}")
        teller.checked(f"status says QUORUM LOST: {quorum.present} of {quorum.voters} answers, {quorum.needed} needed")
        await self._write_fails(client)
        survivor = next(member for member in self.local.members if member.running)
        answer = await client.kv.get(
            load.PREFIX,
            prefix=True,
            count_only=True,
            serializable=True,
            endpoint=survivor.spec.client_url,
            timeout=REQUEST_TIMEOUT_S,
        )
        _require(answer.count == len(self.tree.files), "the survivor does not have all keys")
        teller.checked(f"{survivor.name} still answers reads that may be stale: {answer.count} keys")

    async def _write_fails(self, client: Client) -> None:
        started = time.monotonic()
        self.teller.waiting("until a write without a quorum gives up ...")
        try:
            await client.kv.put(b"/writes/without-quorum", b"x", timeout=WRITE_WITHOUT_QUORUM_TIMEOUT_S)
        except EtcdopsError as error:
            took_s = time.monotonic() - started
            _require(
                took_s <= WRITE_WITHOUT_QUORUM_TIMEOUT_S + BOUND_SLACK_S,
                f"a write hung for {took_s:.1f} s before it failed",
            )
            self.teller.checked(f"a write fails after {took_s:.1f} s and says so: {error.message}")
            return
        raise VerificationFailed("a write was acknowledged without a quorum")

    async def _recover(self, snapshot: SnapshotReport) -> None:
        teller = self.teller
        teller.chapter(6, f"Recover: etcdops recover --from-snapshot {self.snapshot_path.name}")
        request = RecoverRequest(self.spec, self.snapshot_path, self.spec.connection(), tethered=True)
        with run_lock(self.spec.runs):
            prepared = await prepare(request)
            teller.plan(prepared.plan)
            outcome = await carry_out(request, prepared, teller.step)
        self.spec = load_cluster(self.spec.directory)
        self.local = LocalCluster(self.spec)
        results = outcome.results
        teller.checked(
            f"{results['verify:keys']['keys']} keys and values are those of the snapshot, compared one by one"
        )
        teller.checked(f"HashKV is equal on all members and in the file: {results['verify:hash']['hash_kv']}")
        teller.checked(f"old watchers are told: compacted at {results['verify:watchers']['compact_revision']}")
        teller.checked(
            f"{results['verify:members']['members']} members, new cluster ID {results['verify:members']['cluster_id']}"
        )
        async with Client(self.spec.connection()) as client:
            view = await self._look(client, lambda seen: seen.health is Health.HEALTHY, "all members healthy")
            teller.members(view)
            put = await client.kv.put(b"/writes/after-recovery", b"alive", timeout=REQUEST_TIMEOUT_S)
            _require(put.header.revision > snapshot.current_revision, "the revision went back")
            teller.checked(f"three healthy members; a new write got revision {put.header.revision}")
        teller.checked(f"recovered in {outcome.took_s:.1f} s")

    async def _look(
        self,
        client: Client,
        until: Callable[[ClusterView], bool],
        wanted: str,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> ClusterView:
        """Look at the cluster until it is as wanted. Raises: VerificationFailed - not in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            view = await observe(client, timeout_s=LOOK_TIMEOUT_S)
            if until(view):
                return view
            if time.monotonic() > deadline:
                raise VerificationFailed(
                    f"waited {timeout_s:.0f} s for {wanted}: the cluster is {view.health}",
                    hint=f"the members' logs are in {self.spec.directory}",
                )
            await asyncio.sleep(0.05)

    def _local_of(self, view: ClusterView, member: MemberID) -> LocalMember:
        found = view.member(member)
        if found is None or not found.name:
            raise VerificationFailed(f"the leader {format_id(member)} is not in the member list")
        return self.local.member(found.name)


def _require(holds: bool, complaint: str) -> None:
    if not holds:
        raise VerificationFailed(complaint)
