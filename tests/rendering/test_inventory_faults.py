"""What `inventory check` finds beyond the form of an inventory, each with its line, key and fix."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from etcdops.inventory.load import read_texts
from etcdops.inventory.source import Fault, dotted
from etcdops.rendering.inventory_faults import Checked, check
from tests.support.certificates import DAY, Authority

NOW = datetime.datetime.now(datetime.UTC)
HOSTS = "hosts:\n  a: {address: 10.0.0.1}\n"


def checked(text: str, folder: Path = Path("/inv")) -> Checked:
    return check(read_texts({folder / "i.yaml": HOSTS + text}), NOW)


def told(faults: list[Fault]) -> list[tuple[int, str, str, str]]:
    return [(one.line, dotted(one.location), one.message, one.fix) for one in faults]


def cluster(version: str, *settings: str) -> str:
    lines = "".join(f"      {one}\n" for one in settings)
    engine = "{kind: node}" if version == "node" else f"{{version: '{version}'}}"
    return f"clusters:\n  c:\n    engine: {engine}\n    members: [{{host: a}}]\n    settings:\n{lines}"


@pytest.mark.parametrize(
    ("version", "setting", "message", "fix"),
    [
        ("3.5", "snapshot-cuont: 5", "no version of etcd has a flag snapshot-cuont", "did you mean snapshot-count?"),
        ("3.6", "enable-v2: true", "etcd 3.6 does not take it: 3.5 was the last that did", "remove it"),
        ("3.4", "memory-mlock: true", "etcd 3.4 does not take it", "remove it"),
        ("3.4.9", "unsafe-no-fsync: true", "etcd 3.4.9 does not take it: it came with 3.4.10", "remove it"),
        ("3.5", "max-learners: 2", "etcd 3.5 does not take it: it came with 3.6", "remove it"),
        ("3.5", "data-dir: /x", "it is not one to write down here: it comes from the member", "write data_dir instead"),
        ("3.5", "cert-file: /x", "it is not one to write down here: it comes from `tls`", "remove it"),
        ("node", "max-learners: 2", "the bundled node does not take it: it came with 3.6", "remove it"),
        ("node", "discovery-srv: x", "the bundled node does not take it: its members are named to it by", "remove it"),
        ("3.5", "discovery-token: x", "etcd 3.5 does not take it: it came with 3.6", "remove it"),
        ("3.6", "discovery-token: x", "it means nothing without discovery-endpoints", "give discovery-endpoints too"),
    ],
)
def test_a_flag_that_the_version_refuses_is_a_fault(version: str, setting: str, message: str, fix: str) -> None:
    """At its line, with what to write."""
    found = checked(cluster(version, "pre-vote: true", setting))
    assert not found.warnings
    [(line, key, said, what)] = told(found.faults)
    assert (line, key, what) == (9, f"clusters.c.settings.{setting.partition(':')[0]}", fix)
    assert said.startswith(message)


@pytest.mark.parametrize(
    ("version", "setting", "fix"),
    [
        ("3.7", "experimental-corrupt-check-time: 4h", "write corrupt-check-time"),
        ("3.5", "corrupt-check-time: 4h", "write experimental-corrupt-check-time"),
        ("3.7", "experimental-initial-corrupt-check: true", "write feature-gates: InitialCorruptCheck=true"),
    ],
)
def test_a_flag_that_has_another_name_there_is_a_warning(version: str, setting: str, fix: str) -> None:
    """It is rendered by the right one."""
    found = checked(cluster(version, setting))
    assert not found.faults
    assert [one.fix for one in found.warnings] == [fix]


def test_two_names_of_one_flag_are_a_fault() -> None:
    """Which one would count is nobody's to guess."""
    found = checked(cluster("3.7", "corrupt-check-time: 4h", "experimental-corrupt-check-time: 5h"))
    assert [one.fix for one in found.faults] == ["keep one of them"]


def test_a_version_nobody_knows_is_a_fault() -> None:
    """Whose flags could not be told."""
    [(line, key, message, fix)] = told(checked(cluster("2.3", "pre-vote: true")).faults)
    assert (line, key) == (5, "clusters.c.engine.version")
    assert (message, fix) == ("etcd 2.3 is not known here", "etcdops knows 3.4, 3.5, 3.6, 3.7")


