"""The authority: issues what etcd accepts, loses no key, and rotates without a moment of distrust."""

from __future__ import annotations

import shutil
import ssl
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from etcdops.certs import authority as module
from etcdops.certs.authority import AUTHORITY_DAYS, Authority, Issued
from etcdops.certs.facts import Use, describe, is_signed_by, read_certificates
from etcdops.clock import ManualClock, SystemClock
from etcdops.errors import UsageError
from etcdops.files import replace_file

DAY_S = 86400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


def written(folder: Path, name: str, issued: Issued) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    cert.write_bytes(issued.certificate)
    key.write_text(issued.key.reveal())
    return cert, key


def handshake(server: Issued, client: Issued, server_trusts: bytes, client_trusts: bytes, folder: Path) -> None:
    """TLS both ways in memory, with the host name checked. Raises: ssl.SSLError."""
    contexts = []
    for side, name, mine, trusts in (
        (ssl.PROTOCOL_TLS_SERVER, "server", server, server_trusts),
        (ssl.PROTOCOL_TLS_CLIENT, "client", client, client_trusts),
    ):
        context = ssl.SSLContext(side)
        context.load_cert_chain(*written(folder, name, mine))
        context.load_verify_locations(cadata=trusts.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        contexts.append(context)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        contexts[0].wrap_bio(up, down, server_side=True),
        contexts[1].wrap_bio(down, up, server_hostname="10.0.0.1"),
    ]
    waiting = set(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.discard(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting


def test_files_are_private_and_an_authority_is_never_made_twice(tmp_path: Path, clock: ManualClock) -> None:
    """A lost CA key is a new cluster's worth of work."""
    folder = tmp_path / "pki"
    made = Authority.create(folder, "prod", clock)
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UsageError, match="holds a certificate authority already"):
        Authority.create(folder, "prod", clock)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again = Authority.open(folder, clock)
    assert again.certificate == made.certificate
    assert again.trusted == [made.certificate]


def test_a_key_without_its_certificate_is_kept(tmp_path: Path, clock: ManualClock) -> None:
    """What a crash in the middle of `create` leaves."""
    Authority.create(tmp_path, "prod", clock)
    key = (tmp_path / "ca.key").read_bytes()
    (tmp_path / "ca.crt").unlink()
    (tmp_path / "trusted.crt").unlink()
    Authority.create(tmp_path, "prod", clock)
    assert (tmp_path / "ca.key").read_bytes() == key


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "ca.key").unlink(), "ca.key cannot be read"),
        (lambda folder: (folder / "ca.key").write_text("x"), "no private key that can be read"),
        (lambda folder: (folder / "ca.key").chmod(0o644), "others may read"),
        (lambda folder: (folder / "ca.crt").write_text("x"), "no certificate that can be read"),
        (lambda folder: shutil.rmtree(folder), "ca.crt cannot be read"),
    ],
)
def test_what_is_wrong_with_an_authority_is_named(
    tmp_path: Path, clock: ManualClock, damage: Callable[[Path], None], message: str
) -> None:
    """File, fault, next step."""
    folder = tmp_path / "pki"
    Authority.create(folder, "prod", clock)
    damage(folder)
    with pytest.raises(UsageError, match=message):
        Authority.open(folder, clock)


def test_the_key_of_another_authority_is_refused(tmp_path: Path, clock: ManualClock) -> None:
    """Two folders mixed up by hand."""
    Authority.create(tmp_path / "a", "a", clock)
    Authority.create(tmp_path / "b", "b", clock)
    shutil.copy(tmp_path / "b" / "ca.key", tmp_path / "a" / "ca.key")
    with pytest.raises(UsageError, match="is not the key of"):
        Authority.open(tmp_path / "a", clock)


def test_certificates_have_a_key_of_their_own_and_say_what_they_are_for(tmp_path: Path, clock: ManualClock) -> None:
    """Server certificates must do for clients as well: etcd's gateway dials the member with one."""
    authority = Authority.create(tmp_path, "prod", clock)
    issued = authority.issue(Use.SERVER, "etcd-1", hosts=["10.0.0.1", "etcd-1", "10.0.0.1"])
    certificate = read_certificates(issued.certificate, source="issued")[0]
    facts = describe(certificate)
    assert (facts.names, facts.addresses, facts.purposes) == (("etcd-1",), ("10.0.0.1",), ("server", "client"))
    assert authority.signed(certificate)
    key = load_pem_private_key(issued.key.reveal().encode(), None)
    assert key.public_key() == certificate.public_key()
    assert "PRIVATE" not in repr(issued)


