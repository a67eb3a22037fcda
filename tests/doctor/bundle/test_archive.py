"""The archive from what was looked at: settings, hosts, certificates; secrets planted in each of them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from etcdops.diagnosis.reading import Source
from etcdops.doctor.bundle.archive import Wanted, write_archive
from etcdops.doctor.bundle.contents import documents, plain
from etcdops.doctor.bundle.redact import Redactor
from etcdops.doctor.observation import AuthSeen, HostObservation, MemberOnHost, Observation, Outcome, PeerPath
from etcdops.errors import UsageError
from etcdops.facts.host import DataDir, HostFacts
from etcdops.ids import ClusterID, MemberID
from etcdops.secret import Secret
from etcdops.services.discover import Found
from etcdops.services.port import Origin, ProcessConfig, Setting, State

SECRET = "hunter2-S3cr"
CONFIG = ProcessConfig(
    "/usr/bin/etcd",
    {
        "name": Setting("m1", Origin.VARIABLE, "/etc/default/etcd:1"),
        "discovery-password": Setting(f"a, {SECRET}", Origin.FLAG),
        "discovery-proxy": Setting(f"http://user:{SECRET}@proxy:3128", Origin.FLAG),
        "initial-cluster-token": Setting("prod", Origin.FLAG),
    },
    ignored=(f"ETCDCTL_PASSWORD={SECRET}: not etcd's",),
)
HOST = HostObservation(
    "h1",
    facts=HostFacts("h1", firewall=(f"# password: {SECRET}",)),
    members=(
        MemberOnHost(
            Found("", "1", State.RUNNING, 1, CONFIG),
            data=DataDir("/var/lib/etcd", 1, True, MemberID(0xAB), ClusterID(0xCD)),
        ),
    ),
)
SEEN = Observation(
    hosts={"h1": HOST},
    paths=(PeerPath("h1", "m2", "https://10.0.0.2:2380", "peer", Outcome.TLS, "certificate has expired", 0.1),),
    auth=AuthSeen(enabled=True),
)


def wanted(**more: object) -> Wanted:
    found = [(path, content) for path, content in documents(SEEN)]
    return Wanted("etcdops-bundle-prod", 1_769_846_400.0, "etcdops 1", documents=found, **more)  # type: ignore[arg-type]


def test_what_was_looked_at_goes_in_without_secrets(tmp_path: Path) -> None:
    """Settings with where each of them stands; IDs as etcd prints them; what was not looked at is not there."""
    write_archive(tmp_path / "a.tar.gz", wanted(), Redactor([SECRET[:6]]))
    with tarfile.open(tmp_path / "a.tar.gz") as archive:
        names = [member.name.partition("/")[2] for member in archive.getmembers()]
        texts = [file.read().decode() for name in archive.getnames() if (file := archive.extractfile(name)) is not None]
    assert names == ["hosts/h1.json", "ways.json", "auth.json", "MANIFEST.json"]
    assert not any(SECRET in text for text in texts)
    host = json.loads(texts[0])
    (member,) = host["members"]
    assert "name=m1  # /etc/default/etcd:1" in member["settings"]["flags"]
    assert "discovery-password=***  # flag" in member["settings"]["flags"]
    assert "initial-cluster-token=prod  # flag" in member["settings"]["flags"]
    assert (member["data"]["member_id"], member["data"]["cluster_id"]) == ("00000000000000ab", "00000000000000cd")
    assert json.loads(texts[1])[0]["outcome"] == "tls"


def test_an_archive_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    """A log that vanished: no file, no half of one, no temporary one."""
    gone = Source("gone", tmp_path / "gone.log", 1)
    with pytest.raises(UsageError):
        write_archive(tmp_path / "a.tar.gz", wanted(logs=[("logs/gone.log", gone, "")]), Redactor())
    assert list(tmp_path.iterdir()) == []


def test_values_of_all_kinds_have_a_form_and_secrets_none() -> None:
    """Whatever is added to an observation later comes out as something that can be read."""
    assert plain({"a": Secret(SECRET), "b": float("nan"), "c": {1}, "d": Path("/x")}) == {
        "a": "***",
        "b": "nan",
        "c": [1],
        "d": "/x",
    }
