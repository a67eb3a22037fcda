"""One cluster's part of an inventory, with a note for everything that is a guess, was left out, or differs."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from etcdops.errors import UsageError
from etcdops.inventory.model import EngineKind, Manager
from etcdops.rendering.flags import FLAGS, MINORS, Version
from etcdops.rendering.member import CERTIFICATES, RESERVED, Pki
from etcdops.services.importing.access import access_of
from etcdops.services.importing.clusters import MemberFound
from etcdops.services.importing.evidence import DEFAULT_TOKEN, DEFAULT_URLS, Evidence, Plain, address_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_SECRET_NAME = re.compile(r"password|secret|discovery[-_]user", re.IGNORECASE)
_DATA = "/var/lib/etcd"
_GUESSED_LINE = (3, 5)


@dataclass(slots=True)
class Hosts:
    """The hosts of all clusters of one inventory. One address is one host."""

    made: dict[str, dict[str, Plain]] = field(default_factory=dict)

    def name_of(self, member: MemberFound) -> str:
        """The host a member is on; it is there from now on."""
        given = member.evidence.host if member.evidence is not None else None
        address = member.address
        known = next((name for name, host in self.made.items() if host["address"] == address), None)
        if known is not None:
            return known
        wanted = (given.name if given is not None else member.name, address)
        name = next((one for one in wanted if _NAME.match(one) and one not in self.made), f"host-{len(self.made) + 1}")
        self.made[name] = {"address": address, **(given.entry if given is not None else {})}
        return name


@dataclass(slots=True)
class Draft:
    """A cluster that is being written down."""

    members: Sequence[MemberFound]
    hosts: Hosts
    version: str = ""
    """As the operator says; empty: found out."""
    access: Mapping[str, Plain] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def evidence(self) -> list[Evidence]:
        return [one.evidence for one in self.members if one.evidence is not None]

    def note(self, text: str) -> None:
        """Once."""
        if text not in self.notes:
            self.notes.append(text)

    def common(self, what: str, of: Callable[[Evidence], str]) -> str:
        """What most of the evidence says; who says otherwise is noted."""
        said = Counter(value for one in self.evidence if (value := of(one)))
        if not said:
            return ""
        most = said.most_common(1)[0][0]
        for one in self.evidence:
            if of(one) not in ("", most):
                self.note(f"{what} is {of(one)} in {one.source}; the inventory has one for all members: {most}")
        return most


def draft_cluster(draft: Draft) -> dict[str, Plain]:
    """The cluster as it stands under `clusters`. Raises: UsageError - the evidence cannot be written down."""
    _tell(draft)
    made: dict[str, Plain] = {"token": _token(draft), "engine": _engine(draft), "service": _service(draft)}
    tls, of_members = _tls(draft)
    if tls:
        made["tls"] = tls
    if access := draft.access or access_of(draft.evidence, tls, draft.note):
        made["access"] = dict(access)
    user = draft.common("user", lambda one: one.user)
    made |= {"user": user or "etcd", "group": draft.common("group", lambda one: one.group) or user or "etcd"}
    if not user:
        draft.note("user and group are a guess: nothing that was read says whom the member runs as")
    settings = {one.name: _settings(draft, one.evidence, made) for one in draft.members if one.evidence is not None}
    shared = _shared(list(settings.values()))
    if shared:
        made["settings"] = dict(shared)
    template = next((one for one in draft.members if one.evidence is not None), None)
    members: list[Plain] = []
    for one in draft.members:
        own = settings.get(one.name, {})
        more: dict[str, Plain] = {key: value for key, value in own.items() if key not in shared}
        members.append(
            _member(draft, one, template) | of_members.get(one.name, {}) | ({"settings": more} if more else {})
        )
    made["members"] = members
    return made


def masked(line: str) -> str:
    """A note about something written, without what may be a secret in it."""
    line = _CREDENTIALS.sub("//***@", line)
    return line if not _SECRET_NAME.search(line) else re.sub(r"=.*(?=: )", "=***", line, flags=re.DOTALL)


def _tell(draft: Draft) -> None:
    many = len(draft.evidence) > 1
    for one in draft.evidence:
        if not one.config.value("name"):
            draft.note(f"{one.source}: the member has no name, which makes it `default`")
        lines = [*one.notes, *(f"without effect: {masked(line)}" for line in one.config.ignored)]
        for line in lines:
            draft.note(f"{one.name}: {line}" if many and one.name not in line else line)


def _token(draft: Draft) -> str:
    found = draft.common("token", lambda one: one.token)
    if not found:
        draft.note("token is a guess: a running cluster does not say it, and only new members ever need it")
    return found or DEFAULT_TOKEN


def _engine(draft: Draft) -> dict[str, Plain]:
    kind = draft.common("engine.kind", lambda one: one.kind.value) or EngineKind.ETCD.value
    versions = {one.live.version for one in draft.members if one.live is not None and one.live.version}
    versions |= {one.version for one in draft.evidence if one.version} if not versions else set()
    version = draft.version or min(versions, key=_sortable, default="")
    if len(versions) > 1 and not draft.version:
        draft.note(f"members run {', '.join(sorted(versions, key=_sortable))}: the oldest stands for all")
    if not version:
        version = _guessed(draft)
        if kind == EngineKind.ETCD.value:
            draft.note("engine.version is a guess: nothing that was read says it, `etcd --version` on a host does")
    return {"kind": kind, "version": version}


def _sortable(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _guessed(draft: Draft) -> str:
    """A minor version that takes all flags that are set: 3.5 if it does."""
    used = {name for one in draft.evidence for name in one.config.flags if name in FLAGS}
    lines = sorted(MINORS, key=lambda line: (line != _GUESSED_LINE, line))
    fitting = (line for line in lines if all(Version(*line).has(name) for name in used))
    return "{}.{}".format(*next(fitting, _GUESSED_LINE))


def _service(draft: Draft) -> dict[str, Plain]:
    found = draft.common("service", lambda one: " ".join(filter(None, (one.manager or "", one.service, one.image))))
    first = next(
        (e for e in draft.evidence if found and " ".join(filter(None, (e.manager or "", e.service, e.image))) == found),
        None,
    )
    if first is None or first.manager is None:
        draft.note(
            "service is a guess: no unit was given" if draft.evidence else "service is a guess: no host was asked"
        )
        return {"manager": Manager.SYSTEMD.value, "name": "etcd"}
    made: dict[str, Plain] = {"manager": first.manager.value, "name": first.service or "etcd"}
    return made | ({"image": first.image} if first.image else {})


def _tls(draft: Draft) -> tuple[dict[str, Plain], dict[str, dict[str, Plain]]]:
    """(of the cluster, of members whose files are elsewhere)."""

    def any_https(flag: str, live: Iterable[str]) -> bool:
        urls = [url for one in draft.evidence for url in one.urls(flag)] or list(live)
        return any(url.startswith("https:") for url in urls)

    client = any_https("listen-client-urls", (u for m in draft.members if m.live for u in m.live.client_urls))
    peer = any_https("listen-peer-urls", (u for m in draft.members for u in m.peer_urls))
    if not client and not peer:
        return {}, {}
    made: dict[str, Plain] = {"client": client, "peer": peer}
    if not draft.evidence:
        draft.note("where the certificates are on the hosts is not known, nor whether clients must show one")
        return made | {"files": {}}, {}
    asks = {flag: _asks(draft, flag) for flag in ("client-cert-auth", "peer-client-cert-auth")}
    made["client_cert_auth"] = asks["client-cert-auth"]
    if asks["peer-client-cert-auth"] != asks["client-cert-auth"]:
        made["peer_client_cert_auth"] = asks["peer-client-cert-auth"]
    files = {one.name: _files(draft, one.evidence) for one in draft.members if one.evidence is not None}
    folder = _own_layout(list(files.values()), Pki("", client, peer))
    if folder:
        return made | {"directory": folder}, {}
    shared = _shared(list(files.values())) or next(iter(files.values()))
    of_members: dict[str, dict[str, Plain]] = {}
    for name, own in files.items():
        more: dict[str, Plain] = {flag: path for flag, path in own.items() if shared.get(flag) != path}
        if more:
            of_members[name] = {"tls_files": more}
    return made | {"files": dict(shared)}, of_members


def _asks(draft: Draft, flag: str) -> bool:
    return draft.common(flag, lambda one: one.value(flag) or "false") == "true"


def _files(draft: Draft, one: Evidence) -> dict[str, str]:
    found: dict[str, str] = {}
    for flag in CERTIFICATES:
        path = one.value(flag)
        if path and not path.startswith("/") and one.folder.startswith("/"):
            path = posixpath.normpath(posixpath.join(one.folder, path))
        if path.startswith("/"):
            found[flag.replace("-", "_")] = path
        elif path:
            draft.note(f"{flag} {path} was left out: it is relative to where the member is started, which is not known")
    return found


def _own_layout(files: Sequence[Mapping[str, str]], pki: Pki) -> str:
    """The folder, where files have the names that our own authority's would have; else empty."""
    names = {"trusted_ca_file": pki.ca, "cert_file": pki.server[0], "key_file": pki.server[1]} if pki.client else {}
    if pki.peer:
        names |= {
            "peer_trusted_ca_file": pki.peer_ca,
            "peer_cert_file": pki.peer_pair[0],
            "peer_key_file": pki.peer_pair[1],
        }
    folders = {posixpath.dirname(path) for one in files for path in one.values()}
    if len(folders) != 1:
        return ""
    folder = folders.pop()
    return folder if all(one == {flag: folder + name for flag, name in names.items()} for one in files) else ""


