"""What all tests share: golden files (`--rewrite`) and real etcd members."""

from __future__ import annotations

import difflib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.real_etcd import EtcdBinaries, RealCluster, find_etcd, new_cluster, node_with

# Real hosts: see tests/hosts/README.md.
pytest_plugins = ["tests.hosts.plugin"]

MakeCluster = Callable[..., RealCluster]


def pytest_configure() -> None:
    # A run in the background of a script ignores Ctrl-C, and so would every program that the tests start and interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_LONG = frozenset(
    {
        "cli/test_access_real.py",
        "cli/test_local.py",
        "cli/test_status_real.py",
        "client/test_real_client.py",
        "differential/test_disturbances.py",
        "differential/test_starting_and_ending.py",
        "differential/test_three_alike.py",
        "differential/test_without_quorum.py",
        "playbooks/test_local_cluster.py",
        "playbooks/test_recover.py",
    }
)
"""Whole clusters, some seconds a test: with etcd 3.5 in `make test`, with 3.4 as well in `make exhaustive`."""

_WITH_BOTH = frozenset(
    {
        "test_a_lost_cluster_comes_back_as_the_snapshot_was",
        "test_passwords_and_permissions",
        "test_tls_with_a_client_certificate",
    }
)
"""Of these, what `make test` tries with both."""

_ONE_ENGINE = {
    "test_a_recovery_cut_off_at_every_step_ends_the_same": "node",
    "test_a_recovery_killed_again_and_again_ends_the_same": "node",
    "test_a_recovery_taken_back_leaves_the_old_state": "node",
    "test_alarms_and_leases_come_along_and_are_reported": "node",
    "test_kills_and_pauses_break_no_promise": "etcd",
}
"""Long tests, and the engine they are tried with in `make exhaustive` only."""

_RARE = frozenset({"services/test_container.py", "services/test_supervised.py"})
_OF_RARE = frozenset(
    {
        "test_a_member_is_started_stopped_and_started_again",
        "test_a_member_that_does_not_start_is_told_with_its_own_words",
        "test_what_it_runs_with_and_would_run_with",
    }
)
"""Of what holds for each kind of service, what `make test` tries with other kinds than systemd and plain processes."""


@pytest.hookimpl(tryfirst=True)  # before pytest's own, which leaves out what is marked
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _is_long(item):
            item.add_marker(pytest.mark.exhaustive)


def _is_long(item: pytest.Item) -> bool:
    name, _, parameters = item.name.partition("[")
    file = item.path.relative_to(Path(__file__).parent).as_posix()
    return (
        (file in _LONG and "3.4" in parameters and name not in _WITH_BOTH)
        or (name in _ONE_ENGINE and _ONE_ENGINE[name] in parameters)
        or (file in _RARE and item.parent is not None and item.parent.name.startswith("Test") and name not in _OF_RARE)
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write golden files anew instead of comparing with them; then read the diff",
    )


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--rewrite"))


class Golden:
    """Files with the expected output of one test module, compared in bytes: `<folder>/golden/<module>/<name>`."""

    def __init__(self, folder: Path, rewrite: bool) -> None:
        self.folder = folder
        self._rewrite = rewrite

    def check(self, name: str, actual: str | bytes) -> None:
        """Compare `actual` with the golden file `name`, or write it with --rewrite. A missing file is a failure."""
        data = actual.encode() if isinstance(actual, str) else actual
        path = self.folder / name
        if self._rewrite:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return
        if not path.exists():
            pytest.fail(f"{path} does not exist; run pytest --rewrite and read what it writes")
        expected = path.read_bytes()
        if data != expected:
            was, now = (part.decode(errors="backslashreplace").splitlines() for part in (expected, data))
            diff = "\n".join(difflib.unified_diff(was, now, str(path), "now", lineterm=""))
            pytest.fail(f"output changed (pytest --rewrite accepts it):\n{diff or 'only line ends differ'}")


@pytest.fixture
def golden(request: pytest.FixtureRequest, rewrite: bool) -> Golden:
    module = Path(request.node.path)
    return Golden(module.parent / "golden" / module.stem.removeprefix("test_"), rewrite)


@pytest.fixture(params=["3.4", "3.5"])
def etcd_binaries(request: pytest.FixtureRequest) -> EtcdBinaries:
    """Real etcd of each minor version; `@pytest.mark.parametrize("etcd_binaries", ["3.5"], indirect=True)` picks one.

    Missing binaries skip the test with the reason, or fail it where ETCDOPS_REQUIRE_ETCD says that they must be there.
    """
    found = find_etcd(request.param)
    if found is None:
        reason = f"no etcd {request.param} in .cache/etcd: `make etcd` fetches it"
        if os.environ.get("ETCDOPS_REQUIRE_ETCD"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture
def real_etcd(etcd_binaries: EtcdBinaries, tmp_path: Path) -> Iterator[MakeCluster]:
    """Makes and starts real clusters: `real_etcd(size=3, tls=..., flags=[...], start=True)`; all are ended afterwards.

    Options are those of `tests.support.real_etcd.new_cluster`.
    """
    made: list[RealCluster] = []

    def make(*, start: bool = True, **options: object) -> RealCluster:
        folder = tmp_path / f"etcd-{len(made)}"
        cluster = new_cluster(etcd_binaries, folder, **options)  # type: ignore[arg-type]  # options are new_cluster's
        made.append(cluster)
        if start:
            cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.kill()


@pytest.fixture
def node_cluster(etcd_binaries: EtcdBinaries, tmp_path: Path) -> Iterator[MakeCluster]:
    """As `real_etcd`, but the members are the bundled node; `ctl` is the etcdctl of each version."""
    made: list[RealCluster] = []

    def make(*, start: bool = True, **options: object) -> RealCluster:
        folder = tmp_path / f"node-{len(made)}"
        cluster = new_cluster(node_with(etcd_binaries), folder, **options)  # type: ignore[arg-type]  # as in real_etcd
        made.append(cluster)
        if start:
            cluster.start()
        return cluster

    yield make
    for cluster in made:
        cluster.kill()
