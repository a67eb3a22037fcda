"""What a client hears when the store could not serve it."""

from __future__ import annotations

import logging

from etcdops.node.api.errors import COMPACTED, FUTURE_REVISION, STORE_REFUSED, EtcdError
from etcdops.node.storage.errors import Compacted, FutureRevision
from etcdops.node.zap_log import fields

log = logging.getLogger(__name__)


def store_error(error: BaseException | None) -> EtcdError:
    """What a client hears of a read of the store that failed."""
    if isinstance(error, Compacted):
        return COMPACTED
    if isinstance(error, FutureRevision):
        return FUTURE_REVISION
    log.error("the store could not serve a request", extra=fields(error=str(error)))
    return STORE_REFUSED
