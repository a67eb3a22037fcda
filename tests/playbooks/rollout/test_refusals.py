"""What stands in the way of a rollout: each thing by itself, from told facts."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from etcdops.facts.host import DataDir, Disk, Listener
from etcdops.ids import ClusterID, MemberID
from etcdops.playbooks.rollout.refusals import refusals, warnings
from etcdops.playbooks.rollout.standing import Standing, standing_of
from tests.playbooks.rollout.told import DATA, members, service, setting

Change = Mapping[str, object]
OLD = DataDir(DATA, 1, True, MemberID(0xAB), ClusterID(0xCD))
NODE: Change = {"engine": {"kind": "node"}}
NO_SOURCE: Change = {"engine": {"version": "3.5.16"}}


def test_nothing_stands_in_the_way_of_three_bare_hosts() -> None:
    """No rule is always true."""
    assert refusals(setting()) == ()
    assert warnings(setting()) == ()
    assert refusals(setting(NODE)) == ()


def test_members_found_by_srv_records_are_known_by_name() -> None:
    """Such records hold names; who advertises an address would find that the cluster knows another URL of it."""
    found = refusals(setting({"settings": {"discovery-srv": "x.test"}}))
    assert [(one.id, one.host) for one in found] == [("srv-names", "h1"), ("srv-names", "h2"), ("srv-names", "h3")]
    assert "the SRV records of x.test" in found[0].why


@pytest.mark.parametrize(
    ("cluster", "h1", "code", "said"),
    [
        ({}, {"memory_bytes": 1 << 30}, "memory-small", "1.0 GiB of memory, and the database may grow to 2.0 GiB"),
        ({"settings": {"quota-backend-bytes": str(8 << 30)}}, {"memory_bytes": 4 << 30}, "memory-small", "to 8.0 GiB"),
        ({"service": {"manager": "process"}}, {"open_files": 1024}, "file-limit", "may have 1024 open files at most"),
        ({}, {"swap_bytes": 1 << 30}, "swap", "1024 MiB of swap"),
    ],
)  # fmt: skip
def test_what_a_host_is_short_of_is_worth_knowing_and_stops_nobody(
    cluster: Change, h1: Change, code: str, said: str
) -> None:
    """Memory for the whole database, open files where no unit sets them, no swap."""
    (found,) = warnings(setting(cluster, h1=h1))
    assert (found.id, found.host, said in found.what) == (code, "h1", True)
    assert refusals(setting(cluster, h1=h1)) == ()
    assert warnings(setting({"settings": {"quota-backend-bytes": "-1"}}, h1={"memory_bytes": 1, "open_files": 1})) == ()


@pytest.mark.parametrize(
    ("cluster", "h1", "code", "said"),
    [
        ({"members": [{"host": "h1"}, {"host": "h2"}]}, {}, "even-members", "2 members, an even number"),
        (
            {"members": [{"name": n, "host": f"h{n[1]}", "data_dir": f"/data/{n}"} for n in ("a1", "b1", "c2")]},
            {"data_dirs": (), "disks": ()},
            "two-on-one-host",
            "a1, b1",
        ),
        ({}, {"machine_id": f"{'h2':0>32}"}, "cloned-machine-id", "that of h1 too"),
        ({}, {"clock_offset_s": 1.2}, "clock-off", "1.2 s ahead of"),
        ({}, {"clock_offset_s": -63.0}, "clock-off", "63.0 s behind"),
        ({}, {"disks": (Disk(DATA, "ext4", 50 << 30, 0.02, 0.35, 200),)}, "disk-slow", "350 ms (p99 of 200"),
        ({}, {"disks": (Disk(DATA, "ext4", 300 << 20),)}, "disk-full", "only 300 MiB"),
        ({}, {"listeners": (Listener("0.0.0.0", 2380, "nginx"),)}, "port-taken", "port 2380 is taken by nginx"),
        ({}, {"data_dirs": (OLD,)}, "old-data", "data of member ab of cluster cd"),
        ({}, {"data_dirs": (DataDir(DATA, 3),)}, "old-data", "3 files that are no member's"),
        ({}, {"missing": ("systemctl",)}, "program-missing", "no systemctl"),
        ({}, {"addresses": ("127.0.0.1", "192.168.7.7")}, "advertise-unreachable", "10.0.0.1: none of its host's"),
        (NODE, {"python": None}, "python-missing", "no python3"),
        (NODE, {"python": (3, 9, 2)}, "python-differs", "3.9, ours is 3.11"),
        (NODE, {"machine": "aarch64", "libc": "musl"}, "python-differs", "aarch64, this machine is a x86_64; its"),
        (NO_SOURCE, {"engine_version": "3.4.23"}, "mixed-versions", "its etcd is 3.4.23"),
        (NO_SOURCE, {"engine_version": "3.5.160"}, "mixed-versions", "its etcd is 3.5.160"),
        (NO_SOURCE, {}, "engine-missing", "there is no etcd"),
        ({}, {"found": (service(keeper=""),), "data_dirs": (OLD,)}, "other-service", "kept by nobody (process 77)"),
        ({}, {"found": (service("other"),), "data_dirs": (OLD,)}, "old-data", "not empty"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_host_is_refused_with_its_name_and_the_next_step(
    cluster: Change, h1: Change, code: str, said: str
) -> None:
    """Each rule by itself; the other hosts are told to be well."""
    found = [one for one in refusals(setting(cluster, h1=h1)) if one.id == code]
    assert found, f"not refused: {code}"
    assert said in str(found[0])
    assert found[0].why
    assert found[0].next_step
    others = {one.host for one in refusals(setting(cluster, h1=h1)) if cluster is not NO_SOURCE}
    assert others <= {"", "h1", "h2"}


@pytest.mark.parametrize(
    ("member", "code", "said"),
    [
        ({"listen_peer_urls": ["http://127.0.0.1:2380"]}, "listen-localhost", "listens for peers on 127.0.0.1 only"),
        ({"listen_client_urls": ["http://localhost:2379"]}, "listen-localhost", "for clients on localhost only"),
        ({"advertise_client_urls": ["http://0.0.0.0:2379"]}, "advertise-unreachable", "h1 advertises 0.0.0.0"),
        ({"initial_advertise_peer_urls": ["http://127.0.0.1:2380"]}, "advertise-unreachable", "advertises 127.0.0.1"),
        ({"initial_advertise_peer_urls": ["http://10.0.0.99:2380"]}, "advertise-unreachable", "10.0.0.99: none of"),
    ],
)
def test_urls_that_nobody_could_use_are_refused(member: Change, code: str, said: str) -> None:
    """The first member's, in a cluster of three."""
    whole = {"members": [{"host": "h1", **member}, {"host": "h2"}, {"host": "h3"}]}
    found = [one for one in refusals(setting(whole)) if one.id == code]
    assert [one.host for one in found] == ["h1"]
    assert said in str(found[0])


