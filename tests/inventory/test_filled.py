"""An inventory with everything filled in is an inventory again, and means the same."""

from __future__ import annotations

from pathlib import Path

import yaml

from etcdops.inventory.filled import filled
from etcdops.inventory.load import load_inventory
from etcdops.inventory.model import Inventory, PlacedMember, place

TEXT = """\
hosts:
  etcd-1: {address: 10.0.0.11, ssh: {user: ops, key: ~/.ssh/id, become: {password: {command: [pass, etcd]}}}}
  etcd-2: {ssh: {jump: "ops@gate:2222", password: {env: LOGIN}}, tags: {rack: b}}
  etcd-3: {address: "fd00::3", local: true}
clusters:
  prod:
    engine: {kind: etcd, version: "3.5"}
    tls: {client_cert_auth: false}
    settings: {quota-backend-bytes: 8589934592, pre-vote: true}
    members:
      - {host: etcd-1, wal_dir: /wal, settings: {pre-vote: false}}
      - {host: etcd-2, name: second, listen_metrics_urls: ["http://127.0.0.1:2381"]}
      - {host: etcd-3}
  lab:
    engine: {kind: node}
    service: {manager: podman, image: "quay.io/x/y:1"}
    members: [{host: etcd-1, data_dir: /lab, listen_client_urls: ["http://0.0.0.0:1"],
               listen_peer_urls: ["http://0.0.0.0:2"]}]
"""


def placed(inventory: Inventory) -> dict[str, list[PlacedMember]]:
    return {
        name: [place(inventory, cluster, member) for member in cluster.members]
        for name, cluster in inventory.clusters.items()
    }


def test_it_can_be_read_again_and_places_the_same_members(tmp_path: Path) -> None:
    """And filling it in once more changes nothing."""
    (tmp_path / "short.yaml").write_text(TEXT)
    before = load_inventory([tmp_path / "short.yaml"])
    full = filled(before)
    (tmp_path / "full.yaml").write_text(yaml.safe_dump(full))
    after = load_inventory([tmp_path / "full.yaml"])
    assert filled(after) == full
    for name, members in placed(before).items():
        for one, other in zip(members, placed(after)[name], strict=True):
            assert one.host.reached_at == other.host.reached_at
            assert {**vars(one), "host": None} == {**vars(other), "host": None}
    assert after.hosts["etcd-1"].ssh == before.hosts["etcd-1"].ssh
    assert after.clusters["prod"].tls == before.clusters["prod"].tls
    assert after.clusters["lab"].service == before.clusters["lab"].service


def test_nothing_is_left_to_defaults(tmp_path: Path) -> None:
    """URLs, directories, token, and names of members; a secret is its source."""
    (tmp_path / "short.yaml").write_text(TEXT)
    full = filled(load_inventory([tmp_path / "short.yaml"]))
    assert full["hosts"]["etcd-2"]["address"] == "etcd-2"
    assert full["clusters"]["prod"]["token"] == "prod"
    members = full["clusters"]["prod"]["members"]
    assert isinstance(members, list)
    assert members[2]["advertise_client_urls"] == ["https://[fd00::3]:2379"]
    assert members[0]["settings"] == {"quota-backend-bytes": "8589934592", "pre-vote": "false"}
    ssh = full["hosts"]["etcd-1"]["ssh"]
    assert isinstance(ssh, dict)
    assert ssh["become"]["password"] == {"command": ["pass", "etcd"]}
