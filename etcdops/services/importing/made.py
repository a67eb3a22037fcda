"""Evidence of any number of clusters to the YAML of an inventory, which passes its own check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from etcdops.errors import UsageError
from etcdops.inventory.load import InventoryError, read_texts
from etcdops.services.importing.clusters import Live, grouped, members_of
from etcdops.services.importing.draft import Draft, Hosts, draft_cluster
from etcdops.services.importing.evidence import DEFAULT_TOKEN, Evidence, Plain

_WIDTH = 120


def render_import(
    evidence: Sequence[Evidence],
    *,
    live: Live | None = None,
    cluster: str = "",
    version: str = "",
    access: Mapping[str, Plain] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """YAML of an inventory, notes as comments above it.

    Args: live - what the running cluster says; all evidence is then of its members. cluster - the name of the only
        cluster; empty: its token's. version - of etcd; empty: found out or guessed. access - how its clients reach it.
        notes - what whoever gathered the evidence could not find out.
    Raises: UsageError - what was found contradicts itself, or there is nothing.
    """
    groups = [list(evidence)] if live is not None else grouped(evidence)
    if not groups:
        raise UsageError("no member was found", cause="; ".join(notes), hint="see that etcd is installed there")
    if cluster and len(groups) > 1:
        found = ", ".join("/".join(one.name for one in group) for group in groups)
        raise UsageError(f"--cluster names one cluster, and there are {len(groups)}: {found}", hint="leave it out")
    hosts = Hosts()
    clusters: dict[str, Plain] = {}
    comments = [*notes, *(live.notes if live is not None else ())]
    for group in groups:
        told: list[str] = []
        members = members_of(group, live, told)
        name = cluster or _name(group, clusters, told)
        draft = Draft(members, hosts, version, access or {}, told)
        clusters[name] = draft_cluster(draft)
        comments += [f"{name}: {note}" if len(groups) > 1 else note for note in draft.notes]
    body: dict[str, Plain] = {"hosts": {name: dict(host) for name, host in hosts.made.items()}, "clusters": clusters}
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=_WIDTH)
    _verify(text)
    head = ["Imported. Correct what is marked, then: etcdops inventory check", *(f"- {note}" for note in comments)]
    return "".join(f"# {_one_line(line)}\n" for line in dict.fromkeys(head)) + text


def _name(group: Sequence[Evidence], taken: Mapping[str, Plain], notes: list[str]) -> str:
    tokens = [one.token for one in group if one.token != DEFAULT_TOKEN and _is_name(one.token)]
    if tokens and tokens[0] not in taken:
        return tokens[0]
    wanted = tokens[0] if tokens else "etcd"
    name = next(one for n in range(1, len(taken) + 2) if (one := wanted if n == 1 else f"{wanted}-{n}") not in taken)
    notes.append(f"the cluster's name is a guess: {name} (its clients know none)")
    return name


def _is_name(text: str) -> bool:
    return text[:1].isalnum() and text.isascii() and all(c.isalnum() or c in "._-" for c in text)


def _verify(text: str) -> None:
    try:
        read_texts({Path("import"): text})
    except InventoryError as error:
        faults = "; ".join(f"{'.'.join(map(str, one.location))}: {one.message}" for one in error.faults)
        raise UsageError(
            "no inventory can be made of it", cause=faults, hint="import fewer members at a time, or write it by hand"
        ) from error


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
