"""A member of one and a client of it, for the tests of every service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.calls import Api
from tests.fakes.single_member import SingleMember


@pytest.fixture
def member(tmp_path: Path) -> Iterator[SingleMember]:
    started = SingleMember(tmp_path)
    yield started
    started.close()


@pytest.fixture
def api(member: SingleMember) -> Api:
    return Api(member)
