"""The bundled node on real hosts: the same changes, of the same steps."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from etcdops.playbooks.certificates.listing import list_certificates
from etcdops.playbooks.certificates.planning import CertificateChoices
from etcdops.playbooks.certificates.procedure import plan_renew, plan_rotate
from etcdops.playbooks.rolling.procedure import plan_change
from tests.hosts.hosts import Hosts
from tests.playbooks.rolling.host_bench import ChangingBench
from tests.playbooks.rolling.writer import writing


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
async def test_a_node_cluster_is_changed_and_gets_another_authority_while_it_serves(
    hosts: Hosts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings one by one, certificates without a restart, the authority with two rounds of them."""
    monkeypatch.setenv("ETCDOPS_HOME", str(tmp_path / "state"))
    bench = ChangingBench(hosts, tmp_path, {"engine": {"kind": "node"}, "tls": {}})
    await bench.apply()
    assert await bench.change(plan_change) is None
    async with writing(bench.settings()) as writer:
        bench.cluster = {**bench.cluster, "settings": {"quota-backend-bytes": 1 << 30}}
        changed = await bench.change(plan_change)
        await bench.change(lambda run: plan_renew(run, CertificateChoices(300)))
        await bench.change(lambda run: plan_rotate(run, CertificateChoices(365)))
    assert changed is not None
    assert [step for step in changed.results if step.startswith("restart")] != []
    assert writer.failed == {}
    assert await writer.lost() == []
    found = await bench.reach(lambda run: list_certificates(run, soon=datetime.timedelta(days=30)))
    assert found.good, [row.problems for row in found.rows]
    assert await bench.change(plan_change) is None
