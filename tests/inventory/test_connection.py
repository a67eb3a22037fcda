"""What a client needs to reach a cluster of the inventory, and which of its endpoints lead through SSH."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.connection import Connection, Through, connection
from etcdops.inventory.find import find_cluster
from etcdops.inventory.load import InventoryError, read_inventory
from etcdops.inventory.targets import Secrets


def reached(tmp_path: Path, text: str, name: str = "c") -> Connection:
    path = tmp_path / "i.yaml"
    path.write_text(text)
    read = read_inventory([path])
    return connection(read.inventory, read.inventory.clusters[name], read.folder(name), Secrets())


HOSTS = "hosts: {a: {address: 10.0.0.1}, b: {address: 'fd00::2', ssh: {jump: a}}, here: {local: true}}\n"


def test_members_are_dialled_where_they_advertise(tmp_path: Path) -> None:
    """Through a jump host where there is one: to the member's own loopback, as it listens everywhere."""
    found = reached(tmp_path, HOSTS + "clusters: {c: {members: [{host: a}, {host: b}]}}\n")
    assert found.settings.endpoints == ("http://10.0.0.1:2379", "http://[fd00::2]:2379")
    assert found.through == (Through("http://[fd00::2]:2379", "b", ("::1", 2379)),)


@pytest.mark.parametrize(
    ("member", "through"),
    [
        ("host: a, listen_client_urls: ['http://127.0.0.1:2379']", [("10.0.0.1", ("127.0.0.1", 2379))]),
        ("host: a, listen_client_urls: ['http://10.0.0.1:2379', 'http://127.0.0.1:2379']", []),
        ("host: here, listen_client_urls: ['http://127.0.0.1:2379']", []),
    ],
)
def test_a_member_that_listens_on_loopback_alone_is_reached_through_its_host(
    tmp_path: Path, member: str, through: list[tuple[str, tuple[str, int]]]
) -> None:
    """Unless its host is this machine."""
    found = reached(tmp_path, HOSTS + f"clusters: {{c: {{members: [{{{member}}}]}}}}\n")
    assert [(one.endpoint.split("/")[2].rpartition(":")[0], one.address) for one in found.through] == through


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("https://0.0.0.0:2379", ("127.0.0.1", 2379)),
        ("https://10.0.0.1:2379", ("10.0.0.1", 2379)),
        ("https://10.0.0.1:2379', 'https://127.0.0.1:2379", ("127.0.0.1", 2379)),
    ],
)
def test_through_ssh_a_member_is_dialled_as_its_host_sees_it(
    tmp_path: Path, listen: str, address: tuple[str, int]
) -> None:
    """`via: ssh` for all; certificates are still those of the advertised name."""
    text = (
        HOSTS + f"clusters: {{c: {{tls: {{}}, access: {{via: ssh}}, members: [{{host: a,"
        f" listen_client_urls: ['{listen}'], advertise_client_urls: ['https://etcd.example:2379']}}]}}}}\n"
    )
    found = reached(tmp_path, text)
    assert found.through == (Through("https://etcd.example:2379", "a", address),)


def test_files_and_secrets_begin_beside_the_inventory(tmp_path: Path) -> None:
    """Wherever the command is run."""
    (tmp_path / "password").write_text("pw\n")
    (tmp_path / "password").chmod(0o600)
    access = "cacert: tls/ca.pem, cert: tls/me.pem, key: ~/me.key, user: root, password: {file: password}"
    found = reached(tmp_path, HOSTS + f"clusters: {{c: {{access: {{{access}}}, members: [{{host: a}}]}}}}\n")
    settings = found.settings
    assert (settings.cacert, settings.cert) == (str(tmp_path / "tls/ca.pem"), str(tmp_path / "tls/me.pem"))
    assert settings.key == str(Path("~/me.key").expanduser())
    assert settings.username == "root"
    assert settings.password is not None
    assert settings.password.reveal() == "pw"


def test_the_clusters_own_authority_is_trusted_when_it_is_here(tmp_path: Path) -> None:
    """What rollout leaves beside the inventory is found; before it did, the machine's authorities count."""
    text = HOSTS + "clusters: {c: {tls: {}, members: [{host: a}]}}\n"
    assert reached(tmp_path, text).settings.cacert == ""
    own = tmp_path / "pki" / "c"
    (own / "client").mkdir(parents=True)
    for name in ("client/trusted.crt", "operator.crt", "operator.key"):
        (own / name).touch()
    settings = reached(tmp_path, text).settings
    assert (settings.cacert, settings.cert) == (str(own / "client/trusted.crt"), str(own / "operator.crt"))


@pytest.mark.parametrize(
    ("access", "message"),
    [
        ("{cert: a.pem}", "cert and key go together"),
        ("{password: {env: X}}", "a password needs a user"),
        ("{via: ssh, endpoints: ['http://lb:2379']}", "leave out endpoints, or via"),
    ],
)
def test_what_does_not_go_together_is_a_fault(tmp_path: Path, access: str, message: str) -> None:
    """Found by `inventory check`, not when it is needed."""
    with pytest.raises(InventoryError, match=message):
        reached(tmp_path, HOSTS + f"clusters: {{c: {{access: {access}, members: [{{host: a}}]}}}}\n")


def test_an_unknown_cluster_names_the_nearest(tmp_path: Path) -> None:
    """And all there are; without a name the only one is meant."""
    path = tmp_path / "i.yaml"
    path.write_text(HOSTS + "clusters:\n  prod-bj: {members: [{host: a}]}\n  lab: {members: [{host: here}]}\n")
    inventory = read_inventory([path]).inventory
    assert find_cluster(inventory, "lab").name == "lab"
    with pytest.raises(UsageError, match="has no cluster Prod") as caught:
        find_cluster(inventory, "Prod", source="i.yaml")
    assert caught.value.hint == "did you mean prod-bj? it has prod-bj, lab"
    with pytest.raises(UsageError, match="which cluster"):
        find_cluster(inventory)
