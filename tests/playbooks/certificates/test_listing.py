"""Every certificate of a cluster, and what is wrong with it."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from etcdops.certs.authority import Authority
from etcdops.certs.facts import Use
from etcdops.cli.cert import render_list
from etcdops.cli.output import Look
from etcdops.playbooks.certificates.listing import Listed, Row, Urgency, list_certificates
from etcdops.playbooks.rollout.desired import Signer
from tests.fakes.session import FakeFile
from tests.playbooks.certificates.cluster import DAY_S, ToldCluster, told_cluster

PKI = "/etc/etcd/pki"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[ToldCluster]:
    async with told_cluster(tmp_path) as made:
        made.roll_out()
        yield made


async def listed(cluster: ToldCluster, days: int = 30) -> Listed:
    return await list_certificates(cluster.run, soon=datetime.timedelta(days=days))


def row(found: Listed, where: str) -> Row:
    [one] = [one for one in found.rows if one.where.endswith(where)]
    return one


async def test_a_fresh_cluster_is_good_everywhere(cluster: ToldCluster) -> None:
    """Authorities and console here, files on hosts, and ports: 3 + 3 x (3 leaves, 2 bundles, 2 ports)."""
    found = await listed(cluster)
    assert found.good, [one.problems for one in found.rows]
    assert len(found.rows) == 3 + 3 * 7
    assert row(found, "m2 on port 2380").facts == row(found, f"h2:{PKI}/peer.crt").facts


async def test_what_expires_comes_first_and_what_is_expired_before_it(cluster: ToldCluster) -> None:
    """A year less ten days later, one of them was made for a hundred days only."""
    cluster.put("m2", cluster.leaf("m2", "client"), cluster.authorities.of(Signer.CLIENT), days=100)
    cluster.clock.advance(355 * DAY_S)
    found = await listed(cluster)
    assert not found.good
    assert found.rows[0].where == f"h2:{PKI}/client.crt"
    assert found.rows[0].urgency is Urgency.EXPIRED
    assert found.rows[0].days_left(found.now) == -255
    assert found.rows[1].urgency is Urgency.SOON
    assert found.rows[1].problems[0].startswith("it expires in 10 days")
    assert found.rows[-1].urgency is Urgency.GOOD
    assert (await listed(cluster, days=5)).rows[1].urgency is Urgency.GOOD
    text = render_list(found, Look(ascii=True), width=200)
    assert "expired  -255" in text
    assert f"! h2:{PKI}/client.crt: it expired on" in text


async def test_a_certificate_of_a_stranger_is_wrong_whatever_its_dates(cluster: ToldCluster, tmp_path: Path) -> None:
    """It has the right names, and nobody who asks would believe it."""
    stranger = Authority.create(tmp_path / "stranger", "prod clients", cluster.clock)
    cluster.put("m1", cluster.leaf("m1", "server"), stranger)
    found = row(await listed(cluster), f"h1:{PKI}/server.crt")
    assert found.urgency is Urgency.WRONG
    assert "no authority that is trusted there signed it" in found.problems[0]


async def test_a_member_that_shows_another_one_than_its_file_is_found(cluster: ToldCluster) -> None:
    """It runs with other files than the inventory thinks, or did not take a new one in."""
    files = cluster.host("m1").files
    cluster.host("m1").instead[2379] = files[f"{PKI}/server.crt"].content + files[f"{PKI}/server.key"].content
    cluster.put("m1", cluster.leaf("m1", "server"), cluster.authorities.of(Signer.CLIENT))
    found = row(await listed(cluster), "m1 on port 2379")
    assert found.problems == (f"the member shows another one than {PKI}/server.crt holds",)


async def test_a_rotation_that_is_half_done_is_seen_in_every_bundle(cluster: ToldCluster) -> None:
    """The new authority is made, and nobody trusts it yet."""
    cluster.authorities.of(Signer.PEER).begin_rotation()
    found = await listed(cluster)
    assert found.rotating == ("peer",)
    assert "it lacks the authority" in row(found, f"h3:{PKI}/peer-ca.crt").problems[0]
    assert row(found, f"h3:{PKI}/ca.crt").urgency is Urgency.GOOD


async def test_what_is_missing_and_who_does_not_answer_hide_nothing_else(cluster: ToldCluster) -> None:
    """A file that is gone, another that is none."""
    del cluster.host("m1").files[f"{PKI}/peer.crt"]
    cluster.host("m2").files[f"{PKI}/client.crt"].content = b"not a certificate"
    cluster.host("m3").files.clear()
    found = await listed(cluster)
    assert row(found, f"h1:{PKI}/peer.crt").problems == ("there is no such file",)
    assert "holds no certificate" in row(found, f"h2:{PKI}/client.crt").problems[0]
    assert row(found, f"h1:{PKI}/server.crt").urgency is Urgency.GOOD
    assert sum(one.where.startswith("h3:") for one in found.rows) == 5


async def test_certificates_that_somebody_else_makes_are_listed_by_the_settings_that_name_them(tmp_path: Path) -> None:
    """They have no authority here, and are judged by their dates, names and the bundle beside them."""
    theirs = "{files: {cert_file: /x/s.crt, key_file: /x/s.key, trusted_ca_file: /x/ca.crt}, peer: false}"
    async with told_cluster(tmp_path, tls=theirs) as cluster:
        elsewhere = Authority.create(tmp_path / "theirs", "their authority", cluster.clock)
        issued = elsewhere.issue(Use.SERVER, "m1", hosts=["10.0.0.1"], days=5)
        for name, content in {"s.crt": issued.certificate, "ca.crt": elsewhere.trusted_pem}.items():
            cluster.host("m1").files[f"/x/{name}"] = FakeFile(content)
        cluster.host("m1").instead[2379] = issued.certificate + issued.key.reveal().encode()
        cluster.host("m1").trusts[2379] = "/x/ca.crt"
        found = await listed(cluster)
    assert row(found, "h1:/x/s.crt").urgency is Urgency.SOON
    assert row(found, "h1:/x/ca.crt").urgency is Urgency.GOOD
    assert row(found, "m1 on port 2379").urgency is Urgency.SOON
    assert row(found, "h2:/x/s.crt").problems == ("there is no such file",)
    assert not [one for one in found.rows if one.where.startswith("here")]
