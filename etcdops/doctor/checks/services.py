"""Whether members' services run on their hosts, and if not, why: in their managers' words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from etcdops.doctor.finding import Finding
from etcdops.doctor.observation import HostObservation, MemberOnHost, Observation
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
            names = ", ".join(member.name for member in observation.wanted_on(host.host))
            yield Finding(
                "E501",
                host.host,
                f"{host.host} cannot be looked at: {host.error}",
                f"check that it is up and lets us in: ssh {host.host} true",
                detail=f"Its members: {names}." if names else "",
            )


def states(observation: Observation) -> Iterator[Finding]:
    """Each member that the inventory wants on a host that could be looked at."""
    for wanted in observation.placed:
        host = observation.hosts.get(wanted.host.name)
        if host is None or host.error or host.facts is None:
            continue
        found = next((one for one in host.members if observation.wanted_as(host.host, one) == wanted), None)
        if found is None:
            others = ", ".join(one.name for one in host.members) or "none"
            yield Finding(
                "E503",
                wanted.name,
                f"no service of {wanted.name} was found on {host.host}",
                "etcdops rollout plan shows what is missing there",
                evidence=(f"{host.host}: members found: {others}",),
            )
        else:
            yield from _state(host, found, wanted.name)


def _state(host: HostObservation, on_host: MemberOnHost, name: str) -> Iterator[Finding]:
    status = on_host.status
    state = status.state if status is not None else on_host.found.state
    reason = status.reason if status is not None else ""
    detail = status.detail if status is not None else ()
    evidence = (f"{host.host}: {on_host.found.name} is {state.value}{f': {reason}' if reason else ''}", *detail[-3:])
    if state is State.FAILED or (state is State.STARTING and reason):
        code, step = _failure(host, on_host, " ".join((reason, *detail)))
        yield Finding(
            code,
            name,
            f"{name} does not run on {host.host}: {reason or state.value}",
            step,
            evidence=evidence,
        )
    elif state in (State.STOPPED, State.ABSENT):
        yield Finding(
            "E504",
            name,
            f"{name} is {'not installed' if state is State.ABSENT else 'stopped'} on {host.host}"
            + (f": {reason}" if reason else ""),
            _start(host, on_host) if state is State.STOPPED else "etcdops rollout plan shows what is missing there",
            evidence=evidence,
        )
    elif state is State.RUNNING and status is not None:
        if (status.restarts or 0) >= RESTARTS_MANY:
            yield Finding(
                "W506",
                name,
                f"{name} was started again {status.restarts} times by its manager",
                f"find out what ends it: {_log(host, on_host)} | etcdops diagnose",
                evidence=evidence,
            )
        if status.enabled is False:
            yield Finding(
                "W507",
                name,
                f"{name} does not start with its host",
                f"ssh {host.host} sudo systemctl enable {on_host.found.name}"
                if on_host.found.keeper is Manager.SYSTEMD
                else "have its manager start it with the host",
                evidence=evidence,
            )


def _failure(host: HostObservation, on_host: MemberOnHost, words: str) -> tuple[str, str]:
    log = _log(host, on_host)
    if _KILLED.search(words):
        return "E519", f"give it more memory (MemoryMax=, the host's), or find what fills it: {log} | etcdops diagnose"
    if _PERMISSION.search(words):
        path = on_host.flag("data-dir") or "its data directory"
        return "E505", f"give {path} to the user it runs as: ssh {host.host} sudo chown -R etcd: {path}"
    if _PLACE.search(words):
        return (
            "E502",
            f"make the directory that its unit names, for its user: ssh {host.host} systemctl cat {on_host.found.name}",
        )
    return "E502", f"its log tells why: {log} | etcdops diagnose"


def _log(host: HostObservation, on_host: MemberOnHost) -> str:
    name, keeper = on_host.found.name, on_host.found.keeper
    if keeper in (Manager.DOCKER, Manager.PODMAN):
        return f"ssh {host.host} sudo {keeper} logs --tail 500 {name} 2>&1"
    return f"ssh {host.host} journalctl -u {name} -n 500"


def _start(host: HostObservation, on_host: MemberOnHost) -> str:
    if on_host.found.keeper in (Manager.DOCKER, Manager.PODMAN):
        return f"ssh {host.host} sudo {on_host.found.keeper} start {on_host.found.name}"
    if on_host.found.keeper is Manager.SYSTEMD:
        return f"ssh {host.host} sudo systemctl start {on_host.found.name}"
    return f"start it on {host.host} with its own manager"


CHECKS = (unreachable_hosts, states)
