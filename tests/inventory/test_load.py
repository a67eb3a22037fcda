"""An inventory is read whole, filled in, and every fault is named by file, line, key and fix."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.load import InventoryError, load_inventory
from etcdops.inventory.model import EngineKind, Inventory, Manager, place

SMALL = """\
hosts:
  etcd-1: {address: 10.0.0.11}
  etcd-2: {address: 10.0.0.12}
  etcd-3: {address: "fd00::3"}
clusters:
  prod:
    engine: {kind: etcd, version: 3.5.16}
    members: [{host: etcd-1}, {host: etcd-2}, {host: etcd-3, name: third}]
"""


def read(tmp_path: Path, text: str, **others: str) -> Inventory:
    for name, content in {"main": text, **others}.items():
        (tmp_path / f"{name}.yaml").write_text(dedent(content))
    return load_inventory([tmp_path / f"{name}.yaml" for name in ("main", *others)])


def faults(tmp_path: Path, text: str, **others: str) -> list[str]:
    """Without the folder they are in."""
    with pytest.raises(InventoryError) as caught:
        read(tmp_path, text, **others)
    return [str(fault).removeprefix(f"{tmp_path}/") for fault in caught.value.faults]


def test_three_hosts_are_enough(tmp_path: Path) -> None:
    """Everything else has etcd's defaults; IPv6 addresses get their brackets."""
    inventory = read(tmp_path, SMALL)
    cluster = inventory.clusters["prod"]
    assert (cluster.engine.kind, cluster.service.manager) == (EngineKind.ETCD, Manager.SYSTEMD)
    assert cluster.initial_cluster_token == "prod"
    first, _, third = (place(inventory, cluster, member) for member in cluster.members)
    assert (first.name, third.name) == ("etcd-1", "third")
    assert first.listen_client_urls == ("http://0.0.0.0:2379",)
    assert first.initial_advertise_peer_urls == ("http://10.0.0.11:2380",)
    assert third.advertise_client_urls == ("http://[fd00::3]:2379",)
    assert third.listen_peer_urls == ("http://[::]:2380",)
    assert third.data_dir == "/var/lib/etcd"


def test_tls_changes_the_urls_that_are_left_out(tmp_path: Path) -> None:
    """Client and peer ports apart."""
    inventory = read(tmp_path, SMALL + "    tls: {peer: false}\n")
    placed = place(inventory, inventory.clusters["prod"], inventory.clusters["prod"].members[0])
    assert placed.advertise_client_urls == ("https://10.0.0.11:2379",)
    assert placed.initial_advertise_peer_urls == ("http://10.0.0.11:2380",)


def test_settings_are_flags_and_a_member_has_the_last_word(tmp_path: Path) -> None:
    """Written as YAML, given as etcd takes them."""
    text = SMALL.replace("{host: etcd-1}", "{host: etcd-1, settings: {quota-backend-bytes: 5}}")
    inventory = read(tmp_path, text + "    settings: {quota-backend-bytes: 8589934592, pre-vote: true}\n")
    cluster = inventory.clusters["prod"]
    placed = [place(inventory, cluster, member).settings for member in cluster.members]
    assert placed[0] == {"quota-backend-bytes": "5", "pre-vote": "true"}
    assert placed[1] == {"quota-backend-bytes": "8589934592", "pre-vote": "true"}


def test_files_are_one_inventory_and_defaults_hold_in_their_own(tmp_path: Path) -> None:
    """Hosts in one file, clusters in another; YAML's own anchors and merges work."""
    hosts = """\
        defaults:
          host: {ssh: {user: ops, become: {password: {env: SUDO}}}}
        hosts:
          etcd-1: {address: 10.0.0.11, ssh: {port: 2222}}
          etcd-2: &base {address: 10.0.0.12, tags: {rack: a}}
          etcd-3: {<<: *base, address: 10.0.0.13}
    """
    clusters = "clusters: {prod: {members: [{host: etcd-1}, {host: etcd-2}, {host: etcd-3}]}}\n"
    inventory = read(tmp_path, clusters, hosts=hosts)
    ssh = inventory.hosts["etcd-1"].ssh
    assert (ssh.user, ssh.port, ssh.become.password and ssh.become.password.env) == ("ops", 2222, "SUDO")
    assert inventory.hosts["etcd-3"].tags == {"rack": "a"}
    assert inventory.hosts["etcd-3"].address == "10.0.0.13"


