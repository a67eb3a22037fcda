"""TLS as the flags want it: files read at start, warnings, certificates made by the member."""

from __future__ import annotations

import os
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from etcdops.errors import StartRefused
from etcdops.node.config import Config, load_config
from etcdops.node.tls.contexts import client_context, server_context
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.member import open_tls
from tests.node.tls.handshakes import Pki
from tests.support.certificates import Authority, KeyPair

SECURE = ("--listen-client-urls=https://127.0.0.1:0", "--advertise-client-urls=https://127.0.0.1:0")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def pair(pki: Pki) -> KeyPair:
    return pki.ours.issue("member")


def config(*flags: str) -> Config:
    return load_config(list(flags), {})


def refusal(*flags: str) -> StartRefused:
    with pytest.raises(StartRefused) as refused:
        open_tls(config(*flags))
    return refused.value


def test_files_that_cannot_be_used_stop_the_start(pki: Pki, pair: KeyPair, tmp_path: Path) -> None:
    """In the words of etcd and Go, which name no more than they must; ours name the files."""
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "noise").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    other = pki.ours.issue("other")
    given = {"cert": pair.cert, "key": pair.key, "ca": pki.ours.ca}
    cases: list[tuple[dict[str, Path], str]] = [
        ({"cert": tmp_path / "gone"}, f"open {tmp_path}/gone: no such file or directory"),
        ({"key": tmp_path / "gone"}, f"open {tmp_path}/gone: no such file or directory"),
        ({"ca": tmp_path / "gone"}, f"open {tmp_path}/gone: no such file or directory"),
        ({"key": other.key}, f"tls: private key does not match public key ({pair.cert}, {other.key})"),
        ({"cert": tmp_path / "empty"}, f"tls: failed to find any PEM data in certificate input ({tmp_path}/empty)"),
        ({"key": tmp_path / "empty"}, f"tls: failed to find any PEM data in key input ({tmp_path}/empty)"),
        ({"ca": tmp_path / "empty"}, f"no certificates of an authority can be read from {tmp_path}/empty"),
        ({"ca": tmp_path / "noise"}, f"no certificates of an authority can be read from {tmp_path}/noise"),
    ]
    for changed, message in cases:
        files = {**given, **changed}
        flags = [f"--cert-file={files['cert']}", f"--key-file={files['key']}", f"--trusted-ca-file={files['ca']}"]
        refused = refusal(*SECURE, *flags)
        assert refused.message == message
        assert refused.hint == "correct --cert-file, --key-file or --trusted-ca-file"
        assert refusal(*(flag.replace("--", "--peer-", 1) for flag in flags)).message == message


def test_an_encrypted_key_is_refused_and_not_asked_for(pair: KeyPair, tmp_path: Path) -> None:
    """A member that waits for somebody to type a password at its terminal never starts."""
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    refused = refusal(*SECURE, f"--cert-file={pair.cert}", f"--key-file={locked}")
    assert refused.message.startswith("tls: failed to parse private key: it is encrypted")


def test_certificates_beside_plain_urls_are_named(pair: KeyPair, caplog: pytest.LogCaptureFixture) -> None:
    """Somebody believes that this port is safe. Source: etcd server/embed/etcd.go, configure...Listeners."""
    files = [f"--cert-file={pair.cert}", f"--key-file={pair.key}"]
    open_tls(config(*files, "--client-cert-auth", *(flag.replace("--", "--peer-", 1) for flag in files)))
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [(record.getMessage(), record.__dict__["zap_fields"]) for record in warned if "scheme" in record.msg] == [
        (
            "scheme is HTTP while key and cert files are present; ignoring key and cert files",
            {"peer-url": "http://localhost:2380"},
        ),
        (
            "scheme is http or unix while key and cert files are present; ignoring key and cert files",
            {"client-url": "http://localhost:2379"},
        ),
        (
            "scheme is http or unix while --client-cert-auth is enabled; ignoring client cert auth for this URL",
            {"client-url": "http://localhost:2379"},
        ),
    ]


def test_what_is_in_force_is_logged_as_etcd_logs_it(pair: KeyPair, caplog: pytest.LogCaptureFixture) -> None:
    """The console reads these lines. Source: etcd TLSInfo.String."""
    caplog.set_level("INFO")
    open_tls(config(*SECURE, f"--cert-file={pair.cert}", f"--key-file={pair.key}"))
    (line,) = [record for record in caplog.records if record.getMessage() == "starting with client TLS"]
    assert line.__dict__["zap_fields"]["tls-info"] == (
        f"cert = {pair.cert}, key = {pair.key}, client-cert=, client-key=, trusted-ca = , client-cert-auth = false, "
        "crl-file = "
    )


