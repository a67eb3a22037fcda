"""~/.ssh/config with the files it includes."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.remote.ssh_config import SSHConfig
from etcdops.remote.target import Target


def port_of(config: Path, name: str) -> int:
    return SSHConfig(config).resolve(Target(name)).target.port


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / ".ssh"
    (made / "conf.d").mkdir(parents=True)
    (made / "conf.d/10 lab").write_text("Host lab-*\n Port 2201\n")
    (made / "conf.d/20").write_text("Host lab-1 edge\n Port 2202\nInclude more\n")
    (made / "conf.d/.20.swp").write_bytes(b"\xff")
    (made / "more").write_text("User carol\n")
    return made


def test_included_files_hold_where_they_stand(folder: Path) -> None:
    """The first value counts; what an included file begins ends with it; names are relative to the first file."""
    config = folder / "config"
    config.write_text("Include conf.d/* none*\nPort 2200\nHost db\n User bob\n")
    assert [port_of(config, name) for name in ("lab-1", "lab-2", "edge", "db")] == [2201, 2201, 2202, 2200]
    assert SSHConfig(config).resolve(Target("edge")).target.user == "carol"
    assert SSHConfig(config).resolve(Target("db")).target.user == "bob"
    config.write_text(f'host db\n  include="{folder}/more"\n Port 2203\nHost other\n Include more\n')
    assert SSHConfig(config).resolve(Target("db")).target.user == "carol"
    assert (port_of(config, "db"), port_of(config, "other")) == (2203, 22)


def test_what_cannot_be_put_in_its_place_is_refused(folder: Path) -> None:
    """Rather than read as if it held for more hosts than it does; and a circle ends."""
    config = folder / "config"
    config.write_text("Host db\n Include conf.d/20\n")
    with pytest.raises(UsageError, match="20 has `Host lab-1 edge`, and is included below `Host db`"):
        SSHConfig(config)
    (folder / "more").write_text("Include more\n")
    config.write_text("Include more\n")
    with pytest.raises(UsageError, match="files include each other 16 deep"):
        SSHConfig(config)
    (folder / "more").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"more, which ~/\.ssh/config includes, cannot be read"):
        SSHConfig(config)
