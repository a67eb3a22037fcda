"""TLS of the dials to other members."""

from __future__ import annotations

import ssl

from etcdops.node.tls.contexts import Following, client_context
from etcdops.node.tls.info import TlsInfo


class ClientTls:
    """What this member shows when it dials another, and whom it believes; from files that are followed.

    Connections that are open stay as they are; the next dial uses the new files.
    """

    def __init__(self, info: TlsInfo) -> None:
        self._contexts = Following(
            lambda: client_context(info),
            [info.dial_cert_file, info.dial_key_file, info.trusted_ca_file],
            "failed to create client certificate",
        )

    def load(self) -> None:
        """Read the files for the first time. Raises: UnusableFiles."""
        self._contexts.load()

    def current(self) -> ssl.SSLContext:
        """The context of the next dial."""
        return self._contexts.current()
