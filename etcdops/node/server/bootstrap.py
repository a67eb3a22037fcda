"""What a member starts from: the data it finds, or the first members of a new cluster, or those of one it joins.

Four ways lead to a `Boot`: a data directory (the flags about the cluster are then ignored, as in etcd), a new cluster
(`--initial-cluster-state new`), an existing one (`existing`), and `--force-new-cluster` on a data directory.
Source: etcd server/etcdserver/bootstrap.go.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from etcdops import ids
from etcdops.errors import MemberRemoved, StartRefused
from etcdops.ids import ClusterID, LogIndex, MemberID, Term, format_id
from etcdops.node.config.settings import Config
from etcdops.node.member.member import Member, parse_member
from etcdops.node.peer.codec import encode_conf_change
from etcdops.node.peer.remote import FetchFailed, RemoteCluster, ask_clusters, fetch_cluster
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.memory_log import MemoryLog
from etcdops.node.raft.types import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    Entry,
    EntryType,
    HardState,
    Snapshot,
)
from etcdops.node.server.data_dir import DataDir
from etcdops.node.server.forced import applied_conf_state, force_new_cluster
from etcdops.node.server.other_cluster import ASK_TIMEOUT_S, surroundings
from etcdops.node.storage.raft_log import LoadedLog, RaftLog
from etcdops.node.storage.state import StateStore
from etcdops.node.tls.client import ClientTls
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)

_OTHERS_TIMEOUT_S = 1.0
"""How long a new cluster's member looks for others that already run. Source: etcd's first-start dial timeout."""


FIRST_TERM = Term(1)
"""Of the entries that begin a new cluster's log; the first election is for the term after it."""


@dataclass(frozen=True, slots=True)
class Boot:
    """Everything that is opened and known before raft starts."""

    member_id: MemberID
    cluster_id: ClusterID
    raft_log: RaftLog
    state: StateStore
    memory: MemoryLog
    first_members: tuple[Member, ...] = ()
    """Of a new cluster: whom to talk to before the log was applied."""

    known_members: tuple[Member, ...] = ()
    """Of the cluster being joined: whom to answer before the log says so."""


async def boot(config: Config, directory: DataDir, tls: ClientTls | None = None) -> Boot:
    """Find out what to start from.

    Args: tls - for questions to other members. Raises: StartRefused, naming what is in the way and what to do.
    """
    _finish_interrupted_creation(directory)
    if directory.is_new():
        if config.force_new_cluster:
            raise StartRefused(
                f"--force-new-cluster needs the data of a member, and {directory.root} is empty",
                hint="name the --data-dir of the survivor, or restore a snapshot with `etcdops snapshot restore`",
            )
        return await (_new_cluster if config.is_new_cluster else _join)(config, directory, tls)
    with ExitStack() as refused:
        started = _restart(config, directory, refused)
        if not config.force_new_cluster:
            await _refuse_other_cluster(config, directory, started, tls)
        refused.pop_all()
    directory.remove_leftovers()
    return started


# A data directory.


def _restart(config: Config, directory: DataDir, refused: ExitStack) -> Boot:
    """Args: refused closes what was opened, as it was found, if the member is not to start."""
    for path in (directory.wal, directory.state):
        if not path.exists():
            other = directory.state if path is directory.wal else directory.wal
            raise StartRefused(
                f"{path} is missing, but {other} is there: half of this member's data is gone",
                hint="put the file back; or move the directory away, remove this member and add it again "
                "(`member remove`, `member add`), so that it gets the data from the others",
            )
    raft_log = RaftLog.open(directory.wal)
    refused.callback(raft_log.abandon)
    loaded = raft_log.load()
    _finish_interrupted_install(directory, loaded)
    state = StateStore.open(directory.state, create=False)
    refused.callback(state.abandon)
    _compare(directory, loaded, state)
    if raft_log.member_id in state.members.removed():
        raise MemberRemoved(
            f"the member {format_id(raft_log.member_id)} has been permanently removed from the cluster",
            hint=f"move {directory.root} away; to use this host again, `member add` gives it a new identity",
        )
    hard_state = _known_commit(loaded.hard_state, state.consistent_index)
    if config.force_new_cluster:
        loaded, hard_state = force_new_cluster(raft_log, loaded, hard_state, state)
    log.info(
        "restarting local member",
        extra=fields(
            cluster_id=format_id(raft_log.cluster_id),
            local_member_id=format_id(raft_log.member_id),
            commit_index=int(hard_state.commit),
        ),
    )
    snapshot = Snapshot(loaded.snapshot)
    memory = MemoryLog(
        hard_state=hard_state, snapshot=snapshot, entries=loaded.entries, conf_state=applied_conf_state(loaded, state)
    )
    return Boot(raft_log.member_id, raft_log.cluster_id, raft_log, state, memory)


