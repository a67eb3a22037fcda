"""From what a member is started with to an inventory of its cluster, with a note for everything that is a guess."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import yaml
from pydantic import ValidationError

from etcdops.errors import UsageError
from etcdops.inventory.model import Cluster, EngineKind, Host
from etcdops.rendering.flags import FLAGS
from etcdops.rendering.member import NODE_PROGRAM, RESERVED
from etcdops.services.written_config import Written

_DEFAULT_TOKEN = "etcd-cluster"  # noqa: S105  # etcd's default of --initial-cluster-token
_DEFAULT_URLS = {
    "listen-client-urls": "http://localhost:2379",
    "advertise-client-urls": "http://localhost:2379",
    "listen-peer-urls": "http://localhost:2380",
    "initial-advertise-peer-urls": "http://localhost:2380",
    "listen-metrics-urls": "",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_SECRET_NAME = re.compile(r"password|secret|discovery[-_]user", re.IGNORECASE)
_TLS_FILES = ("cert-file", "key-file", "trusted-ca-file", "peer-cert-file", "peer-key-file", "peer-trusted-ca-file")

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


@dataclass(slots=True)
class _Draft:
    """An inventory that is being made of one member's configuration."""

    written: Written
    notes: list[str] = field(default_factory=list)

    def value(self, flag: str) -> str:
        return self.written.config.value(flag) or _DEFAULT_URLS.get(flag, "")

    def urls(self, flag: str) -> list[str]:
        return [url.strip() for url in self.value(flag).split(",") if url.strip()]


