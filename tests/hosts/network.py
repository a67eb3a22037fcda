"""The hosts' network: a free subnet, one link to the machine, and cuts made on the bridge, outside of every host.

Cuts are rules of the bridge, not of a host's firewall: a host cannot see them, flush them or lose them by a reboot, and
the firewall rules that etcdops puts on hosts stay the only ones there.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.hosts.keeper import BASE, UPLINK

OPERATOR: Final = "operator"
"""The machine the tests run on, as a peer of `cut`."""

_POOL: Final = ipaddress.IPv4Network("198.18.0.0/15")
"""RFC 2544 keeps it for tests of network devices: no office, VPN or cloud has routes into it."""

_LOCK_TIMEOUT_S: Final = 30.0
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Cut:
    """Traffic from `source` to `target` is dropped; with `port`, only what goes to that TCP port of `target`."""

    source: str
    target: str
    port: int | None = None

    def rules(self) -> list[str]:
        """nftables rules, for the bridge's forward hook."""
        way = f'iifname "{port_of(self.source)}" oifname "{port_of(self.target)}"'
        # ARP passes: without it a half-cut would become a whole one as soon as the other side asks who has the address.
        if self.port is None:
            return [f"{way} ether type ip counter drop", f"{way} ether type ip6 counter drop"]
        return [f"{way} tcp dport {self.port} counter drop"]


def port_of(peer: str) -> str:
    """The bridge's port behind which that host, or the operator, is."""
    return UPLINK if peer == OPERATOR else peer


def render_cuts(cuts: Iterable[Cut]) -> str:
    """A whole ruleset that replaces the one before at once."""
    rules = "\n".join(f"    {rule}" for cut in cuts for rule in cut.rules())
    return (
        "table bridge cuts {}\ndelete table bridge cuts\n"
        f"table bridge cuts {{\n  chain forward {{\n    type filter hook forward priority 0\n{rules}\n  }}\n}}\n"
    )


def apply_cuts(keeper_pid: int, cuts: Iterable[Cut]) -> None:
    """Make exactly these cuts. The hosts' own nft does it: the machine needs none."""
    inside = ["nsenter", f"--target={keeper_pid}", "--mount", "--net", "--", "chroot", f"{BASE}"]
    _run([*inside, "/usr/sbin/nft", "-f", "-"], text=render_cuts(cuts))


def link_name(run: str) -> str:
    """The machine's end of the link to that run's bridge."""
    return f"eo{run}"


def plug_in_operator(keeper_pid: int, run: str) -> ipaddress.IPv4Network:
    """Choose a free subnet and give the machine an address in it (the first one). Returns the subnet."""
    link = link_name(run)
    with _choosing():
        network = free_network(run, _routes())
        _run(["ip", "link", "add", link, "type", "veth", "peer", "name", UPLINK, "netns", str(keeper_pid)])
        _run(["ip", "address", "add", f"{network[1]}/{network.prefixlen}", "dev", link])
        _run(["ip", "link", "set", link, "up"])
    _run(["nsenter", f"--target={keeper_pid}", "--net", "--", "ip", "link", "set", UPLINK, "master", "bridge", "up"])
    return network


def free_network(run: str, taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """A /24 that overlaps nothing in `taken`, looked for from a place that depends on the run's name."""
    routes = list(taken)
    candidates = list(_POOL.subnets(new_prefix=24))
    start = int(hashlib.sha256(run.encode()).hexdigest(), 16) % len(candidates)
    for candidate in candidates[start:] + candidates[:start]:
        if not any(candidate.overlaps(route) for route in routes):
            return candidate
    raise RuntimeError(f"every subnet of {_POOL} is routed on this machine: none is free for test hosts")


def link_exists(run: str) -> bool:
    return link_name(run) in {str(name) for _, name in socket.if_nameindex()}


def _routes() -> list[ipaddress.IPv4Network]:
    listed = json.loads(_run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    return [ipaddress.IPv4Network(route["dst"], strict=False) for route in listed if route["dst"] != "default"]


@contextmanager
def _choosing() -> Iterator[None]:
    """One run of this machine chooses at a time. An abstract socket is the lock: it leaves no file and dies with us."""
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    with socket.socket(socket.AF_UNIX) as lock:
        while True:
            try:
                lock.bind("\0etcdops-test-hosts-network")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError("another run has been choosing its subnet for too long") from None
                time.sleep(0.05)
        yield


def _run(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
