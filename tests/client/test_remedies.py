"""Reasons not to be let in have a next step each, wherever they are shown."""

from __future__ import annotations

import pytest

from etcdops.client import probe
from etcdops.client.failures import classify
from etcdops.client.remedies import remedy


@pytest.mark.parametrize("reason", sorted(set(probe._ALERTS.values())))
def test_every_alert_of_a_handshake_has_a_remedy(reason: str) -> None:
    """Goal: what the socket itself told is never answered with "check everything"."""
    assert remedy(f"TLS: {reason}")


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("unable to get local issuer certificate", "--cacert"),
        ("self-signed certificate in certificate chain", "--cacert"),
        ("certificate has expired", "--insecure-skip-tls-verify"),
        ("certificate is not yet valid", "clocks"),
        ("Hostname mismatch, certificate is not valid for 'h'.", "--server-name"),
    ],
)
def test_each_reason_to_distrust_a_member_has_its_own_step(said: str, step: str) -> None:
    """Source: OpenSSL x509_vfy_err, X509_verify_cert_error_string."""
    assert step in remedy(f"TLS: its certificate is not accepted: {said}")


@pytest.mark.parametrize("text", ["user name is empty", "invalid auth token", "permission denied"])
def test_refusals_of_a_user_have_a_step(text: str) -> None:
    """With and without the prefixes that etcd gives its errors."""
    for prefix in ("etcdserver: ", "auth: "):
        failure = classify("http://h:1", "UNKNOWN", f"{prefix}{text}")
        assert failure.reason == text
        assert remedy(failure.reason)


def test_other_reasons_have_none() -> None:
    assert remedy("connection refused") == ""
