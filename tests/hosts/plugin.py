"""Fixtures for tests on real hosts, for every folder of tests (loaded by tests/conftest.py).

    def test_something(hosts: Hosts) -> None:      three hosts, as they were installed

A module that does not care what the one before did to the hosts uses `dirty_hosts`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest

from tests.hosts.base import ROOT
from tests.hosts.hosts import Hosts
from tests.hosts.requirement import REQUIRED, why_not

COUNT: Final = 3
_FIXTURES: Final = {"hosts_session", "hosts", "dirty_hosts", "needs_hosts"}
_TEST_TIMEOUT_S: Final = 180
_FIRST_SET: Final = {"hosts", "services"}
"""Folders whose tests share one set of hosts, the others another: about half of the time each."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on hosts are slow and real, and have more time than others."""
    for item in items:
        if _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            continue
        for mark in (pytest.mark.slow, pytest.mark.real):
            item.add_marker(mark)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_TIMEOUT_S))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Tests one by one to whichever worker is free, but the modules that import `tests.hosts` to two of them.

    More sets of hosts would starve each other. The groups of pytest-xdist 3.8 are no help: they write to a field that
    tests no longer have in pytest 9.2, and would give them names that --last-failed does not know.
    """
    from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]  # it has no types

    if config.getoption("dist") != "load":
        return None  # asked for by somebody who knows why
    scheduler = LoadGroupScheduling(config, log)
    scheduler._split_scope = _worker_group
    return scheduler


def _worker_group(test: str) -> str:
    module = test.partition("::")[0]
    if not _uses_hosts(module):
        return test
    return "hosts" if module.split("/")[1] in _FIRST_SET else "more hosts"


@cache
def _uses_hosts(module: str) -> bool:
    return re.search(r"^(from|import) tests\.hosts\b", (ROOT / module).read_text(), re.MULTILINE) is not None


@pytest.fixture(scope="session")
def needs_hosts() -> None:
    """Skips by name, with the reason, where hosts cannot be made; fails instead where ETCDOPS_REQUIRE_HOSTS is set."""
    reason = why_not()
    if reason is None:
        return
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def hosts_session(needs_hosts: None) -> Iterator[Hosts]:
    """The session's three hosts, in whatever state. Tests take `hosts`."""
    hosts = Hosts.start(COUNT)
    try:
        yield hosts
    finally:
        hosts.stop()


@pytest.fixture
def hosts(hosts_session: Hosts) -> Hosts:
    """Three hosts exactly as installed: on, whole, no cuts, nothing written, nothing running that was not there.

    What the test before changed is found and undone (an empty disk and a boot for the hosts it touched), and that
    nothing is left is proved before this test begins.
    """
    hosts_session.reset()
    return hosts_session


@pytest.fixture
def dirty_hosts(hosts_session: Hosts) -> Hosts:
    """The three hosts, on and without cuts, with what earlier tests put on them: for tests that build on another."""
    hosts_session.heal()
    hosts_session.power_on_all()
    return hosts_session
