"""Servers to ask: real etcd of two versions, and the node."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.differential.checklist import Server
from tests.differential.client import Client
from tests.support.node_members import NODE
from tests.support.node_nursery import Nursery, NurseryMember
from tests.support.real_etcd import EtcdBinaries, find_etcd, new_cluster, poll_until

KINDS = ("etcd-3.4", "etcd-3.5", "node")
VERSION_TIMEOUT_S = 20.0
Start = Callable[..., Server]

_numbers = itertools.count()


def binaries_of(kind: str) -> EtcdBinaries:
    """Of one kind; skips the test where there are none."""
    if kind == "node":
        return NODE
    found = find_etcd(kind.removeprefix("etcd-"))
    if found is None:
        reason = f"no {kind} in .cache/etcd: `make etcd` fetches it"
        if os.environ.get("ETCDOPS_REQUIRE_ETCD"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def start_server(kind: str, folder: Path, *, nursery: Nursery | None = None, **options: object) -> Server:
    """Started and ready; options are those of `new_cluster`. Nodes come from `nursery`, if there is one."""
    cluster = new_cluster(binaries_of(kind), folder, **options)  # type: ignore[arg-type]  # options are new_cluster's
    if kind == "node" and nursery is not None:
        cluster.members[:] = [NurseryMember.of(member, nursery) for member in cluster.members]
    try:
        cluster.start()
        clients = tuple(Client(member.url) for member in cluster.members)
        # A member serves before the cluster's version is agreed on; calls that need it fail until then.
        poll_until(lambda: "not_decided" not in clients[0].get("/version")[1], VERSION_TIMEOUT_S, "no cluster version")
    except BaseException:
        cluster.kill()
        raise
    return Server(kind, cluster, clients)


@pytest.fixture(scope="session", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """One kind after the other: all tests of one are run before the next is started."""
    return str(request.param)


@pytest.fixture(scope="session")
def server(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A member of one that many tests share: use `prefix`, and leave no alarm or member behind."""
    started = start_server(kind, tmp_path_factory.mktemp(kind))
    yield started
    started.close()


@pytest.fixture
def fresh(kind: str, tmp_path: Path) -> Iterator[Start]:
    """Makes servers that nobody else has used: `fresh(size=1, flags=[...])`."""
    made: list[Server] = []

    def start(**options: object) -> Server:
        folder = tmp_path / f"server-{len(made)}"
        made.append(start_server(kind, folder, **options))  # type: ignore[arg-type]  # options are new_cluster's
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def prefix() -> bytes:
    """What keys of this test begin with: no other test sees them."""
    return b"/%d/" % next(_numbers)