def test_a_member_alone_may_live_on_localhost() -> None:
    """Development machines have such clusters."""
    local = {
        "listen_client_urls": ["http://127.0.0.1:2379"],
        "advertise_client_urls": ["http://127.0.0.1:2379"],
        "listen_peer_urls": ["http://127.0.0.1:2380"],
        "initial_advertise_peer_urls": ["http://127.0.0.1:2380"],
    }
    assert refusals(setting({"members": [{"host": "h1", **local}]}, count=1)) == ()


def test_two_hosts_with_one_data_directory_are_clones() -> None:
    """The same member twice: the image of a member was copied. No force overrides it."""
    found = refusals(setting(h1={"data_dirs": (OLD,)}, h2={"data_dirs": (OLD,)}))
    clones = [one for one in found if one.id == "cloned-data-dir"]
    assert [(one.host, one.overridable) for one in clones] == [("h2", False)]


def test_a_name_that_leads_elsewhere_is_refused_and_one_that_leads_home_is_not() -> None:
    """As the other hosts resolve it."""
    urls = {"initial_advertise_peer_urls": ["http://db1:2380"]}
    whole = {"members": [{"host": "h1", **urls}, {"host": "h2"}, {"host": "h3"}]}
    assert refusals(setting(whole, h2={"names": {"db1": ("10.0.0.1",)}})) == ()
    (found,) = refusals(setting(whole, h2={"names": {"db1": ("10.9.9.9",)}}))
    assert "on h2 that is 10.9.9.9" in str(found)
    (found,) = refusals(setting(whole, h2={"names": {"db1": ()}}))
    assert "h2 does not know this name" in str(found)


def test_a_clock_is_compared_with_those_of_the_other_hosts_not_with_ours() -> None:
    """When all hosts agree it is the operator's machine that is wrong."""
    wrong = {f"h{n}": {"clock_offset_s": 40.0} for n in (1, 2)}
    whole = setting(h1=wrong["h1"], h2=wrong["h2"])
    assert [one.host for one in refusals(whole) if one.id == "clock-off"] == ["h3"]
    assert refusals(setting(h1={"clock_offset_s": 1.2, "clock_error_s": 0.5})) == (), "as far as it can be known"


def test_a_member_of_ours_takes_its_own_ports_and_has_data_of_its_own() -> None:
    """What a second apply finds is no obstacle."""
    ours = {"data_dirs": (OLD,), "found": (service(),), "listeners": (Listener("0.0.0.0", 2379, "etcd"),)}
    whole = setting({"members": [{"host": "h1"}]}, count=1, h1=ours)
    assert standing_of(whole.members[0], whole.facts["h1"]) is Standing.OURS
    assert refusals(whole) == ()


def test_a_member_that_lost_its_data_is_not_started_beside_those_that_have_theirs() -> None:
    """It would vote as somebody who forgot what he promised (dr-traps: a wiped member started again)."""
    ours = {"data_dirs": (OLD,), "found": (service(),)}
    found = refusals(setting(h1=ours))
    assert [(one.id, one.host) for one in found] == [("member-without-data", "h2"), ("member-without-data", "h3")]


@pytest.mark.parametrize(
    ("h1", "code"),
    [
        ({"disks": (Disk(DATA, "ext4", 50 << 30, 0.002, 0.05, 200),)}, "disk-not-fast"),
        ({"disks": (Disk(DATA, "ext4", 2 << 30),)}, "disk-small"),
        ({"swap_bytes": 1 << 30}, "swap"),
        ({"clock_offset_s": None}, "clock-unknown"),
        ({"firewall": ("-P INPUT DROP",)}, "firewall"),
    ],
)
def test_what_is_worth_knowing_is_a_warning(h1: Change, code: str) -> None:
    """Nobody is stopped by it."""
    whole = setting(h1=h1)
    assert refusals(whole) == ()
    assert {(one.id, one.host) for one in warnings(whole)} == {(code, "h1")}


def test_every_refusal_says_what_why_and_what_next() -> None:
    """A refusal without a way out helps nobody."""
    whole = setting({"members": [{"host": "h1"}, {"host": "h2"}]}, h1={"data_dirs": (OLD,), "missing": ("systemctl",)})
    for one in refusals(whole):
        assert all((one.id, one.what, one.why, one.next_step))
    assert members()[0].name == "h1"
