"""`etcdops bundle`: one file for whoever helps, with everything that is known and no secrets."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from etcdops.cli.diagnose_hosts import SINCE_DEFAULT_S, Asked, fetched_logs
from etcdops.cli.diagnose_input import moment
from etcdops.cli.help import OpsCommand
from etcdops.cli.host_options import accept_new_option, cluster_option, inventory_option
from etcdops.cli.language import LANGUAGE_OPTION, terminal_language
from etcdops.cli.options import Invocation, connection_options, current, general_options
from etcdops.cli.output import Json, render_json, write
from etcdops.errors import ExitCode, UsageError
from etcdops.wording import counted

if TYPE_CHECKING:
    from etcdops.diagnosis.finding import Diagnosis
    from etcdops.diagnosis.reading import Source
    from etcdops.doctor.bundle.archive import Written
    from etcdops.doctor.observation import Observation

SCHEMA = "etcdops.bundle-made/1"
_SUFFIXES = (".tar.gz", ".tgz")
_README = """\
What is here was collected by etcdops bundle. MANIFEST.json lists every file, what was left out and why, and how often
something was taken out; in its place stands ***. Begin with findings.txt; the logs are as their hosts had them.
"""


@dataclass(slots=True)
class _Collected:
    """What goes in."""

    title: str = "local"
    logs: list[tuple[str, Source, str]] = field(default_factory=list)
    """(path in the archive, log, where it is from)."""
    observation: Observation | None = None
    left_out: list[tuple[str, str]] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    """What we logged in with."""
    names: list[str] = field(default_factory=list)


@click.command(
    "bundle",
    cls=OpsCommand,
    examples=[
        ("a cluster of the inventory: logs, hosts, members", "etcdops bundle --cluster prod -o prod.tar.gz"),
        ("what members tell, without their hosts", "etcdops bundle --endpoints http://10.0.0.1:2379 -o prod.tar.gz"),
        ("a cluster of this machine, with its logs", "etcdops bundle --local DIR -o lab.tar.gz"),
        ("logs that are here", "etcdops bundle m1.log m2.log -o logs.tar.gz"),
        ("for strangers: no addresses, no names", "etcdops bundle --cluster prod --redact-addresses -o prod.tar.gz"),
        ("what is in it?", "tar -tzf prod.tar.gz; tar -xzOf prod.tar.gz --wildcards '*/MANIFEST.json'"),
    ],
)
@click.argument("logs", nargs=-1, metavar="[LOG]...")
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="FILE.tar.gz; a name is made up.")
@click.option("--redact-addresses", is_flag=True, help="Others in place of addresses and names, the same everywhere.")
@cluster_option
@inventory_option
@click.option(
    "--host", "hosts", metavar="HOST[,HOST]", default="", help="Only these; outside an inventory, as for ssh."
)
@click.option("--unit", metavar="NAME", default="", help="A unit of systemd, here or on --host.")
@click.option("--container", metavar="NAME", default="", help="A container, here or on --host.")
@accept_new_option
@click.option("--since", metavar="TIME", help="Only lines from then on: 2026-01-31T08:00:00Z, 2h (24h).")
@LANGUAGE_OPTION
@connection_options
@general_options
def command(
    logs: tuple[str, ...],
    output: Path | None,
    redact_addresses: bool,
    name: str,
    given: tuple[Path, ...],
    hosts: str,
    unit: str,
    container: str,
    accept_new: bool,
    since: str | None,
    lang: str | None,
) -> int:
    """Collect logs, status, metrics, settings, findings and versions into one archive, without secrets.

    Passwords, tokens, private keys and the values of keys never go in; no key of the store is read. What could not be
    had is in the archive's manifest, with the reason. The archive is there whole or not at all.
    """
    invocation = current()
    asked = Asked(given, name, tuple(filter(None, hosts.split(","))), unit, container, accept_new)
    path = output or Path(f"etcdops-bundle-{name or 'local'}-{_stamp(time.time())}.tar.gz")
    _require_writable(path)
    with _collected(invocation, asked, logs, since) as found:
        language = lang or terminal_language()
        written, replaced = _write(invocation, path, found, language, redact_addresses=redact_addresses)
    _tell(invocation, written, found, replaced)
    return int(ExitCode.OK)


def _require_writable(path: Path) -> None:
    """Before anything is collected. Raises: UsageError."""
    if not path.name.endswith(_SUFFIXES):
        raise UsageError(f"{path} is no name for an archive", hint=f"end it in {' or '.join(_SUFFIXES)}")
    if path.exists():
        raise UsageError(f"{path} exists", hint="choose another name with -o, or move it away")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}", hint="make it, or choose another with -o")


@contextlib.contextmanager
def _collected(invocation: Invocation, asked: Asked, logs: tuple[str, ...], since: str | None) -> Iterator[_Collected]:
    from etcdops.diagnosis.reading import STDIN, find_sources

    if STDIN in logs:
        raise UsageError(
            "a bundle reads its logs more than once, and standard input can be read once",
            hint="write it to a file first, and give that",
        )
    found = _Collected(title=asked.cluster or "local")
    for source in find_sources(list(logs)):
        found.logs.append((f"logs/{Path(source.name).name}", source, source.name))
    if not asked:
        if "local" in invocation.connection:
            _logs_of_local(Path(invocation.connection["local"]).absolute(), found)
        # Logs may be of any cluster: beside them only one that was typed is asked, not that of the environment.
        if not logs or any(key in invocation.connection for key in ("endpoints", "local")):
            _ask_members(invocation, found)
        yield found
        return
    from etcdops.doctor.gather.log_files import Span

    begin = moment(since, "--since")
    with fetched_logs(invocation, asked, Span(time.time() - SINCE_DEFAULT_S if begin is None else begin)) as fetched:
        found.title = fetched.named.cluster.name if fetched.named.cluster is not None else fetched.named.hosts[0]
        found.observation, found.secrets = fetched.observation, list(fetched.secrets)
        for log in fetched.logs:
            name = log.place.name.replace("/", "_")
            found.logs.append((f"logs/{name}.log", log.source, log.place.described))
        found.names += [name for host in fetched.named.inventory.hosts.values() for name in (host.name, host.address)]
        found.names += [outcome.subject.member for outcome in fetched.outcomes]
        yield found


def _logs_of_local(directory: Path, found: _Collected) -> None:
    """The logs that `cluster.json` knows of. One that is not there is named in the manifest."""
    from etcdops.diagnosis.reading import find_sources
    from etcdops.playbooks.cluster_file import load_cluster

    cluster = load_cluster(directory)
    found.title = cluster.name
    found.names += [member.name for member in cluster.members]
    for member in cluster.members:
        path = cluster.log_path(member)
        try:
            (source,) = find_sources([str(path)])
        except UsageError as error:
            found.left_out.append((f"the log of {member.name}", error.message))
        else:
            found.logs.append((f"logs/{member.name}.log", source, str(path)))


def _ask_members(invocation: Invocation, found: _Collected) -> None:
    from etcdops.client.settings import LOCAL_DEFAULT
    from etcdops.doctor.gather.cluster import observe_cluster

    settings = invocation.connection_settings()
    if settings.source == LOCAL_DEFAULT:
        raise UsageError("nothing was named to collect from", hint="name --cluster, --host, --endpoints, or logs")
    if settings.password is not None:
        found.secrets.append(settings.password.reveal())
    with invocation.waiting(f"asking {', '.join(settings.endpoints)} ..."):
        found.observation = invocation.run(observe_cluster(settings, hashes=False))


def _write(
    invocation: Invocation, path: Path, found: _Collected, language: str, *, redact_addresses: bool
) -> tuple[Written, Path | None]:
    """The archive, and where it is written down who is who in it."""
    import json

    from etcdops import __version__
    from etcdops.diagnosis.diagnose import diagnose
    from etcdops.doctor.bundle.archive import Wanted, write_archive
    from etcdops.doctor.bundle.names import Names
    from etcdops.doctor.bundle.redact import Redactor
    from etcdops.files import replace_file

    now = time.time()
    with invocation.waiting("reading, and taking secrets out ..."):
        diagnosis = diagnose([source for _, source, _ in found.logs])
        wanted = Wanted(
            title=f"etcdops-bundle-{found.title}-{_stamp(now)}",
            made_at=now,
            made_by=f"etcdops {__version__}",
            documents=[*_documents(found, diagnosis, language)],
            logs=found.logs,
            left_out=[*found.left_out, *_unseen(found.observation)],
        )
        names = Names(_known_names(found)) if redact_addresses else None
        try:
            written = write_archive(path, wanted, Redactor(found.secrets), names)
        except OSError as error:
            raise UsageError(f"{path} cannot be written", cause=error.strerror or str(error)) from error
    if names is None:
        return written, None
    who = path.with_name(f"{path.name}.names.json")
    replace_file(who, json.dumps(names.stands_for, indent=2, ensure_ascii=False).encode() + b"\n")
    return written, who


def _documents(found: _Collected, diagnosis: Diagnosis, language: str) -> Iterator[tuple[str, str]]:
    from importlib.metadata import PackageNotFoundError, version

    from etcdops.cli import diagnose_view
    from etcdops.cli.output import Look
    from etcdops.cli.version import LIBRARIES
    from etcdops.doctor.bundle.contents import documents

    yield "README.txt", _README
    look, seen = Look(), found.observation
    report = diagnose_view.render_report(diagnosis, look, width=120, language=language, full=True)
    if seen is None:
        yield "findings.json", diagnose_view.diagnosis_json(diagnosis, language)
    else:
        import dataclasses

        from etcdops.cli.diagnose_live_view import whole_json
        from etcdops.cli.doctor_view import render_examination
        from etcdops.doctor.examine import examine

        examination = examine(dataclasses.replace(seen, logs=diagnosis))
        yield "findings.json", whole_json(diagnosis, examination, language)
        report = f"{render_examination(examination, look, width=120, language=language, full=True)}\n{report}"
        for path, content in documents(seen):
            yield (
                path,
                render_json(f"etcdops.bundle.{Path(path).parts[0].removesuffix('.json')}/1", {"content": content}),
            )
    yield "findings.txt", report + "\n"
    tools = {}
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            tools[library] = version(library)
    body: dict[str, Json] = {"libraries": dict(tools)}
    yield "etcdops.json", render_json("etcdops.version/1", body)


def _unseen(observation: Observation | None) -> list[tuple[str, str]]:
    """In English, as all that the archive's manifest says."""
    from etcdops.doctor.words import in_words

    unseen = observation.unseen if observation is not None else ()
    return [(in_words(one.what, "en"), in_words(one.why, "en")) for one in unseen]