def test_a_directory_is_all_of_its_files(tmp_path: Path) -> None:
    """And an empty one is a mistake."""
    (tmp_path / "all.yaml").write_text(SMALL)
    (tmp_path / "notes.txt").write_text("{")
    assert list(load_inventory([tmp_path]).clusters) == ["prod"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no \*.yaml"):
        load_inventory([tmp_path / "empty"])
    with pytest.raises(UsageError, match="cannot be read"):
        load_inventory([tmp_path / "none.yaml"])


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    """File, line, key, what, fix: of every kind."""
    text = """\
        host:
          etcd-0: {}
        hosts:
          etcd-1: {address: 10.0.0.11, sshh: {}}
          etcd-2:
            ssh: {prot: 22}
          etcd-3:
            ssh: {port: 99999}
          "bad name": {}
        clusters:
          prod:
            engine: {kind: etdc, version: "3"}
            members:
              - {host: etcd-1, data_dir: var/lib/etcd}
              - {host: etcd-2, listen_peer_urls: [10.0.0.1]}
              - {nmae: x}
          empty:
            members: []
          broken: 5
    """
    assert faults(tmp_path, text) == [
        "main.yaml:1: host: there is no such section (fix: did you mean hosts?)",
        "main.yaml:4: hosts.etcd-1.sshh: there is no such setting (fix: did you mean ssh?)",
        "main.yaml:6: hosts.etcd-2.ssh.prot: there is no such setting (fix: did you mean port?)",
        "main.yaml:8: hosts.etcd-3.ssh.port: input should be less than or equal to 65535",
        "main.yaml:9: hosts.bad name.name: a name has letters, digits, dots, dashes and underscores, and begins with a"
        " letter or digit",
        "main.yaml:12: clusters.prod.engine.kind: input should be 'etcd' or 'node'",
        "main.yaml:12: clusters.prod.engine.version: a version is written 3.5.16, or 3.5 for any of them; in quotes"
        " when it has one dot",
        "main.yaml:14: clusters.prod.members[0].data_dir: a directory on a host is absolute, such as /var/lib/etcd",
        "main.yaml:15: clusters.prod.members[1].listen_peer_urls[0]: a URL begins with http:// or https://",
        "main.yaml:16: clusters.prod.members[2].host: it is missing",
        "main.yaml:16: clusters.prod.members[2].nmae: there is no such setting (fix: did you mean name?)",
        "main.yaml:18: clusters.empty.members: a cluster has at least one member",
        "main.yaml:19: clusters.broken: it must be a mapping",
    ]


def test_an_unknown_host_is_told_with_what_else_is_wrong(tmp_path: Path) -> None:
    """Mended one by one, faults would show one by one."""
    text = """\
        hosts:
          etcd-1: {}
          etcd-2: {sshh: {}}
        clusters:
          prod:
            tokn: x
            members: [{host: etcd-1}, {host: etcd-2}, {host: etcd-3}]
    """
    assert faults(tmp_path, text) == [
        "main.yaml:3: hosts.etcd-2.sshh: there is no such setting (fix: did you mean ssh?)",
        "main.yaml:6: clusters.prod.tokn: there is no such setting (fix: did you mean token?)",
        "main.yaml:7: clusters.prod.members[2].host: there is no host etcd-3 (fix: did you mean etcd-2?)",
    ]


def test_what_entries_cannot_know_of_each_other_is_checked(tmp_path: Path) -> None:
    """Unknown hosts, names twice, one directory or port of a host for two members."""
    text = """\
        hosts:
          etcd-1: {ssh: {jump: etcd-1}}
          etcd-2: {}
        clusters:
          prod:
            members:
              - {host: etcd-1}
              - {host: ectd-2}
              - {host: etcd-2, name: etcd-1}
          test:
            members:
              - host: etcd-2
                data_dir: /srv/test
                listen_peer_urls: ["http://0.0.0.0:2379"]
    """
    assert faults(tmp_path, text) == [
        "main.yaml:2: hosts.etcd-1.ssh.jump: a host cannot jump through itself (fix: name the host in front of it)",
        "main.yaml:8: clusters.prod.members[1].host: there is no host ectd-2 (fix: did you mean etcd-2?)",
        "main.yaml:9: clusters.prod.members[2]: two members are called etcd-1 (fix: give one another `name`)",
        "main.yaml:12: clusters.test.members[0]: port 2379 on etcd-2 is prod/etcd-1's already"
        " (fix: give it another port or another host)",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "main.yaml: it is empty (fix: it needs `hosts:` and `clusters:`)"),
        ("- a\n", "main.yaml:1: it is no mapping (fix: it needs `hosts:` and `clusters:` at its top)"),
        ("hosts:\n  a: {\n", "main.yaml:3: expected the node content, but found '<stream end>'"),
        ("hosts: 5\n", "main.yaml:1: hosts: it must be a mapping of names (fix: write `hosts:` and a name below it)"),
        (
            "hosts:\n  a: {}\n  b: {}\n  a: {}\n",
            "main.yaml:4: hosts.a: it is there twice: in line 2 and in line 4 (fix: keep one of them)",
        ),
        ("hosts:\n  a: {local: !!python/none x}\n", None),
    ],
)
def test_what_is_no_inventory_is_one_clear_fault(tmp_path: Path, text: str, fault: str | None) -> None:
    """Never a traceback of the YAML library."""
    found = faults(tmp_path, text)
    assert fault is None or found == [fault]


