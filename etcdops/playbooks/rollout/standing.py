"""How a member's host stands to what the inventory wants: bare, ours already, or occupied by somebody else."""

from __future__ import annotations

import enum

from etcdops.facts.host import HostFacts
from etcdops.playbooks.rollout.desired import DesiredMember
from etcdops.services.discover import Found


class Standing(enum.Enum):
    """Of one member's place on its host."""

    BARE = "bare"
    """No data. Whatever else is there can be written over."""
    OURS = "ours"
    """It has data, and the service that the inventory names runs, or would run, this member on it."""
    OCCUPIED = "occupied"
    """It has data, and nothing says that it is this member's."""


def standing_of(member: DesiredMember, facts: HostFacts) -> Standing:
    """By what is in the data directory, and who would start on it."""
    placed = member.member
    directories = [facts.data_dir(path) for path in (placed.data_dir, placed.wal_dir) if path]
    if all(one is None or one.is_vacant for one in directories):
        return Standing.BARE
    return Standing.OURS if service_of(member, facts) is not None else Standing.OCCUPIED


def service_of(member: DesiredMember, facts: HostFacts) -> Found | None:
    """The service of this member as it is installed; None: there is none, or it is another member's."""
    wanted = (member.service.manager, member.service.name)
    for found in facts.found:
        if (found.keeper, found.name.removesuffix(".service")) != wanted or found.config is None:
            continue
        own = (found.config.value("name"), found.config.value("data-dir"))
        if own == (member.name, member.member.data_dir):
            return found
    return None
