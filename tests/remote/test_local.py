"""This machine as a host."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from etcdops.remote.local import LocalSession
from etcdops.remote.session import Session
from tests.contracts.session_port import SessionContract


@pytest.mark.slow
class TestLocalSession(SessionContract):
    """The contract."""

    @pytest.fixture
    async def session(self) -> AsyncIterator[Session]:
        opened = LocalSession()
        await opened.prepare()
        yield opened
        await opened.close()
