"""Failed handshakes in Go's words, because etcd's logs are read for them.

Source: Go crypto/tls alert.go, handshake_server.go and common.go; crypto/x509 verify.go.
"""

from __future__ import annotations

import datetime
import errno
import ssl

_ALERTS = {
    "ACCESS_DENIED": "access denied",
    "BAD_CERTIFICATE": "bad certificate",
    "BAD_CERTIFICATE_HASH_VALUE": "bad certificate",
    "BAD_RECORD_MAC": "bad record MAC",
    "CERTIFICATE_EXPIRED": "expired certificate",
    "CERTIFICATE_REQUIRED": "certificate required",
    "CERTIFICATE_REVOKED": "revoked certificate",
    "CERTIFICATE_UNKNOWN": "unknown certificate",
    "DECODE_ERROR": "error decoding message",
    "DECRYPTION_FAILED": "decryption failed",
    "DECRYPT_ERROR": "error decrypting message",
    "HANDSHAKE_FAILURE": "handshake failure",
    "ILLEGAL_PARAMETER": "illegal parameter",
    "INAPPROPRIATE_FALLBACK": "inappropriate fallback",
    "INSUFFICIENT_SECURITY": "insufficient security level",
    "INTERNAL_ERROR": "internal error",
    "NO_APPLICATION_PROTOCOL": "no application protocol",
    "NO_RENEGOTIATION": "no renegotiation",
    "PROTOCOL_VERSION": "protocol version not supported",
    "RECORD_OVERFLOW": "record overflow",
    "UNEXPECTED_MESSAGE": "unexpected message",
    "UNKNOWN_CA": "unknown certificate authority",
    "UNRECOGNIZED_NAME": "unrecognized name",
    "UNSUPPORTED_CERTIFICATE": "unsupported certificate",
    "UNSUPPORTED_EXTENSION": "unsupported extension",
    "USER_CANCELLED": "user canceled",
}
"""What the other side complains of: OpenSSL's names without their beginning -> Go's."""

_OWN = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls: client didn't provide a certificate",
    "NO_SHARED_CIPHER": "tls: no cipher suite supported by both client and server",
    "UNSUPPORTED_PROTOCOL": "tls: client offered only unsupported versions",
    "VERSION_TOO_LOW": "tls: client offered only unsupported versions",
    "HTTP_REQUEST": "tls: first record does not look like a TLS handshake",
    "HTTPS_PROXY_REQUEST": "tls: first record does not look like a TLS handshake",
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "PACKET_LENGTH_TOO_LONG": "tls: first record does not look like a TLS handshake",
    "UNEXPECTED_MESSAGE": "tls: unexpected message",
}

_VERIFY = {
    2: "x509: certificate signed by unknown authority",  # its issuer's certificate is not there
    9: "x509: certificate has expired or is not yet valid",
    10: "x509: certificate has expired or is not yet valid",
    18: "x509: certificate signed by unknown authority",  # self-signed
    19: "x509: certificate signed by unknown authority",  # self-signed, somewhere in the chain
    20: "x509: certificate signed by unknown authority",
    21: "x509: certificate signed by unknown authority",
    7: "x509: certificate signed by unknown authority",  # its signature is not its issuer's
    23: "x509: certificate has been revoked",
    24: "x509: invalid certificate: issuer is no authority",
    25: "x509: too many intermediates for path length constraint",
    26: "x509: certificate specifies an incompatible key usage",
    66: "x509: certificate has too short a key",
    67: "x509: certificate has too short a key",
    68: "x509: cannot verify signature: insecure algorithm",
}
"""X509_V_ERR_* of OpenSSL."""

_HOSTNAME, _ADDRESS = 62, 64
_WHEN = {9: "before its beginning", 10: "after its end"}


def handshake_words(error: BaseException, *, local: str = "", remote: str = "") -> str:
    """Why a handshake failed, as Go would say it.

    Args: local, remote - addresses, for what Go says of sockets; without them only the system's words are given.
    """
    path = f"read tcp {local}->{remote}: " if local and remote else ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification(error)
    if isinstance(error, ssl.SSLError):
        return _ssl_words(error)
    if isinstance(error, TimeoutError | ConnectionAbortedError):
        return f"{path}i/o timeout"
    if isinstance(error, ConnectionResetError):
        # The loop raises it without a number when the other side has closed.
        return f"{path}read: connection reset by peer" if error.errno == errno.ECONNRESET else "EOF"
    return str(error) or type(error).__name__


def _verification(error: ssl.SSLCertVerificationError) -> str:
    code = getattr(error, "verify_code", None)
    if code is None:
        return str(error.args[-1])  # one of our own checks, which has etcd's words
    if code in (_HOSTNAME, _ADDRESS):
        return f"tls: failed to verify certificate: x509: certificate is valid for other names, {_wanted(error)}"
    said = _VERIFY.get(code) or f"x509: {error.verify_message}"
    if code in _WHEN:
        # Go names both times; OpenSSL keeps the certificate it has refused to itself.
        now = datetime.datetime.now(datetime.UTC)
        said += f": current time {now:%Y-%m-%dT%H:%M:%SZ} is {_WHEN[code]}"
    return f"tls: failed to verify certificate: {said}"


def _wanted(error: ssl.SSLCertVerificationError) -> str:
    """OpenSSL names the host that was dialled in quotation marks, and not the certificate's names."""
    parts = error.verify_message.split("'")
    return f"not {parts[1]}" if len(parts) > 2 else "not this one"


def _ssl_words(error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
        return "EOF"
    _, is_alert, alert = reason.partition("_ALERT_")
    if is_alert:
        return f"remote error: tls: {_ALERTS.get(alert, alert.lower().replace('_', ' '))}"
    return _OWN.get(reason) or f"tls: {reason.lower().replace('_', ' ') or error}"
