"""How a member starts: what it refuses, in which words, and what it makes good after a crash in the middle."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from etcdops import ids
from etcdops.errors import StartRefused
from etcdops.ids import ClusterID, LeaseID, LogIndex, MemberID, Term
from etcdops.node.config import Config, load_config
from etcdops.node.member.member import Member, members_json
from etcdops.node.member.registry import MemberRegistry
from etcdops.node.peer.snapshot_file import received_path
from etcdops.node.raft.types import ConfState, Entry, EntryType, HardState, SnapshotMetadata
from etcdops.node.server import bootstrap
from etcdops.node.server.bootstrap import Boot, boot
from etcdops.node.server.data_dir import DataDir
from etcdops.node.storage.raft_log import RaftLog
from etcdops.node.storage.state import StateStore
from tests.node.peer.support import ALICE, Node, running
from tests.support.ports import free_ports

CLUSTER, MEMBER = ClusterID(7), MemberID(1)
CONF = ConfState(voters=(MEMBER,))
URL = "http://127.0.0.1:2380"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DataDir]:
    made = DataDir.open(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
async def remote(tmp_path: Path) -> AsyncIterator[Node]:
    """A member of a running cluster, as far as its peer port goes."""
    async with running(tmp_path / "remote", ALICE, cluster=CLUSTER) as node:
        yield node


def _config(directory: DataDir, *flags: str) -> Config:
    return load_config(["--data-dir", str(directory.root), *flags], {})


def _close(started: Boot) -> None:
    started.raft_log.close()
    started.state.close()


async def _refusal(config: Config, directory: DataDir) -> StartRefused:
    with pytest.raises(StartRefused) as refused:
        await boot(config, directory)
    assert refused.value.hint
    return refused.value


def _entries(first: int, last: int, term: int = 1) -> list[Entry]:
    return [Entry(Term(term), LogIndex(index), EntryType.NORMAL, b"") for index in range(first, last + 1)]


def _make_state(path: Path, index: int, *, term: int = 1, marker: bytes = b"") -> None:
    """A store of one member in which entries up to `index` were applied."""
    state = StateStore.open(path, create=True)
    MemberRegistry(CLUSTER, state.members).bootstrap([Member(MEMBER, (URL,), "m")])
    if marker:
        txn = state.mvcc.begin()
        txn.put(marker, b"", LeaseID(0))
        txn.end()
    state.keep_conf_state(CONF)
    state.mark_applied(LogIndex(index), Term(term))
    state.close()


def _make_log(directory: DataDir, last: int) -> RaftLog:
    return RaftLog.create(
        directory.wal,
        member_id=MEMBER,
        cluster_id=CLUSTER,
        hard_state=HardState(Term(1), commit=LogIndex(last)),
        entries=_entries(1, last),
    )


def _keys(started: Boot) -> int:
    return len(started.state.mvcc.range(b"\0", b"\0").kvs)


# A new cluster.


async def test_a_new_cluster_of_one_begins_with_its_own_addition(directory: DataDir) -> None:
    """IDs are etcd's; the first entry is committed before anybody voted."""
    started = await boot(_config(directory, "--name=m1"), directory)
    url = "http://localhost:2380"
    assert started.member_id == ids.member_id([url], "etcd-cluster")
    assert started.cluster_id == ids.cluster_id([started.member_id])
    hard_state, _ = started.memory.initial_state()
    assert (hard_state.commit, started.memory.last_index()) == (1, 1)
    _close(started)


