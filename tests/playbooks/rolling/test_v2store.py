"""Whether a member holds data of v2, as its host's etcdutl says; that of tests' etcd 3.5 cannot tell yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etcdops.errors import EtcdopsError
from etcdops.inventory.model import Inventory
from etcdops.playbooks.on_hosts import RunHosts, find_cluster, reaching, source_of
from etcdops.playbooks.rolling.host_fleet import HostFleet
from etcdops.remote.become import Become
from etcdops.remote.local import LocalSession
from etcdops.remote.pool import Open
from etcdops.remote.session import Session
from tests.playbooks.rollout.told import inventory
from tests.playbooks.test_on_hosts import FakeAccess
from tests.support.real_etcd import find_etcd

WAL = "/wal of 'h1'"


class HereAccess(FakeAccess):
    """Every host is this machine."""

    @contextmanager
    def connecting(self, inventory: Inventory) -> Iterator[Open]:
        async def open_host(name: str) -> Session:
            session = LocalSession(name, Become(needed=False))
            await session.prepare()
            return session

        yield open_host


@pytest.mark.slow
@pytest.mark.skipif(find_etcd("3.5") is None, reason="no etcd 3.5 in .cache/etcd: `make etcd` fetches it")
async def test_what_etcdutl_says_is_told_and_that_there_is_none_is_another_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, data of v2, no such program: the last one with what to do about it."""
    whole, cluster = inventory({"members": [{"host": "h1", "wal_dir": WAL}]})
    source = source_of([tmp_path], whole, cluster)
    tool = tmp_path / "bin" / "etcdutl"
    tool.parent.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name != tool.name:  # this machine may have one of its own
            (tool.parent / program.name).symlink_to(program)

    async def ask(run: RunHosts, text: str) -> str:
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
        return await HostFleet(run).check_v2store("h1")

    monkeypatch.setenv("PATH", str(tool.parent))
    async with reaching(whole, find_cluster(whole), source, HereAccess()) as run:
        expected = f'[ "$*" = "check v2store --data-dir=/var/lib/etcd --wal-dir={WAL}" ]'
        assert await ask(run, expected) == ""
        assert await ask(run, "echo 'Error: custom content' >&2; exit 1") == "Error: custom content"
        with pytest.raises(EtcdopsError, match="h1: there is no etcdutl on h1 that can see") as old:
            await ask(run, "echo 'Error: unknown flag: --wal-dir' >&2; exit 1")
        assert old.value.cause == "etcdutl: unknown flag: --wal-dir"
        tool.unlink()
        with pytest.raises(EtcdopsError, match="h1: there is no etcdutl on h1") as missing:
            await HostFleet(run).check_v2store("h1")
        assert "3.5.32" in missing.value.hint
        found = find_etcd("3.5")
        assert found is not None
        assert found.etcdutl is not None
        tool.symlink_to(found.etcdutl)
        with pytest.raises(EtcdopsError, match="h1: there is no etcdutl on h1 that can see") as real:
            await HostFleet(run).check_v2store("h1")
        assert real.value.cause == 'etcdutl: unknown command "check" for "etcdutl"'
