"""Names of TLS versions and cipher suites: Go's, which etcd's flags take, and OpenSSL's.

Sources: etcd client/pkg/tlsutil, versions.go and cipher_suites.go; Go crypto/tls, CipherSuites and
InsecureCipherSuites; OpenSSL's ciphers(1).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from etcdops.node.go_text import quote

_VERSIONS = {
    "": ssl.TLSVersion.MINIMUM_SUPPORTED,
    "TLS1.2": ssl.TLSVersion.TLSv1_2,
    "TLS1.3": ssl.TLSVersion.TLSv1_3,
}

_TLS13_SUITES = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})

_SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}

_BROKEN_SUITES = frozenset(
    {
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    }
)
"""Names Go knows and OpenSSL has given up: read over while another one is named too."""


def tls_version(name: str) -> ssl.TLSVersion:
    """Raises: ValueError with etcd's words. Source: etcd tlsutil.GetTLSVersion."""
    if name not in _VERSIONS:
        raise ValueError(f"unexpected TLS version {quote(name)} (must be one of: TLS1.2, TLS1.3)")
    return _VERSIONS[name]


def openssl_ciphers(names: Sequence[str]) -> str:
    """What `SSLContext.set_ciphers` takes for these suites, in their order; empty when all are of TLS 1.3.

    Raises: ValueError with etcd's words - one that Go does not know. Source: etcd tlsutil.GetCipherSuites.
    """
    chosen: list[str] = []
    for name in names:
        if name in _SUITES:
            chosen.append(_SUITES[name])
        elif name not in _TLS13_SUITES and name not in _BROKEN_SUITES:
            raise ValueError(f"unexpected TLS cipher suite {quote(name)}")
    return ":".join(dict.fromkeys(chosen))


def limit(context: ssl.SSLContext, *, min_version: str, max_version: str, cipher_suites: Sequence[str]) -> None:
    """Put the flags' limits on a context. TLS 1.2 is the least there is, as in etcd. Raises: ValueError."""
    context.minimum_version = tls_version(min_version or "TLS1.2")
    if max_version:
        context.maximum_version = tls_version(max_version)
    if cipher_suites:
        ciphers = openssl_ciphers(cipher_suites)
        if ciphers:
            context.set_ciphers(ciphers)
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