async def _refuse_other_cluster(config: Config, directory: DataDir, started: Boot, tls: ClientTls | None) -> None:
    """Raises: StartRefused - those who run here belong to another cluster, and take this member for one of theirs."""
    members = {member: parse_member(text) for member, text in started.state.members.all().items()}
    around = surroundings(
        directory.root,
        started.cluster_id,
        own=members.pop(started.member_id, None),
        others=members.values(),
        advertised=config.initial_advertise_peer_urls,
        initial=_named_urls(config),
    )
    if around.other_urls:
        around.refuse(await ask_clusters(around.other_urls, timeout_s=ASK_TIMEOUT_S, enough=around.is_enough, tls=tls))


def _named_urls(config: Config) -> list[str]:
    """What --initial-cluster says; a member with data starts also when that cannot be read."""
    try:
        return [url for urls in config.initial_members().values() for url in urls]
    except StartRefused:
        return []


def _finish_interrupted_creation(directory: DataDir) -> None:
    """The store is made first and the log last: a store without a log in which nothing was applied was never used."""
    if directory.state.exists() and not directory.wal.exists():
        state = StateStore.open(directory.state, create=False)
        unused = state.consistent_index == 0
        state.close()
        if unused:
            for leftover in directory.member.glob(directory.state.name + "*"):
                leftover.unlink()


def _finish_interrupted_install(directory: DataDir, loaded: LoadedLog) -> None:
    """A crash after the log started over at a received snapshot, but before its image became the store."""
    image = received_path(directory.snapshots, loaded.snapshot.index)
    if not image.exists():
        return
    state = StateStore.open(directory.state, create=False)
    behind = state.consistent_index < loaded.snapshot.index
    state.close()
    if behind:
        log.info("installing the snapshot received before the last stop", extra=fields(path=str(image)))
        StateStore.install(image, directory.state)


def _compare(directory: DataDir, loaded: LoadedLog, state: StateStore) -> None:
    """The store must lie within the log: not behind its first entry, not ahead of its last one."""
    last = loaded.entries[-1].index if loaded.entries else loaded.snapshot.index
    again = (
        "move the directory away, remove this member and add it again so that it gets the data from the others; "
        "if it is the only member, restore a snapshot"
    )
    if state.consistent_index > last:
        raise StartRefused(
            f"{directory.wal} ends at index {last}, but {directory.state} has applied index {state.consistent_index}",
            cause="the end of the raft log is lost: acknowledged writes may be missing from it",
            hint=again,
        )
    first = loaded.entries[0].index if loaded.entries else last + 1
    if state.consistent_index + 1 < min(first, loaded.snapshot.index + 1):
        raise StartRefused(
            f"{directory.state} has applied index {state.consistent_index}, but {directory.wal} begins at {first}",
            cause="the store is older than the raft log: it was replaced, or its image was lost",
            hint=again,
        )


def _known_commit(hard_state: HardState, consistent_index: LogIndex) -> HardState:
    """What was applied was committed, also when the commit index was not written since."""
    return hard_state._replace(commit=max(hard_state.commit, consistent_index))


# A new member.


async def _new_cluster(config: Config, directory: DataDir, tls: ClientTls | None) -> Boot:
    config.verify_bootstrap()
    members = _initial_members(config)
    own = members[config.name]
    cluster_id = ids.cluster_id(member.id for member in members.values())
    others = _peer_urls(member for member in members.values() if member.id != own.id)
    if others:
        remote = await _ask(others, tls)
        if remote is not None and _is_bootstrapped(remote, own, cluster_id):
            raise StartRefused(
                f"member {format_id(own.id)} has already been bootstrapped",
                cause=f"the cluster {format_id(remote.cluster_id)} knows it as started, but {directory.root} is empty",
                hint="bring its data directory back; or remove the member, add it again and start it with "
                "--initial-cluster-state existing",
            )
    first = tuple(sorted(members.values(), key=lambda member: member.id))
    return _create(directory, own.id, cluster_id, first_members=first)


