"""Members that must not start, must stop, or start in an unusual way (K, M, X20)."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import pytest

from etcdops.proto import etcdserverpb_pb2 as pb
from tests.differential.checklist import Server, executes
from tests.differential.client import Client
from tests.differential.conftest import Start, binaries_of
from tests.differential.requests import get, put
from tests.differential.stateful import restore_image
from tests.differential.statements import REFUSALS
from tests.support.ports import free_ports
from tests.support.real_etcd import RealMember, new_cluster, poll_until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(120)]

_ENDS_S = 40.0


def ends(member: RealMember) -> bool:
    """Whether the process ends by itself; started if it is not running."""
    if member.process is None:
        member.start_nowait()
    try:
        assert member.process is not None
        member.process.wait(_ENDS_S)
    except subprocess.TimeoutExpired:
        return False
    member.process = None
    return True


def not_started(kind: str, folder: Path, *flags: str) -> RealMember:
    (member,) = new_cluster(binaries_of(kind), folder, flags=flags).members
    return member


@executes("X20")
@pytest.mark.parametrize(
    "flags",
    [
        ("--heartbeat-interval=100", "--election-timeout=400"),
        ("--heartbeat-interval=100", "--election-timeout=50001"),
        ("--heartbeat-interval=0", "--election-timeout=1000"),
    ],
)
def test_times_that_make_no_sense_are_refused(kind: str, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """An election takes five heartbeats at least, and 50 s at most."""
    member = not_started(kind, tmp_path, *flags)
    assert ends(member), "it starts"
    assert "election" in member.log_tail() or "heartbeat" in member.log_tail()


@executes("M32")
def test_a_member_that_names_others_than_the_cluster_has_does_not_join(fresh: Start) -> None:
    """Its initial cluster must be the list of members, with their URLs."""
    server = fresh()
    (first,) = server.cluster.members
    client_port, peer_port = free_ports(2)
    flags = ["--initial-cluster-state=existing"]
    joining = RealMember(first.binaries, "m2", first.folder, client_port, peer_port, flags=flags)
    server.client.add_member(joining.peer_url, learner=True)
    server.cluster.members.append(joining)  # ended together with the other
    joining.initial_cluster = f"{first.initial_cluster},m2={joining.peer_url},m3=http://127.0.0.1:9"
    assert ends(joining), "it starts with one member too many"
    server.check("M32", "member count is unequal" in joining.log_tail(40), True)


@executes("K06")
def test_a_member_without_its_data_does_not_join_under_its_old_name(fresh: Start) -> None:
    """What it had acknowledged is lost: it must be removed and added."""
    server = fresh(size=3)
    for client in server.clients:
        client.put(put(b"k"))
    lost = server.cluster.members[1]
    lost.stop()
    shutil.rmtree(lost.data_dir)
    assert ends(lost), "it starts"
    server.check("K06", "has already been bootstrapped" in lost.log_tail(60), True)
    assert server.clients[0].range(get(b"k")).count == 1


@executes("M16", "K08", "M17")
def test_removed_members_end_and_stay_out(fresh: Start) -> None:
    """A follower, then the leader: each hears of it and ends; started again, it says that it was removed."""
    server = fresh(size=3)
    order = sorted(server.clients, key=_leads)
    for client in server.clients:
        client.range(get(b"x"))
    for number, client in enumerate((order[0], order[-1])):
        member = server.cluster.members[server.clients.index(client)]
        asked = order[1]
        own = client.status().header.member_id
        request = pb.MemberRemoveRequest(ID=own)
        poll_until(lambda: asked.refusal("Cluster/MemberRemove", request) == "OK", 30, "not removed")  # noqa: B023
        assert ends(member), f"{member.name} does not end"
        if number == 0:
            assert ends(member), "a removed member starts again"
            said = "the member has been permanently removed from the cluster"
            server.check("K08", said in member.log_tail(60), True)
    survivor = order[1]
    poll_until(lambda: survivor.refusal("KV/Put", put(b"k")) == "OK", 30, "the last one does not lead")
    server.check("M17", len(survivor.members().members), 1)


def _leads(client: Client) -> bool:
    status = client.status()
    return status.leader == status.header.member_id


@executes("K10")
def test_one_member_goes_on_alone_when_told_to(fresh: Start) -> None:
    """--force-new-cluster: the data and the cluster's ID stay, the other members are gone."""
    server = fresh(size=3)
    for number in range(10):
        server.client.put(put(b"k%d" % number))
    before = server.client.members()
    revision = server.client.hash_kv()
    # Not killed: etcd keeps in a buffer how far its log was committed, and drops what it does not know to be.
    server.cluster.stop()
    alone = server.cluster.members[0]
    alone.flags = ["--force-new-cluster"]
    alone.start()
    poll_until(lambda: server.client.refusal("KV/Range", get(b"k0")) == "OK", 20, "it does not serve")
    after = server.client.members()
    server.check("K10", [member.ID for member in after.members], [before.header.member_id])
    server.check("K10", after.header.cluster_id, before.header.cluster_id)
    server.check("K10", server.client.hash_kv().hash, revision.hash)
    server.check("K10", server.client.refusal("KV/Put", put(b"more")), "OK")


