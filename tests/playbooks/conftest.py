"""Fixtures of the playbook tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.playbooks.clusters import broken, local_cluster

__all__ = ["broken", "local_cluster"]


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs are listed in a folder of the test, not in the home of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ETCDOPS_HOME", str(home))
    return home
