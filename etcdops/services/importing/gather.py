"""Several hosts asked at once for their members; one that cannot be asked hides no other."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from etcdops.errors import EtcdopsError, UsageError
from etcdops.inventory.model import Host
from etcdops.remote.command import command
from etcdops.remote.pool import on_all
from etcdops.remote.session import Session
from etcdops.services.importing.clusters import Live
from etcdops.services.importing.evidence import Evidence, HostFound, Plain, address_of
from etcdops.services.importing.hosts import HostEvidence, on_host

Connect = Callable[[Host], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """What all hosts gave."""

    evidence: tuple[Evidence, ...]
    notes: tuple[str, ...]
    failed: Mapping[str, EtcdopsError]
    """Why a host could not be asked, by its name."""


async def ask_hosts(hosts: Sequence[Host], entries: Mapping[str, Mapping[str, Plain]], connect: Connect) -> Gathered:
    """The members on every host. Args: entries - what the inventory will say of a host beside its address."""

    async def one(host: Host) -> HostEvidence:
        session = await connect(host)
        try:
            found = HostFound(host.name, host.reached_at, await _entry(session, entries.get(host.name, {})))
            return _with_address(await on_host(session, found), host)
        finally:
            await session.close()

    outcomes = await on_all(hosts, one)
    given = [outcome.value for outcome in outcomes if outcome.value is not None]
    failed = {outcome.subject.name: outcome.error for outcome in outcomes if outcome.error is not None}
    silent = [f"{name} was not read: {error.message}" for name, error in failed.items()]
    return Gathered(
        tuple(one for evidence in given for one in evidence.members),
        (*silent, *(note for evidence in given for note in evidence.notes)),
        failed,
    )


async def _entry(session: Session, entry: Mapping[str, Plain]) -> dict[str, Plain]:
    """Who logs in as root needs no sudo."""
    made = dict(entry)
    if (await session.run(command("id", "-u"))).text == "0":
        ssh = made.get("ssh")
        made["ssh"] = {**(ssh if isinstance(ssh, dict) else {}), "become": {"method": "none"}}
    return made


def _with_address(found: HostEvidence, host: Host) -> HostEvidence:
    """This machine has the address that its members advertise: others do not reach it as localhost."""
    if not host.local or not found.members:
        return found
    address = address_of(found.members[0].peer_urls[0])
    members = tuple(
        replace(one, host=replace(one.host, address=address) if one.host is not None else None) for one in found.members
    )
    return HostEvidence(members, found.notes)


def hosts_of(live: Live) -> dict[str, str]:
    """Name -> address of the hosts that a cluster's members advertise: each is called as its member, if it has one."""
    found: dict[str, str] = {}
    for member in live.members:
        try:
            address = address_of(member.peer_urls[0])
        except (UsageError, IndexError):
            continue
        if address in found.values() or _is_loopback(address):
            continue
        named = member.name and all(c.isascii() and (c.isalnum() or c in "._-") for c in member.name)
        found[member.name if named and member.name[0].isalnum() else address] = address
    return found


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
