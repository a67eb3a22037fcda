"""Fixtures for tests on real hosts, for every folder of tests (loaded by tests/conftest.py).

    def test_something(hosts: Hosts) -> None:      three hosts, as they were installed

A module that does not care what the one before did to the hosts uses `dirty_hosts`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.hosts.base import CACHE
from tests.hosts.hosts import Hosts
from tests.hosts.requirement import REQUIRED, why_not

COUNT: Final = 3
_OWNER_TIMEOUT_S: Final = 150.0
_FIXTURES: Final = {"hosts_session", "hosts", "dirty_hosts", "needs_hosts"}
_TEST_TIMEOUT_S: Final = 180


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on hosts are slow and real, and all go to one worker of pytest-xdist (with --dist loadgroup)."""
    for item in items:
        if _FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            continue
        for mark in (pytest.mark.slow, pytest.mark.real, pytest.mark.xdist_group("hosts")):
            item.add_marker(mark)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_TEST_TIMEOUT_S))


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
    with _owner():
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


@contextmanager
def _owner() -> Iterator[None]:
    """One worker of a pytest-xdist run has hosts at a time: two sets of three would starve each other."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        yield
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _OWNER_TIMEOUT_S
    path = CACHE / f"owner-{run}.lock"
    with open(path, "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    pytest.fail(
                        "another worker of this run has the hosts; tests that need them share one: --dist loadgroup"
                    )
                time.sleep(0.2)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
