"""Who holds a member's ports and files: named by process, command and the way to end it for good."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from etcdops.errors import ClusterUnsafe, ExitCode
from etcdops.playbooks.cluster_file import MemberSpec
from etcdops.playbooks.occupants import Occupant, occupants_of
from etcdops.playbooks.recover.strangers import Stranger, refuse_strangers
from tests.support.ports import free_ports

HOLDER = """
import fcntl, sys
file = open(sys.argv[1])
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")


def member(folder: Path) -> MemberSpec:
    client, peer = free_ports(2)
    return MemberSpec("m1", folder / "m1", f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}")


def test_nobody_holds_what_is_free(tmp_path: Path) -> None:
    """Goal: a member that is down has no occupant, with and without data."""
    spec = member(tmp_path)
    assert occupants_of(spec) == ()
    lock = spec.data_dir / "member" / "LOCK"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert occupants_of(spec) == ()


@linux
def test_a_listener_is_named(tmp_path: Path) -> None:
    """Goal: the process behind both ports is one occupant, with its number and command."""
    spec = member(tmp_path)
    with socket.socket() as client, socket.socket() as peer:
        for listener, url in ((client, spec.client_url), (peer, spec.peer_url)):
            listener.bind(("127.0.0.1", int(url.rpartition(":")[2])))
            listener.listen()
        (found,) = occupants_of(spec)
    assert found.pid == os.getpid()
    assert found.holds == (f"listens on {spec.client_url}", f"listens on {spec.peer_url}")
    assert "python" in found.command


@linux
@pytest.mark.parametrize("name", ["LOCK", "snap/db"])
def test_a_process_on_other_ports_is_found_by_its_lock(tmp_path: Path, name: str) -> None:
    """Goal: a member started by hand with other flags holds the data all the same."""
    spec = member(tmp_path)
    path = spec.data_dir / "member" / name
    path.parent.mkdir(parents=True)
    path.touch()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (found,) = occupants_of(spec)
        holder.kill()
    assert found.pid == holder.pid
    assert found.holds == (f"has {path} locked",)


OTHER = Occupant(("listens on http://127.0.0.1:2379",), 4711, "/usr/bin/etcd --name m3")


@pytest.mark.parametrize(
    ("occupant", "message", "remedy"),
    [
        (OTHER, "pid 4711: /usr/bin/etcd --name m3", "kill 4711"),
        (dataclasses.replace(OTHER, unit="etcd.service"), "etcd.service", "systemctl disable --now etcd.service"),
        (dataclasses.replace(OTHER, parent="supervisord (pid 17)"), "4711", "supervisord (pid 17) started it"),
        (Occupant(("listens on http://127.0.0.1:2379",)), "a process of another user", "sudo ss -ltnp"),
    ],
)
def test_the_refusal_says_who_and_how_to_end_it_for_good(occupant: Occupant, message: str, remedy: str) -> None:
    """Goal: exit 6 with the process, its command, what it holds, and the command that ends its supervision."""
    with pytest.raises(ClusterUnsafe, match="m3 is not run by etcdops") as refused:
        refuse_strangers([Stranger("m3", occupant)])
    assert refused.value.exit_code is ExitCode.UNSAFE
    assert message in refused.value.message
    assert "http://127.0.0.1:2379" in refused.value.cause
    assert remedy in refused.value.hint
    assert "Nothing was changed" in refused.value.hint
    refuse_strangers([])
