"""A host of the inventory becomes a way in, jump hosts and secrets included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from etcdops.inventory.model import Host, Inventory
from etcdops.inventory.targets import Secrets, target


def inventory(**hosts: Mapping[str, object]) -> Inventory:
    return Inventory(hosts={name: Host.model_validate({**given, "name": name}) for name, given in hosts.items()})


def test_what_is_written_is_used_and_the_rest_left_to_ssh() -> None:
    """Empty means: as ~/.ssh/config says."""
    made = inventory(h1={"address": "10.0.0.1", "ssh": {"user": "ops", "port": 2222, "key": "~/.ssh/id"}}, h2={})
    first, second = (target(made, host, Secrets()) for host in made.hosts.values())
    assert (first.name, first.address, first.port, first.user, first.key) == (
        "h1",
        "10.0.0.1",
        2222,
        "ops",
        Path("~/.ssh/id"),
    )
    assert (second.name, second.address, second.port, second.user, second.key) == ("h2", "", 0, "", None)


def test_jump_hosts_are_hosts_of_the_inventory_or_written_out() -> None:
    """A chain of them too."""
    made = inventory(
        inner={"ssh": {"jump": "edge"}},
        edge={"address": "192.0.2.1", "ssh": {"jump": "admin@gate.example.com:2222"}},
    )
    way = target(made, made.hosts["inner"], Secrets())
    assert way.jump is not None
    assert way.jump.address == "192.0.2.1"
    assert way.jump.jump is not None
    assert (way.jump.jump.user, way.jump.jump.address or way.jump.jump.name, way.jump.jump.port) == (
        "admin",
        "gate.example.com",
        2222,
    )


def test_one_source_is_read_once(tmp_path: Path) -> None:
    """Hosts that share a password ask for it together."""
    count = tmp_path / "count"
    asking = {"command": ["sh", "-c", f"echo x >> {count}; echo hunter2"]}
    made = inventory(**{name: {"ssh": {"become": {"password": asking}}} for name in ("h1", "h2", "h3")})
    secrets = Secrets()
    passwords = [target(made, host, secrets).become.password for host in made.hosts.values()]
    assert [one and one.reveal() for one in passwords] == ["hunter2"] * 3
    assert count.read_text() == "x\n"


def test_a_login_user_that_may_do_everything_needs_no_sudo() -> None:
    """`become: {method: none}`: hosts without sudo."""
    made = inventory(h1={"ssh": {"become": {"method": "none"}}}, h2={})
    assert [target(made, host, Secrets()).become.needed for host in made.hosts.values()] == [False, True]
