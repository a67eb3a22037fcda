"""What clients do wrong."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from tests.diagnosis.faults.cluster import FaultCluster
from tests.diagnosis.faults.fault import ETCD, Fault

APP = "app.service"


def wrong_password(cluster: FaultCluster) -> None:
    """Auth is on, and somebody has an old password."""
    _with_auth(cluster)
    for _ in range(3):
        cluster["h1"].ctl("--user=root:not-this", "get", "k", check=False)


def unknown_user(cluster: FaultCluster) -> None:
    """Auth is on, and somebody has a name it does not know."""
    _with_auth(cluster)
    for _ in range(3):
        cluster["h1"].ctl("--user=nobody:secret", "get", "k", check=False)


def token_of_another_member(cluster: FaultCluster) -> None:
    """Simple tokens end with the process that gave them."""
    _with_auth(cluster)
    url = cluster["h1"].client_url
    for token in ("abcdefgh.1", "ijklmnop.2", "qrstuvwx.3"):
        body = json.dumps({"key": "aw=="}).encode()
        request = urllib.request.Request(f"{url}/v3/kv/range", body, {"Authorization": token}, method="POST")
        try:
            urllib.request.urlopen(request, timeout=5).close()
        except urllib.error.HTTPError as refused:
            refused.close()


def large_requests(cluster: FaultCluster) -> None:
    """An application writes more than 1.5 MiB at once; its own journal tells."""
    run_app(cluster, "head -c 2000000 /dev/zero | tr '\\\\0' x | etcdctl put big; etcdctl put k v")


def many_operations(cluster: FaultCluster) -> None:
    """More than 128 operations in one transaction."""
    run_app(cluster, "{ echo; for n in $(seq 200); do echo put k$$n v; done; echo; echo; } | etcdctl txn -i")


def watch_from_long_ago(cluster: FaultCluster) -> None:
    """A revision that was compacted."""
    for _ in range(5):
        cluster["h1"].ctl("put", "k", "v")
    cluster["h1"].ctl("compact", "5")
    run_app(cluster, "etcdctl watch k --rev=2")


def slow_ranges(cluster: FaultCluster) -> None:
    """Somebody reads everything, again and again, and whatever takes 5 ms is said to be slow."""
    first = cluster["h1"]
    first.stop()
    first.configure(experimental_warning_apply_duration="5ms")
    first.start(wait=True)
    cluster.mark()
    cluster.put(3000, size=1000)
    for _ in range(12):
        cluster["h1"].ctl("get", "", "--prefix", "--write-out=json")


def _with_auth(cluster: FaultCluster) -> None:
    first = cluster["h1"]
    first.ctl("user", "add", "root:secret")
    first.ctl("user", "grant-role", "root", "root", check=False)
    first.ctl("auth", "enable")


def run_app(cluster: FaultCluster, script: str) -> None:
    """An application on h1, under systemd."""
    first = cluster["h1"]
    first.run(
        f"systemd-run --unit={APP} --setenv=ETCDCTL_API=3 --setenv=ETCDCTL_ENDPOINTS={first.client_url} "
        f"--setenv=PATH=/usr/local/bin:/usr/bin:/bin sh -c '{script}'",
        timeout_s=30,
    )
    cluster.later(lambda: first.run(f"systemctl stop {APP}; systemctl reset-failed {APP}", check=False))


FAULTS = (
    Fault("auth-denied", wrong_password, spares_data=False, engines=ETCD),
    Fault("auth-denied", unknown_user, "user", spares_data=False, engines=ETCD),
    Fault("auth-token-invalid", token_of_another_member, spares_data=False, engines=ETCD),
    Fault("request-too-large", large_requests, unit=APP, logs=("h1",)),
    Fault("request-too-large", many_operations, "operations", unit=APP, logs=("h1",)),
    Fault("watch-compacted", watch_from_long_ago, unit=APP, logs=("h1",)),
    Fault("slow-range", slow_ranges, engines=("etcd-3.5",)),
)