def _known_names(found: _Collected) -> Iterator[str]:
    yield from (name for name in found.names if name)
    seen = found.observation
    if seen is not None:
        yield from seen.hosts
        yield from (member.name for member in seen.placed)
        yield from (member.name for member in (seen.view.members if seen.view is not None else ()) if member.name)


def _tell(invocation: Invocation, written: Written, found: _Collected, replaced: Path | None) -> None:
    if invocation.format == "json":
        body: dict[str, Json] = {
            "path": str(written.path),
            "bytes": written.size_bytes,
            "files": written.files,
            "taken_out": dict(written.taken),
            "left_out": [{"what": what, "why": why} for what, why in (*found.left_out, *_unseen(found.observation))],
            "names": str(replaced) if replaced is not None else None,
        }
        write(render_json(SCHEMA, body))
        return
    write(str(written.path))
    taken = ", ".join(f"{kind} ({count})" for kind, count in written.taken.items())
    invocation.note(f"{counted(written.files, 'file')}, {written.size_bytes:,} bytes; taken out: {taken or 'nothing'}")
    for what, why in (*found.left_out, *_unseen(found.observation)):
        invocation.note(f"not in it: {what}: {why}")
    if replaced is not None:
        invocation.note(f"who is who in it stays here: {replaced}")
    invocation.note("look into it before you send it: logs hold the names of keys, and what clients wrote into errors")


def _stamp(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
