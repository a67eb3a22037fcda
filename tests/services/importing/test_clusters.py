"""Members that were found on hosts are told apart by cluster, and joined with what a running cluster says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.load import read_texts
from etcdops.inventory.model import Inventory, Manager
from etcdops.services.importing.clusters import Live, LiveMember, grouped
from etcdops.services.importing.evidence import Evidence, HostFound
from etcdops.services.importing.made import render_import
from etcdops.services.port import Origin, ProcessConfig, Setting

TWO = "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380"


def evidence(name: str, number: int, initial: str = TWO, port: int = 2380, **flags: str) -> Evidence:
    values = {
        "name": name,
        "data-dir": f"/data/{name}",
        "initial-cluster": initial,
        "initial-advertise-peer-urls": f"http://10.0.0.{number}:{port}",
        "listen-peer-urls": f"http://10.0.0.{number}:{port}",
        "listen-client-urls": f"http://10.0.0.{number}:{port - 1}",
        "advertise-client-urls": f"http://10.0.0.{number}:{port - 1}",
    } | {key.replace("_", "-"): value for key, value in flags.items()}
    config = ProcessConfig("/usr/bin/etcd", {key: Setting(value, Origin.FLAG, "x") for key, value in values.items()})
    host = HostFound(f"h{number}", f"10.0.0.{number}", {"ssh": {"user": "ops"}})
    return Evidence(config, f"h{number}: etcd.service", host, Manager.SYSTEMD, "etcd", user="etcd", version="3.5.16")


def loaded(text: str) -> Inventory:
    return read_texts({Path("made"): text}).inventory


def test_members_that_name_each_other_are_one_cluster() -> None:
    """On hosts of their own, with the login that was used; what all have alike stands once."""
    text = render_import([evidence("a", 1, snapshot_count="9"), evidence("b", 2, snapshot_count="9", pre_vote="true")])
    inventory = loaded(text)
    [cluster] = inventory.clusters.values()
    assert [member.host for member in cluster.members] == ["h1", "h2"]
    assert inventory.hosts["h1"].ssh.user == "ops"
    assert cluster.settings == {"snapshot-count": "9"}
    assert cluster.members[1].settings == {"pre-vote": "true"}
    assert cluster.engine.version == "3.5.16"


def test_clusters_on_the_same_hosts_are_told_apart() -> None:
    """By their tokens, and by their IDs where those are known, whatever the tokens say."""
    other = "a=http://10.0.0.1:3380,b=http://10.0.0.2:3380"
    both = [
        evidence("a", 1, initial_cluster_token="one"),
        evidence("a", 1, other, 3380, initial_cluster_token="two", data_dir="/data/two"),
        evidence("b", 2, initial_cluster_token="one"),
    ]
    inventory = loaded(render_import(both))
    assert {name: [m.label for m in c.members] for name, c in inventory.clusters.items()} == {
        "one": ["a", "b"],
        "two": ["a", "b"],
    }
    assert set(inventory.hosts) == {"h1", "h2"}
    known = [replace(one, cluster_id=number) for one, number in zip(both, "121", strict=True)]
    assert [len(group) for group in grouped(known)] == [2, 1]
    apart = [replace(both[0], cluster_id="1"), replace(both[2], cluster_id="2")]
    assert [len(group) for group in grouped(apart)] == [1, 1]
    joined = [
        replace(evidence("a", 1), cluster_id="1"),
        replace(evidence("c", 3, "c=http://10.0.0.3:2380"), cluster_id="1"),
    ]
    assert [len(group) for group in grouped(joined)] == [2]


def test_default_tokens_alone_make_no_cluster() -> None:
    """Two single members that nobody named a token for are two clusters."""
    alone = [evidence("a", 1, "a=http://10.0.0.1:2380"), evidence("b", 2, "b=http://10.0.0.2:2380")]
    assert list(loaded(render_import(alone)).clusters) == ["etcd", "etcd-2"]
    with pytest.raises(UsageError, match="--cluster names one cluster, and there are 2"):
        render_import(alone, cluster="prod")


LIVE = Live(
    "c1",
    (
        LiveMember("a1", "a", ("http://10.0.0.1:2380",), ("http://10.0.0.1:2379",), version="3.5.16"),
        LiveMember("b1", "b", ("http://10.0.0.2:2390",), (), version="", error="connection refused"),
        LiveMember("c1", "", ("http://10.0.0.3:2380",), (), is_learner=True),
    ),
    ("cluster c1: 2 of 3 members answer",),
)


def test_a_running_cluster_knows_its_members_best() -> None:
    """Initial-cluster is old: a member moved, one came, one is not running; each is said."""
    text = render_import([evidence("a", 1), evidence("x", 9, "x=http://10.0.0.9:2380")], live=LIVE, cluster="prod")
    cluster = loaded(text).clusters["prod"]
    assert [member.label for member in cluster.members] == ["a", "b", "member-3"]
    assert cluster.members[0].data_dir == "/data/a"
    assert cluster.members[1].initial_advertise_peer_urls == ("http://10.0.0.2:2390",)
    for note in (
        "2 of 3 members answer",
        "b does not answer: connection refused",
        "member-3 (http://10.0.0.3:2380) was added to the cluster and never started",
        "member-3 is a learner",
        "h9: etcd.service is no member of this cluster",
        "only a was read",
    ):
        assert note in text


def test_without_hosts_what_a_cluster_does_not_say_is_named() -> None:
    """Members on one machine get directories and URLs of their own, so that the inventory holds."""
    live = Live(
        "c1",
        tuple(
            LiveMember(name, name, (f"http://127.0.0.1:{port}",), (f"http://127.0.0.1:{port - 1}",), version=version)
            for name, port, version in (("a", 2380, "3.5.16"), ("b", 22380, "3.4.34"))
        ),
    )
    text = render_import([], live=live, access={"user": "root", "password": {"prompt": "password of root"}})
    [cluster] = loaded(text).clusters.values()
    assert cluster.engine.version == "3.4.34"
    assert (cluster.access.user, cluster.members[1].data_dir) == ("root", "/var/lib/etcd/b")
    for note in (
        "data directories, listening URLs",
        "members run 3.4.34, 3.5.16",
        "token is a guess",
        "user and group",
    ):
        assert note in text


def test_one_member_found_twice_is_refused() -> None:
    """A unit left over beside the container that replaced it: which one counts is for a person to say."""
    with pytest.raises(UsageError, match="are both the member a of one cluster"):
        render_import([evidence("a", 1), replace(evidence("a", 1), source="h1: old.service")])
