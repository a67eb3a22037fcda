"""This machine as a host."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator

import pytest

from etcdops.remote.become import Become
from etcdops.remote.command import command
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


@pytest.mark.slow
async def test_without_the_need_to_become_nobody_is_asked() -> None:
    """A command for another user runs as it is, on hosts without sudo."""
    session = LocalSession(become=Become(needed=False))
    result = await session.run(command("id", "-un", user="no-such-user"))
    assert result.text == getpass.getuser()
    await session.close()
