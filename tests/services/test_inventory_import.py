"""The files of one member become an inventory that passes its own checks, guesses marked, secrets left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Inventory, PlacedMember, place
from etcdops.services.importing.files import read_files
from etcdops.services.importing.made import render_import
from etcdops.services.written_config import read_written

DEBIAN = """\
## etcd(1) daemon options
# ETCD_DATA_DIR="/var/lib/etcd/unused"
ETCD_NAME="etcd-1"
ETCD_DATA_DIR="/var/lib/etcd/default"
ETCD_LISTEN_CLIENT_URLS="http://10.0.0.11:2379,http://127.0.0.1:2379"
ETCD_ADVERTISE_CLIENT_URLS="http://10.0.0.11:2379"
ETCD_LISTEN_PEER_URLS="http://10.0.0.11:2380"
ETCD_INITIAL_ADVERTISE_PEER_URLS="http://10.0.0.11:2380"
ETCD_INITIAL_CLUSTER="etcd-1=http://10.0.0.11:2380,etcd-2=http://10.0.0.12:2380,etcd-3=http://10.0.0.13:2380"
ETCD_INITIAL_CLUSTER_TOKEN="prod"
ETCD_QUOTA_BACKEND_BYTES=8589934592
ETCD_DISCOVERY_PROXY="http://me:hunter2@proxy:3128"
"""
YML = """\
name: m1
data-dir: /srv/etcd
listen-client-urls: https://[fd00::1]:2379
advertise-client-urls: https://[fd00::1]:2379
listen-peer-urls: https://[fd00::1]:2380
initial-advertise-peer-urls: https://[fd00::1]:2380
initial-cluster: m1=https://[fd00::1]:2380,m2=https://[fd00::2]:2380
client-transport-security:
  cert-file: /etc/etcd/tls/server.pem
  key-file: /etc/etcd/tls/server.key
  client-cert-auth: true
peer-transport-security:
  cert-file: /etc/etcd/tls/peer.pem
  key-file: /etc/etcd/tls/peer.key
  client-cert-auth: true
auto-compaction-retention: "1"
"""
UNIT = """\
[Service]
User=etcduser
Group=etcdgroup
WorkingDirectory=/var/lib/etcd/
EnvironmentFile=-/etc/etcd/etcd.conf
ExecStart=/bin/bash -c "GOMAXPROCS=2 /usr/bin/etcd --name=\\"${ETCD_NAME}\\" --snapshot-count=5000"
"""


async def imported(tmp_path: Path, **texts: str) -> tuple[Inventory, str]:
    """Files by name (`__` for a dot); returns what reading the result gives, and its text."""
    files = {name.replace("__", "."): text for name, text in texts.items()}
    text = render_import(await read_files(files))
    (tmp_path / "made.yaml").write_text(text)
    return load_inventory([tmp_path / "made.yaml"]), text


def members(inventory: Inventory) -> list[PlacedMember]:
    [cluster] = inventory.clusters.values()
    return [place(inventory, cluster, member) for member in cluster.members]


async def test_debians_variables(tmp_path: Path) -> None:
    """The member as it is, the others alike at their own addresses; a password in a URL is left out and named."""
    inventory, text = await imported(tmp_path, etcd=DEBIAN)
    assert list(inventory.clusters) == ["prod"]
    assert {name: host.address for name, host in inventory.hosts.items()} == {
        "etcd-1": "10.0.0.11",
        "etcd-2": "10.0.0.12",
        "etcd-3": "10.0.0.13",
    }
    first, second, _ = members(inventory)
    assert first.data_dir == second.data_dir == "/var/lib/etcd/default"
    assert first.listen_client_urls == ("http://10.0.0.11:2379", "http://127.0.0.1:2379")
    assert second.listen_client_urls == ("http://10.0.0.12:2379", "http://127.0.0.1:2379")
    assert second.initial_advertise_peer_urls == ("http://10.0.0.12:2380",)
    assert first.settings == {"quota-backend-bytes": "8589934592"}
    assert "hunter2" not in text
    assert "# - discovery-proxy was left out: it holds a secret (etcd:12)\n" in text
    for guess in ("engine.version is a guess", "service is a guess", "user and group are a guess", "only etcd-1"):
        assert guess in text


async def test_a_config_file_with_tls(tmp_path: Path) -> None:
    """IPv6, sections, the folder of the certificates; the token is etcd's default, not the cluster's name."""
    inventory, text = await imported(tmp_path, etcd__conf__yml=YML)
    cluster = inventory.clusters["etcd"]
    assert cluster.token == "etcd-cluster"
    assert cluster.tls is not None
    assert (cluster.tls.client, cluster.tls.peer, cluster.tls.client_cert_auth) == (True, True, True)
    assert cluster.tls.files is not None
    assert cluster.tls.files.flags["cert-file"] == "/etc/etcd/tls/server.pem"
    first, second = members(inventory)
    assert (first.data_dir, first.listen_client_urls) == ("/srv/etcd", ("https://[fd00::1]:2379",))
    assert second.advertise_client_urls == ("https://[fd00::2]:2379",)
    assert first.settings == {"auto-compaction-retention": "1"}
    assert "peer_key_file: /etc/etcd/tls/peer.key" in text


async def test_a_unit_with_its_environment_file_and_a_drop_in(tmp_path: Path) -> None:
    """CentOS's unit starts a shell; flags beat variables; the drop-in has the last word; who it runs as is known."""
    drop_in = "[Service]\nUser=other\n"
    env = 'ETCD_NAME=solo\nETCD_DATA_DIR="solo.etcd"\nETCD_SNAPSHOT_COUNT=7\n'
    inventory, text = await imported(tmp_path, db__service=UNIT, etcd__conf=env, override__conf=drop_in)
    [cluster] = inventory.clusters.values()
    assert (cluster.service.name, cluster.user, cluster.group) == ("db", "other", "etcdgroup")
    [member] = members(inventory)
    assert (member.name, member.data_dir) == ("solo", "/var/lib/etcd/solo.etcd")
    assert member.settings == {"snapshot-count": "5000"}
    assert "ETCD_SNAPSHOT_COUNT=7: the flag --snapshot-count comes first" in text
    assert "initial-cluster is not set" in text


