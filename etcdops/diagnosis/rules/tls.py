"""Certificates and handshakes; what Go's crypto/tls and crypto/x509 say inside etcd's lines."""

from __future__ import annotations

from etcdops.diagnosis.rules.rule import CERTAIN, LIKELY, POSSIBLE, Rule

_ENDS = (".pem", ".crt", ".key", ".cert")
_MARKS = ("", '"', "'")
"""Quotes that an environment file, or a list in compose, made part of the path: `open "/etc/server.crt": no such`."""

_UNREAD = ("no such file", "permission denied", "is a directory", "The system cannot find the", "Access is denied")
"""As Unix says it and as Windows does."""

RULES = (
    Rule(
        "tls-expired",
        (
            "certificate has expired",
            "is not yet valid",
            "tls: expired certificate",
            "certificate expired",
            "tls: certificate expired",
            # OpenSSL and Java
            "alert certificate expired",
            "ALERT_CERTIFICATE_EXPIRED",
            "CertificateExpiredException",
        ),
        group="tls",
    ),
    Rule(
        "tls-unknown-ca",
        (
            "signed by unknown authority",
            "unknown certificate authority",
            "certificate is not trusted",
            "x509: certificate is not authorized to sign",
            'verification error" while trying to verify candidate',
            "self-signed certificate",
            "self signed certificate",
            "tls: unknown certificate authority",
            "issuer name does not match subject",
            "too many intermediates for path length",
            "parent certificate cannot sign",
            "CA certificate with path length constraint",
            # OpenSSL and Java
            "unable to get local issuer certificate",
            "unable to get issuer certificate",
            "unable to verify the first certificate",
            "alert unknown ca",
            "ALERT_UNKNOWN_CA",
            "unable to find valid certification path",
        ),
        none=("by the host CA bundle",),  # k3s on a token that does not name its CA
        group="tls",
    ),
    Rule(
        "tls-san-mismatch",
        (
            "does not match any of DNSNames",
            "x509: certificate is valid for",
            "doesn't contain any IP SANs",
            "relies on legacy Common Name",
            "is not valid for any names",
            "cannot validate certificate for",
            "x509: a root or intermediate certificate is not authorized",
            "no DNS names",
            "does not match any of IPAddresses",
            "not valid for requested",
            # Python, OpenSSL and Java
            "Hostname mismatch, certificate is not valid for",
            "IP address mismatch, certificate is not valid for",
            "doesn't match either of",
            "No subject alternative names",
            "No subject alternative DNS name matching",
        ),
        group="tls",
    ),
    Rule(
        "tls-key-usage",
        (
            "incompatible key usage",
            "unsupported extended key usage",
            "specifies an incompatible",
            "extended key usage doesn't permit",
        ),
        group="tls",
    ),
    Rule(
        "tls-plaintext-mismatch",
        (
            "first record does not look like a TLS handshake",
            "server gave HTTP response to HTTPS client",
            'malformed HTTP response "\\x15',
            "oversized record received",
            "Client sent an HTTP request to an HTTPS server",
            "scheme is HTTP while",
            "The scheme of client url",
            "The scheme of peer url",
            "scheme is http or unix while",
            "gave HTTP response to HTTPS",
            "malformed HTTP response",
            "unsupported SSLv2 handshake",
            "wrong version number",
            'malformed HTTP request "\\x16',
            "HTTP/1.x transport connection broken",
            'bogus greeting from client: "\\x16\\x03',
            # OpenSSL and Java
            "WRONG_VERSION_NUMBER",
            "UNKNOWN_PROTOCOL",
            "unknown protocol (_ssl",
            "NotSslRecordException",
            "Unsupported or unrecognized SSL message",
        ),
        CERTAIN,
        group="tls",
    ),
    # What gRPC's client says where it speaks plain HTTP/2 to a port with TLS; a server that is just ending, too.
    Rule(
        "tls-plaintext-mismatch",
        (
            "connection closed before server preface received",
            "error reading server preface: EOF",
            "error reading server preface: http2: frame too large",
            "error reading server preface: http2: failed reading the frame payload",
            "looked like an HTTP/1.1 header",
        ),
        LIKELY,
        group="tls",
    ),
    Rule(
        "tls-bad-certificate",
        (
            "tls: bad certificate",
            "tls: unknown certificate",
            "didn't provide a certificate",
            "certificate required",
            "client certificate authentication failed",
            "CommonName authentication failed",
            "tls: unsupported certificate",
            "tls: revoked certificate",
            "transport: certificate serial ",
            # OpenSSL and Java
            "alert bad certificate",
            "ALERT_BAD_CERTIFICATE",
            "alert certificate unknown",
            "ALERT_CERTIFICATE_UNKNOWN",
            "alert certificate required",
            "ALERT_CERTIFICATE_REQUIRED",
            "fatal alert: bad_certificate",
            "fatal alert: certificate_unknown",
            "fatal alert: certificate_required",
        ),
        group="tls",
    ),
    Rule("tls-key-usage", ("tls: failed to verify",), LIKELY, all=("usage",), group="tls"),
    Rule("tls-unknown-ca", ("crypto/rsa: verification error", "x509: ECDSA verification failure"), LIKELY, group="tls"),
    Rule(
        "tls-file-error",
        (
            *(f"{end}{mark}: {what}" for end in _ENDS for mark in _MARKS for what in _UNREAD),
            "cert: no such file",
            "ca: no such file",
        ),
        group="tls",
    ),
    *(
        Rule("tls-file-error", (": no such file or directory",), LIKELY, all=(folder,), group="tls")
        for folder in ("/ssl/", "/tls/", "/pki/", "/certs/")
    ),
    Rule(
        "tls-handshake-failed",
        (
            "tls: handshake failure",
            "tls: protocol version not supported",
            "tls: internal error",
            "no cipher suite supported",
            "unsupported versions",
            "unsupported version",
            "tls: no supported versions",
            "tls: bad record MAC",
            "tls: inappropriate fallback",
            "tls: unexpected message",
            "tls: illegal parameter",
            "tls: access denied",
            "tls: decrypt error",
            "tls: error decrypting message",
            "tls: invalid signature",
            "tls: user canceled",
            "authentication handshake failed",
            "tls: server selected unsupported",
        ),
        CERTAIN,
        none=("connection refused", "context deadline", "i/o timeout", "unsupported storage"),
        group="tls",
    ),
    Rule(
        "tls-handshake-failed",
        (
            # OpenSSL and Java
            "alert protocol version",
            "ALERT_PROTOCOL_VERSION",
            "alert handshake failure",
            "ALERT_HANDSHAKE_FAILURE",
            "UNSUPPORTED_PROTOCOL",
            "NO_SHARED_CIPHER",
            "Received fatal alert: ",
        ),
        group="tls",
    ),
    Rule("tls-handshake-failed", ("x509: ", "remote error: tls: ", "SSLHandshakeException"), POSSIBLE, group="tls"),
    Rule("tls-unknown-ca", ("CERTIFICATE_VERIFY_FAILED",), POSSIBLE, group="tls"),
    Rule(
        "tls-handshake-failed",
        ("tls: ", "TLS handshake error"),
        POSSIBLE,
        all=("rejected connection",),
        none=("EOF", "connection reset"),
        group="tls",
    ),
    Rule(
        "client-disconnect-noise",
        ("EOF", "connection reset by peer", "i/o timeout", "broken pipe", "use of closed network connection"),
        LIKELY,
        all=("rejected connection",),
        group="tls",
    ),
    Rule("client-disconnect-noise", ("TLS handshake error",), LIKELY, group="tls"),
)
