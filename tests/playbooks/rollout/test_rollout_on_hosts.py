"""From three bare hosts to a healthy cluster over TLS, on real systemd hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hosts.hosts import Hosts
from tests.playbooks.rollout.on_hosts import Bench
from tests.support.real_etcd import EtcdBinaries, find_etcd


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    return tmp_path


def etcd(minor: str) -> EtcdBinaries:
    found = find_etcd(minor)
    if found is None:
        pytest.skip(f"no etcd {minor} in .cache/etcd: `make etcd` fetches it")
    return found


async def test_three_bare_hosts_become_a_healthy_cluster_and_a_second_apply_changes_nothing(
    hosts: Hosts, home: Path
) -> None:
    """Binaries of 3.5, TLS everywhere, systemd."""
    binaries = etcd("3.5")
    cluster = {
        "engine": {"version": binaries.version, "source": {"directory": str(binaries.etcd.parent)}},
        "tls": {},
    }
    bench = Bench(hosts, home, cluster)
    _, known, outcome = await bench.apply()
    print([(e.kind, e.step_id, round(e.took_s, 2)) for e in bench.events if e.kind == "complete"])
    print(outcome.took_s)
    assert known.state.ended == "finished"
    again = await bench.prepare()
    assert (again.plan, again.restarts, again.refused) == (None, {}, ())