def test_a_name_in_two_files_is_a_fault_that_names_both(tmp_path: Path) -> None:
    """The later one does not win silently."""
    assert faults(tmp_path, SMALL, more="hosts:\n  etcd-2: {}\n") == [
        f"more.yaml:2: hosts.etcd-2: it is in {tmp_path}/main.yaml:3 too (fix: keep one of them)"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("engine: {version: 3.5}", '.engine.version: 3.5 is a number to YAML, and this is text (fix: write it in quo'),
        ("user: 1000", '(fix: write it in quotes: "1000")'),
        ("access: {user: root, password: s3cret}", ".access.password: a secret is not written down here (fix: say"),
        ("engine: etcd", ".engine: it must be a mapping (fix: write `key: value` below it)"),
        ("firewall: {clients: 10.0.0.0/8}", ".firewall.clients: it must be a list (fix: write it in brackets"),
        ("settings: [a]", ".settings: it must be a mapping"),
    ],
)  # fmt: skip
def test_a_value_of_another_form_is_told_in_words_of_yaml(tmp_path: Path, line: str, said: str) -> None:
    """Not in those of the library that found it; and a secret that was written down is not repeated."""
    (found,) = faults(tmp_path, f"{SMALL.replace('    engine: {kind: etcd, version: 3.5.16}', f'    {line}')}")
    assert said in found
    assert "s3cret" not in found


def test_jump_hosts_that_lead_in_a_circle_are_found_before_anybody_logs_in(tmp_path: Path) -> None:
    """Once; and a way that only leads into the circle is not told of as well."""
    text = """\
    hosts:
      h1: {address: 10.0.0.1, ssh: {jump: h2}}
      h2: {address: 10.0.0.2, ssh: {jump: h3}}
      h3: {address: 10.0.0.3, ssh: {jump: h2}}
      h4: {address: 10.0.0.4, ssh: {jump: ops@elsewhere}}
    clusters: {prod: {members: [{host: h1}]}}
    """
    assert faults(tmp_path, text) == [
        "main.yaml:3: hosts.h2.ssh.jump: its jump hosts lead in a circle: h2, h3, h2"
        " (fix: one of them has to be reached directly)"
    ]


def test_hidden_files_of_a_directory_are_no_inventory(tmp_path: Path) -> None:
    """It may be a repository, with the files of the programs that look after it."""
    (tmp_path / "prod.yaml").write_text(SMALL)
    (tmp_path / ".gitlab-ci.yml").write_text("stages: [test]\n")
    assert list(load_inventory([tmp_path]).clusters) == ["prod"]
