"""Files -> Inventory, or every one of their faults at once."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from etcdops.errors import UsageError
from etcdops.inventory.local_path import FOLDER
from etcdops.inventory.model import (
    SSH,
    TLS,
    Access,
    Become,
    Cluster,
    Engine,
    Firewall,
    Host,
    Inventory,
    Member,
    ServiceSpec,
    Source,
    TLSFiles,
    place,
)
from etcdops.inventory.secrets import SecretSource
from etcdops.inventory.source import Document, Fault, Key, NotUsable
from etcdops.wording import counted

_SECTIONS = ("hosts", "clusters", "defaults")
_SHOWN_MAX = 50


_MODELS: Mapping[str, type[BaseModel]] = {
    "ssh": SSH,
    "become": Become,
    "password": SecretSource,
    "engine": Engine,
    "firewall": Firewall,
    "source": Source,
    "service": ServiceSpec,
    "tls": TLS,
    "files": TLSFiles,
    "tls_files": TLSFiles,
    "access": Access,
    "members": Member,
}
"""What a mapping is, by the key it stands under: for suggestions only."""


Owners = Mapping[tuple[str, str], Document]
"""(section, name) -> the file it is in."""


class InventoryError(UsageError):
    """The inventory cannot be used. `faults` are all of them, in the order of the files."""

    def __init__(self, found: Sequence[Fault]) -> None:
        faults = sorted(dict.fromkeys(found), key=lambda fault: (str(fault.path), fault.line))
        first = faults[0]
        super().__init__(
            f"the inventory has {counted(len(faults), 'fault')}:\n  " + "\n  ".join(map(str, faults[:_SHOWN_MAX])),
            hint=f"mend line {first.line} of {first.path} first" if first.line else f"see {first.path}",
        )
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Read:
    """An inventory, and where everything in it was written."""

    inventory: Inventory
    owners: Owners

    def folder(self, cluster: str) -> Path:
        """Of the file that a cluster is in."""
        return self.owners["clusters", cluster].path.parent.absolute()

    def fault(self, location: tuple[Key, ...], message: str, fix: str = "") -> Fault:
        """Something wrong at `("clusters", NAME, ...)`; where `defaults` say it, there."""
        document = self.owners[str(location[0]), str(location[1])]
        by_default = ("defaults", str(location[0]).removesuffix("s"), *location[2:])
        written = location if document.has(location) or not document.has(by_default) else by_default
        return document.fault(written, message, fix)


def load_inventory(paths: Sequence[Path]) -> Inventory:
    """Read files, and directories of `*.yaml` and `*.yml` that are not hidden; together they are one inventory.

    Raises: InventoryError - with all faults found. UsageError - a path that cannot be read.
    """
    return read_inventory(paths).inventory


def read_inventory(paths: Sequence[Path]) -> Read:
    """The same, with the places of everything. Raises: as `load_inventory`."""
    return read_texts(inventory_texts(paths))


def inventory_texts(paths: Sequence[Path]) -> dict[Path, str]:
    """The files themselves. Raises: UsageError - a path that cannot be read."""
    return {path: _text(path) for path in _files(paths)}


def read_texts(texts: Mapping[Path, str]) -> Read:
    """The same, of files that were read before. Raises: InventoryError - with all faults found."""
    documents: list[Document] = []
    faults: list[Fault] = []
    for path, text in texts.items():
        try:
            documents.append(Document(path, text))
        except NotUsable as unusable:
            faults.append(unusable.fault)
    for document in documents:
        faults += document.faults
        faults += _unknown_sections(document)
    owners, merged = _merge(documents, faults)
    inventory = _validate(merged, owners, faults)
    faults += _unknown_hosts(merged["clusters"], merged["hosts"], owners)
    faults += _cross_checks(inventory, owners)
    if faults:
        raise InventoryError(faults)
    return Read(inventory, owners)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        path = path.expanduser()
        if path.is_dir():
            shown = (one for one in path.iterdir() if not one.name.startswith("."))  # others are some program's
            found = sorted(one for one in shown if one.suffix in (".yaml", ".yml") and one.is_file())
            if not found:
                raise UsageError(f"the directory {path} holds no *.yaml", hint="an inventory is one or more of them")
            yield from found
        else:
            yield path


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"the inventory {path} cannot be read",
            cause=error.strerror or str(error),
            hint="name another with --inventory",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the inventory {path} is no text in UTF-8",
            cause=str(error),
            hint="an inventory is YAML: is it the right file?",
        ) from error


def _unknown_sections(document: Document) -> Iterator[Fault]:
    for name, value in document.data.items():
        if name not in _SECTIONS:
            yield document.fault((name,), "there is no such section", _did_you_mean(name, _SECTIONS))
        elif not isinstance(value, dict):
            yield document.fault((name,), "it must be a mapping of names", f"write `{name}:` and a name below it")


def _merge(documents: Sequence[Document], faults: list[Fault]) -> tuple[Owners, dict[str, dict[str, object]]]:
    """All sections of all files. `defaults` hold for the hosts and clusters of their own file."""
    owners: dict[tuple[str, str], Document] = {}
    merged: dict[str, dict[str, object]] = {"hosts": {}, "clusters": {}}
    for document in documents:
        defaults = document.data.get("defaults")
        for section, kind in (("hosts", "host"), ("clusters", "cluster")):
            named = document.data.get(section)
            below = defaults.get(kind, {}) if isinstance(defaults, dict) else {}
            for name, value in named.items() if isinstance(named, dict) else ():
                if (section, name) in owners:
                    first = owners[section, name]
                    where = f"{first.path}:{first.line((section, name))}"
                    faults.append(document.fault((section, name), f"it is in {where} too", "keep one of them"))
                    continue
                owners[section, name] = document
                given = {} if value is None else value
                merged[section][name] = _filled(below, given) if isinstance(given, dict) else given
    return owners, merged


def _filled(below: object, above: dict[str, object]) -> dict[str, object]:
    """`above`, with what it leaves out from `below`, mappings inside included."""
    if not isinstance(below, dict):
        return above
    filled = dict(below)
    for key, value in above.items():
        filled[key] = _filled(below.get(key), value) if isinstance(value, dict) else value
    return filled


def _validate(merged: Mapping[str, Mapping[str, object]], owners: Owners, faults: list[Fault]) -> Inventory:
    """What of it has the right form; faults of the rest are added."""
    hosts: dict[str, Host] = {}
    clusters: dict[str, Cluster] = {}
    models: tuple[tuple[str, type[Host] | type[Cluster]], ...] = (("hosts", Host), ("clusters", Cluster))
    for section, model in models:
        for name, value in merged[section].items():
            document = owners[section, name]
            if not isinstance(value, dict):
                faults.append(document.fault((section, name), "it must be a mapping"))
                continue
            if "name" in value and value["name"] != name:
                faults.append(
                    document.fault((section, name, "name"), f"its name is {name} already", "remove this line")
                )
            try:
                made = model.model_validate({**value, "name": name}, context={FOLDER: document.path.parent.absolute()})
            except ValidationError as error:
                faults += _explain(error, document, (section, name), model)
                continue
            if isinstance(made, Host):
                hosts[name] = made
            else:
                clusters[name] = made
    return Inventory(hosts=hosts, clusters=clusters)


def _explain(error: ValidationError, document: Document, place: tuple[Key, ...], model: type) -> Iterator[Fault]:
    for problem in error.errors(include_url=False, include_context=False):
        location = (*place, *(key for key in problem["loc"] if not str(key).startswith(("function-", "constrained"))))
        message = str(problem["msg"]).removeprefix("Value error, ")
        fix = ""
        if problem["type"] == "extra_forbidden":
            message = "there is no such setting"
            fix = _did_you_mean(str(location[-1]), _fields_at(model, problem["loc"][:-1]))
        elif problem["type"] == "missing":
            message = "it is missing"
        else:
            message, fix = _form(problem["type"], problem["input"], str(location[-1])) or (
                message[:1].lower() + message[1:],
                "",
            )
        yield document.fault(location, message, fix)


def _form(kind: str, value: object, key: str) -> tuple[str, str] | None:
    """(what is wrong, what to write) of a value that has another form than it should. Never the value of a secret."""
    if kind == "model_type" and _MODELS.get(key) is SecretSource:
        fix = (
            "say where it is: {env: NAME}, {file: PATH}, {command: [PROGRAM]}, {keyring: SERVICE/USER}, {prompt: TEXT}"
        )
        return "a secret is not written down here", fix
    if kind == "string_type" and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value} is a number to YAML, and this is text", f'write it in quotes: "{value}"'
    if kind == "tuple_type":
        return "it must be a list", "write it in brackets: [ONE, ANOTHER], or one a line with `- ` before it"
    if kind in ("model_type", "mapping_type", "dict_type"):
        return "it must be a mapping", "write `key: value` below it"
    return None


def _fields_at(model: type, location: Sequence[Key]) -> list[str]:
    """The names a mapping at this place of a model may have."""
    names = [key for key in location if isinstance(key, str) and key in _MODELS]
    found = _MODELS[names[-1]] if names else model
    return list(getattr(found, "model_fields", {}))


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"


def _unknown_hosts(clusters: Mapping[str, object], hosts: Mapping[str, object], owners: Owners) -> Iterator[Fault]:
    """Members on hosts that are nowhere described, in clusters of whatever form."""
    for name, cluster in clusters.items():
        members = cluster.get("members") if isinstance(cluster, dict) else None
        for number, member in enumerate(members if isinstance(members, list) else ()):
            host = member.get("host") if isinstance(member, dict) else None
            if isinstance(host, str) and host not in hosts:
                fix = _did_you_mean(host, list(hosts)) if hosts else "add it under `hosts`"
                at = ("clusters", name, "members", number, "host")
                yield owners["clusters", name].fault(at, f"there is no host {host}", fix)


def _cross_checks(inventory: Inventory, owners: Owners) -> Iterator[Fault]:
    """What no single entry can know, of those that have the right form."""
    for name, host in inventory.hosts.items():
        jump = host.ssh.jump
        if jump == name:
            at = ("hosts", name, "ssh", "jump")
            yield owners["hosts", name].fault(at, "a host cannot jump through itself", "name the host in front of it")
        if host.local and jump:
            yield owners["hosts", name].fault(
                ("hosts", name, "local"), "this machine needs no jump host", "remove jump or local"
            )
    yield from _circles(inventory, owners)
    seen: dict[tuple[str, str], str] = {}
    for name, cluster in inventory.clusters.items():
        yield from _check_members(inventory, name, cluster, owners["clusters", name], seen)


def _circles(inventory: Inventory, owners: Owners) -> Iterator[Fault]:
    """Jump hosts that lead back to where they began, each circle once."""
    told: set[str] = set()
    for name in inventory.hosts:
        way = [name]
        while (jump := inventory.hosts[way[-1]].ssh.jump) in inventory.hosts and jump not in way:
            way.append(jump)
        if len(way) > 1 and jump == name and not told & {*way}:
            told |= {*way}
            at = ("hosts", name, "ssh", "jump")
            circle = ", ".join((*way, name))
            yield owners["hosts", name].fault(
                at, f"its jump hosts lead in a circle: {circle}", "one of them has to be reached directly"
            )


def _check_members(
    inventory: Inventory, name: str, cluster: Cluster, document: Document, seen: dict[tuple[str, str], str]
) -> Iterator[Fault]:
    """Members on known hosts, with names of their own, and nothing on a host twice (`seen` over all clusters)."""
    at = ("clusters", name, "members")
    names: defaultdict[str, int] = defaultdict(int)
    for number, member in enumerate(cluster.members):
        names[member.label] += 1
        if names[member.label] == 2:
            yield document.fault((*at, number), f"two members are called {member.label}", "give one another `name`")
        if member.host not in inventory.hosts:
            continue
        placed = place(inventory, cluster, member)
        listening = {*placed.listen_client_urls, *placed.listen_metrics_urls}, {*placed.listen_peer_urls}
        taken = [("directory", one) for one in (placed.data_dir, placed.wal_dir)]
        taken += [("port", port) for urls in listening for port in sorted({url.rpartition(":")[2] for url in urls})]
        for kind, value in taken:
            key = (f"{kind} {value}", member.host)
            if value and key in seen:
                yield document.fault(
                    (*at, number),
                    f"{kind} {value} on {member.host} is {seen[key]}'s already",
                    f"give it another {kind} or another host",
                )
            seen.setdefault(key, f"{name}/{member.label}")
