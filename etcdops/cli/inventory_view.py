"""How an inventory reads, and what came of trying its hosts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from etcdops.cli.output import Cell, Column, Json, Look, printable, render_table
from etcdops.inventory.connection import passages
from etcdops.inventory.filled import filled
from etcdops.inventory.model import Cluster, Host, Inventory, place
from etcdops.inventory.reach import Reached
from etcdops.wording import counted

if TYPE_CHECKING:
    from etcdops.errors import EtcdopsError
    from etcdops.inventory.secrets import SecretSource
    from etcdops.remote.pool import Outcome


def summary(inventory: Inventory) -> str:
    """`3 hosts, 1 cluster, 3 members`."""
    members = sum(len(cluster.members) for cluster in inventory.clusters.values())
    counts = (("host", len(inventory.hosts)), ("cluster", len(inventory.clusters)), ("member", members))
    return ", ".join(counted(number, noun) for noun, number in counts)


def render_inventory(inventory: Inventory, look: Look, *, width: int) -> str:
    """The hosts, then each cluster with its members."""
    parts = [_hosts(inventory, look, width)] if inventory.hosts else []
    parts += [_cluster(inventory, cluster, look, width) for cluster in inventory.clusters.values()]
    return look.text("\n\n".join(parts) or "the inventory names no host and no cluster")


def _hosts(inventory: Inventory, look: Look, width: int) -> str:
    columns = (
        Column("HOST"),
        Column("ADDRESS"),
        Column("LOGIN"),
        Column("ROOT"),
        Column("JUMP", optional=1),
        Column("TAGS", optional=2),
    )
    rows = [
        (
            Cell(name),
            Cell(host.reached_at),
            Cell(_login(host)),
            Cell(_root(host)),
            Cell(host.ssh.jump or "-"),
            Cell(_pairs(host.tags) or "-"),
        )
        for name, host in inventory.hosts.items()
    ]
    return render_table(columns, rows, look, width=width)


def _login(host: Host) -> str:
    """Who, where and with what; empty parts are left to ~/.ssh/config."""
    if host.local:
        return "this machine"
    ssh = host.ssh
    parts = [
        ssh.user,
        f"port {ssh.port}" if ssh.port else "",
        f"key {ssh.key}" if ssh.key else "",
        f"password from {source_text(ssh.password)}" if ssh.password else "",
    ]
    return ", ".join(filter(None, parts)) or "as ~/.ssh/config says"


def _root(host: Host) -> str:
    become = host.ssh.become
    if become.method == "none":
        return "is root"
    return f"sudo, password from {source_text(become.password)}" if become.password else "sudo"


def source_text(source: SecretSource) -> str:
    """`env SUDO`, `command pass show etcd`: where a secret comes from, never the secret."""
    if source.command is not None:
        return f"command {shlex.join(source.command)}"
    [(kind, value)] = source.model_dump(mode="json", exclude_none=True).items()
    return f"{kind} {value}"


def _pairs(pairs: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs.items())


def _cluster(inventory: Inventory, cluster: Cluster, look: Look, width: int) -> str:
    columns = (
        Column("MEMBER"),
        Column("HOST"),
        Column("CLIENT URLS"),
        Column("PEER URLS"),
        Column("DATA"),
        Column("WAL", optional=2),
        Column("METRICS", optional=1),
    )
    placed = [(member.host, place(inventory, cluster, member)) for member in cluster.members]
    rows = [
        (
            Cell(member.name),
            Cell(host),
            Cell(" ".join(member.advertise_client_urls)),
            Cell(" ".join(member.initial_advertise_peer_urls)),
            Cell(member.data_dir),
            Cell(member.wal_dir or "-"),
            Cell(" ".join(member.listen_metrics_urls) or "-"),
        )
        for host, member in placed
    ]
    lines = [look.style(f"{cluster.name}: {_kind(cluster)}", "head")]
    if clients := _clients(inventory, cluster):
        lines.append(f"clients: {printable(clients)}")
    named: dict[str, list[str]] = {}
    for _, member in placed:
        if member.settings:
            named.setdefault(_pairs(member.settings), []).append(member.name)
    for settings, names in named.items():
        of = "" if len(names) == len(placed) else f" of {', '.join(names)}"
        lines.append(f"settings{printable(of)}: {printable(settings)}")
    return "\n".join((*lines, render_table(columns, rows, look, width=width)))


def _clients(inventory: Inventory, cluster: Cluster) -> str:
    """How `--cluster` connects; empty: directly to what the members advertise, as nobody."""
    access = cluster.access
    hosts = ", ".join(dict.fromkeys(one.host for one in passages(inventory, cluster)))
    user = f"as {access.user}" if access.user else ""
    if access.password is not None:
        user += f", password from {source_text(access.password)}"
    parts = (
        f"through SSH to {hosts}" if hosts else "",
        f"at {', '.join(access.endpoints)}" if access.endpoints else "",
        user,
        f"trust {access.cacert}" if access.cacert else "",
        f"show {access.cert}" if access.cert else "",
    )
    return "; ".join(filter(None, parts))


def _kind(cluster: Cluster) -> str:
    """Engine, who keeps it, TLS, whose it is."""
    service, tls = cluster.service, cluster.tls
    ports = [name for name, on in (("clients", tls.client), ("peers", tls.peer)) if on] if tls is not None else []
    parts = (
        f"{cluster.engine.kind} {cluster.engine.version}",
        f"{service.manager} {service.name}" + (f" ({service.image})" if service.image else ""),
        f"TLS for {' and '.join(ports)}" if ports else "no TLS",
        f"user {cluster.user}",
        f"token {cluster.initial_cluster_token}",
        f"protection {cluster.protection}",
    )
    return printable(", ".join(parts))


def render_yaml(inventory: Inventory) -> str:
    """An inventory that means the same and leaves nothing out."""
    import yaml

    return yaml.safe_dump(filled(inventory), sort_keys=False, allow_unicode=True, width=120)


def render_outcomes(outcomes: list[Outcome[Host, Reached]], look: Look, *, width: int) -> str:
    """A line a host, then what is wrong and what to do about it."""
    columns = (Column("HOST"), Column("ADDRESS"), Column("LOGIN"), Column("ROOT"), Column("PROGRAMS"))
    rows = [_outcome_row(outcome) for outcome in outcomes]
    lines = [render_table(columns, rows, look, width=width)] if rows else []
    for outcome in outcomes:
        for error in _errors(outcome):
            first, *others = (printable(part) for part in error.lines())
            lines += [f"{look.style('✖', 'bad')} {first.partition(': ')[2]}", *(f"  {other}" for other in others)]
        if outcome.value is not None and outcome.value.missing:
            programs = ", ".join(name.replace("|", " or ") for name in outcome.value.missing)
            lines.append(f"{look.style('✖', 'bad')} {outcome.subject.name} lacks {programs}")
            lines.append("  next: install it there, or correct service.manager and engine in the inventory")
        for problem in outcome.value.problems if outcome.value is not None else ():
            lines.append(f"{look.style('✖', 'bad')} {outcome.subject.name}: {printable(problem)}")
            lines.append("  next: renew it on the host, or correct tls.files in the inventory")
    return look.text("\n".join(lines))


def _errors(outcome: Outcome[Host, Reached]) -> list[EtcdopsError]:
    found = [outcome.error, outcome.value.not_root if outcome.value is not None else None]
    return [error for error in found if error is not None]


def _outcome_row(outcome: Outcome[Host, Reached]) -> tuple[Cell, ...]:
    host, reached = outcome.subject, outcome.value
    where = (Cell(host.name), Cell(host.reached_at))
    if reached is None:
        return (*where, Cell(f"✖ {outcome.error.code if outcome.error else 'failed'}", "bad"), Cell("-"), Cell("-"))
    root = Cell("● yes", "good") if reached.not_root is None else Cell("✖ no", "bad")
    programs = Cell("● all there", "good") if not reached.missing else Cell("✖ missing", "bad")
    return (*where, Cell(f"● {reached.user}", "good"), root, programs if reached.needed else Cell("-"))


def outcome_json(outcome: Outcome[Host, Reached]) -> dict[str, Json]:
    """What works on a host, and what does not."""
    host, reached = outcome.subject, outcome.value
    errors: list[Json] = [
        {"code": error.code, "message": error.message, "cause": error.cause, "hint": error.hint}
        for error in _errors(outcome)
    ]
    return {
        "name": host.name,
        "address": host.reached_at,
        "usable": reached is not None and reached.usable,
        "user": reached.user if reached is not None else None,
        "root": reached.not_root is None if reached is not None else None,
        "missing": list(reached.missing) if reached is not None else None,
        "problems": list(reached.problems) if reached is not None else None,
        "errors": errors,
    }