async def test_a_member_that_the_cluster_knows_as_started_does_not_begin_anew(
    directory: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lost its data: starting empty under the same ID could lose acknowledged writes (K06)."""
    ports = free_ports(2)
    own, other = (f"http://127.0.0.1:{port}" for port in ports)
    members = [
        Member(ids.member_id([url], "etcd-cluster"), (url,), name, ("http://127.0.0.1:1",))
        for name, url in (("m1", own), ("m2", other))
    ]
    config = _config(
        directory,
        "--name=m1",
        f"--initial-advertise-peer-urls={own}",
        f"--initial-cluster=m1={own},m2={other}",
    )
    cluster = ids.cluster_id(member.id for member in members)
    async with running(tmp_path / "remote", members[1].id, cluster=cluster, port=ports[1]) as node:
        monkeypatch.setattr(node.raft, "members_json", lambda: members_json(members))
        refused = await _refusal(config, directory)
    assert refused.message == f"member {ids.format_id(members[0].id)} has already been bootstrapped"
    assert "remove the member, add it again" in refused.hint
    assert directory.is_new()


async def test_a_new_cluster_whose_members_disagree_with_our_urls_is_refused(directory: DataDir) -> None:
    """etcd's words for the commonest mistake of a first start."""
    config = _config(directory, "--name=m1", "--initial-cluster=m1=http://127.0.0.1:9999")
    refused = await _refusal(config, directory)
    assert "--initial-advertise-peer-urls" in " ".join(refused.lines())
    assert directory.is_new()


# Joining.


async def test_joining_nobody_is_refused(directory: DataDir) -> None:
    """With what each of them answered."""
    own, gone = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    config = _config(
        directory,
        "--name=m1",
        f"--initial-advertise-peer-urls={own}",
        f"--initial-cluster=m1={own},m2={gone}",
        "--initial-cluster-state=existing",
    )
    refused = await _refusal(config, directory)
    assert refused.message.startswith("cannot fetch cluster info from peer urls")
    assert gone in refused.message
    assert directory.is_new()


@pytest.mark.parametrize(
    ("listed", "told"),
    [
        (0, "error validating peerURLs: member count is unequal"),
        (1, "error validating peerURLs: PeerURLs: no match found for existing member (m1: "),
    ],
    ids=["not-added", "added-with-another-url"],
)
async def test_joining_without_having_been_added_is_refused(
    directory: DataDir, remote: Node, monkeypatch: pytest.MonkeyPatch, listed: int, told: str
) -> None:
    """The cause shows what the cluster has, the hint how to be added."""
    own, other = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    members = [Member(ALICE, (remote.url,), "m2"), *[Member(MemberID(9), (other,))] * listed]
    monkeypatch.setattr(remote.raft, "members_json", lambda: members_json(members))
    config = _config(
        directory,
        "--name=m1",
        f"--initial-advertise-peer-urls={own}",
        f"--initial-cluster=m1={own},m2={remote.url}",
        "--initial-cluster-state=existing",
    )
    refused = await _refusal(config, directory)
    assert refused.message.startswith(told)
    assert remote.url in refused.cause
    assert directory.is_new()


async def test_a_joining_member_takes_the_id_that_the_cluster_gave_it(
    directory: DataDir, remote: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log is empty: everything it will know comes from the others."""
    (port,) = free_ports(1)
    own = f"http://127.0.0.1:{port}"
    members = [Member(ALICE, (remote.url,), "m2"), Member(MemberID(0x1234), (own,))]
    monkeypatch.setattr(remote.raft, "members_json", lambda: members_json(members))
    config = _config(
        directory,
        "--name=m1",
        f"--initial-advertise-peer-urls={own}",
        f"--initial-cluster=m1={own},m2={remote.url}",
        "--initial-cluster-state=existing",
    )
    started = await boot(config, directory)
    assert (started.member_id, started.cluster_id) == (0x1234, CLUSTER)
    assert started.memory.last_index() == 0
    assert {member.id for member in started.known_members} == {ALICE, 0x1234}
    _close(started)
    again = await boot(config, directory)
    assert (again.member_id, again.cluster_id) == (0x1234, CLUSTER)
    _close(again)


async def test_forcing_a_new_cluster_without_data_is_refused(directory: DataDir) -> None:
    """It would make an empty cluster where somebody wants to save a full one."""
    refused = await _refusal(_config(directory, "--force-new-cluster"), directory)
    assert "--force-new-cluster needs the data of a member" in refused.message


# Data that is there.


async def test_a_restart_ignores_what_the_flags_say_about_the_cluster(directory: DataDir) -> None:
    """The data decides (K09)."""
    _make_state(directory.state, 3)
    _make_log(directory, 5).close()
    config = _config(
        directory, "--name=other", "--initial-cluster-state=existing", "--initial-cluster=x=http://127.0.0.1:1"
    )
    started = await boot(config, directory)
    assert (started.member_id, started.cluster_id) == (MEMBER, CLUSTER)
    hard_state, conf_state = started.memory.initial_state()
    assert (hard_state.commit, conf_state) == (5, CONF)
    assert started.state.consistent_index == 3
    _close(started)


@pytest.mark.parametrize("gone", ["wal.db", "state.db"])
async def test_half_of_the_data_is_no_data(directory: DataDir, gone: str) -> None:
    """The missing half is named, and nothing is made in its place."""
    _make_state(directory.state, 3)
    _make_log(directory, 5).close()
    for path in directory.member.glob(f"{gone}*"):
        path.unlink()
    refused = await _refusal(_config(directory), directory)
    assert refused.message.startswith(f"{directory.member / gone} is missing")
    assert list(directory.member.glob(f"{gone}*")) == []


async def test_a_log_that_ends_before_the_store_is_refused(directory: DataDir) -> None:
    """Applied was acknowledged: its loss is not to be passed over in silence."""
    _make_state(directory.state, 9)
    _make_log(directory, 5).close()
    refused = await _refusal(_config(directory), directory)
    assert "ends at index 5" in refused.message
    assert "has applied index 9" in refused.message
    assert "acknowledged writes" in refused.cause


async def test_a_store_older_than_the_log_is_refused(directory: DataDir) -> None:
    """Somebody put an old state.db back; the entries that would heal it were dropped long ago."""
    _make_state(directory.state, 3)
    raft_log = _make_log(directory, 20)
    raft_log.record_snapshot(SnapshotMetadata(LogIndex(15), Term(1), CONF), keep_entries_after=LogIndex(10))
    raft_log.close()
    refused = await _refusal(_config(directory), directory)
    assert "has applied index 3" in refused.message
    assert "begins at 11" in refused.message


async def test_a_removed_member_does_not_start_again(directory: DataDir) -> None:
    """In etcd's words (K08)."""
    _make_state(directory.state, 3)
    state = StateStore.open(directory.state, create=False)
    state.members.remove(MEMBER)
    state.mark_applied(LogIndex(4), Term(1))
    state.close()
    _make_log(directory, 5).close()
    refused = await _refusal(_config(directory), directory)
    assert "has been permanently removed from the cluster" in refused.message


async def test_images_that_nobody_needs_any_more_are_deleted_at_the_start(directory: DataDir) -> None:
    """Unfinished transfers of the last life."""
    _make_state(directory.state, 3)
    _make_log(directory, 5).close()
    (directory.snapshots / "tmp123").write_bytes(b"half an image")
    started = await boot(_config(directory), directory)
    assert list(directory.snapshots.iterdir()) == []
    _close(started)


# Crashes in the middle of something.


async def test_a_store_without_a_log_that_was_never_used_is_made_anew(directory: DataDir) -> None:
    """The first start was cut short between the two files."""
    StateStore.open(directory.state, create=True).close()
    started = await boot(_config(directory, "--name=m1"), directory)
    assert started.memory.last_index() == 1
    _close(started)


@pytest.mark.parametrize("moment", ["image received", "log reset", "image installed"])
async def test_an_interrupted_install_of_a_snapshot_ends_on_one_of_its_sides(
    directory: DataDir, tmp_path: Path, moment: str
) -> None:
    """Before the log starts over the old state goes on; after it the image becomes the state. Never a mixture."""
    _make_state(directory.state, 3, marker=b"old")
    raft_log = _make_log(directory, 5)
    metadata = SnapshotMetadata(LogIndex(40), Term(2), CONF)
    image = received_path(directory.snapshots, metadata.index)
    _make_state(tmp_path / "leader.db", 40, term=2, marker=b"new")
    shutil.copy(tmp_path / "leader.db", image)
    if moment != "image received":
        raft_log.reset(metadata, HardState(Term(2), commit=metadata.index))
    raft_log.close()
    if moment == "image installed":
        StateStore.install(image, directory.state)
    started = await boot(_config(directory), directory)
    expected = (b"old", 3, 5) if moment == "image received" else (b"new", 40, 40)
    (kv,) = started.state.mvcc.range(b"\0", b"\0").kvs
    found = (expected[0] in kv, started.state.consistent_index, started.memory.last_index())
    assert found == (True, *expected[1:])
    assert _keys(started) == 1
    assert list(directory.snapshots.iterdir()) == []
    _close(started)


async def test_a_lost_image_after_the_log_started_over_is_told(directory: DataDir) -> None:
    """The old state with the new log would be a hole in the history."""
    _make_state(directory.state, 3)
    raft_log = _make_log(directory, 5)
    raft_log.reset(SnapshotMetadata(LogIndex(40), Term(2), CONF), HardState(Term(2), commit=LogIndex(40)))
    raft_log.close()
    refused = await _refusal(_config(directory), directory)
    assert "has applied index 3" in refused.message
    assert "its image was lost" in refused.cause


async def test_a_damaged_image_is_refused_by_name(directory: DataDir) -> None:
    """It is needed (the log has started over), so it is neither skipped nor deleted."""
    _make_state(directory.state, 3)
    raft_log = _make_log(directory, 5)
    raft_log.reset(SnapshotMetadata(LogIndex(40), Term(2), CONF), HardState(Term(2), commit=LogIndex(40)))
    raft_log.close()
    image = received_path(directory.snapshots, LogIndex(40))
    image.write_bytes(b"\0" * 8192)
    refused = await _refusal(_config(directory), directory)
    assert str(image) in refused.message
    assert image.exists()


# Data of another cluster.


@pytest.fixture
def at_home(directory: DataDir, remote: Node) -> Config:
    """Data of a member whose flags name `remote` as the other member of its cluster."""
    _make_state(directory.state, 3)
    _make_log(directory, 5).close()
    own = f"http://127.0.0.1:{free_ports(1)[0]}"
    cluster = f"--initial-cluster=m={own},other={remote.url}"
    return _config(directory, "--name=m", f"--initial-advertise-peer-urls={own}", cluster)


def _expect(remote: Node, monkeypatch: pytest.MonkeyPatch, *others: str) -> None:
    """Let `remote` list itself, and a member at each of `others`."""
    members = [Member(ALICE, (remote.url,), "other"), *[Member(MemberID(0x1234), (url,), "m") for url in others]]
    monkeypatch.setattr(remote.raft, "members_json", lambda: members_json(members))


def _files(directory: DataDir) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.root.rglob("*") if path.is_file()}


async def test_data_of_another_cluster_is_refused_where_that_cluster_expects_us(
    directory: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both clusters are named, and what can be done; the data is byte for byte what it was."""
    async with running(tmp_path / "stranger", ALICE, cluster=ClusterID(8)) as stranger:
        _make_state(directory.state, 3)
        _make_log(directory, 5).close()
        before = _files(directory)
        own = f"http://127.0.0.1:{free_ports(1)[0]}"
        _expect(stranger, monkeypatch, own)
        config = _config(
            directory,
            "--name=m",
            f"--initial-advertise-peer-urls={own}",
            f"--initial-cluster=m={own},other={stranger.url}",
        )
        refused = await _refusal(config, directory)
    assert f"{directory.root} belongs to cluster 7, but the members around run cluster 8" in refused.message
    assert f"{stranger.url} answered" in refused.cause
    for step in ("check --data-dir", "`member remove` 1234", "restored"):
        assert step in refused.hint
    after = _files(directory)
    # SQLite's own, without content.
    assert (after.pop("state.db-wal"), len(after.pop("state.db-shm"))) == (b"", 32768)
    assert after == before
    forced = await boot(_config(directory, "--force-new-cluster"), directory)
    assert forced.cluster_id == CLUSTER
    _close(forced)


async def test_a_stray_at_an_address_of_the_cluster_keeps_nobody_from_starting(
    directory: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another cluster that does not know us may have come to live where a member of ours was."""
    async with running(tmp_path / "stray", ALICE, cluster=ClusterID(8)) as stray:
        _make_state(directory.state, 3)
        _make_log(directory, 5).close()
        _expect(stray, monkeypatch)
        _close(await boot(_config(directory, "--name=m", f"--initial-cluster=m={URL},other={stray.url}"), directory))


async def test_one_member_of_our_own_cluster_outweighs_any_other_answer(
    directory: DataDir, at_home: Config, remote: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either order: half of the members may have been restored, and this half is at home."""
    own = at_home.initial_advertise_peer_urls[0]
    _expect(remote, monkeypatch, own)
    async with running(tmp_path / "stranger", ALICE, cluster=ClusterID(8)) as stranger:
        _expect(stranger, monkeypatch, own)
        for others in ((remote.url, stranger.url), (stranger.url, remote.url)):
            named = ",".join(f"o{number}={url}" for number, url in enumerate(others))
            config = dataclasses.replace(at_home, initial_cluster=f"m={own},{named}")
            _close(await boot(config, directory))


async def test_a_live_cluster_of_our_own_that_has_us_elsewhere_does_not_outweigh(
    directory: DataDir, at_home: Config, remote: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two clusters live, and one data directory was mixed up: both would go on without a member."""
    own = at_home.initial_advertise_peer_urls[0]
    _expect(remote, monkeypatch, URL)
    async with running(tmp_path / "stranger", ALICE, cluster=ClusterID(8)) as stranger:
        _expect(stranger, monkeypatch, own)
        named = f"m={own},a={remote.url},b={stranger.url}"
        refused = await _refusal(dataclasses.replace(at_home, initial_cluster=named), directory)
    assert "belongs to cluster 7" in refused.message


async def test_a_member_whose_data_names_the_others_asks_them_too(
    directory: DataDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags may say nothing: a restart does not need them."""
    async with running(tmp_path / "stranger", ALICE, cluster=ClusterID(8)) as stranger:
        _make_state(directory.state, 3)
        state = StateStore.open(directory.state, create=False)
        others = [Member(MEMBER, (URL,), "m"), Member(ALICE, (stranger.url,), "other")]
        MemberRegistry(CLUSTER, state.members).bootstrap(others)
        state.close()
        _make_log(directory, 5).close()
        _expect(stranger, monkeypatch, URL)
        refused = await _refusal(_config(directory, "--initial-cluster=nonsense"), directory)
    assert "belongs to cluster 7" in refused.message


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The URL of somebody who accepts connections and says nothing."""
    accepted: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: accepted.append(writer), "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert accepted
        for writer in accepted:
            writer.close()


async def test_a_start_waits_a_bounded_time_for_the_silent(
    directory: DataDir, at_home: Config, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it goes on: the others may be starting as well."""
    monkeypatch.setattr(bootstrap, "ASK_TIMEOUT_S", 0.05)
    _close(await boot(dataclasses.replace(at_home, initial_cluster=f"m={URL},other={silent}"), directory))


async def test_an_answer_from_home_ends_the_questions(
    directory: DataDir, at_home: Config, remote: Node, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart in a healthy cluster is not slower for them, whoever else hangs."""
    monkeypatch.setattr(bootstrap, "ASK_TIMEOUT_S", 600.0)
    _expect(remote, monkeypatch, URL, at_home.initial_advertise_peer_urls[0])
    named = f"m={URL},one={silent},two={remote.url}"
    async with asyncio.timeout(10.0):
        _close(await boot(dataclasses.replace(at_home, initial_cluster=named), directory))