async def test_a_file_that_is_named_and_not_given_is_told(tmp_path: Path) -> None:
    """An environment file is a note; a config file is everything, so that without it there is nothing to say."""
    unit = "[Service]\nEnvironmentFile=/etc/default/etcd\nExecStart=/usr/bin/etcd --name m1\n"
    _, text = await imported(tmp_path, etcd__service=unit)
    assert "the unit reads /etc/default/etcd, which was not given" in text
    with pytest.raises(UsageError, match=r"etcd would read /etc/etcd\.yml, which was not given"):
        await read_written({"u": "[Service]\nExecStart=/usr/bin/etcd --config-file /etc/etcd.yml\n"})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a.yml": "name: a\n", "b.yml": "name: b\n"}, "two config files"),
        ({"a.yml": "colour: red\n"}, "no setting of etcd"),
        ({"a.service": "[Service]\nUser=x\n"}, "starts nothing"),
        ({"env": "ETCD_NAME=a\n", "a.yml": "name: b\n"}, "nothing that was given makes etcd read a.yml"),
        ({"env": "ETCD_NAME=a\nETCD_INITIAL_CLUSTER=b=http://h:2380\n"}, "initial-cluster names b"),
        ({"env": "ETCD_NAME=a\nETCD_INITIAL_CLUSTER=a=http://h:1,b=http://h:2\n"}, "several members are on one host"),
        ({"env": "ETCD_NAME=a\nETCD_INITIAL_CLUSTER=a=nothing\n"}, "is no peer URL"),
    ],
)
async def test_what_cannot_be_imported_is_refused_with_its_reason(texts: dict[str, str], message: str) -> None:
    """Rather than an inventory that is wrong."""
    with pytest.raises(UsageError, match=message):
        render_import(await read_files(texts))


async def test_text_of_a_file_cannot_leave_its_comment(tmp_path: Path) -> None:
    """A value with line ends in a note stays one line."""
    env = 'ETCD_NAME=a\nETCD_NO_SUCH="x\nclusters: {}\n"\n'
    _, text = await imported(tmp_path, env=env)
    assert all(line.startswith("#") for line in text.partition("hosts:")[0].splitlines())
    assert "\nclusters: {}" not in text


async def test_no_secret_is_in_it_wherever_it_was_written(tmp_path: Path) -> None:
    """As a flag, a variable that a flag hides, a URL in what has no effect, a flag that etcd does not have."""
    unit = """\
[Service]
Environment="ETCD_DISCOVERY_PASSWORD=a\\nhunter1" ETCD_DISCOVERY_PROXY=http://me:hunter2@proxy
ExecStart=/usr/bin/etcd --name m1 --discovery-password hunter3 \\
    --discovery-proxy http://me:hunter4@proxy --root-password=hunter5 \\
    --colour=red
"""
    inventory, text = await imported(tmp_path, etcd__service=unit)
    assert "hunter" not in text
    assert "colour was left out: no version of etcd has such a flag" in text
    assert members(inventory)[0].settings == {}


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("/usr/bin/etcd", "etcd"),
        ("/usr/local/bin/etcdops-node", "node"),
        ("/usr/bin/python3 -m etcdops node", "node"),
        ("/opt/node/etcd", "etcd"),
    ],
)
async def test_the_bundled_member_is_told_from_etcd(tmp_path: Path, program: str, kind: str) -> None:
    """By what the unit starts."""
    inventory, text = await imported(tmp_path, etcd__service=f"[Service]\nExecStart={program} --name m1\n")
    assert inventory.clusters["etcd"].engine.kind == kind
    assert ("engine.version is a guess" in text) == (kind == "etcd")