@executes("K12")
@pytest.mark.parametrize("damage", [100, -40, -5])
def test_a_damaged_image_is_not_restored(server: Server, tmp_path: Path, damage: int) -> None:
    """A flipped bit in the content, at its end, or in the checksum."""
    image = tmp_path / "image.db"
    data = bytearray(b"".join(part.blob for part in server.client.snapshot()))
    data[damage] ^= 0x40
    image.write_bytes(data)
    member = dataclasses.replace(server.cluster.members[0], folder=tmp_path / "restored", process=None)
    done = restore_image(member, image)
    server.check("K12", done.returncode != 0, True)


@executes("K11", "I06")
@pytest.mark.parametrize("bump", [0, 1_000_000])
def test_a_restored_member_goes_on_where_the_image_was(fresh: Start, bump: int) -> None:
    """Keys, revisions and hash; a new cluster. With a bump the revision jumps, and what is older is compacted."""
    server = fresh()
    if bump:
        server.runs("K11.bump")
    for number in range(5):
        server.client.put(put(b"k", b"%d" % number))
    before, cluster = server.client.hash_kv(), server.client.members().header.cluster_id
    (member,) = server.cluster.members
    image = member.folder / "image.db"
    image.write_bytes(b"".join(part.blob for part in server.client.snapshot()))
    member.stop()
    member.data_dir.rename(member.folder / "before")
    bumped = (f"--bump-revision={bump}", "--mark-compacted") if bump else ()
    done = restore_image(member, image, "--initial-cluster-token=another", *bumped)
    assert done.returncode == 0, done.stdout + done.stderr
    member.start()
    poll_until(lambda: server.client.refusal("KV/Range", get(b"k")) == "OK", 20, "it does not serve")
    found = server.client.range(get(b"k"))
    server.check("K11", (found.kvs[0].value, found.kvs[0].mod_revision), (b"4", 6))
    server.check("I06", found.header.cluster_id != cluster, True)
    old = server.client.refusal("KV/Range", get(b"k", revision=4))
    if bump:
        server.check("K11", (found.header.revision, old), (6 + bump, REFUSALS["E19"]))
    else:
        server.check("K11", (found.header.revision, old), (6, "OK"))
        server.check("K11", server.client.hash_kv().hash, before.hash)


@executes("K14")
def test_one_data_directory_has_one_member(fresh: Start) -> None:
    """A second process on it never serves."""
    server = fresh()
    (first,) = server.cluster.members
    client_port, peer_port = free_ports(2)
    second = dataclasses.replace(first, client_port=client_port, peer_port=peer_port, process=None)
    log_before = len(first.log.read_bytes())
    second.start_nowait()
    try:
        assert second.process is not None
        second.process.wait(8)
        outcome = "ends"
    except subprocess.TimeoutExpired:
        outcome = "waits"
    finally:
        second.kill()
    said = first.log.read_bytes()[log_before:]
    server.check("K14", outcome, "waits")
    assert b"serving client traffic" not in said
    assert server.client.refusal("KV/Put", put(b"k")) == "OK"
