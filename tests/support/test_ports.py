"""Ports for tests: nobody else's, for as long as the test may need them again."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from etcdops.playbooks import ports as product
from tests.support import ports
from tests.support.ports import free_ports

KEEPER = """
import sys
from tests.support.ports import free_ports
print(*free_ports(20), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_port_stays_with_the_run_it_was_given_to() -> None:
    """Goal: a member that is down for a moment finds its port free, whatever other tests start meanwhile."""
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", KEEPER], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        theirs = [int(port) for port in other.stdout.readline().split()]
        register = ports._register()
        assert not any(register.keep(port) for port in theirs)
        other.kill()
    assert len(set(theirs)) == 20
    assert register.keep(theirs[0]), "it goes with the process"


def test_ports_are_different_and_free() -> None:
    """Goal: nobody listens there, and none is given twice in one run."""
    first, second = free_ports(10), free_ports(10)
    assert len({*first, *second}) == 20
    for port in first:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", port))


def test_tests_and_local_clusters_draw_from_different_ranges() -> None:
    """Goal: what etcdops itself chooses for a cluster never takes the port of a test's member."""
    assert ports.LAST < product._FIRST
