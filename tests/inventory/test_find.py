"""Which inventory is taken when several could be."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.find import inventory_paths


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.chdir(tmp_path)
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


def test_one_source_whole_the_nearest_first(environment: dict[str, str], tmp_path: Path) -> None:
    """Typed, variable, here, the user's own; each hides those behind it."""
    folder = tmp_path / "config" / "etcdops" / "inventory"
    folder.mkdir(parents=True)
    assert inventory_paths([], environment) == (folder,)
    Path("etcdops.yaml").write_text("hosts: {}\n")
    assert inventory_paths([], environment) == (Path("etcdops.yaml"),)
    environment["ETCDOPS_INVENTORY"] = "a.yaml:b"
    assert inventory_paths([], environment) == (Path("a.yaml"), Path("b"))
    assert inventory_paths([Path("c"), Path("d")], environment) == (Path("c"), Path("d"))


def test_without_any_all_places_are_named(environment: dict[str, str], tmp_path: Path) -> None:
    """So that the reader knows where to put one."""
    with pytest.raises(UsageError, match="there is no inventory") as caught:
        inventory_paths([], environment)
    assert str(tmp_path / "config" / "etcdops" / "inventory") in caught.value.cause
    assert "--inventory" in caught.value.hint