@pytest.mark.slow
def test_auto_tls_makes_a_certificate_once(tmp_path: Path) -> None:
    """Where etcd keeps it, for the hosts listened on, and with the mode of a key. Source: etcd SelfCert."""
    flags = [f"--data-dir={tmp_path}/d", *SECURE, "--auto-tls", "--peer-auto-tls", "--self-signed-cert-validity=3"]
    flags += ["--listen-peer-urls=https://127.0.0.1:2380,https://localhost:2381", "--tls-min-version=TLS1.3"]
    opened = open_tls(config(*flags))
    peer = tmp_path / "d" / "fixtures" / "peer"
    certificate = x509.load_pem_x509_certificate((peer / "cert.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["127.0.0.1", "localhost"]
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 3 * 365
    assert (peer / "key.pem").stat().st_mode & 0o777 == 0o600
    assert opened.client is not None
    assert opened.dial is not None
    dial = opened.dial.current()
    assert (dial.verify_mode, dial.check_hostname) == (ssl.CERT_NONE, False)
    assert dial.minimum_version == ssl.TLSVersion.TLSv1_3
    before = (peer / "cert.pem").read_bytes()
    open_tls(config(*flags))
    assert (peer / "cert.pem").read_bytes() == before
    with pytest.raises(StartRefused, match="selfSignedCertValidity is invalid,it should be greater than 0"):
        open_tls(config(*flags, "--self-signed-cert-validity=0"))


def test_auto_tls_gives_way_to_certificates(pair: KeyPair, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Source: etcd server/embed/config.go, ClientSelfCert."""
    open_tls(
        config(*SECURE, f"--data-dir={tmp_path}/d", "--auto-tls", f"--cert-file={pair.cert}", f"--key-file={pair.key}")
    )
    assert "ignoring client auto TLS since certs given" in caplog.messages
    assert not (tmp_path / "d").exists()


def test_versions_and_suites_are_what_the_flags_say(pki: Pki, pair: KeyPair) -> None:
    """Both ends; TLS 1.2 is the least there is."""
    info = TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key), trusted_ca_file=str(pki.ours.ca))
    for make in (lambda info: server_context(info, ["h2"]), client_context):
        assert make(info).minimum_version == ssl.TLSVersion.TLSv1_2
        limited = make(replace(info, min_version="TLS1.2", max_version="TLS1.2"))
        assert limited.maximum_version == ssl.TLSVersion.TLSv1_2
        suites = ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_RC4_128_SHA")
        chosen = [item["name"] for item in make(replace(info, cipher_suites=suites)).get_ciphers()]
        assert [name for name in chosen if not name.startswith("TLS_")] == ["ECDHE-ECDSA-AES256-GCM-SHA384"]
        modern = make(replace(info, cipher_suites=("TLS_AES_128_GCM_SHA256",)))
        assert modern.minimum_version == ssl.TLSVersion.TLSv1_3


def test_a_dial_believes_only_the_authority_it_was_given(pki: Pki, pair: KeyPair) -> None:
    """Not the system's; and an authority that another one has signed is believed by itself, as in Go."""
    info = TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key), trusted_ca_file=str(pki.ours.ca))
    context = client_context(info)
    assert [found["subject"] for found in context.get_ca_certs()] == [((("commonName", "ours"),),)]
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


def test_ports_do_without_certificates_where_none_are_wanted(pair: KeyPair) -> None:
    """Naming an authority is enough to ask for them. Source: etcd TLSInfo.ServerConfig."""
    info = TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key))
    assert server_context(info, ["h2"]).verify_mode == ssl.CERT_NONE
    assert server_context(replace(info, client_cert_auth=True), ["h2"]).verify_mode == ssl.CERT_REQUIRED


def test_a_member_without_tls_reads_nothing() -> None:
    """The plain start stays as quick as it was."""
    opened = open_tls(config())
    assert (opened.client, opened.metrics, opened.peer, opened.dial) == (None, None, None, None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_key_that_may_not_be_read_is_named(pair: KeyPair, tmp_path: Path) -> None:
    """What happens when the service's user is not the one who made the files."""
    hidden = tmp_path / "hidden.key"
    hidden.write_bytes(pair.key.read_bytes())
    hidden.chmod(0)
    refused = refusal(*SECURE, f"--cert-file={pair.cert}", f"--key-file={hidden}")
    assert refused.message == f"open {hidden}: permission denied"


def test_authorities_may_be_many_in_one_file(pki: Pki, pair: KeyPair, tmp_path: Path) -> None:
    """As during a rotation."""
    both = tmp_path / "both.pem"
    third = Authority(tmp_path / "third", "third")
    both.write_bytes(b"a comment\n" + b"\n".join(ca.read_bytes() for ca in (pki.ours.ca, pki.other.ca, third.ca)))
    info = TlsInfo(cert_file=str(pair.cert), key_file=str(pair.key), trusted_ca_file=str(both))
    assert len(server_context(info, ["h2"]).get_ca_certs()) == 3
