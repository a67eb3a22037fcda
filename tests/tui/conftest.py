"""The console in a test: no animations, a fixed time zone, a clock that moves only when told to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

os.environ["TEXTUAL_ANIMATIONS"] = "none"  # read once, when Textual is imported

from tests.tui.driver import ConsoleDriver, drive

Drive = Callable[..., AbstractAsyncContextManager[ConsoleDriver]]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks on the screens show UTC, and colours do not depend on who runs the tests."""
    monkeypatch.setenv("TZ", "UTC")
    for name in ("NO_COLOR", "ETCDOPS_READ_ONLY", "ETCDOPS_ENDPOINTS", "ETCDCTL_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def console() -> Drive:
    """Starts a console on a fake feed: `async with console(feed, size=(80, 24)) as driver`."""
    return drive