def render_import(written: Written, *, cluster: str = "", version: str = "") -> str:
    """YAML of an inventory that has the member and those of its `initial-cluster`, notes as comments above.

    Args: cluster - its name; empty: its token's, where that is one. version - of etcd; empty: a guess, and a note.
    Raises: UsageError - the member's own words contradict each other, or leave open who the others are.
    """
    draft = _Draft(written, [*written.notes, *(f"without effect: {_masked(line)}" for line in written.config.ignored)])
    members = _members(draft)
    name = cluster or _cluster_name(draft)
    hosts: dict[str, Plain] = {one: {"address": _address(urls[0])} for one, urls in members.items()}
    made = _cluster(draft, name, version, members)
    try:
        for host, given in hosts.items():
            Host.model_validate({**_mapping(given), "name": host})
        Cluster.model_validate({**made, "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"no inventory can be made of it: {where}: {first['msg']}") from error
    body: dict[str, Plain] = {"hosts": hosts, "clusters": {name: made}}
    comments = ["Imported from the files of one member. Correct what is marked, then: etcdops inventory check"]
    comments += [f"- {_one_line(note)}" for note in draft.notes]
    text = yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=120)
    return "".join(f"# {line}\n" for line in comments) + text


def _mapping(value: Plain) -> dict[str, Plain]:
    return value if isinstance(value, dict) else {}


def _masked(line: str) -> str:
    """A note about something written, without what may be a secret in it."""
    line = _CREDENTIALS.sub("//***@", line)
    return line if not _SECRET_NAME.search(line) else re.sub(r"=.*(?=: )", "=***", line, flags=re.DOTALL)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _members(draft: _Draft) -> dict[str, list[str]]:
    """Name -> peer URLs, of all members that the configuration names."""
    own = draft.value("name") or "default"
    if not draft.value("name"):
        draft.notes.append("the member has no name, which makes it `default`")
    members: dict[str, list[str]] = {}
    for pair in filter(None, (one.strip() for one in draft.value("initial-cluster").split(","))):
        name, _, url = pair.partition("=")
        members.setdefault(name.strip(), []).append(url.strip())
    if not members:
        members = {own: draft.urls("initial-advertise-peer-urls")}
        draft.notes.append("initial-cluster is not set: other members, if there are any, are missing")
    elif own not in members:
        raise UsageError(
            f"the member is called {own}, and initial-cluster names {', '.join(members)}",
            hint="give all files that the member is started with; etcd refuses this",
        )
    else:
        draft.notes.append(
            "the members are those of initial-cluster, which is as old as the cluster: compare with etcdctl member list"
        )
    if any(not _NAME.match(name) for name in members):
        raise UsageError(f"a member's name cannot be a host's here: {', '.join(map(repr, members))}")
    addresses = [_address(urls[0]) for urls in members.values()]
    if len(set(addresses)) < len(addresses):
        raise UsageError(
            f"several members are on one host: {', '.join(addresses)}",
            hint="where the others listen and keep data is not in this member's files: write the inventory by hand",
        )
    return members


def _address(url: str) -> str:
    try:
        found = urlsplit(url).hostname
    except ValueError:
        found = None
    if not found:
        raise UsageError(f"{url!r} is no peer URL")
    return found


def _cluster_name(draft: _Draft) -> str:
    token = draft.value("initial-cluster-token")
    if token and token != _DEFAULT_TOKEN and _NAME.match(token):
        return token
    draft.notes.append("the cluster's name is a guess: etcd (its clients know none)")
    return "etcd"


def _cluster(draft: _Draft, name: str, version: str, members: Mapping[str, Sequence[str]]) -> dict[str, Plain]:
    kind = _engine(draft.written.config.program)
    if not version and kind is EngineKind.ETCD:
        draft.notes.append("engine.version is a guess: the files do not say it, `etcd --version` on a host does")
    made: dict[str, Plain] = {
        "token": draft.value("initial-cluster-token") or _DEFAULT_TOKEN,
        "engine": {"kind": kind.value, "version": version or "3.5"},
        "service": {"manager": "systemd", "name": draft.written.unit or "etcd"},
    }
    if not draft.written.unit:
        draft.notes.append("service is a guess: no unit was given")
    tls = _tls(draft)
    if tls:
        made["tls"] = tls
    made |= {"user": draft.written.user or "etcd", "group": draft.written.group or draft.written.user or "etcd"}
    if not draft.written.user:
        draft.notes.append("user and group are a guess: no unit was given")
    settings = _settings(draft)
    if settings:
        made["settings"] = settings
    made["members"] = [_member(draft, one, urls, members) for one, urls in members.items()]
    return made


def _engine(program: str) -> EngineKind:
    """`etcdops node`, in whatever way it is called, is the bundled member."""
    words = program.split()
    ours = words[-1:] == ["node"] or posixpath.basename(program) == posixpath.basename(NODE_PROGRAM)
    return EngineKind.NODE if ours else EngineKind.ETCD


def _tls(draft: _Draft) -> dict[str, Plain]:
    client = any(url.startswith("https:") for url in draft.urls("listen-client-urls"))
    peer = any(url.startswith("https:") for url in draft.urls("listen-peer-urls"))
    if not client and not peer:
        return {}
    files = {flag: path for flag in _TLS_FILES if (path := draft.value(flag))}
    folders = {posixpath.dirname(path) for path in files.values()}
    wanted = {flag: draft.value(flag) == "true" for flag in ("client-cert-auth", "peer-client-cert-auth")}
    asks = any(wanted.values())
    if client and peer and len(set(wanted.values())) > 1:
        draft.notes.append(
            f"tls.client_cert_auth is one for both ports; here it is"
            f" {' and '.join(f'{flag}={str(on).lower()}' for flag, on in wanted.items())}"
        )
    draft.notes.append(
        f"certificates are at {', '.join(f'{flag} {path}' for flag, path in files.items()) or 'no known place'};"
        " the inventory names their folder only, where etcdops would put its own"
    )
    made: dict[str, Plain] = {"client": client, "peer": peer, "client_cert_auth": asks}
    if len(folders) == 1 and (folder := folders.pop()).startswith("/"):
        made["directory"] = folder
    return made


def _settings(draft: _Draft) -> dict[str, Plain]:
    found: dict[str, Plain] = {}
    for flag, setting in sorted(draft.written.config.flags.items()):
        if _SECRET_NAME.search(flag) or _CREDENTIALS.search(setting.value):
            draft.notes.append(f"{flag} was left out: it holds a secret ({setting.where})")
        elif flag not in FLAGS:
            draft.notes.append(f"{flag} was left out: no version of etcd has such a flag ({setting.where})")
        elif flag not in RESERVED:
            found[flag] = setting.value
    if draft.value("force-new-cluster") == "true":
        draft.notes.append("force-new-cluster was left out: at every restart it throws the other members out")
    return found


def _member(
    draft: _Draft, name: str, peer_urls: Sequence[str], members: Mapping[str, Sequence[str]]
) -> dict[str, Plain]:
    """The member itself as it is written; another one as if it were configured alike, at its own address."""
    own = draft.value("name") or "default"
    here, there = _in_url(_address(members[own][0])), _in_url(_address(peer_urls[0]))
    if name != own and not any("like it" in note for note in draft.notes):
        draft.notes.append(f"only {own} was read: the other members are taken to be configured like it")

    def moved(flag: str) -> list[str]:
        urls = draft.urls(flag)
        return urls if name == own else [_at(url, here, there) for url in urls]

    made: dict[str, Plain] = {"name": name, "host": name, "data_dir": _directory(draft, own, name)}
    if draft.value("wal-dir"):
        made["wal_dir"] = draft.value("wal-dir")
    for flag in _DEFAULT_URLS:
        urls = list(peer_urls) if flag == "initial-advertise-peer-urls" else moved(flag)
        if urls:
            made[flag.replace("-", "_")] = [*urls]
    return made


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _at(url: str, here: str, there: str) -> str:
    return url.replace(f"//{here}:", f"//{there}:")


def _directory(draft: _Draft, own: str, name: str) -> str:
    """A relative directory begins where the member is started; without one it is `NAME.etcd` there."""
    told = draft.value("data-dir") or f"{own}.etcd"
    if not draft.value("data-dir"):
        told = f"{name}.etcd"
    if told.startswith("/"):
        return told
    if draft.written.folder.startswith("/"):
        return posixpath.normpath(posixpath.join(draft.written.folder, told))
    note = f"data_dir is a guess: {told} is relative to where the member is started, which is not known"
    if note not in draft.notes:
        draft.notes.append(note)
    return "/var/lib/etcd"
