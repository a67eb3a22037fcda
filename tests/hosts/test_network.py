"""The parts of the hosts' network that need no host: free subnets and the rules of cuts."""

from __future__ import annotations

import ipaddress

import pytest

from tests.hosts.network import OPERATOR, Cut, free_network, render_cuts

POOL = ipaddress.IPv4Network("198.18.0.0/15")


def test_a_subnet_that_is_routed_is_never_chosen() -> None:
    """Parallel checkouts and the machine's own networks must not collide, whatever the run is called."""
    free = ipaddress.IPv4Network("198.19.77.0/24")
    taken = [network for network in POOL.subnets(new_prefix=24) if network != free]
    for run in ("00000000", "deadbeef", "1a2b3c4d"):
        assert free_network(run, taken) == free


def test_a_wider_route_takes_every_subnet_below_it() -> None:
    """A VPN may route all of the pool: that is said, not stepped on."""
    with pytest.raises(RuntimeError, match=r"198\.18\.0\.0/15"):
        free_network("00000000", [ipaddress.IPv4Network("198.16.0.0/12")])


def test_runs_start_looking_at_different_places() -> None:
    """Two runs that start together seldom wait for each other."""
    assert len({free_network(f"{run:08x}", []) for run in range(50)}) > 40


def test_a_cut_of_one_port_leaves_the_others() -> None:
    """Peer traffic without client traffic, and the other way round."""
    assert Cut("h1", "h2", 2380).rules() == ['iifname "h1" oifname "h2" tcp dport 2380 counter drop']


def test_the_operator_is_behind_the_uplink() -> None:
    """A host can be cut from the tests too."""
    assert 'iifname "uplink" oifname "h1"' in Cut(OPERATOR, "h1").rules()[0]


def test_a_ruleset_replaces_the_one_before_at_once() -> None:
    """Between two sets of cuts there is no moment without any."""
    rules = render_cuts([Cut("h1", "h2")])
    assert rules.startswith("table bridge cuts {}\ndelete table bridge cuts\n")
    assert render_cuts([]).count("drop") == 0
