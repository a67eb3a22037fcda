"""The authorities of a cluster on the operator's machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.certs.facts import Use, describe, read_certificates
from etcdops.clock import ManualClock
from etcdops.playbooks.authorities import OPERATOR, ClusterAuthorities
from etcdops.playbooks.rollout.desired import DesiredLeaf, Signer
from tests.playbooks.rollout.told import members

NOW = 1_800_000_000.0
DAY_S = 86400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def authorities(tmp_path: Path, clock: ManualClock) -> ClusterAuthorities:
    made = ClusterAuthorities(tmp_path / "pki", "prod", clock)
    assert made.create([Signer.CLIENT, Signer.PEER]) == [Signer.CLIENT, Signer.PEER]
    return made


def leaves() -> dict[Use, DesiredLeaf]:
    return {leaf.use: leaf for leaf in members({"tls": {"extra_names": ["etcd.example"]}})[0].leaves}


def pair(authorities: ClusterAuthorities, leaf: DesiredLeaf) -> tuple[bytes, bytes]:
    issued = authorities.issue(leaf)
    return issued.certificate, issued.key.reveal().encode()


def test_authorities_are_made_once(authorities: ClusterAuthorities) -> None:
    """Making them again would make every certificate worthless."""
    before = authorities.of(Signer.PEER).certificate
    assert authorities.create([Signer.CLIENT, Signer.PEER]) == []
    assert ClusterAuthorities(authorities.folder, "prod", ManualClock(NOW)).of(Signer.PEER).certificate == before


def test_a_members_certificates_are_for_every_name_it_is_dialled_by(authorities: ClusterAuthorities) -> None:
    """A server's also for what its host itself and tunnels dial; a member's only for its own."""
    found = leaves()
    server = describe(read_certificates(pair(authorities, found[Use.SERVER])[0], source="")[0])
    for host in ("10.0.0.1", "h1", "localhost", "127.0.0.1", "::1", "etcd.example"):
        assert server.covers(host)
    peer = describe(read_certificates(pair(authorities, found[Use.PEER])[0], source="")[0])
    assert peer.covers("10.0.0.1")
    assert not peer.covers("localhost")
    assert (server.issuer, peer.issuer) == ("prod clients", "prod peers")


def test_what_is_wrong_with_a_pair_on_a_host_is_told(authorities: ClusterAuthorities, clock: ManualClock) -> None:
    """Missing, cut off half way, of another authority, for another host, about to expire."""
    leaf = leaves()[Use.SERVER]
    certificate, key = pair(authorities, leaf)
    assert authorities.problems(leaf, certificate, key) == []
    assert authorities.problems(leaf, None, key) == ["it is not there"]
    assert authorities.problems(leaf, b"rubbish", key) == ["it cannot be read"]
    assert authorities.problems(leaf, certificate, pair(authorities, leaf)[1]) == ["its key is another one's"]
    other = leaves()[Use.PEER]
    assert "another authority signed it" in authorities.problems(leaf, *pair(authorities, other))
    moved = DesiredLeaf(leaf.use, leaf.signer, leaf.name, ("10.0.0.9",), leaf.certificate, leaf.key, "etcd", "etcd")
    assert authorities.problems(moved, certificate, key) == ["it is not valid for 10.0.0.9"]
    clock.advance(340 * DAY_S)
    assert authorities.problems(leaf, certificate, key)[0].startswith("it expires in 25 days")


def test_the_operators_certificate_lasts_and_is_renewed_before_it_ends(
    authorities: ClusterAuthorities, clock: ManualClock
) -> None:
    """Only for clients, and readable by its owner alone."""
    trusted, certificate, key = authorities.operator_files()
    first = certificate.read_bytes()
    facts = describe(read_certificates(first, source="")[0])
    assert (facts.subject, facts.purposes, key.stat().st_mode & 0o777) == (OPERATOR, ("client",), 0o600)
    assert trusted.read_bytes() == authorities.of(Signer.CLIENT).trusted_pem
    authorities.operator_files()
    assert certificate.read_bytes() == first
    clock.advance(350 * DAY_S)
    authorities.operator_files()
    assert certificate.read_bytes() != first


def test_during_a_rotation_the_operator_keeps_the_certificate_that_all_members_trust(
    authorities: ClusterAuthorities,
) -> None:
    """Members that were not told of the new authority would refuse one of its certificates."""
    first = authorities.operator_files()[1].read_bytes()
    authorities.of(Signer.CLIENT).begin_rotation()
    assert authorities.operator_files()[1].read_bytes() == first
    authorities.of(Signer.CLIENT).finish_rotation()
    assert authorities.operator_files()[1].read_bytes() != first
