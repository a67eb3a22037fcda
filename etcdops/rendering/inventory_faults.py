"""What is wrong with an inventory beyond its form: flags its engine refuses, URLs etcd refuses, files that are no use.

Every fault has its place: file, line, key, and what to write instead. A warning is what works and will hurt.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from etcdops.certs.facts import describe, read_certificates
from etcdops.errors import EtcdopsError, UsageError
from etcdops.inventory.load import InventoryError, Read
from etcdops.inventory.model import Cluster, EngineKind, Host, Member, flag_value
from etcdops.inventory.source import Fault, Key
from etcdops.rendering.flags import FLAGS, GATES_FLAG, Version, fit
from etcdops.rendering.member import NODE_REFUSES, NODE_TAKES, RESERVED, discovery_problem

NODE = "the bundled node"
_IN_THE_INVENTORY = {
    "name": "name",
    **{flag: flag.replace("-", "_") for flag in RESERVED if flag.endswith(("-dir", "-urls"))},
    "initial-cluster-token": "the cluster's token",
}

Location = tuple[Key, ...]


@dataclass(slots=True)
class Checked:
    """What was found."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)


def check(read: Read, now: datetime.datetime) -> Checked:
    """Look at everything that this machine can know. Reads files that the inventory names, and no secret."""
    found = Checked()
    for name, host in read.inventory.hosts.items():
        _host(read, ("hosts", name), host, found)
    for cluster in read.inventory.clusters.values():
        _cluster(read, cluster, now, found)
    return found


def require_usable(read: Read, cluster: Cluster, now: datetime.datetime) -> None:
    """That nothing of one cluster stands in the way of work on its hosts. Raises: InventoryError - with all faults."""
    found = Checked()
    _cluster(read, cluster, now, found)
    if found.faults:
        raise InventoryError(found.faults)


def _cluster(read: Read, cluster: Cluster, now: datetime.datetime, found: Checked) -> None:
    at = ("clusters", cluster.name)
    _engine(read, at, cluster, found)
    _urls(read, at, cluster, found)
    _shape(read, at, cluster, found)
    _files(read, at, cluster, now, found)


def _engine(read: Read, at: Location, cluster: Cluster, found: Checked) -> None:
    """The version, and every setting as that version takes it."""
    try:
        version = NODE_TAKES if cluster.engine.kind is EngineKind.NODE else Version.parse(cluster.engine.version)
    except UsageError as error:
        found.faults.append(read.fault((*at, "engine", "version"), error.message, error.hint))
        return
    engine = NODE if cluster.engine.kind is EngineKind.NODE else f"etcd {version}"
    places: list[tuple[Location, Mapping[str, str | int | bool]]] = [((*at, "settings"), cluster.settings)]
    places += [((*at, "members", n, "settings"), one.settings) for n, one in enumerate(cluster.members)]
    for place, settings in places:
        spellings: dict[str, str] = {}
        for name, value in settings.items():
            taken = _setting(read, (*place, name), name, flag_value(value), version, engine, found)
            if taken and taken in spellings:
                message = f"it is the same flag of {engine} as {spellings[taken]}"
                found.faults.append(read.fault((*place, name), message, "keep one of them"))
            spellings[taken] = name
    problem = discovery_problem(cluster.settings, cluster.engine.kind, version)
    if problem is not None and not any(fault.location == (*at, "settings", problem[0]) for fault in found.faults):
        found.faults.append(read.fault((*at, "settings", problem[0]), *problem[1:]))


def _setting(read: Read, at: Location, name: str, value: str, version: Version, engine: str, found: Checked) -> str:
    """The flag it is in that version; empty: none."""
    if name in RESERVED:
        instead = f"write {_IN_THE_INVENTORY[name]} instead" if name in _IN_THE_INVENTORY else "remove it"
        found.faults.append(read.fault(at, f"it is not one to write down here: {RESERVED[name]}", instead))
        return ""
    try:
        fitted = fit({name: value}, version)
    except UsageError as error:
        found.faults.append(read.fault(at, error.message, error.hint))
        return ""
    if engine == NODE and name in NODE_REFUSES:
        found.faults.append(read.fault(at, f"{engine} does not take it: {NODE_REFUSES[name]}", "remove it"))
        return ""
    if not fitted.flags:
        found.faults.append(read.fault(at, f"{engine} does not take it{_lived(name, version)}", "remove it"))
        return ""
    [(taken, written)] = fitted.flags.items()
    if taken != name and name != GATES_FLAG:
        now = f"{taken}: {written}" if taken == GATES_FLAG else taken
        found.warnings.append(read.fault(at, f"it has another name in {engine}", f"write {now}"))
        return f"{taken} {written.partition('=')[0]}" if taken == GATES_FLAG else taken
    return taken


def _lived(name: str, version: Version) -> str:
    """`: 3.5 was the last with it`, `: it came with 3.6`."""
    lines = sorted(FLAGS.get(name, ()))
    if not lines:
        return ""
    if lines[-1] < version.line:
        return ": {}.{} was the last that did".format(*lines[-1])
    first = next((line for line in lines if line >= version.line), lines[-1])
    patch = FLAGS[name][first]
    return ": it came with {}.{}".format(*first) + (f".{patch}" if patch else "")