def _shared(all_of_them: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all say alike."""
    first, *others = all_of_them or [{}]
    return {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}


def _settings(draft: Draft, one: Evidence, made: Mapping[str, Plain]) -> dict[str, str]:
    engine = made["engine"]
    assert isinstance(engine, dict)
    version = _GUESSED_LINE if engine["kind"] == EngineKind.NODE.value else None
    takes = Version(*version) if version is not None else Version.parse(str(engine["version"]))
    found: dict[str, str] = {}
    for flag, setting in sorted(one.config.flags.items()):
        if _SECRET_NAME.search(flag) or _CREDENTIALS.search(setting.value):
            draft.note(f"{flag} was left out: it holds a secret ({setting.where})")
        elif flag not in FLAGS:
            draft.note(f"{flag} was left out: no version of etcd has such a flag ({setting.where})")
        elif flag not in RESERVED and not takes.has(flag):
            draft.note(f"{flag}={setting.value} was left out: etcd {takes} does not take it ({setting.where})")
        elif flag not in RESERVED:
            found[flag] = setting.value
    if one.value("force-new-cluster") == "true":
        draft.note("force-new-cluster was left out: at every restart it throws the other members out")
    return found


def _member(draft: Draft, one: MemberFound, template: MemberFound | None) -> dict[str, Plain]:
    """As it is written; else as it says itself; else as if it were configured like the first that was read."""
    made: dict[str, Plain] = {"name": one.name, "host": draft.hosts.name_of(one)}
    crowded = sum(other.address == one.address for other in draft.members) > 1
    if one.evidence is None and template is None:
        return made | _only_live(draft, one, crowded=crowded)
    if one.evidence is None and crowded:
        raise UsageError(
            f"several members are on one host: {one.address}",
            hint="where the others listen and keep data is not in this member's files: write the inventory by hand",
        )
    source = one if one.evidence is not None else template
    assert source is not None
    evidence = source.evidence
    assert evidence is not None
    if source is not one:
        read = ", ".join(e.name for e in draft.evidence)
        draft.note(f"only {read} was read: the other members are taken to be configured like it")
    made["data_dir"] = _directory(draft, evidence, one.name)
    if evidence.value("wal-dir").startswith("/"):
        made["wal_dir"] = evidence.value("wal-dir")
    here, there = _in_url(address_of(source.peer_urls[0])), _in_url(address_of(one.peer_urls[0]))
    for flag in DEFAULT_URLS:
        urls = evidence.urls(flag) if source is one else [_at(url, here, there) for url in evidence.urls(flag)]
        if flag == "initial-advertise-peer-urls":
            urls = list(one.peer_urls)
        elif flag == "advertise-client-urls" and one.live is not None and one.live.client_urls:
            urls = list(one.live.client_urls)
        if urls:
            made[flag.replace("-", "_")] = [*urls]
    return made


def _only_live(draft: Draft, one: MemberFound, *, crowded: bool) -> dict[str, Plain]:
    """What a cluster says of a member whose host was not asked."""
    draft.note(
        "data directories, listening URLs, settings and what keeps the members running are not known:"
        " the cluster does not say them; --ssh asks the hosts"
    )
    client = list(one.live.client_urls) if one.live is not None else []
    made: dict[str, Plain] = {"data_dir": f"{_DATA}/{one.name}"} if crowded and _NAME.match(one.name) else {}
    if client:
        made["advertise_client_urls"] = [*client]
    made["initial_advertise_peer_urls"] = [*one.peer_urls]
    if crowded or not all(url.endswith(":2379") for url in client):
        made |= {"listen_client_urls": [*client]} if client else {}
    if crowded or not all(url.endswith(":2380") for url in one.peer_urls):
        made["listen_peer_urls"] = [*one.peer_urls]
    return made


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _at(url: str, here: str, there: str) -> str:
    return url.replace(f"//{here}:", f"//{there}:")


def _directory(draft: Draft, evidence: Evidence, name: str) -> str:
    """A relative directory begins where the member is started; without one it is `NAME.etcd` there."""
    told = evidence.value("data-dir") or f"{name}.etcd"
    if told.startswith("/"):
        return told
    if evidence.folder.startswith("/"):
        return posixpath.normpath(posixpath.join(evidence.folder, told))
    draft.note(f"data_dir is a guess: {told} is relative to where the member is started, which is not known")
    return _DATA
