"""The test support itself: real clusters start, answer and end."""

from __future__ import annotations

import pytest

from tests.conftest import MakeCluster
from tests.support.real_etcd import poll_until


@pytest.mark.real
@pytest.mark.slow
def test_a_real_cluster_survives_the_loss_of_one_member(real_etcd: MakeCluster) -> None:
    """Three members, one killed and restarted: a put is readable throughout."""
    cluster = real_etcd(size=3)
    cluster.ctl("put", "k", "v")
    victim = cluster.members[0]
    victim.kill()
    assert victim.process is None
    poll_until(lambda: cluster.ctl("get", "k", "--print-value-only").strip() == "v", 20)
    victim.start()
    poll_until(lambda: cluster.ctl("endpoint", "status").count(cluster.binaries.version) == 3, 20)
