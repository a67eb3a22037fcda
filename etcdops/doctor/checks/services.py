"""Whether members' services run on their hosts, and if not, why: in their managers' words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from etcdops.doctor.finding import Finding, finding
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation
from etcdops.doctor.words import Said, Value, say
from etcdops.inventory.model import Manager
from etcdops.services.port import State

RESTARTS_MANY = 3
"""By its manager, since it was last started by hand: more than an operator's own."""
_PERMISSION = re.compile(r"(?i)permission denied|operation not permitted|\bEACCES\b")
_KILLED = re.compile(r"(?i)out of memory|oom-kill")
_PLACE = re.compile(r"status=2(?:00|09|22|26|33|38|40|41)/")
"""Exit statuses of systemd's for a place that is missing or closed to the unit. Source: man systemd.exec."""


def unreachable_hosts(observation: Observation) -> Iterator[Finding]:
    for host in observation.hosts.values():
        if host.error:
            names = tuple(member.name for member in observation.wanted_on(host.host))
            members = say("member.its", members=names) if names else ""
            yield finding("E501", host.host, reason=host.error, members=members)


def states(observation: Observation) -> Iterator[Finding]:
    """Each member that the inventory wants on a host that could be looked at."""
    for wanted in observation.placed:
        host = observation.hosts.get(wanted.host.name)
        if host is None or host.error or host.facts is None:
            continue
        found = next((one for one in host.members if observation.wanted_as(host.host, one) == wanted), None)
        if found is None:
            others = tuple(one.name for one in host.members) or say("none.found")
            evidence = [say("seen.members", host=host.host, members=others)]
            yield finding("E503", wanted.name, host=host.host, step=say("mend.plan"), evidence=evidence)
        else:
            yield from _state(host, found, wanted.name)


def _state(host: HostObservation, on_host: MemberOnHost, name: str) -> Iterator[Finding]:
    status = on_host.status
    state = status.state if status is not None else on_host.found.state
    reason = status.reason if status is not None else ""
    detail = status.detail if status is not None else ()
    said = say("state.reason", reason=reason) if reason else ""
    what = say("seen.state", host=host.host, service=on_host.found.name, state=say(f"state.{state.value}"), said=said)
    evidence: tuple[Value, ...] = (what, *detail[-3:])
    if state is State.FAILED or (state is State.STARTING and reason):
        code, step = _failure(host, on_host, " ".join((reason, *detail)))
        why = reason or say(f"state.{state.value}")
        yield finding(code, name, host=host.host, reason=why, step=step, evidence=evidence)
    elif state is State.ABSENT:
        yield finding("E504", name, "absent", host=host.host, said=said, step=say("mend.plan"), evidence=evidence)
    elif state is State.STOPPED:
        yield finding("E504", name, host=host.host, said=said, step=_start(host, on_host), evidence=evidence)
    elif state is State.RUNNING and status is not None:
        if (status.restarts or 0) >= RESTARTS_MANY:
            yield finding("W506", name, restarts=status.restarts or 0, log=_log(host, on_host), evidence=evidence)
        if status.enabled is False:
            unit = _unit(on_host)
            service = unit or on_host.found.name
            yield finding("W507", name, "systemd" if unit else "", host=host.host, service=service, evidence=evidence)


def _failure(host: HostObservation, on_host: MemberOnHost, words: str) -> tuple[str, Said]:
    log = _log(host, on_host)
    if _KILLED.search(words):
        return "E519", say("mend.memory", log=log)
    if _PERMISSION.search(words):
        path = on_host.flag("data-dir") or say("mend.its-directory")
        return "E505", say("mend.owner", path=path, host=host.host)
    if _PLACE.search(words):
        return "E502", say("mend.directory", host=host.host, service=on_host.found.name)
    return "E502", say("mend.log", log=log)


def _log(host: HostObservation, on_host: MemberOnHost) -> str:
    name, keeper, unit = on_host.found.name, on_host.found.keeper, _unit(on_host)
    if keeper in (Manager.DOCKER, Manager.PODMAN) and (not unit or on_host.found.pid is not None):
        return f"ssh {host.host} sudo {keeper} logs --tail 500 {name} 2>&1"
    return f"ssh {host.host} journalctl -u {unit or name} -n 500"


def _unit(on_host: MemberOnHost) -> str:
    """The unit that starts it, which may be a container's; empty: none does."""
    found = on_host.found
    if found.of_unit is not None:
        return found.of_unit.unit
    return found.name if found.keeper is Manager.SYSTEMD else ""


def _start(host: HostObservation, on_host: MemberOnHost) -> Value:
    if unit := _unit(on_host):
        return f"ssh {host.host} sudo systemctl start {unit}"
    if on_host.found.keeper in (Manager.DOCKER, Manager.PODMAN):
        return f"ssh {host.host} sudo {on_host.found.keeper} start {on_host.found.name}"
    return say("mend.start", host=host.host)


def volumes(observation: Observation) -> Iterator[Finding]:
    """Of containers that run: what is in them and on no volume is gone with them."""
    for host, on_host, name in observation.ours:
        if on_host.is_contained and on_host.data is not None and not on_host.has_volume:
            yield finding(
                "W508",
                name,
                host=host.host,
                keeper=str(on_host.found.keeper),
                service=on_host.found.name,
                path=on_host.flag("data-dir") or on_host.data.path,
                evidence=[f"{host.host}: {on_host.data.path}"],
            )


CHECKS = (unreachable_hosts, states, volumes)
