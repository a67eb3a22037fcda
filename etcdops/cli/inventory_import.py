"""`etcdops inventory import`: an inventory of what is there, from files, from hosts, or from a running cluster."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.diagnostics import warn
from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import accept_new_option
from etcdops.cli.options import Invocation, connection_options, current, general_options
from etcdops.cli.output import printable, write
from etcdops.errors import UsageError

if TYPE_CHECKING:
    from etcdops.client.settings import ConnectionSettings
    from etcdops.inventory.model import Host
    from etcdops.inventory.reach import Ways
    from etcdops.remote.session import Session
    from etcdops.services.importing.clusters import Live
    from etcdops.services.importing.evidence import Evidence, Plain
    from etcdops.services.importing.gather import Gathered

_FILE_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in to hosts that no inventory knows yet."""

    user: str
    key: str
    sudo_password: bool
    accept_new: bool


@click.command(
    "import",
    cls=OpsCommand,
    examples=[
        ("Debian's variables of one member", "etcdops inventory import /etc/default/etcd"),
        ("a unit and what it reads", "etcdops inventory import etcd.service etcd.conf -o prod.yaml"),
        ("containers", "docker inspect etcd > c.json; etcdops inventory import c.json"),
        ("the script that makes one, and its env file", "etcdops inventory import run-etcd.sh etcd.env"),
        ("every etcd on these hosts", "etcdops inventory import --host root@10.0.0.1 --host root@10.0.0.2"),
        ("the etcd of this machine, such as kubeadm's", "etcdops inventory import --this-host"),
        ("a running cluster and its hosts", "etcdops inventory import --endpoints 10.0.0.1:2379 --ssh -o prod.yaml"),
    ],
)
@click.argument("files", metavar="[FILE...]", nargs=-1, type=click.Path(path_type=Path))
@click.option("--host", "hosts", metavar="[USER@]HOST", multiple=True, help="Every etcd on this host; may be repeated.")
@click.option("--this-host", is_flag=True, help="Every etcd on this machine.")
@click.option("--ssh", is_flag=True, help="With --endpoints: ask the members' hosts too.")
@click.option("--ssh-user", metavar="NAME", default="", help="Who logs in (as ~/.ssh/config says).")
@click.option("--ssh-key", metavar="FILE", default="", help="With this key.")
@click.option("--sudo-password", is_flag=True, help="Ask for sudo's password; it is not written down.")
@accept_new_option
@click.option("--cluster", metavar="NAME", default="", help="The cluster's name (its token).")
@click.option("--etcd-version", metavar="X.Y.Z", default="", help="What its members run, where nothing says it.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Write here (stdout).")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@connection_options
@general_options
def command(
    files: tuple[Path, ...],
    hosts: tuple[str, ...],
    this_host: bool,
    ssh: bool,
    ssh_user: str,
    ssh_key: str,
    sudo_password: bool,
    accept_new: bool,
    cluster: str,
    etcd_version: str,
    output: Path | None,
    force: bool,
) -> None:
    """Make an inventory of what is there; nothing is changed anywhere.

    FILE: unit and drop-ins, environment file, etcd.conf.yml of one member; docker inspect; a compose file; a static
    pod; a script or note with docker run or podman run in it. They are combined as systemd, docker and etcd do. What is
    not known is a comment. Secrets are left out and named.
    """
    invocation = current()
    running = "endpoints" in invocation.connection or "local" in invocation.connection
    _refuse(files, running=running, asks_hosts=bool(hosts or this_host), ssh=ssh)
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} is there already", hint="give another name with --output, or --force to replace it")
    from etcdops.services.importing.made import render_import

    login = Login(ssh_user, ssh_key, sudo_password, accept_new)
    live, access = _ask_cluster(invocation) if running else (None, {})
    evidence: list[Evidence] = _read(invocation, files) if files else []
    notes: list[str] = []
    wanted = _wanted(live if ssh else None, hosts, login, this_host=this_host)
    if wanted:
        gathered = _ask_hosts(invocation, wanted, login)
        if len(gathered.failed) == len(wanted) and live is None:
            raise next(iter(gathered.failed.values()))
        for error in gathered.failed.values():
            warn(printable(f"{error.message}{f': {error.cause}' if error.cause else ''}"))
        evidence, notes = [*evidence, *gathered.evidence], list(gathered.notes)
    text = render_import(evidence, live=live, cluster=cluster, version=etcd_version, access=access, notes=notes)
    if output is None:
        write(text)
        return
    _save(output, text, force=force)
    guesses = sum(line.startswith("# - ") for line in text.splitlines())
    invocation.note(f"wrote {output}; read its {guesses} comments, then: etcdops inventory check -i {output}")


def _refuse(files: Sequence[Path], *, running: bool, asks_hosts: bool, ssh: bool) -> None:
    if not (files or running or asks_hosts):
        raise UsageError("import from what?", hint="give files, --host HOST, --this-host, or --endpoints URLS")
    if files and (running or asks_hosts):
        raise UsageError("files, or what runs: not both at once", hint="import twice, and compare")
    if ssh and not running:
        raise UsageError("--ssh asks the hosts of a running cluster", hint="give its --endpoints, or --host HOST")