def _urls(read: Read, at: Location, cluster: Cluster, found: Checked) -> None:
    tls = cluster.tls
    for number, member in enumerate(cluster.members):
        for key, secure in (
            ("listen_client_urls", tls is not None and tls.client),
            ("advertise_client_urls", tls is not None and tls.client),
            ("listen_peer_urls", tls is not None and tls.peer),
            ("initial_advertise_peer_urls", tls is not None and tls.peer),
            ("listen_metrics_urls", tls is not None and tls.client),
        ):
            for n, url in enumerate(getattr(member, key)):
                place = (*at, "members", number, key, n)
                found.faults += [read.fault(place, *why) for why in _refused(url, key, secure=secure)]
                local = member.host in read.inventory.hosts and read.inventory.hosts[member.host].local
                alone = len(cluster.members) == 1 and local
                found.warnings += [read.fault(place, *why) for why in _unwise(url, key, alone=alone)]


def _refused(url: str, key: str, *, secure: bool) -> Iterator[tuple[str, str]]:
    """What etcd does not start with. Source: etcd server/embed/config.go, checkBindURLs; transport.NewListener."""
    parts = urlsplit(url)
    if parts.scheme == "https" and not secure:
        which = "peer" if "peer" in key else "client"
        yield (
            "it is https, and the cluster has no TLS for it",
            f"add `tls: {{{which}: true}}` to the cluster, or write http",
        )
    host = parts.hostname or ""
    if key.startswith("listen") and parts.scheme in ("http", "https") and host != "localhost" and not _is_ip(host):
        yield f"etcd listens on addresses, and {host} is a name", "write the host's address, or 0.0.0.0"


def _unwise(url: str, key: str, *, alone: bool) -> Iterator[tuple[str, str]]:
    """What etcd starts with, and nobody else can use."""
    if "advertise" not in key:
        return
    host = urlsplit(url).hostname or ""
    address = ipaddress.ip_address(host) if _is_ip(host) else None
    if address is not None and address.is_unspecified:
        yield "nobody can dial an address that means all of them", "advertise the host's own address"
    elif not alone and (host == "localhost" or (address is not None and address.is_loopback)):
        who = "other members" if "peer" in key else "clients elsewhere"
        yield f"{who} that dial it reach themselves", "advertise the host's own address"


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _shape(read: Read, at: Location, cluster: Cluster, found: Checked) -> None:
    count = len(cluster.members)
    if count % 2 == 0:
        found.warnings.append(
            read.fault(
                (*at, "members"),
                f"{count} members stand no more failures than {count - 1}, and need one more for a quorum",
                "make them an odd number",
            )
        )
    seen: dict[str, Member] = {}
    for number, member in enumerate(cluster.members):
        if member.host in seen:
            found.warnings.append(
                read.fault(
                    (*at, "members", number, "host"),
                    f"{seen[member.host].label} is on {member.host} too: they fail together",
                    "give every member a host of its own",
                )
            )
        seen.setdefault(member.host, member)


def _host(read: Read, at: Location, host: Host, found: Checked) -> None:
    key = host.ssh.key.expanduser() if host.ssh.key is not None else None
    if key is not None and not key.is_file():
        found.faults.append(read.fault((*at, "ssh", "key"), f"there is no file {key}", "correct the path"))
    for place, source in (
        ((*at, "ssh", "password"), host.ssh.password),
        ((*at, "ssh", "become", "password"), host.ssh.become.password),
    ):
        if source is not None and source.file is not None:
            _secret_file(read, (*place, "file"), source.file.expanduser(), found)


def _files(read: Read, at: Location, cluster: Cluster, now: datetime.datetime, found: Checked) -> None:
    access = cluster.access
    for key, path in (("cacert", access.cacert), ("cert", access.cert)):
        if path is not None:
            _certificates(read, (*at, "access", key), path.expanduser(), now, found)
    if access.key is not None and not access.key.expanduser().is_file():
        message = f"there is no file {access.key.expanduser()}"
        found.faults.append(read.fault((*at, "access", "key"), message, "correct the path"))
    if access.password is not None and access.password.file is not None:
        _secret_file(read, (*at, "access", "password", "file"), access.password.file.expanduser(), found)
    source = cluster.engine.source
    for key, path in (("archive", source.archive), ("directory", source.directory)):
        if path is not None and not path.expanduser().exists():
            message = f"there is no {key} {path.expanduser()}"
            found.faults.append(read.fault((*at, "engine", "source", key), message, "correct the path"))


def _secret_file(read: Read, at: Location, path: Path, found: Checked) -> None:
    """It is looked at, not read."""
    if not path.is_file():
        found.faults.append(read.fault(at, f"there is no file {path}", "correct the path"))
    elif path.stat().st_mode & 0o077:
        found.faults.append(read.fault(at, f"others may read the secret in {path}", f"chmod 600 {path}"))


def _certificates(read: Read, at: Location, path: Path, now: datetime.datetime, found: Checked) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        found.faults.append(read.fault(at, f"{path} cannot be read: {error.strerror or error}", "correct the path"))
        return
    try:
        facts = [describe(one) for one in read_certificates(content, source=str(path))]
    except EtcdopsError as error:
        found.faults.append(read.fault(at, error.message, "give a file of certificates in PEM"))
        return
    for one in facts:
        unusable = not one.not_before <= now < one.not_after
        for problem in one.time_problems(now):
            fault = read.fault(at, f"{path}: {problem}", "renew it")
            (found.faults if unusable else found.warnings).append(fault)
