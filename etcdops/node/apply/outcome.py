"""What applying a request came to."""

from __future__ import annotations

from typing import NamedTuple

from etcdops.node.api.errors import EtcdError


class Outcome(NamedTuple):
    """An answer without its header, as bytes ready to be sent after one; or an error.

    `body` is the encoded response message minus field 1. `revision` goes into the header; 0 means the store's revision
    at the time of answering. With `error` set the other two say nothing.
    """

    body: bytes = b""
    revision: int = 0
    error: EtcdError | None = None


class Applied(NamedTuple):
    """What became of one log entry: the request's ID (0 = nobody waits for it) and its outcome."""

    request_id: int
    outcome: Outcome