def test_what_would_not_work_is_not_issued(tmp_path: Path, clock: ManualClock) -> None:
    """A server that nobody can dial, or a certificate that its authority does not outlive."""
    authority = Authority.create(tmp_path, "prod", clock)
    with pytest.raises(UsageError, match="is for no host"):
        authority.issue(Use.PEER, "etcd-1")
    with pytest.raises(UsageError, match="is no host name"):
        authority.issue(Use.PEER, "etcd-1", hosts=["ключ"])
    with pytest.raises(UsageError, match="cannot be the name"):
        authority.issue(Use.CLIENT, "")
    clock.advance((AUTHORITY_DAYS - 100) * DAY_S)
    with pytest.raises(UsageError, match="would outlive its authority"):
        authority.issue(Use.CLIENT, "root")


def test_a_rotation_never_breaks_trust(tmp_path: Path) -> None:
    """At every moment of the three rounds, members before and after their turn accept each other."""
    authority = Authority.create(tmp_path / "pki", "prod", SystemClock())
    old_trust, old = authority.trusted_pem, authority.issue(Use.PEER, "etcd-1", hosts=["10.0.0.1"])
    authority.begin_rotation()
    assert authority.rotating
    both = authority.trusted_pem
    handshake(old, old, old_trust, both, tmp_path)
    handshake(old, old, both, old_trust, tmp_path)
    new = authority.issue(Use.PEER, "etcd-1", hosts=["10.0.0.1"])
    handshake(old, new, both, both, tmp_path)
    handshake(new, old, both, both, tmp_path)
    authority.finish_rotation()
    assert not authority.rotating
    only_new = authority.trusted_pem
    handshake(new, new, both, only_new, tmp_path)
    handshake(new, new, only_new, both, tmp_path)
    with pytest.raises(ssl.SSLError):
        handshake(new, old, only_new, only_new, tmp_path)


def test_beginning_twice_is_beginning_once(tmp_path: Path, clock: ManualClock) -> None:
    """A resumed run asks again."""
    authority = Authority.create(tmp_path, "prod", clock)
    first = authority.certificate
    authority.begin_rotation()
    second = authority.certificate
    authority.begin_rotation()
    assert authority.certificate == second
    assert Authority.open(tmp_path, clock).trusted == [second, first]
    [retired] = (tmp_path / "retired").iterdir()
    assert read_certificates((retired / "ca.crt").read_bytes(), source="x") == [first]


class PowerCut(Exception):
    """The process is gone."""


def test_a_crash_anywhere_in_a_rotation_loses_nothing(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write of the switch cut off: the authority opens, is one of the two, trusts the first, and goes on."""
    original = Authority.create(tmp_path / "original", "prod", clock)
    first_key = (tmp_path / "original" / "ca.key").read_bytes()
    crashes = 0
    while True:
        folder = tmp_path / f"run{crashes}"
        shutil.copytree(tmp_path / "original", folder)
        left = crashes

        def cut_off(path: Path, content: bytes, *, mode: int = 0o600) -> None:
            nonlocal left
            if left == 0:
                raise PowerCut
            left -= 1
            replace_file(path, content, mode=mode)

        authority = Authority.open(folder, clock)
        with monkeypatch.context() as patched:
            patched.setattr(module, "replace_file", cut_off)
            try:
                authority.begin_rotation()
                ended = True
            except PowerCut:
                ended = False
        reopened = Authority.open(folder, clock)
        assert original.certificate in reopened.trusted
        assert is_signed_by(reopened.certificate, reopened.certificate)
        reopened.begin_rotation()
        assert len(reopened.trusted) == 2
        assert reopened.certificate != original.certificate
        [retired] = (folder / "retired").iterdir()
        assert (retired / "ca.key").read_bytes() == first_key
        if ended:
            break
        crashes += 1
    assert crashes >= 8


def test_openssl_agrees(tmp_path: Path) -> None:
    """A second implementation verifies the chain, the purposes and the host."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    authority = Authority.create(tmp_path, "prod", SystemClock())
    cert, _ = written(tmp_path, "etcd-1", authority.issue(Use.PEER, "etcd-1", hosts=["10.0.0.1", "etcd-1"]))
    trusted, tail = str(tmp_path / "trusted.crt"), str(cert)
    for extra in (["sslserver", "-verify_ip", "10.0.0.1"], ["sslclient"], ["sslserver", "-verify_hostname", "etcd-1"]):
        line = [openssl, "verify", "-x509_strict", "-CAfile", trusted, "-purpose", *extra, tail]
        done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
