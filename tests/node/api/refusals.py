"""Expecting an error of the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from etcdops.node.api.errors import EtcdError
from etcdops.node.rpc.service import RpcError


@contextmanager
def refused(error: EtcdError) -> Iterator[None]:
    """The block ends with exactly this code and text."""
    with pytest.raises(RpcError) as raised:
        yield
    assert (raised.value.code, raised.value.message) == (error.code, error.text)
