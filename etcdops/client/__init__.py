"""Async client of any etcd, 3.4 to 3.7. `etcdops.client.client.Client` is the way in."""

from __future__ import annotations

import os

# grpc's C core writes its own lines to stderr on every refused handshake; whatever happened is in the error we raise.
# It reads the variable when it is loaded, so this must come before any import of grpc.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