def _read(invocation: Invocation, files: Sequence[Path]) -> list[Evidence]:
    from etcdops.services.importing.files import read_files

    return invocation.run(read_files({str(path): _text(path) for path in files}))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read", cause=error.strerror or str(error), hint="check the path") from error
    if len(content) > _FILE_MAX_BYTES:
        raise UsageError(f"{path} is too big to be a configuration", hint="give the member's own files")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8", cause=str(error), hint="give the member's own files") from error


def _ask_cluster(invocation: Invocation) -> tuple[Live, dict[str, Plain]]:
    from etcdops.client.client import Client
    from etcdops.services.importing.live import ask_cluster

    settings = invocation.connection_settings()

    async def work() -> Live:
        async with Client(settings) as client:
            return await ask_cluster(client)

    with invocation.waiting(f"asking {', '.join(settings.endpoints)} ..."):
        live = invocation.run(work())
    return live, _access(settings, live)


def _access(settings: ConnectionSettings, live: Live) -> dict[str, Plain]:
    """How this cluster was reached, as the inventory says it: never a password."""
    made: dict[str, Plain] = {}
    advertised = {url.rstrip("/") for member in live.members for url in member.client_urls}
    endpoints = [endpoint.url for endpoint in settings.parsed_endpoints()]
    if not advertised & {*endpoints}:
        made["endpoints"] = [*endpoints]
    for name in ("cacert", "cert", "key"):
        if path := getattr(settings, name):
            made[name] = str(Path(path).absolute())
    if settings.server_name:
        made["server_name"] = settings.server_name
    if settings.username:
        made |= {"user": settings.username, "password": {"prompt": f"password of {settings.username}"}}
    return made


def _wanted(
    live: Live | None, hosts: Sequence[str], login: Login, *, this_host: bool
) -> dict[str, tuple[Host, dict[str, Plain]]]:
    """Name -> the host as a way in, and as the inventory will say it."""
    from etcdops.inventory.model import Host
    from etcdops.remote.ssh_config import parse_jump
    from etcdops.services.importing.gather import hosts_of

    found: dict[str, tuple[Host, dict[str, Plain]]] = {}
    for name, address in (hosts_of(live) if live is not None else {}).items():
        found[name] = _host(name, address, login.user, 0, login)
    for text in hosts:
        try:
            target = parse_jump(text)
        except UsageError as error:
            raise UsageError(f"{text!r} is no host", hint="write it as [user@]host[:port]") from error
        if any(c.isspace() for c in text) or not target.name:
            raise UsageError(f"{text!r} is no host", hint="write it as [user@]host[:port]")
        name = target.name if _is_name(target.name) else f"host-{len(found) + 1}"
        found[name] = _host(name, target.name, target.user or login.user, target.port, login)
    if this_host:
        name = socket.gethostname().partition(".")[0]
        name = name if _is_name(name) else "this-host"
        found[name] = (Host(name=name, local=True), {"local": True})
    return found


def _host(name: str, address: str, user: str, port: int, login: Login) -> tuple[Host, dict[str, Plain]]:
    from etcdops.inventory.model import Host

    ssh: dict[str, Plain] = {}
    ssh |= {"user": user} if user else {}
    ssh |= {"port": port} if port else {}
    ssh |= {"key": str(Path(login.key).absolute())} if login.key else {}
    if login.sudo_password:
        ssh["become"] = {"password": {"prompt": "sudo's password"}}
    host = Host.model_validate({"name": name, "address": address, "ssh": ssh})
    return host, {"ssh": ssh} if ssh else {}


def _is_name(text: str) -> bool:
    return text[:1].isalnum() and text.isascii() and all(c.isalnum() or c in "._-" for c in text)


def _ask_hosts(invocation: Invocation, wanted: dict[str, tuple[Host, dict[str, Plain]]], login: Login) -> Gathered:
    from etcdops.inventory.model import Inventory
    from etcdops.inventory.reach import ways_in

    hosts = [host for host, _ in wanted.values()]
    # before anything runs: a person who is asked for a password may answer with Ctrl-C
    ways = ways_in(Inventory(hosts={host.name: host for host in hosts}))
    with invocation.waiting(f"asking {', '.join(wanted)} ..."):
        return invocation.run(_gather(hosts, wanted, ways, login))


async def _gather(
    hosts: Sequence[Host], wanted: dict[str, tuple[Host, dict[str, Plain]]], ways: Ways, login: Login
) -> Gathered:
    from etcdops.cli.host_key_question import HostKeyQuestion, host_key_policy
    from etcdops.errors import EtcdopsError
    from etcdops.inventory.reach import connect
    from etcdops.remote.ssh import Connector
    from etcdops.remote.ssh_config import SSHConfig
    from etcdops.services.importing.gather import ask_hosts

    question = HostKeyQuestion()
    connector = Connector(host_key_policy(question, accept_new=login.accept_new), SSHConfig())

    async def open_host(host: Host) -> Session:
        way = ways[host.name]
        if isinstance(way, EtcdopsError):
            raise way
        return await connect(host, way, connector)

    try:
        return await ask_hosts(hosts, {name: entry for name, (_, entry) in wanted.items()}, open_host)
    finally:
        question.withdraw()
        connector.close()


def _save(path: Path, text: str, *, force: bool) -> None:
    from etcdops.files import replace_file

    try:
        if force:
            replace_file(path, text.encode(), mode=0o644)
        else:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="give another name, or --force to replace it") from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written", cause=error.strerror or str(error), hint="give another place with --output"
        ) from error
