"""Starts `etcdops node` as a process on a crash state: what `boot.py` does in this one, for some of the states."""

from __future__ import annotations

from pathlib import Path

from etcdops.errors import StartRefused
from tests.power.boot import Broken
from tests.power.scenario import DATA_DIR, Recorded
from tests.support.node_members import NODE
from tests.support.ports import free_ports
from tests.support.raw_client import RawClient
from tests.support.real_etcd import RealMember


def start(recorded: Recorded, root: Path) -> tuple[int, int]:
    """Start a member on `root`, put a key. Returns: revision and HashKV it began with. Raises: Broken."""
    client_port, peer_port = free_ports(2)
    flags = (*recorded.flags, f"--data-dir={root / DATA_DIR}")
    member = RealMember(NODE, "m1", root.parent, client_port, peer_port, flags=flags)
    member.initial_cluster = next(
        flag.partition("=")[2] for flag in recorded.flags if flag.startswith("--initial-cluster=")
    )
    try:
        member.start()
        with RawClient(member.url) as client:
            revision, _ = client.get("any")
            found = revision, client.hash_kv(revision)
            if client.put("after the cut", "of power") != revision + 1:
                raise Broken("a put after the start skipped a revision")
    except (AssertionError, StartRefused) as error:
        raise Broken(f"as a process: {error}") from error
    finally:
        member.kill()
        member.log.unlink(missing_ok=True)
    return found
