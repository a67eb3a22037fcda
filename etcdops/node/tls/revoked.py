"""Certificates that are refused before they expire."""

from __future__ import annotations

import os
from pathlib import Path

from etcdops.node.tls.names import WrongName

_Stamp = tuple[int, int, int]


class RevokedSerials:
    """The serial numbers in a revocation list, read again when the file is another one.

    As in etcd the list's signature and dates are not looked at: whoever can write the file decides. A list that cannot
    be read refuses everybody. Source: etcd client/pkg/transport/listener_tls.go, checkCRL.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._serials: frozenset[int] = frozenset()

    def check(self, serial: int) -> None:
        """Raises: WrongName - the certificate with that number is revoked, or the list cannot be read."""
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp != self._stamp:
                self._serials = _read(self._path)
                self._stamp = stamp
        except OSError as error:
            raise WrongName(f"open {self._path}: {(error.strerror or str(error)).lower()}") from error
        except ValueError as error:
            raise WrongName(f"{self._path} is no certificate revocation list: {error}") from error
        if serial in self._serials:
            digits = f"{serial:x}"
            raise WrongName(f"transport: certificate serial {digits.zfill(len(digits) + len(digits) % 2)} revoked")


def _read(path: str) -> frozenset[int]:
    """Raises: OSError, ValueError."""
    from cryptography import x509  # costs 50 ms of start that only a list needs

    content = Path(path).read_bytes()
    read = x509.load_pem_x509_crl if content.lstrip().startswith(b"-----BEGIN") else x509.load_der_x509_crl
    return frozenset(entry.serial_number for entry in read(content))
