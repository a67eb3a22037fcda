"""What looks after members: backups by a timer or cron, what prometheus scrapes and warns of."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from urllib.parse import urlsplit

from etcdops.inventory.model import Cluster, EngineKind, Inventory, place
from etcdops.remote.session import Ownership
from etcdops.rendering import places
from etcdops.rendering.files import RenderedFile
from etcdops.rendering.member import MemberConfig
from etcdops.rendering.network_files import metrics_address
from etcdops.rendering.render import render

NODE_TOOL = "/usr/local/bin/etcdops"
_PLAIN = Ownership(0o644, "root", "root")
_SCRIPT = Ownership(0o755, "root", "root")
_STATUS_MOVED = (3, 6)
"""`etcdctl snapshot status` is etcdutl's from here on."""


@dataclass(frozen=True, slots=True)
class Backups:
    """When backups are taken, where they go, how many are kept."""

    directory: str = "/var/backups/etcd"
    """Belongs to the member's user, and must be there."""
    keep: int = 14
    calendar: str = "daily"
    """systemd's OnCalendar=."""
    cron_time: str = "@daily"


def backup_by_timer(member: MemberConfig, backups: Backups) -> tuple[RenderedFile, ...]:
    """A script, and the unit and timer that run it. Raises: UsageError - a value that has no place in them."""
    name = f"{member.service}-backup"
    script = _backup_script(member, backups)
    service = render("backup/backup.service", member=member, script=script.path, directory=backups.directory)
    timer = render("backup/backup.timer", member=member, calendar=backups.calendar)
    return (
        script,
        RenderedFile(places.unit(name), service.encode(), _PLAIN),
        RenderedFile(places.timer(name), timer.encode(), _PLAIN),
    )


def backup_by_cron(member: MemberConfig, backups: Backups) -> tuple[RenderedFile, ...]:
    """A script, and the line of cron that runs it. Raises: UsageError - a value that has no place in them."""
    script = _backup_script(member, backups)
    line = render("backup/cron", member=member, script=script.path, time=backups.cron_time)
    return script, RenderedFile(places.cron(f"{member.service}-backup"), line.encode(), _PLAIN)


def scrape_config(
    inventory: Inventory, cluster: Cluster, *, ca_file: str = "", cert_file: str = "", key_file: str = ""
) -> RenderedFile:
    """What prometheus asks of a cluster: metrics URLs, or the client's where a member has none.

    Args: the files are prometheus's own, for members that are asked over TLS.
    """
    targets = []
    for member in (place(inventory, cluster, one) for one in cluster.members):
        client = urlsplit(member.advertise_client_urls[0])
        scheme, address = client.scheme, client.netloc
        if (metrics := metrics_address(member)) is not None:
            scheme, address = metrics[0], f"{metrics[1]}:{metrics[2]}"
        targets.append({"scheme": scheme, "address": address, "name": member.name})
    text = render(
        "prometheus/scrape.yml",
        job=_job(cluster),
        cluster=cluster.name,
        targets=targets,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
    )
    return RenderedFile(f"/etc/prometheus/scrape.d/{_job(cluster)}.yml", text.encode(), _PLAIN)


def alert_rules(cluster: Cluster) -> RenderedFile:
    """What prometheus warns of. The rules count on the job and labels of `scrape_config`."""
    text = render("prometheus/alerts.yml", job=_job(cluster), cluster=cluster.name)
    return RenderedFile(f"/etc/prometheus/rules.d/{_job(cluster)}.yml", text.encode(), _PLAIN)


def _job(cluster: Cluster) -> str:
    return f"etcd-{cluster.name}"


def _backup_script(member: MemberConfig, backups: Backups) -> RenderedFile:
    save, check = _commands(member)
    text = render(
        "backup/backup", member=member, directory=backups.directory, keep=backups.keep, save=save, check=check
    )
    return RenderedFile(places.backup_script(member.service), text.encode(), _SCRIPT)


def _commands(member: MemberConfig) -> tuple[list[str], list[str]]:
    """(what saves a snapshot into a file, what checks it): both take the file's path as their last argument."""
    endpoint = f"--endpoints={member.flags['advertise-client-urls'].split(',')[0]}"
    tls = []
    if member.pki is not None and member.pki.client:
        cert, key = member.pki.client_pair
        tls = [f"--cacert={member.pki.ca}", f"--cert={cert}", f"--key={key}"]
    elif member.pki is None:
        # somebody else's: a member's own certificate is the one that is certainly there
        given = (("cacert", "trusted-ca-file"), ("cert", "cert-file"), ("key", "key-file"))
        tls = [f"--{option}={member.flags[flag]}" for option, flag in given if flag in member.flags]
    if member.engine is EngineKind.NODE:
        return [NODE_TOOL, "snapshot", "save", endpoint, *tls], [NODE_TOOL, "snapshot", "status"]
    folder = posixpath.dirname(member.program)
    tool = "etcdutl" if member.version.line >= _STATUS_MOVED else "etcdctl"
    save = [f"{folder}/etcdctl", endpoint, *tls, "snapshot", "save"]
    return save, [f"{folder}/{tool}", "snapshot", "status"]