async def _join(config: Config, directory: DataDir, tls: ClientTls | None) -> Boot:
    config.verify_join_existing()
    members = _initial_members(config)
    others = _peer_urls(member for name, member in members.items() if name != config.name)
    try:
        remote = await fetch_cluster(others, tls=tls)
    except FetchFailed as error:
        raise StartRefused(
            f"cannot fetch cluster info from peer urls: {error}",
            hint="check that those members run and can be reached from here, or correct --initial-cluster",
        ) from error
    own = _find_self(config, list(members.values()), remote.members)
    log.info(
        "joining an existing cluster",
        extra=fields(cluster_id=format_id(remote.cluster_id), local_member_id=format_id(own.id)),
    )
    return _create(directory, own.id, remote.cluster_id, known_members=remote.members)


async def _ask(urls: Sequence[str], tls: ClientTls | None) -> RemoteCluster | None:
    """What the others say, if any of them runs already: at a first start usually nobody does."""
    try:
        return await fetch_cluster(urls, timeout_s=_OTHERS_TIMEOUT_S, tls=tls)
    except FetchFailed:
        return None


def _initial_members(config: Config) -> dict[str, Member]:
    token = config.initial_cluster_token
    return {
        name: Member(ids.member_id(urls, token), tuple(sorted(urls)), name)
        for name, urls in config.initial_members().items()
    }


def _peer_urls(members: Iterable[Member]) -> list[str]:
    return [url for member in members for url in member.peer_urls]


def _is_bootstrapped(remote: RemoteCluster, own: Member, cluster_id: ClusterID) -> bool:
    """Source: etcd server/etcdserver/cluster_util.go, isMemberBootstrapped."""
    if remote.cluster_id != cluster_id:
        return False
    return any(member.id == own.id and member.client_urls for member in remote.members)


def _find_self(config: Config, local: Sequence[Member], existing: Sequence[Member]) -> Member:
    """Match --initial-cluster with the members the cluster has; our ID is the one behind our URLs.

    Source: etcd server/etcdserver/api/membership/cluster.go, ValidateClusterAndAssignIDs.
    """
    shown = ", ".join(f"{member.name or '(unstarted)'}={'+'.join(member.peer_urls)}" for member in existing)
    if len(local) != len(existing):
        raise StartRefused(
            f"error validating peerURLs: member count is unequal: --initial-cluster has {len(local)}, "
            f"the cluster has {len(existing)}",
            cause=f"the cluster's members are {shown}",
            hint="`member add` this member first, then use the --initial-cluster that it prints",
        )
    by_urls = {member.peer_urls: member for member in existing}
    for member in local:
        if member.peer_urls not in by_urls:
            raise StartRefused(
                f"error validating peerURLs: PeerURLs: no match found for existing member "
                f"({member.name}: {', '.join(member.peer_urls)})",
                cause=f"the cluster's members are {shown}",
                hint="correct --initial-cluster, or `member update` the member whose URL changed",
            )
    return by_urls[tuple(sorted(config.initial_members()[config.name]))]


def _create(
    directory: DataDir,
    member_id: MemberID,
    cluster_id: ClusterID,
    *,
    first_members: tuple[Member, ...] = (),
    known_members: tuple[Member, ...] = (),
) -> Boot:
    """The store first, the log last: the log's presence says that both are whole."""
    entries = first_entries(first_members)
    hard_state = HardState(FIRST_TERM, commit=LogIndex(len(entries))) if entries else HardState()
    state = StateStore.open(directory.state, create=True)
    try:
        raft_log = RaftLog.create(
            directory.wal, member_id=member_id, cluster_id=cluster_id, hard_state=hard_state, entries=entries
        )
    except StartRefused:
        state.abandon()
        StateStore.remove(directory.state)
        raise
    log.info(
        "starting local member",
        extra=fields(local_member_id=format_id(member_id), cluster_id=format_id(cluster_id)),
    )
    memory = MemoryLog(hard_state=hard_state, entries=entries)
    return Boot(member_id, cluster_id, raft_log, state, memory, first_members, known_members)


def first_entries(members: Iterable[Member]) -> list[Entry]:
    """The configuration entries that begin a new cluster's log, the same on every first member: by ID, all committed.

    Source: etcd-io/raft bootstrap.go, RawNode.Bootstrap.
    """
    entries = []
    for offset, member in enumerate(sorted(members, key=lambda member: member.id)):
        change = ConfChange((ConfChangeSingle(ConfChangeType.ADD_NODE, member.id),), context=member.to_json())
        data = encode_conf_change(0, change)
        entries.append(Entry(FIRST_TERM, LogIndex(1 + offset), EntryType.CONF_CHANGE, data))
    return entries
