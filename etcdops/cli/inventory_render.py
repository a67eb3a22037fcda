"""`etcdops inventory render`: the files around a cluster, for whoever installs them by other means."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import cluster_option, inventory_option
from etcdops.cli.options import current, general_options
from etcdops.cli.output import Json, printable, render_json, write
from etcdops.errors import UsageError

if TYPE_CHECKING:
    from etcdops.inventory.model import Cluster, Inventory
    from etcdops.rendering.files import RenderedFile
    from etcdops.rendering.member import InitialClusterState, MemberConfig

SCHEMA = "etcdops.rendered/1"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be rendered, of which cluster, and what the inventory does not know."""

    inventory: Inventory
    cluster: Cluster
    domain: str
    ca_file: str
    cert_file: str
    key_file: str
    client_pem: str
    is_new: bool

    def members(self) -> Iterator[tuple[str, MemberConfig]]:
        """(host, configuration) of each."""
        from etcdops.rendering.member import member_config

        state: InitialClusterState = "new" if self.is_new else "existing"
        for member in self.cluster.members:
            yield member.host, member_config(self.inventory, self.cluster, member, initial_cluster_state=state)


Rendered = Iterator[tuple[str, "RenderedFile"]]
"""(host it belongs on; empty: one for the whole cluster, wherever that runs; the file)."""


def _member(asked: _Asked) -> Rendered:
    from etcdops.rendering.outputs import member_files

    for host, config in asked.members():
        yield from ((host, file) for file in member_files(config, asked.cluster.service.manager))


def _config_file(asked: _Asked) -> Rendered:
    from etcdops.rendering.outputs import config_file

    yield from ((host, config_file(config)) for host, config in asked.members())


def _compose(asked: _Asked) -> Rendered:
    from etcdops.rendering.outputs import compose_file

    if not asked.cluster.service.image:
        raise UsageError(f"{asked.cluster.name} runs in no containers", hint="give service.image in the inventory")
    yield from ((host, compose_file(config)) for host, config in asked.members())


def _haproxy(asked: _Asked) -> Rendered:
    from etcdops.rendering.network_files import load_balancer

    yield "", load_balancer(asked.inventory, asked.cluster, ca_file=asked.ca_file, client_pem=asked.client_pem)


def _dnsmasq(asked: _Asked) -> Rendered:
    from etcdops.rendering.network_files import service_records

    domain = asked.domain or asked.cluster.settings.get("discovery-srv", "")
    if not domain:
        raise UsageError("which domain are the records of?", hint="give --domain, or the setting discovery-srv")
    yield "", service_records(asked.inventory, asked.cluster, domain=str(domain))


def _firewall(asked: _Asked) -> Rendered:
    from etcdops.rendering.network_files import firewall

    wanted = asked.cluster.firewall
    if wanted is None:
        raise UsageError(
            f"the inventory says nothing of a firewall for {asked.cluster.name}",
            hint="name the clients: `firewall: {clients: [10.0.0.0/8]}`",
        )
    for host, config in asked.members():
        files = firewall(asked.inventory, asked.cluster, config, clients=wanted.clients, tool=wanted.tool)
        yield from ((host, file) for file in files)


def _backup_timer(asked: _Asked) -> Rendered:
    from etcdops.rendering.upkeep_files import Backups, backup_by_timer

    for host, config in asked.members():
        yield from ((host, file) for file in backup_by_timer(config, Backups()))


def _backup_cron(asked: _Asked) -> Rendered:
    from etcdops.rendering.upkeep_files import Backups, backup_by_cron

    for host, config in asked.members():
        yield from ((host, file) for file in backup_by_cron(config, Backups()))


def _prometheus(asked: _Asked) -> Rendered:
    from etcdops.rendering.upkeep_files import alert_rules, scrape_config

    yield (
        "",
        scrape_config(
            asked.inventory, asked.cluster, ca_file=asked.ca_file, cert_file=asked.cert_file, key_file=asked.key_file
        ),
    )
    yield "", alert_rules(asked.cluster)


KINDS: Mapping[str, Callable[[_Asked], Rendered]] = {
    "member": _member,
    "config-file": _config_file,
    "compose": _compose,
    "haproxy": _haproxy,
    "dnsmasq": _dnsmasq,
    "firewall": _firewall,
    "backup-timer": _backup_timer,
    "backup-cron": _backup_cron,
    "prometheus": _prometheus,
}


@click.command(
    "render",
    cls=OpsCommand,
    examples=[
        ("alerts and scraping for prometheus", "etcdops inventory render prometheus --ca-file /etc/prometheus/ca.crt"),
        ("SRV records", "etcdops inventory render dnsmasq --domain prod.example.com"),
        ("a backup every day, as files to copy", "etcdops inventory render backup-timer --into files"),
    ],
)
@click.argument("kind", type=click.Choice(list(KINDS)))
@inventory_option
@cluster_option
@click.option("--domain", default="", help="Of SRV records. [default: the setting discovery-srv]")
@click.option("--ca-file", default="", help="Whom haproxy or prometheus trusts, on its own machine.")
@click.option("--cert-file", default="", help="What prometheus shows to members, with --key-file.")
@click.option("--key-file", default="", help="Its key.")
@click.option("--client-pem", default="", help="What haproxy's health checks show: certificate and key in one file.")
@click.option("--new", "is_new", is_flag=True, help="Members that make a cluster, instead of those of one that exists.")
@click.option(
    "--into", type=click.Path(path_type=Path, file_okay=False), help="Write them there, as HOST/PATH, not to stdout."
)
@general_options
def command(
    kind: str,
    given: tuple[Path, ...],
    name: str,
    domain: str,
    ca_file: str,
    cert_file: str,
    key_file: str,
    client_pem: str,
    is_new: bool,
    into: Path | None,
) -> None:
    """Print the files that make a member run, or that belong around a cluster; no host is asked or changed.

    `rollout` installs what members need by itself. Values that a format cannot express are refused, not cut.
    """
    from etcdops.inventory.find import find_cluster, inventory_paths
    from etcdops.inventory.load import load_inventory

    invocation = current()
    inventory = load_inventory(inventory_paths(given, os.environ))
    cluster = find_cluster(inventory, name)
    asked = _Asked(inventory, cluster, domain, ca_file, cert_file, key_file, client_pem, is_new)
    files = list(KINDS[kind](asked))
    if into is not None:
        files_written = [str(_write(into, host or cluster.name, file)) for host, file in files]
        write("\n".join(files_written))
    elif invocation.format == "json":
        write(render_json(SCHEMA, {"cluster": cluster.name, "files": [_json(host, file) for host, file in files]}))
    elif len(files) == 1:
        write(files[0][1].content.decode().removesuffix("\n"))
    else:
        parts = (
            f"# ==> {printable(host or cluster.name)}: {file.path}\n{file.content.decode()}" for host, file in files
        )
        write("\n".join(parts).removesuffix("\n"))


def _write(folder: Path, host: str, file: RenderedFile) -> Path:
    from etcdops.files import replace_file

    path = folder / host / file.path.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, file.content)
    path.chmod(file.ownership.mode)
    return path


def _json(host: str, file: RenderedFile) -> Json:
    ownership = file.ownership
    return {
        "host": host or None,
        "path": file.path,
        "mode": f"{ownership.mode:04o}",
        "owner": ownership.owner,
        "group": ownership.group,
        "content": file.content.decode(),
    }