def test_a_fault_of_the_defaults_is_shown_there() -> None:
    """Where it was written, not at a cluster that says nothing of it."""
    text = "defaults:\n  cluster:\n    settings: {enable-v2: true, colour: red}\n"
    found = checked(text + "clusters:\n  c: {engine: {version: '3.6'}, members: [{host: a}]}\n")
    assert [(line, key) for line, key, _, _ in told(found.faults)] == [
        (5, "defaults.cluster.settings.enable-v2"),
        (5, "defaults.cluster.settings.colour"),
    ]


@pytest.mark.parametrize(
    ("key", "url", "fault", "warning"),
    [
        ("listen_client_urls", "https://10.0.0.1:2379", "it is https, and the cluster has no TLS", ""),
        ("listen_peer_urls", "http://etcd-1:2380", "etcd listens on addresses, and etcd-1 is a name", ""),
        ("listen_peer_urls", "http://localhost:2380", "", ""),
        ("advertise_client_urls", "http://0.0.0.0:2379", "", "nobody can dial an address that means all"),
        ("initial_advertise_peer_urls", "http://127.0.0.1:2380", "", "other members that dial it reach themselves"),
        ("advertise_client_urls", "http://[::1]:2379", "", "clients elsewhere that dial it reach themselves"),
        ("advertise_client_urls", "http://etcd-1:2379", "", ""),
    ],
)
def test_urls_that_etcd_refuses_or_nobody_can_use(key: str, url: str, fault: str, warning: str) -> None:
    """The former are faults, the latter warnings: clusters run so."""
    found = checked(f"clusters:\n  c:\n    members:\n      - host: a\n        {key}:\n          - '{url}'\n")
    for what, faults in ((fault, found.faults), (warning, found.warnings)):
        assert [one.message.startswith(what) for one in faults] == ([True] if what else [])
        assert all(one.line == 8 and dotted(one.location) == f"clusters.c.members[0].{key}[0]" for one in faults)


def test_a_shape_that_hurts_is_a_warning() -> None:
    """Even numbers; members that share a host."""
    found = checked("clusters:\n  c:\n    members: [{host: a}, {name: b, host: a, data_dir: /b}]\n".replace(
        "data_dir: /b", "data_dir: /b, listen_client_urls: ['http://10.0.0.1:1'], listen_peer_urls: ['http://10.0.0.1:2']"
    ))  # fmt: skip
    assert not found.faults
    assert [one.message.partition(" ")[0] for one in found.warnings] == ["2", "a"]


def test_files_that_are_no_use(tmp_path: Path) -> None:
    """Missing, expired, no certificate, readable by others; a certificate that ends soon is a warning."""
    authority = Authority(tmp_path / "ca")
    old = authority.issue("old", valid_from=-3 * DAY, valid_until=-DAY)
    soon = authority.issue("soon", valid_until=9 * DAY + DAY / 2)
    (tmp_path / "open").write_text("pw")
    (tmp_path / "open").chmod(0o644)
    text = (
        "clusters:\n"
        f"  c: {{members: [{{host: a}}], access: {{cacert: ca.crt, cert: {old.cert}, key: no.key, user: u,"
        " password: {file: open}}}\n"
        f"  d: {{data_dir: /d, members: [{{host: a, listen_client_urls: ['http://10.0.0.1:1'],"
        f" listen_peer_urls: ['http://10.0.0.1:2']}}], access: {{cacert: open, cert: {soon.cert}, key: {soon.key}}}}}\n"
    )
    found = checked(text, tmp_path)
    messages = {dotted(one.location): one.message for one in found.faults}
    assert messages["clusters.c.access.cacert"] == f"{tmp_path}/ca.crt cannot be read: No such file or directory"
    assert "it expired on" in messages["clusters.c.access.cert"]
    assert messages["clusters.c.access.key"] == f"there is no file {tmp_path}/no.key"
    assert messages["clusters.c.access.password.file"] == f"others may read the secret in {tmp_path}/open"
    assert "holds no certificate" in messages["clusters.d.access.cacert"]
    assert [dotted(one.location) for one in found.warnings] == ["clusters.d.access.cert"]
    assert "in 9 days" in found.warnings[0].message
