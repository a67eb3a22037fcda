"""Whether members that register with a discovery service will find each other there: rules, pure.

Without them etcd says it, one member at a time, after everything was installed: it waits for ever for members that do
not come, or ends with "discovery: cluster is full". And no token serves twice, not even after a start that failed.
"""

from __future__ import annotations

from collections.abc import Iterator

from etcdops.playbooks.rollout.judging import Refusal, Setting
from etcdops.playbooks.rollout.registry import Discovery, Registry


def refused_by_registry(setting: Setting) -> Iterator[Refusal]:
    """What the service says of the token, as far as it was asked."""
    services = _services(setting)
    if len(set(services.values())) > 1:
        yield _different(services)
        return
    discovery = next(iter(services.values()), None)
    if discovery is None:
        return
    answered: dict[Registry, str] = {}
    for host, registry in setting.registries.items():
        if registry.problem:
            yield Refusal(
                "discovery-unreachable", host, f"the discovery service {discovery} cannot be asked: {registry.problem}",
                "the member there would wait for it, and never start",
                "see that it runs, speaks the API that the version asks for (etcd 3.4 and 3.5 need --enable-v2 to be"
                " one), and that the host reaches it",
                overridable=True,
            )  # fmt: skip
        else:
            answered.setdefault(registry, host)
    for registry in answered:
        yield from _refused(setting, discovery, registry)


def unasked(setting: Setting) -> Iterator[Refusal]:
    """A warning: nobody has looked at the token."""
    for discovery in dict.fromkeys(_services(setting).values()):
        if discovery is not None and discovery.why_unasked:
            yield Refusal(
                "discovery-unasked", "", f"the discovery service {discovery} is not asked: {discovery.why_unasked}",
                "a token that is unknown, used or of another size is told by the members' logs only",
                f"see by hand that its size is {len(setting.members)} and that nobody has registered",
            )  # fmt: skip


def _services(setting: Setting) -> dict[str, Discovery | None]:
    return {member.name: Discovery.of(member.config.flags) for member in setting.members}


def _different(services: dict[str, Discovery | None]) -> Refusal:
    named = ", ".join(f"{name}: {discovery or 'none'}" for name, discovery in services.items())
    return Refusal(
        "discovery-differs", "", f"the members are to find each other in different places ({named})",
        "they would become several clusters", "write discovery once, among the settings of the cluster",
    )  # fmt: skip


def _refused(setting: Setting, discovery: Discovery, registry: Registry) -> Iterator[Refusal]:
    count = len(setting.members)
    if not registry.size:
        yield Refusal(
            "discovery-token", "", f"the discovery service knows no such token: {discovery}",
            "every member would end with `discovery: size key not found`", f"make it: {_set_size(discovery, count)}",
        )  # fmt: skip
        return
    if registry.size != str(count):
        few = registry.size.isdigit() and int(registry.size) < count
        yield Refusal(
            "discovery-size", "", f"the token {discovery} is for {registry.size!r} members; there are to be {count}",
            "those that come last would be turned away" if few else "they would wait for members that never come",
            f"correct it: {_set_size(discovery, count)}; or the members of the inventory",
        )  # fmt: skip
    taken = [one for one in registry.members if discovery.url or one not in _registrations(setting)]
    if taken:
        yield Refusal(
            "discovery-used", "", f"the token {discovery} was used: {', '.join(taken)} registered with it",
            "each token makes one cluster, and etcd takes nobody who registered before",
            f"make a new one and write it into the inventory: {_set_size(discovery, count, 'NEW_TOKEN')}",
        )  # fmt: skip


def _registrations(setting: Setting) -> set[str]:
    """What our own members register as. With etcd 3's service they may do that twice.

    Source: etcd server/etcdserver/api/v3discovery/discovery.go, registerSelf.
    """
    return {
        ",".join(f"{member.name}={url}" for url in sorted(member.member.initial_advertise_peer_urls))
        for member in setting.members
    }


def _set_size(discovery: Discovery, count: int, token: str = "") -> str:
    """The command that makes a token, or corrects it. Args: token - another one than that of the inventory."""
    if not discovery.url:
        place = f"/_etcd/registry/{token or discovery.token}/_config/size"
        return f"etcdctl --endpoints={','.join(discovery.endpoints)} put {place} {count}"
    base, _, own = discovery.url.rstrip("/").rpartition("/")
    return f"curl -X PUT {base}/{token or own}/_config/size -d value={count}"
